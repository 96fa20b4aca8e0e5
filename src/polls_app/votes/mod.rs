//! Counting votes by group commit: while one transaction is being committed, new votes are queued, and the next transaction
//! writes them together, in one statement. Many votes cost one commit, and no client gets its response before its vote is
//! committed.

mod batch;
mod receipts;
mod writer;

use chrono::{DateTime, Utc};
use tokio::sync::{mpsc, oneshot};

pub use self::writer::{VoteCounters, VoteResult};
use self::{
    batch::ChoiceKey,
    writer::{Vote, Writer},
};
use crate::{
    db::Database,
    error::{AppError, Result},
};

/// The capacity of the queue, in votes; further requests wait until there is room.
const QUEUE: usize = 4096;

/// Adds votes to the database; shared by all requests.
#[derive(Debug, Clone)]
pub struct VoteCounter {
    queue: mpsc::Sender<Vote>,
    counters: VoteCounters,
}

impl VoteCounter {
    /// Starts the task that writes to `db`; `clock` returns the present time. It ends when the last clone of the counter is dropped.
    pub fn start(db: &Database, clock: fn() -> DateTime<Utc>) -> Self {
        let counters = VoteCounters::default();
        let (queue, votes) = mpsc::channel(QUEUE);
        tokio::spawn(Writer::new(db, clock, counters.clone()).run(votes));
        Self { queue, counters }
    }

    /// The metrics of votes.
    pub fn counters(&self) -> &VoteCounters {
        &self.counters
    }

    /// Adds one vote. A vote whose client disconnects before it is written is not counted.
    ///
    /// # Errors
    /// When the database cannot be reached or refuses the write, or the outcome of the commit is unknown.
    pub async fn add(&self, question_id: i32, choice_id: i32) -> Result<VoteResult> {
        let (sender, result) = oneshot::channel();
        let vote = Vote {
            key: ChoiceKey {
                choice_id,
                question_id,
            },
            sender,
        };
        let stopped =
            || AppError::Internal(anyhow::anyhow!("the task that counts votes has stopped"));
        self.queue.send(vote).await.map_err(|_| stopped())?;
        Ok(result.await.map_err(|_| stopped())??)
    }
}
