//! Taking votes by group commit: while one transaction is on its way to the disk, the votes that come in are collected,
//! and the next transaction writes them together, one `UPDATE` per choice. A busy question so costs one commit for many
//! votes instead of one each, and no client is answered before its vote is committed.

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

/// Votes in a queue at most; further ones wait for a place in it.
const QUEUE: usize = 4096;
/// Transactions at once on PostgreSQL; a question's votes always go to the same task.
const POSTGRES_TASKS: usize = 4;
/// Votes written together at most.
const BATCH: usize = 1024;

/// How long a batch waits for a row that another transaction has locked, on PostgreSQL. Votes for that row then wait
/// elsewhere, and longer.
const LOCK_TIMEOUT: &str = "100ms";

/// How long PostgreSQL has to say what became of a commit whose answer was lost, before it is asked once more: longer than
/// it takes to get a connection and to wait for a lock.
const INQUIRY_TIMEOUT: Duration = Duration::from_secs(5);
const INQUIRY_PAUSE: Duration = Duration::from_millis(200);

/// Takes votes, any number at once.
#[derive(Debug, Clone)]
pub struct VoteCounter {
    /// One per task.
    queues: Vec<mpsc::Sender<Vote>>,
    counters: VoteCounters,
}

/// How it goes with the votes.
#[derive(Debug, Clone, Default)]
pub struct VoteCounters {
    /// Votes that are in the database.
    pub taken: Counter,
    /// Votes that could not be written.
    pub failed: Counter,
    /// Votes of which it is not known whether they were committed.
    pub unknown: Counter,
    /// Transactions that wrote votes.
    pub commits: Counter,
}

#[derive(Debug)]
struct Vote {
    ballot: Ballot,
    answer: Answer,
}

/// Receives the outcome of a client's vote: false when there is no such choice.
type Answer = oneshot::Sender<std::result::Result<bool, Arc<DbErr>>>;

/// The waiting clients, by the choice that they voted for. In the order of the keys, so that two servers that write the same
/// choices do not deadlock.
type Batch = BTreeMap<Ballot, Vec<Answer>>;

/// What is voted for. The question's id is part of it so that a choice of another question is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Ballot {
    choice_id: i32,
    question_id: i32,
}

