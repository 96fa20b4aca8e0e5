//! Counting votes by group commit: while one transaction is being committed, new votes are queued, and the next transaction
//! writes them together, with one `UPDATE` per choice. Many votes for one question cost one commit, and no client gets its
//! response before its vote is committed.

use std::{collections::BTreeMap, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use prometheus_client::metrics::counter::Counter;
use sea_orm::{ConnectionTrait, DbBackend, DbErr};
use tokio::sync::{
    Mutex,
    mpsc::{self, error::TrySendError},
    oneshot,
};

use super::{queries::add_votes, receipts::Receipt};
use crate::{
    db::{Database, is_locked, is_lost, is_refusal},
    error::{AppError, Result},
};

/// The capacity of a queue, in votes; further requests wait until there is room.
const QUEUE: usize = 4096;
/// Writing tasks, and so concurrent transactions, on PostgreSQL; a question's votes always go to the same task.
const POSTGRES_TASKS: usize = 4;
/// The maximum number of votes in a batch.
const BATCH: usize = 1024;

/// The `lock_timeout` of a batch, on PostgreSQL. Votes for a row that stays locked are then moved to a task that waits
/// longer.
const LOCK_TIMEOUT: &str = "100ms";

/// The timeout of a query for the outcome of a commit whose response was lost, before the next query: longer than it takes
/// to get a connection and to wait for a lock.
const OUTCOME_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause before the next query.
const OUTCOME_PAUSE: Duration = Duration::from_millis(200);

/// Adds votes to the database; shared by all requests.
#[derive(Debug, Clone)]
pub struct VoteCounter {
    /// The queues of the writing tasks.
    queues: Vec<mpsc::Sender<Vote>>,
    counters: VoteCounters,
}

/// The metrics of votes.
#[derive(Debug, Clone, Default)]
pub struct VoteCounters {
    /// Votes that were committed.
    pub committed: Counter,
    /// Votes that could not be written.
    pub failed: Counter,
    /// Votes whose commit got no response, and whose outcome could not be queried.
    pub unknown: Counter,
    /// Transactions that wrote votes.
    pub commits: Counter,
}

#[derive(Debug)]
struct Vote {
    key: ChoiceKey,
    sender: ResultSender,
}

/// Sends the result of a vote to its request: false when the choice does not exist.
type ResultSender = oneshot::Sender<std::result::Result<bool, Arc<DbErr>>>;

/// The senders of the waiting requests, by choice. Sorted by key, so that two servers lock the same rows in the same order and
/// cannot deadlock.
type Batch = BTreeMap<ChoiceKey, Vec<ResultSender>>;

/// A choice. The question's id is included so that a choice of another question is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct ChoiceKey {
    choice_id: i32,
    question_id: i32,
}

impl VoteCounter {
    /// Starts the tasks that write to `db`. They end when the last clone of the counter is dropped.
    pub fn start(db: &Database) -> Self {
        // SQLite has one writer. On PostgreSQL, a locked row delays only the questions of one task.
        let tasks = if db.get_database_backend() == DbBackend::Sqlite {
            1
        } else {
            POSTGRES_TASKS
        };
        let counters = VoteCounters::default();
        let outcome_query = Arc::default();
        let start = |locked| {
            let (queue, votes) = mpsc::channel(QUEUE);
            let writer = Writer {
                db: db.clone(),
                counters: counters.clone(),
                receipt: Receipt::new(),
                outcome_query: Arc::clone(&outcome_query),
                locked,
            };
            tokio::spawn(writer.run(votes));
            queue
        };
        let locked = start(None);
        Self {
            queues: (0..tasks).map(|_| start(Some(locked.clone()))).collect(),
            counters,
        }
    }

    /// The metrics of votes.
    pub fn counters(&self) -> &VoteCounters {
        &self.counters
    }

    /// Adds one vote; false when the question has no such choice. A vote whose client disconnects before it is
    /// written is not counted.
    ///
    /// # Errors
    /// When the database cannot be reached or refuses the write, or the outcome of the commit is unknown.
    pub async fn add(&self, question_id: i32, choice_id: i32) -> Result<bool> {
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
        self.queues[question_id.unsigned_abs() as usize % self.queues.len()]
            .send(vote)
            .await
            .map_err(|_| stopped())?;
        Ok(result.await.map_err(|_| stopped())??)
    }
}

