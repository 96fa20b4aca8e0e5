//! Password hashing for requests: on blocking threads, with a limit on concurrent hashes, and round-robin among the client
//! networks with waiting requests.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::hashers::{self, Verdict};
use crate::{
    error::{AppError, Result},
    network::client_network,
};

/// How long a request waits for its turn.
const WAIT_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes and compares hashes.
#[derive(Debug)]
pub struct Hashing {
    /// Half of the cores; each hash occupies one for a good part of a second. First come, first served.
    slots: Arc<Semaphore>,
    /// A semaphore of one permit for each client network with waiting requests. Only the holder of the permit waits for a
    /// slot, so that slots are given out round-robin among the networks.
    queues: Mutex<HashMap<Option<IpAddr>, Weak<Semaphore>>>,
    iterations: u32,
}

impl Hashing {
    /// Hashing with `iterations` rounds.
    pub fn new(iterations: u32) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            slots: Arc::new(Semaphore::new((cores / 2).max(1))),
            queues: Mutex::default(),
            iterations,
        }
    }

    /// Hashes a password with a fresh salt, for a client at `address`.
    ///
    /// # Errors
    /// [`AppError::Busy`] when it was not its turn within 10 s.
    pub async fn make_password(&self, password: String, address: Option<IpAddr>) -> Result<String> {
        let iterations = self.iterations;
        self.run(address, move || {
            hashers::make_password(&password, iterations)
        })
        .await
    }

    /// Compares a password with a stored value, for a client at `address`.
    ///
    /// # Errors
    /// [`AppError::Busy`] when it was not its turn within 10 s.
    pub async fn check_password(
        &self,
        password: String,
        encoded: String,
        address: Option<IpAddr>,
    ) -> Result<Verdict> {
        let iterations = self.iterations;
        self.run(address, move || {
            hashers::check_password(&password, &encoded, iterations)
        })
        .await
    }

    /// Takes the time of a comparison, for a user that does not exist.
    ///
    /// # Errors
    /// [`AppError::Busy`] when it was not its turn within 10 s.
    pub async fn even_out(&self, password: String, address: Option<IpAddr>) -> Result<()> {
        let iterations = self.iterations;
        self.run(address, move || hashers::even_out(&password, iterations))
            .await
    }

    async fn run<T: Send + 'static>(
        &self,
        address: Option<IpAddr>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let queue = self.queue(address.map(client_network));
        let slot = tokio::time::timeout(WAIT_TIMEOUT, self.slot(&queue)).await;
        let slot = slot.map_err(|_| AppError::Busy)?;
        // The slot is held until the work is done: a client that disconnects does not let another begin meanwhile.
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(slot);
            result
        });
        Ok(done.await.expect("hashing does not panic"))
    }

    async fn slot(&self, queue: &Semaphore) -> OwnedSemaphorePermit {
        const OPEN: &str = "the semaphore is never closed";
        let _first = queue.acquire().await.expect(OPEN);
        self.slots.clone().acquire_owned().await.expect(OPEN)
    }

    /// The queue of a network. Removes the queues without waiting requests.
    fn queue(&self, network: Option<IpAddr>) -> Arc<Semaphore> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = queues.get(&network).and_then(Weak::upgrade) {
            return queue;
        }
        queues.retain(|_, queue| queue.strong_count() > 0);
        let queue = Arc::new(Semaphore::new(1));
        queues.insert(network, Arc::downgrade(&queue));
        queue
    }
}
