//! The task that writes votes, and those that wait for locked rows.

use std::{
    collections::btree_map::Entry,
    panic::AssertUnwindSafe,
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use prometheus_client::metrics::counter::Counter;
use sea_orm::{ConnectionTrait, DbBackend, DbErr};
use tokio::sync::{Mutex, Semaphore, mpsc};

use super::{
    receipts::Receipt,
    statement::{self, KeyResult, Locks, Queued, VoteResult, Votes},
};
use crate::db::{Database, is_locked, is_lost, is_refusal};

/// The maximum number of votes in a batch.
const BATCH: usize = 1024;

/// The `lock_timeout` of a batch, on PostgreSQL: long enough for another server's batch. Votes for a row that stays locked are
/// then moved to a task of their own.
const BATCH_LOCK_TIMEOUT: &str = "100ms";
/// The `lock_timeout` of the votes for a row that stays locked.
const LOCK_TIMEOUT: &str = "1s";
/// A lock that was waited for as long is a table's: it is taken before the statement sets its `lock_timeout`, and is given up after the
/// connection's, 1 s.
const TABLE_LOCK_TIMEOUT: Duration = Duration::from_millis(900);
/// Transactions that wait for locked rows at the same time: each has a connection.
const LOCK_WAITERS: usize = 2;
/// How long the votes for a locked row wait until fewer transactions wait.
const WAITER_TIMEOUT: Duration = Duration::from_secs(1);

/// The timeout of a query for the outcome of a commit whose response was lost, before the next query: longer than it takes
/// to get a connection and to wait for a lock.
const OUTCOME_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause before the next query.
const OUTCOME_PAUSE: Duration = Duration::from_millis(200);

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

type Batch<V> = statement::Batch<V>;
type Written<V> = statement::Written<V>;

/// Writes votes of one kind to the database and reports the results to the waiting requests.
#[derive(Debug)]
pub struct Writer<V: Votes> {
    db: Database,
    clock: fn() -> DateTime<Utc>,
    counters: VoteCounters,
    /// The receipt of the last transaction, on PostgreSQL.
    receipt: Receipt,
    lock_timeout: &'static str,
    locked: LockedVotes<V>,
    lock_waiters: Arc<Semaphore>,
    /// Limits outcome queries to one at a time: other requests need the connections.
    outcome_query: Arc<Mutex<()>>,
}

/// The votes for each key whose row is locked by another transaction, while a task waits for the row.
type LockedVotes<V> = Arc<std::sync::Mutex<Batch<V>>>;

fn result_of<V: Votes>(written: &Written<V>, key: V::Key) -> Option<&KeyResult> {
    let found = written.iter().find(|(written, _)| *written == key);
    found.map(|(_, result)| result)
}

#[derive(Debug)]
enum Failure<V: Votes> {
    /// A statement failed before the commit: nothing was written.
    Statement(DbErr),
    /// No transaction could be opened, so that an immediate retry would not help; or it was not committed.
    Transaction(DbErr),
    /// The commit got no response: its outcome is unknown.
    Commit(Written<V>, Receipt, DbErr),
}

type Outcome<V> = std::result::Result<Written<V>, Failure<V>>;

/// For any `V`, which a derived implementation would require to be `Clone`.
impl<V: Votes> Clone for Writer<V> {
    fn clone(&self) -> Self {
        Self {
            db: self.db.clone(),
            clock: self.clock,
            counters: self.counters.clone(),
            receipt: self.receipt,
            lock_timeout: self.lock_timeout,
            locked: self.locked.clone(),
            lock_waiters: self.lock_waiters.clone(),
            outcome_query: self.outcome_query.clone(),
        }
    }
}

impl<V: Votes> Writer<V> {
    /// A writer to `db`; `clock` returns the present time.
    pub fn new(db: &Database, clock: fn() -> DateTime<Utc>, counters: VoteCounters) -> Self {
        Self {
            db: db.clone(),
            clock,
            counters,
            receipt: Receipt::new(),
            lock_timeout: BATCH_LOCK_TIMEOUT,
            locked: Arc::default(),
            lock_waiters: Arc::new(Semaphore::new(LOCK_WAITERS)),
            outcome_query: Arc::default(),
        }
    }

    /// The same with receipts of its own.
    fn with_own_receipts(&self) -> Self {
        Self {
            receipt: Receipt::new(),
            ..self.clone()
        }
    }

    /// Writes queued votes, batch by batch, until the queue is closed.
    pub async fn run(mut self, mut votes: mpsc::Receiver<(V::Key, Queued<V>)>) {
        let mut received = Vec::new();
        while votes.recv_many(&mut received, BATCH).await > 0 {
            let mut batch = Batch::<V>::new();
            for (key, vote) in received.drain(..) {
                batch.entry(key).or_default().push(vote);
            }
            self.write_or_report_panic(batch).await;
        }
    }

    /// A panic fails one batch, whose clients get an error, and not the task.
    async fn write_or_report_panic(&mut self, batch: Batch<V>) {
        let written = AssertUnwindSafe(self.write(batch)).catch_unwind().await;
        if written.is_err() {
            tracing::error!("writing votes panicked: the votes of one batch are not counted");
        }
    }

    /// Writes all votes in one transaction. When the statement fails because of one key, the keys are retried in a
    /// transaction each, so that the others' votes are not lost.
    async fn write(&mut self, mut batch: Batch<V>) {
        if self.lock_timeout == BATCH_LOCK_TIMEOUT {
            self.join_locked(&mut batch);
        }
        let mut outcome = self.attempt(&mut batch).await;
        if matches!(&outcome, Err(Failure::Statement(error)) if is_lost(error)) {
            // Nothing was written: retry on another connection.
            outcome = self.attempt(&mut batch).await;
        }
        match outcome {
            // A whole table that is locked is so for each of them.
            Err(Failure::Statement(error))
                if batch.len() > 1 && is_refusal(&error) && !is_locked(&error) =>
            {
                self.write_one_by_one(batch).await;
            }
            outcome => self.send_results(batch, outcome),
        }
    }

    /// Writes each key's votes in a separate transaction, until the database itself fails.
    async fn write_one_by_one(&mut self, batch: Batch<V>) {
        let mut keys = batch.into_iter();
        while let Some(votes) = keys.next() {
            let mut single = Batch::<V>::from([votes]);
            let outcome = self.attempt(&mut single).await;
            let is_database_failure = match &outcome {
                Err(Failure::Statement(error)) => !is_refusal(error),
                Err(Failure::Transaction(_)) => true,
                Ok(_) | Err(Failure::Commit(..)) => false,
            };
            if is_database_failure {
                single.extend(keys);
                return self.send_results(single, outcome);
            }
            self.send_results(single, outcome);
        }
    }

    /// Writes votes in one transaction. When a row stays locked, those for locked rows are moved to a task for each key,
    /// unless this is such a task.
    async fn attempt(&mut self, batch: &mut Batch<V>) -> Outcome<V> {
        let start = Instant::now();
        match self
            .transaction(batch, Locks::Wait(self.lock_timeout))
            .await
        {
            Err(Failure::Statement(error))
                if is_locked(&error)
                    && self.lock_timeout == BATCH_LOCK_TIMEOUT
                    && start.elapsed() < TABLE_LOCK_TIMEOUT =>
            {
                let written = self.transaction(batch, Locks::Skip(LOCK_TIMEOUT)).await;
                if let Ok(written) | Err(Failure::Commit(written, ..)) = &written {
                    self.move_locked(batch, written, &Arc::new(error));
                }
                written
            }
            outcome => outcome,
        }
    }

    /// Writes the votes whose requests still wait, and drops the others.
    async fn transaction(&mut self, batch: &mut Batch<V>, locks: Locks) -> Outcome<V> {
        batch.retain(|_, votes| {
            votes.retain(|vote| !vote.sender.is_closed());
            !votes.is_empty()
        });
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let begun = self.db.begin().await;
        let tx = begun.map_err(Failure::Transaction)?;
        // SQLite always responds to a commit.
        let has_receipt = tx.get_database_backend() == DbBackend::Postgres;
        // After a failure the row may still be locked: the next transaction uses another.
        let receipt = std::mem::replace(&mut self.receipt, Receipt::new()).next();
        let written = V::write(&tx, batch, (self.clock)(), locks, receipt).await;
        let written = written.map_err(Failure::Statement)?;
        if has_receipt {
            let deleted = receipt.delete_expired(&tx).await;
            deleted.map_err(Failure::Statement)?;
        }
        match tx.commit().await {
            Ok(()) => {
                self.receipt = receipt;
                self.counters.commits.inc();
                Ok(written)
            }
            Err(error) if has_receipt => Err(Failure::Commit(written, receipt, error)),
            Err(error) => Err(Failure::Transaction(error)),
        }
    }

    /// Moves votes for keys whose rows are being waited for to the task that waits.
    fn join_locked(&self, batch: &mut Batch<V>) {
        let mut locked = self.locked.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, waiting) in &mut *locked {
            waiting.extend(batch.remove(key).unwrap_or_default());
        }
    }

    /// Moves votes for locked rows to a task for each key. `error` is of the statement that waited for a lock.
    fn move_locked(&self, batch: &mut Batch<V>, written: &Written<V>, error: &Arc<DbErr>) {
        let mut locked = self.locked.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, result) in written {
            let key = *key;
            if *result != KeyResult::Locked {
                continue;
            }
            let mut votes = batch.remove(&key).unwrap_or_default();
            match locked.entry(key) {
                Entry::Occupied(mut waiting) => waiting.get_mut().append(&mut votes),
                Entry::Vacant(entry) => {
                    entry.insert(votes);
                    tokio::spawn(self.with_own_receipts().write_locked(key, error.clone()));
                }
            }
        }
    }

    /// Writes the votes for one key, whose row is locked, until there are no more. At most [`LOCK_WAITERS`] wait for rows at
    /// the same time; the others' votes fail with `error` after [`WAITER_TIMEOUT`].
    async fn write_locked(mut self, key: V::Key, error: Arc<DbErr>) {
        self.lock_timeout = LOCK_TIMEOUT;
        let waiters = self.lock_waiters.clone();
        loop {
            let permit = tokio::time::timeout(WAITER_TIMEOUT, waiters.acquire()).await;
            let mut batch = Batch::<V>::new();
            {
                let mut locked = self.locked.lock().unwrap_or_else(PoisonError::into_inner);
                match locked.get_mut(&key) {
                    Some(votes) if !votes.is_empty() => {
                        batch.insert(key, std::mem::take(votes));
                    }
                    _ => {
                        locked.remove(&key);
                        return;
                    }
                }
            }
            match permit {
                Ok(_permit) => self.write_or_report_panic(batch).await,
                Err(_) => self.send_error(batch, &error),
            }
        }
    }

    /// Reports the results of the votes, immediately or when the outcome of the commit is known.
    fn send_results(&self, batch: Batch<V>, outcome: Outcome<V>) {
        match outcome {
            Ok(written) => self.send_written(batch, &written),
            // In a task of its own, so that the next batch does not wait for it.
            Err(Failure::Commit(written, receipt, error)) => {
                tokio::spawn(self.clone().query_outcome(batch, written, receipt, error));
            }
            Err(Failure::Statement(error) | Failure::Transaction(error)) => {
                self.send_error(batch, &Arc::new(error));
            }
        }
    }

    fn send_error(&self, batch: Batch<V>, error: &Arc<DbErr>) {
        for vote in batch.into_values().flatten() {
            self.counters.failed.inc();
            // The receiver is gone if the client has disconnected, here and below.
            let _ = vote.sender.send(Err(error.clone()));
        }
    }

    fn send_written(&self, batch: Batch<V>, written: &Written<V>) {
        for (key, votes) in batch {
            // The locked ones are in another batch.
            let results = match result_of::<V>(written, key) {
                Some(KeyResult::Results(results)) => results.as_slice(),
                Some(KeyResult::Locked) | None => &[],
            };
            let counted = results.iter().filter(|it| **it == VoteResult::Counted);
            self.counters.committed.inc_by(counted.count() as u64);
            let results = results.iter().copied();
            let results = results.chain(std::iter::repeat(VoteResult::NoChoice));
            for (vote, result) in votes.into_iter().zip(results) {
                let _ = vote.sender.send(Ok(result));
            }
        }
    }

    /// Queries the outcome of a commit that got no response, while a client waits: a client whose vote is reported as failed
    /// sends it again, and it must not be counted twice.
    async fn query_outcome(
        self,
        batch: Batch<V>,
        written: Written<V>,
        receipt: Receipt,
        error: DbErr,
    ) {
        let is_waiting = |vote: &Queued<V>| !vote.sender.is_closed();
        while batch.values().flatten().any(is_waiting) {
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
