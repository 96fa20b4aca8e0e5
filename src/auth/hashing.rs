//! Password hashing for requests: on blocking threads, with a limit on concurrent hashes, and round-robin among the client
//! networks with waiting requests.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::hashers::{self, PasswordCheck};
use crate::{
    error::{AppError, Result},
    network::client_network,
};

/// The timeout of a request that waits for a slot.
const WAIT_TIMEOUT: Duration = Duration::from_secs(10);

/// Computes and compares hashes.
#[derive(Debug)]
pub struct Hashing {
    /// One permit per two cores; each hash occupies a core for some tenths of a second. FIFO.
    slots: Arc<Semaphore>,
    /// A semaphore of one permit for each client network with waiting requests. Only the holder of the permit waits for a
    /// slot, so that slots are given out round-robin among the networks.
    queues: Mutex<HashMap<Option<IpAddr>, Weak<Semaphore>>>,
    iterations: u32,
}

impl Hashing {
    /// `iterations` is the PBKDF2 iteration count of new hashes.
    pub fn new(iterations: u32) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            slots: Arc::new(Semaphore::new((cores / 2).max(1))),
            queues: Mutex::default(),
            iterations,
        }
    }

    /// Hashes a password with a random salt, for a client at `address`.
    ///
    /// # Errors
    /// [`AppError::Busy`] when no slot was free within 10 s.
    pub async fn make_password(&self, password: String, address: Option<IpAddr>) -> Result<String> {
        let iterations = self.iterations;
        self.run(address, move || {
            hashers::make_password(&password, iterations)
        })
        .await
    }

    /// Compares a password with a stored hash, for a client at `address`.
    ///
    /// # Errors
    /// [`AppError::Busy`] when no slot was free within 10 s.
    pub async fn check_password(
        &self,
        password: String,
        encoded: String,
        address: Option<IpAddr>,
    ) -> Result<PasswordCheck> {
        let iterations = self.iterations;
        self.run(address, move || {
            hashers::check_password(&password, &encoded, iterations)
        })
        .await
    }

    /// Takes as long as a comparison, for a username that does not exist.
    ///
    /// # Errors
    /// [`AppError::Busy`] when no slot was free within 10 s.
    pub async fn harden_runtime(&self, password: String, address: Option<IpAddr>) -> Result<()> {
        let iterations = self.iterations;
        self.run(address, move || {
            hashers::harden_runtime(&password, iterations)
        })
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
        // The task holds the slot: `spawn_blocking` continues after the client has disconnected.
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(slot);
            result
        });
        Ok(done.await.expect("hashing does not panic"))
    }

    async fn slot(&self, queue: &Semaphore) -> OwnedSemaphorePermit {
        const OPEN: &str = "the semaphore is never closed";
        let _permit = queue.acquire().await.expect(OPEN);
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
