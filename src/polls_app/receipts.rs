//! What tells, on PostgreSQL, whether a transaction was committed whose commit was not answered.
//!
//! Each writer of votes has a row of its own, in which each of its transactions leaves its number. PostgreSQL's own
//! numbers (`pg_xact_status`) would not do: those of transactions that a crash undid are given out again.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement, Value};

use crate::db::{Database, Transaction};

/// How long a row is kept after the last transaction, in seconds: longer than a request lasts.
const KEPT: i64 = 3600;

/// One transaction's mark.
#[derive(Debug, Clone, Copy)]
pub struct Receipt {
    writer: i64,
    batch: i64,
}

impl Receipt {
    /// The receipt of no transaction, of a new writer.
    pub fn new() -> Self {
        Self {
            writer: rand::random(),
            batch: 0,
        }
    }

    /// The same writer's next.
    #[must_use]
    pub fn next(self) -> Self {
        Self {
            batch: self.batch + 1,
            ..self
        }
    }

    /// Leaves it in a transaction, whose further statements wait for locked rows for `lock_timeout` if that is given. A
    /// writer's first removes what others have left long ago.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn write(&self, tx: &Transaction, lock_timeout: Option<&str>) -> Result<(), DbErr> {
        // The database's time: servers need not agree about it.
        let sql = "INSERT INTO polls_vote_receipts (writer, batch, written) \
                   VALUES ($1, $2, extract(epoch FROM now())::bigint) \
                   ON CONFLICT (writer) DO UPDATE SET batch = excluded.batch, written = excluded.written";
        match lock_timeout {
            None => {
                tx.execute_raw(statement(sql, [self.writer, self.batch]))
                    .await?;
            }
            // In the same statement, which saves a round trip.
            Some(timeout) => {
                let sql = format!("{sql} RETURNING set_config('lock_timeout', $3, true)");
                let values: [Value; 3] = [self.writer.into(), self.batch.into(), timeout.into()];
                let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
                tx.query_one_raw(statement).await?;
            }
        }
        if self.batch == 1 {
            // Another server may be doing the same.
            let sql = "DELETE FROM polls_vote_receipts WHERE writer IN (SELECT writer \
                       FROM polls_vote_receipts WHERE written < extract(epoch FROM now())::bigint - $1 \
                       FOR UPDATE SKIP LOCKED)";
            tx.execute_raw(statement(sql, [KEPT])).await?;
        }
        Ok(())
    }

    /// Whether the transaction that it was left in was committed. One that may still be under way is waited for, and none
    /// can come after the answer.
    ///
    /// # Errors
    /// When the database does not answer, or that transaction does not end in time.
    pub async fn is_committed(&self, db: &Database) -> Result<bool, DbErr> {
        // Undone at the end: only the wait and what is there afterwards are wanted.
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