impl VoteCounter {
    /// Starts the tasks that write to `db`. They end when the last clone of the counter is dropped.
    pub fn start(db: &Database) -> Self {
        // SQLite has one writer at a time. On PostgreSQL a row that another transaction has locked keeps its task waiting,
        // and with it a part of the questions only.
        let tasks = if db.get_database_backend() == DbBackend::Sqlite {
            1
        } else {
            POSTGRES_TASKS
        };
        let counters = VoteCounters::default();
        let inquiries = Arc::default();
        let start = |locked| {
            let (queue, votes) = mpsc::channel(QUEUE);
            let writer = Writer {
                db: db.clone(),
                counters: counters.clone(),
                receipt: Receipt::new(),
                inquiries: Arc::clone(&inquiries),
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

    /// How it goes with the votes.
    pub fn counters(&self) -> &VoteCounters {
        &self.counters
    }

    /// Adds one vote; false when the question has no such choice. A vote whose client goes away before it is being
    /// written is not counted.
    ///
    /// # Errors
    /// When the vote could not be written.
    pub async fn add(&self, question_id: i32, choice_id: i32) -> Result<bool> {
        let (answer, answered) = oneshot::channel();
        let vote = Vote {
            ballot: Ballot {
                choice_id,
                question_id,
            },
            answer,
        };
        let stopped =
            || AppError::Internal(anyhow::anyhow!("the task that counts votes has stopped"));
        self.queues[question_id.unsigned_abs() as usize % self.queues.len()]
            .send(vote)
            .await
            .map_err(|_| stopped())?;
        Ok(answered.await.map_err(|_| stopped())??)
    }
}

/// Writes votes to the database and answers those who gave them.
#[derive(Debug, Clone)]
struct Writer {
    db: Database,
    counters: VoteCounters,
    /// That of the last transaction, on PostgreSQL.
    receipt: Receipt,
    /// Held by the one inquiry that asks: others need the connections.
    inquiries: Arc<Mutex<()>>,
    /// Takes the votes for rows that another transaction has locked; none for the task that writes these.
    locked: Option<mpsc::Sender<Vote>>,
}

/// How many votes for each choice a transaction has written: none where there is no such choice, and fewer than were given
/// where the column holds no more.
type Written = BTreeMap<Ballot, usize>;

#[derive(Debug)]
enum Failure {
    /// Before the commit: nothing was written.
    Statement(DbErr),
    /// Before the commit: the row of a choice is locked by another transaction.
    Locked(Ballot, DbErr),
    /// There was no transaction to be had, so trying again at once would not help; or it was not committed.
    Transaction(DbErr),
    /// The commit was not answered: it is not known whether it was made.
    Commit(Written, Receipt, DbErr),
}

type Outcome = std::result::Result<Written, Failure>;

impl Writer {
    /// Writes what comes in, batch after batch.
    async fn run(mut self, mut votes: mpsc::Receiver<Vote>) {
        let mut received = Vec::new();
        while votes.recv_many(&mut received, BATCH).await > 0 {
            let mut batch = Batch::new();
            for Vote { ballot, answer } in received.drain(..) {
                batch.entry(ballot).or_default().push(answer);
            }
            // A mistake of ours costs one batch, whose voters are told, and not all votes from then on.
            let written = AssertUnwindSafe(self.write(batch)).catch_unwind().await;
            if written.is_err() {
                tracing::error!("writing votes panicked: the votes of one batch are not counted");
            }
        }
    }

    /// Writes all votes in one transaction. When a statement fails because one choice is at fault (its row is locked for
    /// too long, say), each is tried in a transaction of its own: the others' votes are not lost with it.
    async fn write(&mut self, mut batch: Batch) {
        let mut outcome = self.attempt(&mut batch).await;
        if matches!(&outcome, Err(Failure::Statement(error)) if is_lost(error)) {
            // Nothing was written, and another connection may be better.
            outcome = self.attempt(&mut batch).await;
        }
        match outcome {
            Err(Failure::Statement(error)) if batch.len() > 1 && is_refusal(&error) => {
                self.write_one_by_one(batch).await;
            }
            outcome => self.answer(batch, outcome),
        }
    }

    /// Leaves votes for a locked row to the task that waits for it, and refuses those for which its queue has no room.
    fn divert(
        &self,
        locked: &mpsc::Sender<Vote>,
        ballot: Ballot,
        answers: Vec<Answer>,
        error: DbErr,
    ) {
        let error = Arc::new(error);
        for answer in answers {
            let sent = locked.try_send(Vote { ballot, answer });
            if let Err(TrySendError::Full(vote) | TrySendError::Closed(vote)) = sent {
                self.counters.failed.inc();
                let _ = vote.answer.send(Err(error.clone()));
            }
        }
    }

    /// Writes each choice's votes in a transaction of their own, until the database itself fails.
    async fn write_one_by_one(&mut self, batch: Batch) {
        let mut choices = batch.into_iter();
        while let Some(choice) = choices.next() {
            let mut alone = Batch::from([choice]);
            let outcome = self.attempt(&mut alone).await;
            let is_over = match &outcome {
                Err(Failure::Statement(error)) => !is_refusal(error),
                Err(Failure::Transaction(_)) => true,
                Ok(_) | Err(Failure::Locked(..) | Failure::Commit(..)) => false,
            };
            if is_over {
                alone.extend(choices);
                return self.answer(alone, outcome);
            }
            self.answer(alone, outcome);
        }
    }

    /// Writes votes in one transaction, without those for locked rows, which are left to the task that waits for these.
    async fn attempt(&mut self, batch: &mut Batch) -> Outcome {
        loop {
            match (self.transaction(batch).await, &self.locked) {
                (Err(Failure::Locked(ballot, error)), Some(locked)) => {
                    let answers = batch.remove(&ballot).unwrap_or_default();
                    self.divert(locked, ballot, answers, error);
                }
                (Err(Failure::Locked(_, error)), None) => return Err(Failure::Statement(error)),
                (outcome, _) => return outcome,
            }
        }
    }

    /// Writes the votes of those who still wait, and forgets the others.
    async fn transaction(&mut self, batch: &mut Batch) -> Outcome {
        batch.retain(|_, answers| {
            answers.retain(|answer| !answer.is_closed());
            !answers.is_empty()
        });
        let mut written = Written::new();
        if batch.is_empty() {
            return Ok(written);
        }
        let begun = self.db.begin().await;
        let tx = begun.map_err(Failure::Transaction)?;
        // SQLite answers a commit, whatever the answer.
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
        for (&ballot, answers) in &*batch {
            let votes = i32::try_from(answers.len()).expect("a batch is small");
            let added = add_votes(&tx, ballot.question_id, ballot.choice_id, votes).await;
            let added = added.map_err(|error| {
                if is_locked(&error) {
                    Failure::Locked(ballot, error)
                } else {
                    Failure::Statement(error)
                }
            })?;
            written.insert(ballot, added);
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

    /// Says what has become of the votes, at once or when it is known.
    fn answer(&self, batch: Batch, outcome: Outcome) {
        let error = match outcome {
            Ok(written) => return self.answer_written(batch, &written),
            Err(Failure::Commit(written, receipt, error)) => {
                // Others need not wait for it.
                tokio::spawn(self.clone().inquire(batch, written, receipt, error));
                return;
            }
            Err(
                Failure::Statement(error) | Failure::Locked(_, error) | Failure::Transaction(error),
            ) => Arc::new(error),
        };
        for answer in batch.into_values().flatten() {
            self.counters.failed.inc();
            // A client that has disconnected meanwhile gets no answer, here and below.
            let _ = answer.send(Err(error.clone()));
        }
    }

    fn answer_written(&self, batch: Batch, written: &Written) {
        for (ballot, answers) in batch {
            let counted = written.get(&ballot).copied().unwrap_or_default();
            for (number, answer) in answers.into_iter().enumerate() {
                let is_counted = number < counted;
                if is_counted {
                    self.counters.taken.inc();
                }
                let _ = answer.send(Ok(is_counted));
            }
        }
    }

    /// Asks PostgreSQL whether a transaction was committed whose commit was not answered, while a client waits: one
    /// that is told that a vote failed sends it again, and it must not count twice.
    async fn inquire(self, batch: Batch, written: Written, receipt: Receipt, error: DbErr) {
        while batch.values().flatten().any(|answer| !answer.is_closed()) {
            let turn = self.inquiries.lock().await;
            let asked = receipt.is_committed(&self.db);
            let asked = tokio::time::timeout(INQUIRY_TIMEOUT, asked).await;
            drop(turn);
            match asked {
                Ok(Ok(true)) => {
                    self.counters.commits.inc();
                    return self.answer_written(batch, &written);
                }
                Ok(Ok(false)) => {
                    return self.answer(batch, Err(Failure::Transaction(error)));
                }
                Ok(Err(_)) | Err(_) => tokio::time::sleep(INQUIRY_PAUSE).await,
            }
        }
        let votes = batch.values().flatten().count();
        self.counters.unknown.inc_by(votes as u64);
        tracing::warn!(
            "gave up finding out whether {votes} votes were counted: their requests have ended"
        );
    }
}
