//! Taking votes by group commit: while one transaction is on its way to the disk, the votes that come in are collected,
//! and the next transaction writes them together, one `UPDATE` per choice. A busy question so costs one commit for many
//! votes instead of one each, and nobody is answered before their vote is safe.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use prometheus_client::metrics::counter::Counter;
use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, ExprTrait, RuntimeErr, Statement,
    sea_query::{Expr, Query},
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    db::{Database, Transaction, is_lost},
    entities::choice,
    error::{AppError, Result},
};

/// Votes that wait at most; whoever comes then waits for a place.
const QUEUE: usize = 4096;
/// Transactions at once on PostgreSQL; a question's votes always go to the same task.
const POSTGRES_TASKS: usize = 4;
/// Votes written together at most.
const BATCH: usize = 1024;

/// How long to ask what became of a commit whose answer was lost, and how often.
const INQUIRY: Duration = Duration::from_secs(10);
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
    /// Transactions that wrote votes.
    pub commits: Counter,
}

#[derive(Debug)]
struct Vote {
    ballot: Ballot,
    answer: oneshot::Sender<std::result::Result<bool, Arc<DbErr>>>,
}

/// What is voted for. The question's id is part of it so that a choice of another question is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Ballot {
    choice_id: i32,
    question_id: i32,
}

impl VoteCounter {
    /// Starts the tasks that write to `db`. They end when the last clone of the counter is dropped.
    pub fn start(db: &Database) -> Self {
        // SQLite has one writer at a time. On PostgreSQL a row that somebody else holds locked keeps its task waiting,
        // and with it a part of the questions only.
        let tasks = if db.get_database_backend() == DbBackend::Sqlite {
            1
        } else {
            POSTGRES_TASKS
        };
        let counters = VoteCounters::default();
        let start = |_| {
            let (queue, votes) = mpsc::channel(QUEUE);
            tokio::spawn(count(db.clone(), votes, counters.clone()));
            queue
        };
        Self {
            queues: (0..tasks).map(start).collect(),
            counters,
        }
    }

    /// How it goes with the votes.
    pub fn counters(&self) -> &VoteCounters {
        &self.counters
    }

