//! The lock that serializes migrating processes.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

use crate::db::{Database, Transaction};

/// The key of PostgreSQL's advisory lock that serializes migrating processes: "polls" in ASCII.
const LOCK: i64 = 0x70_6f_6c_6c_73;

/// Begins a transaction that excludes those of other migrating processes: SQLite allows one writer at a time, on PostgreSQL it
/// takes an advisory lock.
pub(super) async fn begin_exclusive(db: &Database) -> Result<Transaction, DbErr> {
    let tx = db.begin().await?;
    if tx.get_database_backend() == DbBackend::Postgres {
        tx.execute_raw(Statement::from_sql_and_values(
            DbBackend::Postgres,
            "SELECT pg_advisory_xact_lock($1)",
            [LOCK.into()],
        ))
        .await?;
    }
    Ok(tx)
}