/// Writes votes to the database and reports the results to the waiting requests.
#[derive(Debug, Clone)]
struct Writer {
    db: Database,
    counters: VoteCounters,
    /// The receipt of the last transaction, on PostgreSQL.
    receipt: Receipt,
    /// Limits outcome queries to one at a time: other requests need the connections.
    outcome_query: Arc<Mutex<()>>,
    /// The task for votes whose rows are locked by another transaction; `None` in that task itself.
    locked: Option<mpsc::Sender<Vote>>,
}

/// The number of votes per choice that a transaction has written: zero where the choice does not exist, and fewer than
/// requested where the column would overflow.
type Written = BTreeMap<ChoiceKey, usize>;

#[derive(Debug)]
enum Failure {
    /// A statement failed before the commit: nothing was written.
    Statement(DbErr),
    /// Before the commit: the row of a choice is locked by another transaction.
    Locked(ChoiceKey, DbErr),
    /// No transaction could be opened, so that an immediate retry would not help; or it was not committed.
    Transaction(DbErr),
    /// The commit got no response: its outcome is unknown.
    Commit(Written, Receipt, DbErr),
}

type Outcome = std::result::Result<Written, Failure>;

impl Writer {
    /// Writes queued votes, batch by batch, until the queue is closed.
    async fn run(mut self, mut votes: mpsc::Receiver<Vote>) {
        let mut received = Vec::new();
        while votes.recv_many(&mut received, BATCH).await > 0 {
            let mut batch = Batch::new();
            for Vote { key, sender } in received.drain(..) {
                batch.entry(key).or_default().push(sender);
            }
            // A panic fails one batch, whose clients get an error, and not the task.
            let written = AssertUnwindSafe(self.write(batch)).catch_unwind().await;
            if written.is_err() {
                tracing::error!("writing votes panicked: the votes of one batch are not counted");
            }
        }
    }

    /// Writes all votes in one transaction. When a statement fails because of one choice (for example its row is locked for
    /// too long), the choices are retried in a transaction each, so that the others' votes are not lost.
    async fn write(&mut self, mut batch: Batch) {
        let mut outcome = self.attempt(&mut batch).await;
        if matches!(&outcome, Err(Failure::Statement(error)) if is_lost(error)) {
            // Nothing was written: retry on another connection.
            outcome = self.attempt(&mut batch).await;
        }
        match outcome {
            Err(Failure::Statement(error)) if batch.len() > 1 && is_refusal(&error) => {
                self.write_one_by_one(batch).await;
            }
            outcome => self.send_results(batch, outcome),
        }
    }

    /// Forwards votes for a locked row to the task that waits for it. Sends the error for those for which its queue is full.
    fn forward(
        &self,
        locked: &mpsc::Sender<Vote>,
        key: ChoiceKey,
        senders: Vec<ResultSender>,
        error: DbErr,
    ) {
        let error = Arc::new(error);
        for sender in senders {
            let sent = locked.try_send(Vote { key, sender });
            if let Err(TrySendError::Full(vote) | TrySendError::Closed(vote)) = sent {
                self.counters.failed.inc();
                let _ = vote.sender.send(Err(error.clone()));
            }
        }
    }

    /// Writes each choice's votes in a separate transaction, until the database itself fails.
    async fn write_one_by_one(&mut self, batch: Batch) {
        let mut choices = batch.into_iter();
        while let Some(choice) = choices.next() {
            let mut single = Batch::from([choice]);
            let outcome = self.attempt(&mut single).await;
            let is_database_failure = match &outcome {
                Err(Failure::Statement(error)) => !is_refusal(error),
                Err(Failure::Transaction(_)) => true,
                Ok(_) | Err(Failure::Locked(..) | Failure::Commit(..)) => false,
            };
            if is_database_failure {
                single.extend(choices);
                return self.send_results(single, outcome);
            }
            self.send_results(single, outcome);
        }
    }

