//! What the writer of votes needs of the statements that write them.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc};

use chrono::{DateTime, Utc};
use sea_orm::DbErr;
use tokio::sync::oneshot;

use super::receipts::Receipt;
use crate::{db::Transaction, entities::question_options::Policy};

/// The result of a vote that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VoteResult {
    /// It was committed.
    Counted,
    /// The choice is at the column's maximum.
    Full,
    /// The question has no such choice.
    NoChoice,
    /// The question does not exist or is not published.
    NoQuestion,
    /// Voting has ended.
    Closed,
    /// The voter has voted already; that vote stands.
    AlreadyVoted,
    /// A ballot may have this number of choices at most.
    TooManyChoices(i32),
    /// The vote was made for another policy than the question's, which this is; or for one choice where several are possible.
    WrongPolicy(Policy),
}

/// Sends the result of a vote to its request.
pub type ResultSender = oneshot::Sender<std::result::Result<VoteResult, Arc<DbErr>>>;

/// A kind of votes, with the statement that writes a batch of them.
pub trait Votes: Debug + Sized + Send + Sync + 'static {
    /// What votes are grouped by: a row that another transaction may have locked. Keys are written in their order.
    type Key: Debug + Ord + Copy + Send + Sync;
    /// What a vote has besides its key.
    type Ballot: Debug + Send + Sync;

    /// Writes a batch, and on PostgreSQL stores the receipt of the transaction.
    ///
    /// # Errors
    /// When a row or a table is locked for longer than the time in `locks` (`55P03`), the database cannot be reached, or a
    /// statement fails.
    fn write(
        tx: &Transaction,
        batch: &Batch<Self>,
        now: DateTime<Utc>,
        locks: Locks,
        receipt: Receipt,
    ) -> impl Future<Output = Result<Written<Self>, DbErr>> + Send;
}

/// The votes of one transaction, by key.
pub type Batch<V> = BTreeMap<<V as Votes>::Key, Vec<Queued<V>>>;

/// A vote of a batch.
#[derive(Debug)]
pub struct Queued<V: Votes> {
    /// What it has besides its key.
    pub ballot: V::Ballot,
    /// Takes its result.
    pub sender: ResultSender,
}

/// The results of a transaction. A key without one is that of a choice or a question that does not exist.
pub type Written<V> = Vec<(<V as Votes>::Key, KeyResult)>;

/// The result of the votes with one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyResult {
    /// The results of the votes, in their order.
    Results(Vec<VoteResult>),
    /// The row is locked by another transaction, and [`Locks::Skip`] was given.
    Locked,
}

/// What to do about rows that another transaction has locked, on PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locks {
    /// Wait for each, for this `lock_timeout` at most; for a table, for the connection's.
    Wait(&'static str),
    /// Leave them out. Locks that the statement needs besides are waited for, for this `lock_timeout` at most.
    Skip(&'static str),
}

impl Locks {
    /// The `lock_timeout`.
    pub fn timeout(self) -> &'static str {
        match self {
            Self::Wait(timeout) | Self::Skip(timeout) => timeout,
        }
    }

    /// What follows the `FOR UPDATE` clause.
    pub fn skip_clause(self) -> &'static str {
        match self {
            Self::Wait(_) => "",
            Self::Skip(_) => "SKIP LOCKED",
        }
    }
}
