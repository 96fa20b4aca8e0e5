//! Hashing for requests: on threads of its own, and never on so many that the rest of the server waits for them.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::hashers::{self, Verdict};
use crate::error::{AppError, Result};

/// How long a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// Makes and compares hashes.
#[derive(Debug)]
pub struct Hashing {
    /// Half of the cores; each hash occupies one for a good part of a second.
    turns: Arc<Semaphore>,
    iterations: u32,
}

impl Hashing {
    /// Hashing at the cost of so many rounds.
    pub fn new(iterations: u32) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            turns: Arc::new(Semaphore::new((cores / 2).max(1))),
            iterations,
        }
    }

    /// Hashes a password with a fresh salt.
    ///
    /// # Errors
    /// When too many wait already.
    pub async fn make_password(&self, password: String) -> Result<String> {
        let iterations = self.iterations;
        self.run(move || hashers::make_password(&password, iterations))
            .await
    }

    /// Compares a password with a stored value.
    ///
    /// # Errors
    /// When too many wait already.
    pub async fn check_password(&self, password: String, encoded: String) -> Result<Verdict> {
        let iterations = self.iterations;
        self.run(move || hashers::check_password(&password, &encoded, iterations))
            .await
    }

    /// Takes the time of a comparison, for a user that there is not.
    ///
    /// # Errors
    /// When too many wait already.
    pub async fn even_out(&self, password: String) -> Result<()> {
        let iterations = self.iterations;
        self.run(move || hashers::even_out(&password, iterations))
            .await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let turn = tokio::time::timeout(PATIENCE, self.turns.clone().acquire_owned()).await;
        let turn: OwnedSemaphorePermit = turn
            .map_err(|_| AppError::Busy)?
            .expect("the semaphore is never closed");
        // The turn goes with the work: a visitor who leaves does not let another begin meanwhile.
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(turn);
            result
        });
        Ok(done.await.expect("hashing does not panic"))
    }
}
