//! Taking votes by group commit: while one transaction is on its way to the disk, the votes that come in are collected,
//! and the next transaction writes them together, one `UPDATE` per choice. A busy question so costs one commit for many
//! votes instead of one each, and nobody is answered before their vote is safe.

use std::{collections::BTreeMap, sync::Arc};

use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, EntityTrait, ExprTrait, QueryFilter, sea_query::Expr,
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    db::{Database, Transaction},
    entities::choice,
    error::{AppError, Result},
};

/// Votes that wait at most; whoever comes then waits for a place.
const QUEUE: usize = 4096;
/// Transactions at once on PostgreSQL; a question's votes always go to the same task.
const POSTGRES_TASKS: usize = 4;
/// Votes written together at most.
const BATCH: usize = 1024;

/// Takes votes, any number at once.
#[derive(Debug, Clone)]
pub struct VoteCounter {
    /// One per task.
    queues: Vec<mpsc::Sender<Vote>>,
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
        let start = |_| {
            let (queue, votes) = mpsc::channel(QUEUE);
            tokio::spawn(count(db.clone(), votes));
            queue
        };
        Self {
            queues: (0..tasks).map(start).collect(),
        }
    }

    /// Adds one vote; false when the question has no such choice.
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
async fn count(db: Database, mut votes: mpsc::Receiver<Vote>) {
    let mut batch = Vec::new();
    while votes.recv_many(&mut batch, BATCH).await > 0 {
        let mut sums: BTreeMap<Ballot, i32> = BTreeMap::new();
        for vote in &batch {
            *sums.entry(vote.ballot).or_default() += 1;
        }
        let results = write(&db, &sums).await;
        for vote in batch.drain(..) {
            // Who has gone away need not be answered.
            let _ = vote.answer.send(results[&vote.ballot].clone());
        }
    }
}

type Results = BTreeMap<Ballot, std::result::Result<bool, Arc<DbErr>>>;

/// Writes all sums in one transaction. When a statement fails, one choice is at fault (its row is locked for too long,
/// say), and so each is tried in a transaction of its own: the others' votes are not lost with it.
async fn write(db: &Database, sums: &BTreeMap<Ballot, i32>) -> Results {
    match attempt(db, sums).await {
        Ok(results) => results,
        Err(Failure::Statement(_)) if sums.len() > 1 => {
            let mut results = Results::new();
            for (&ballot, &votes) in sums {
                let alone = BTreeMap::from([(ballot, votes)]);
                results.extend(
                    attempt(db, &alone)
                        .await
                        .unwrap_or_else(|failure| failure.of_all(&alone)),
                );
            }
            results
        }
        Err(failure) => failure.of_all(sums),
    }
}

enum Failure {
    /// Before the commit: nothing was written.
    Statement(DbErr),
    /// There was no transaction to be had, so trying again at once would not help; or its commit failed, and trying again
    /// could count twice.
    Transaction(DbErr),
}

impl Failure {
    fn of_all(self, sums: &BTreeMap<Ballot, i32>) -> Results {
        let (Self::Statement(error) | Self::Transaction(error)) = self;
        let error = Arc::new(error);
        sums.keys()
            .map(|&ballot| (ballot, Err(error.clone())))
            .collect()
    }
}

async fn attempt(
    db: &Database,
    sums: &BTreeMap<Ballot, i32>,
) -> std::result::Result<Results, Failure> {
    let tx = db.begin().await.map_err(Failure::Transaction)?;
    let mut results = Results::new();
    // In the order of the keys, so that two servers that write the same choices do not wait for each other in a ring.
    for (&ballot, &votes) in sums {
        results.insert(
            ballot,
            Ok(add_votes(&tx, ballot, votes)
                .await
                .map_err(Failure::Statement)?),
        );
    }
    tx.commit().await.map_err(Failure::Transaction)?;
    Ok(results)
}

/// Adds votes in a single statement, so that nobody's are lost. False when the question has no such choice, or the choice
/// has as many votes as the column holds.
async fn add_votes(
    tx: &Transaction,
    ballot: Ballot,
    votes: i32,
) -> std::result::Result<bool, DbErr> {
    let updated = choice::Entity::update_many()
        .col_expr(
            choice::Column::Votes,
            Expr::col(choice::Column::Votes).add(votes),
        )
        .filter(choice::COLUMN.id.eq(ballot.choice_id))
        .filter(choice::COLUMN.votes.lte(i32::MAX - votes))
        .filter(choice::COLUMN.question_id.eq(ballot.question_id))
        .exec(tx)
        .await?;
    Ok(updated.rows_affected == 1)
}
