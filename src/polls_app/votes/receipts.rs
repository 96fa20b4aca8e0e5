//! Receipts: rows that show on PostgreSQL whether a transaction was committed whose `COMMIT` got no response.
//!
//! Each writing task has a row in which each of its transactions stores its number. PostgreSQL's own transaction ids
//! (`pg_xact_status`) are not suitable: those of transactions that a crash rolled back are used again.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement, Value};

use crate::db::{Database, Transaction};

/// How long a row is retained after the last transaction, in seconds: longer than the longest request.
const RETENTION: i64 = 3600;

/// The receipt of one transaction.
#[derive(Debug, Clone, Copy)]
pub struct Receipt {
    /// A random number for the writing task.
    writer: i64,
    /// The number of the task's transaction, from 1.
    batch: i64,
}

impl Receipt {
    /// The first receipt of a new writing task, of no transaction yet.
    pub fn new() -> Self {
        Self {
            writer: rand::random(),
            batch: 0,
        }
    }

    /// The receipt of the same task's next transaction.
    #[must_use]
    pub fn next(self) -> Self {
        Self {
            batch: self.batch + 1,
            ..self
        }
    }

    /// The statement that stores the receipt of the parameters from `$first`, which [`Self::values`] gives. The time is the
    /// database's, since the clocks of the servers may differ.
    pub fn upsert(first: usize) -> String {
        format!(
            "INSERT INTO polls_vote_receipts (writer, batch, written) \
             VALUES (${first}, ${}, extract(epoch FROM now())::bigint) \
             ON CONFLICT (writer) DO UPDATE SET batch = excluded.batch, written = excluded.written",
            first + 1
        )
    }

    /// The parameters of [`Self::upsert`].
    pub fn values(self) -> [Value; 2] {
        [self.writer.into(), self.batch.into()]
    }

    /// Deletes expired rows, if this is the first receipt of its task.
    ///
    /// # Errors
    /// When the database cannot be reached or written to.
    pub async fn delete_expired(&self, tx: &Transaction) -> Result<(), DbErr> {
        if self.batch == 1 {
            // Another server may be deleting the same rows.
            let sql = "DELETE FROM polls_vote_receipts WHERE writer IN (SELECT writer \
                       FROM polls_vote_receipts WHERE written < extract(epoch FROM now())::bigint - $1 \
                       FOR UPDATE SKIP LOCKED)";
            tx.execute_raw(statement(sql, [RETENTION])).await?;
        }
        Ok(())
    }

    /// Whether the receipt's transaction was committed. Waits for it if it is still open; after the result it cannot be
    /// committed any more.
    ///
    /// # Errors
    /// When the database cannot be reached, the query fails, or that transaction does not end in time.
    pub async fn is_committed(&self, db: &Database) -> Result<bool, DbErr> {
        // Rolled back at the end: it serves to wait for the row's lock, and to read the row afterwards.
        let tx = db.begin().await?;
        let sql = "INSERT INTO polls_vote_receipts (writer, batch, written) VALUES ($1, 0, 0) \
                   ON CONFLICT (writer) DO UPDATE SET batch = polls_vote_receipts.batch RETURNING batch";
        let row: Option<QueryResult> = tx.query_one_raw(statement(sql, [self.writer])).await?;
        let row = row.ok_or_else(|| DbErr::Custom("RETURNING gave no row".to_owned()))?;
        Ok(row.try_get::<i64>("", "batch")? == self.batch)
    }
}

fn statement<const N: usize>(sql: &str, values: [i64; N]) -> Statement {
    Statement::from_sql_and_values(DbBackend::Postgres, sql, values.map(Value::from))
}
