//! What an error of a database means for what is to be done next.

use sea_orm::{DbErr, RuntimeErr};

/// What the driver said, if it was the driver.
fn cause(error: &DbErr) -> Option<&sqlx::Error> {
    match error {
        DbErr::Exec(RuntimeErr::SqlxError(cause))
        | DbErr::Query(RuntimeErr::SqlxError(cause))
        | DbErr::Conn(RuntimeErr::SqlxError(cause)) => Some(cause),
        _ => None,
    }
}

/// Whether the code is PostgreSQL's for a connection that is of no use any more: class 08, or an administrator's, a crash's
/// or a time limit's end of the session, or a transaction that failed and that nobody has ended.
fn is_end(code: &str) -> bool {
    code.starts_with("08") || ["25P02", "25P03", "57P01", "57P02"].contains(&code)
}

/// Whether an error says that the connection is gone, or was never there.
pub fn is_lost(error: &DbErr) -> bool {
    match cause(error) {
        Some(sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::PoolClosed) => true,
        Some(sqlx::Error::Database(error)) => error.code().is_some_and(|code| is_end(&code)),
        _ => false,
    }
}

/// Whether an error comes from the state that the database is in, and may be gone the next time.
pub fn is_passing(error: &DbErr) -> bool {
    if matches!(error, DbErr::Conn(_) | DbErr::ConnectionAcquire(_)) {
        return true;
    }
    match cause(error) {
        Some(
            sqlx::Error::Io(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed,
        ) => true,
        // PostgreSQL: one that takes no changes, two that waited for each other, too many connections, a statement or a
        // lock that took too long, a restart.
        // SQLite: another process is writing (5, and 517 for a snapshot that has grown old).
        Some(sqlx::Error::Database(error)) => error.code().is_some_and(|code| {
            is_end(&code)
                || [
                    "25006", "40001", "40P01", "53300", "55P03", "57014", "57P03", "5", "517",
                ]
                .contains(&&*code)
        }),
        _ => false,
    }
}

/// Whether the database refused a statement, and not the way to it failed: what it refused may be about one row.
pub fn is_refusal(error: &DbErr) -> bool {
    matches!(cause(error), Some(sqlx::Error::Database(_))) && !is_lost(error)
}
