//! Counting votes by group commit: while one transaction is being committed, new votes are queued, and the next transaction
//! writes them together, in one statement. Many votes cost one commit, and no client gets its response before its vote is
//! committed.

mod ballots;
mod counts;
mod days;
mod plain;
mod receipts;
mod statement;
mod writer;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use tokio::sync::{mpsc, oneshot};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use self::{
    ballots::Ballots,
    days::VoteDays,
    plain::{ChoiceKey, PlainVotes},
    statement::{Queued, Votes},
    writer::Writer,
};
pub use self::{
    counts::{Ballot, VoterKey},
    days::day_of,
    statement::VoteResult,
    writer::VoteCounters,
};
use crate::{
    db::Database,
    error::{AppError, Result},
};

/// The capacity of a queue, in votes; further requests wait until there is room.
const QUEUE: usize = 4096;

/// Adds votes to the database; shared by all requests.
#[derive(Debug, Clone)]
pub struct VoteCounter {
    plain: Queue<PlainVotes>,
    ballots: Queue<Ballots>,
    counters: VoteCounters,
    /// The task that stores the votes of days.
    days: TaskTracker,
    stop: Arc<DropGuard>,
}

/// The queue of a kind of votes.
type Queue<V> = mpsc::Sender<(<V as Votes>::Key, Queued<V>)>;

impl VoteCounter {
    /// Starts the tasks that write to `db`; `clock` returns the present time, `zone` is that of days. They end when the last clone of the
    /// counter is dropped.
    pub fn start(db: &Database, clock: fn() -> DateTime<Utc>, zone: Tz) -> Self {
        let counters = VoteCounters::default();
        let (plain, votes) = mpsc::channel(QUEUE);
        tokio::spawn(Writer::<PlainVotes>::new(db, clock, counters.clone()).run(votes));
        let (ballots, votes) = mpsc::channel(QUEUE);
        tokio::spawn(Writer::<Ballots>::new(db, clock, counters.clone()).run(votes));
        let (stop, days) = (CancellationToken::new(), TaskTracker::new());
        let vote_days = VoteDays {
            db: db.clone(),
            committed: counters.committed.clone(),
            clock,
            zone,
        };
        days.spawn(vote_days.run(stop.clone()));
        Self {
            plain,
            ballots,
            counters,
            days,
            stop: Arc::new(stop.drop_guard()),
        }
    }

    /// Stores the votes of the day that have not been stored yet. No votes are counted any more.
    pub async fn close(&self) {
        self.stop.token().cancel();
        self.days.close();
        self.days.wait().await;
    }

    /// The metrics of votes.
    pub fn counters(&self) -> &VoteCounters {
        &self.counters
    }

    /// Adds one vote to a question that counts votes as Django does. A vote whose client disconnects before it is written is not
    /// counted.
    ///
    /// # Errors
    /// When the database cannot be reached or refuses the write, or the outcome of the commit is unknown.
    pub async fn add(&self, question_id: i32, choice_id: i32) -> Result<VoteResult> {
        let key = ChoiceKey {
            choice_id,
            question_id,
        };
        write(&self.plain, key, ()).await
    }

    /// Counts a ballot for a question with options.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub async fn cast(&self, question_id: i32, ballot: Ballot) -> Result<VoteResult> {
        write(&self.ballots, question_id, ballot).await
    }
}

async fn write<V: Votes>(queue: &Queue<V>, key: V::Key, ballot: V::Ballot) -> Result<VoteResult> {
    let (sender, result) = oneshot::channel();
    let stopped = || AppError::Internal(anyhow::anyhow!("the task that counts votes has stopped"));
    let vote = Queued { ballot, sender };
    queue.send((key, vote)).await.map_err(|_| stopped())?;
    Ok(result.await.map_err(|_| stopped())??)
}