    /// Writes votes in one transaction, except those for locked rows, which are moved to the task that waits for them.
    async fn attempt(&mut self, batch: &mut Batch) -> Outcome {
        loop {
            match (self.transaction(batch).await, &self.locked) {
                (Err(Failure::Locked(key, error)), Some(locked)) => {
                    let senders = batch.remove(&key).unwrap_or_default();
                    self.forward(locked, key, senders, error);
                }
                (Err(Failure::Locked(_, error)), None) => return Err(Failure::Statement(error)),
                (outcome, _) => return outcome,
            }
        }
    }

    /// Writes the votes whose requests still wait, and drops the others.
    async fn transaction(&mut self, batch: &mut Batch) -> Outcome {
        batch.retain(|_, senders| {
            senders.retain(|sender| !sender.is_closed());
            !senders.is_empty()
        });
        let mut written = Written::new();
        if batch.is_empty() {
            return Ok(written);
        }
        let begun = self.db.begin().await;
        let tx = begun.map_err(Failure::Transaction)?;
        // SQLite always responds to a commit.
        let needs_receipt = tx.get_database_backend() == DbBackend::Postgres;
        // After a failure the row may still be locked: the next transaction uses another.
        let receipt = std::mem::replace(&mut self.receipt, Receipt::new()).next();
        if needs_receipt {
            let timeout = self.locked.as_ref().map(|_| LOCK_TIMEOUT);
            receipt
                .write(&tx, timeout)
                .await
                .map_err(Failure::Statement)?;
        }
        for (&key, senders) in &*batch {
            let votes = i32::try_from(senders.len()).expect("at most BATCH votes");
            let added = add_votes(&tx, key.question_id, key.choice_id, votes).await;
            let added = added.map_err(|error| {
                if is_locked(&error) {
                    Failure::Locked(key, error)
                } else {
                    Failure::Statement(error)
                }
            })?;
            written.insert(key, added);
        }
        match tx.commit().await {
            Ok(()) => {
                self.receipt = receipt;
                self.counters.commits.inc();
                Ok(written)
            }
            Err(error) if needs_receipt => Err(Failure::Commit(written, receipt, error)),
            Err(error) => Err(Failure::Transaction(error)),
        }
    }

    /// Reports the results of the votes, immediately or when the outcome of the commit is known.
    fn send_results(&self, batch: Batch, outcome: Outcome) {
        let error = match outcome {
            Ok(written) => return self.send_written(batch, &written),
            Err(Failure::Commit(written, receipt, error)) => {
                // In a task of its own, so that the next batch does not wait for it.
                tokio::spawn(self.clone().query_outcome(batch, written, receipt, error));
                return;
            }
            Err(
                Failure::Statement(error) | Failure::Locked(_, error) | Failure::Transaction(error),
            ) => Arc::new(error),
        };
        for sender in batch.into_values().flatten() {
            self.counters.failed.inc();
            // The receiver is gone if the client has disconnected, here and below.
            let _ = sender.send(Err(error.clone()));
        }
    }

    fn send_written(&self, batch: Batch, written: &Written) {
        for (key, senders) in batch {
            let counted = written.get(&key).copied().unwrap_or_default();
            for (number, sender) in senders.into_iter().enumerate() {
                let is_counted = number < counted;
                if is_counted {
                    self.counters.committed.inc();
                }
                let _ = sender.send(Ok(is_counted));
            }
        }
    }

    /// Queries the outcome of a commit that got no response, while a client waits: a client whose vote is reported as failed
    /// sends it again, and it must not be counted twice.
    async fn query_outcome(self, batch: Batch, written: Written, receipt: Receipt, error: DbErr) {
        while batch.values().flatten().any(|sender| !sender.is_closed()) {
            let guard = self.outcome_query.lock().await;
            let query = receipt.is_committed(&self.db);
            let is_committed = tokio::time::timeout(OUTCOME_TIMEOUT, query).await;
            drop(guard);
            match is_committed {
                Ok(Ok(true)) => {
                    self.counters.commits.inc();
                    return self.send_written(batch, &written);
                }
                Ok(Ok(false)) => {
                    return self.send_results(batch, Err(Failure::Transaction(error)));
                }
                Ok(Err(_)) | Err(_) => tokio::time::sleep(OUTCOME_PAUSE).await,
            }
        }
        let votes = batch.values().flatten().count();
        self.counters.unknown.inc_by(votes as u64);
        tracing::warn!(
            "the outcome of the commit of {votes} votes is unknown: their requests have ended"
        );
    }
}