    /// Adds one vote; false when the question has no such choice. A vote whose visitor goes away before it is being
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

/// Writes what comes in, batch after batch.
async fn count(db: Database, mut votes: mpsc::Receiver<Vote>, counters: VoteCounters) {
    let mut batch = Vec::new();
    while votes.recv_many(&mut batch, BATCH).await > 0 {
        let results = write(&db, &batch, &counters).await;
        for vote in batch.drain(..) {
            // Whose visitor had gone by then has none.
            let Some(result) = results.get(&vote.ballot).cloned() else {
                continue;
            };
            match &result {
                Ok(true) => drop(counters.taken.inc()),
                Ok(false) => {}
                Err(_) => drop(counters.failed.inc()),
            }
            // Who has gone away meanwhile need not be answered.
            let _ = vote.answer.send(result);
        }
    }
}

type Sums = BTreeMap<Ballot, i32>;
type Results = BTreeMap<Ballot, std::result::Result<bool, Arc<DbErr>>>;

/// What is voted for, by those who still wait for an answer, and how often.
fn sums(batch: &[Vote]) -> Sums {
    let mut sums = Sums::new();
    for vote in batch.iter().filter(|vote| !vote.answer.is_closed()) {
        *sums.entry(vote.ballot).or_default() += 1;
    }
    sums
}

/// Writes all votes in one transaction. When a statement fails because one choice is at fault (its row is locked for too
/// long, say), each is tried in a transaction of its own: the others' votes are not lost with it.
async fn write(db: &Database, batch: &[Vote], counters: &VoteCounters) -> Results {
    let all = sums(batch);
    if all.is_empty() {
        return Results::new();
    }
    match attempt(db, &all, counters).await {
        Ok(results) => results,
        // Nothing was written, and another connection may be better.
        Err(Failure::Statement(error)) if is_lost(&error) => {
            let again = attempt(db, &all, counters).await;
            again.unwrap_or_else(|failure| failure.of_all(&all))
        }
        Err(Failure::Statement(error)) if all.len() > 1 && is_of_one_row(&error) => {
            one_by_one(db, batch, counters).await
        }
        Err(failure) => failure.of_all(&all),
    }
}

/// Writes each choice's votes in a transaction of their own, until the database itself fails.
async fn one_by_one(db: &Database, batch: &[Vote], counters: &VoteCounters) -> Results {
    let mut results = Results::new();
    let mut failed: Option<Arc<DbErr>> = None;
    for ballot in sums(batch).into_keys() {
        // Some may have gone while the others were tried.
        let Some(&votes) = sums(batch).get(&ballot) else {
            continue;
        };
        let alone = Sums::from([(ballot, votes)]);
        if let Some(error) = &failed {
            results.insert(ballot, Err(error.clone()));
            continue;
        }
        match attempt(db, &alone, counters).await {
            Ok(result) => results.extend(result),
            Err(failure) => {
                let is_of_one_row =
                    matches!(&failure, Failure::Statement(error) if is_of_one_row(error));
                let errors = failure.of_all(&alone);
                if !is_of_one_row {
                    failed = errors.values().find_map(|result| result.clone().err());
                }
                results.extend(errors);
            }
        }
    }
    results
}

/// Whether an error is about the row that was to be changed, and not about the database.
fn is_of_one_row(error: &DbErr) -> bool {
    match error {
        DbErr::Exec(RuntimeErr::SqlxError(cause)) | DbErr::Query(RuntimeErr::SqlxError(cause)) => {
            matches!(&**cause, sqlx::Error::Database(_))
        }
        _ => false,
    }
}

enum Failure {
    /// Before the commit: nothing was written.
    Statement(DbErr),
    /// There was no transaction to be had, so trying again at once would not help; or its commit failed.
    Transaction(DbErr),
}

impl Failure {
    fn of_all(self, sums: &Sums) -> Results {
        let (Self::Statement(error) | Self::Transaction(error)) = self;
        let error = Arc::new(error);
        sums.keys()
            .map(|&ballot| (ballot, Err(error.clone())))
            .collect()
    }
}

async fn attempt(
    db: &Database,
    sums: &Sums,
    counters: &VoteCounters,
) -> std::result::Result<Results, Failure> {
    let tx = db.begin().await.map_err(Failure::Transaction)?;
    let (mut results, mut number) = (Results::new(), None);
    // In the order of the keys, so that two servers that write the same choices do not wait for each other in a ring.
    for (&ballot, &votes) in sums {
        let written = add_votes(&tx, ballot, votes)
            .await
            .map_err(Failure::Statement)?;
        results.insert(ballot, Ok(written.is_some()));
        number = number.or(written);
    }
    if let Err(error) = tx.commit().await {
        match number {
            Some(number) if has_committed(db, &number).await => {}
            _ => return Err(Failure::Transaction(error)),
        }
    }
    counters.commits.inc();
    Ok(results)
}

/// Asks PostgreSQL what became of a transaction whose commit was not answered: a visitor who is told that a vote failed
/// votes again, and it must not count twice. False as well when the database does not come back in time.
async fn has_committed(db: &Database, number: &str) -> bool {
    if db.get_database_backend() != DbBackend::Postgres {
        // SQLite answers, whatever the answer.
        return false;
    }
    let sql = "SELECT pg_xact_status($1::xid8) AS status";
    let inquiry = async {
        loop {
            let statement =
                Statement::from_sql_and_values(DbBackend::Postgres, sql, [number.into()]);
            if let Ok(Some(row)) = db.query_one_raw(statement).await {
                match row.try_get::<Option<String>>("", "status") {
                    Ok(Some(status)) if status == "in progress" => {}
                    Ok(status) => return status.as_deref() == Some("committed"),
                    Err(_) => return false,
                }
            }
            tokio::time::sleep(INQUIRY_PAUSE).await;
        }
    };
    tokio::time::timeout(INQUIRY, inquiry)
        .await
        .unwrap_or(false)
}

/// Adds votes in a single statement, so that nobody's are lost, and gives the transaction's number. `None` when the
/// question has no such choice, or the choice has as many votes as the column holds.
async fn add_votes(
    tx: &Transaction,
    ballot: Ballot,
    votes: i32,
) -> std::result::Result<Option<String>, DbErr> {
    use choice::Column::{Id, QuestionId, Votes};
    let number = match tx.get_database_backend() {
        DbBackend::Postgres => Expr::cust("pg_current_xact_id()::text"),
        _ => Expr::cust("''"),
    };
    let update = Query::update()
        .table(choice::Entity)
        .value(Votes, Expr::col(Votes).add(votes))
        .and_where(Expr::col(Id).eq(ballot.choice_id))
        .and_where(Expr::col(Votes).lte(i32::MAX - votes))
        .and_where(Expr::col(QuestionId).eq(ballot.question_id))
        .returning(Query::returning().expr(number))
        .take();
    let row = tx.query_one(&update).await?;
    row.map(|row| row.try_get_by_index(0)).transpose()
}
