//! Classification of database errors: whether to retry, to answer 503, or to report a fault.

use sea_orm::{DbErr, RuntimeErr};

/// The driver's error, if it is one.
fn cause(error: &DbErr) -> Option<&sqlx::Error> {
    match error {
        DbErr::Exec(RuntimeErr::SqlxError(cause))
        | DbErr::Query(RuntimeErr::SqlxError(cause))
        | DbErr::Conn(RuntimeErr::SqlxError(cause)) => Some(cause),
        _ => None,
    }
}

/// Whether the code is PostgreSQL's for a connection that is not usable any more: class 08, a session that was terminated by
/// an administrator, a crash or a timeout, or a failed transaction that was not ended.
fn is_connection_closed(code: &str) -> bool {
    code.starts_with("08") || ["25P02", "25P03", "57P01", "57P02"].contains(&code)
}

/// Whether an error says that the connection was lost, or could not be opened.
pub fn is_lost(error: &DbErr) -> bool {
    match cause(error) {
        Some(sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::PoolClosed) => true,
        Some(sqlx::Error::Database(error)) => {
            error.code().is_some_and(|code| is_connection_closed(&code))
        }
        _ => false,
    }
}

/// Whether PostgreSQL refuses the role, its password or its address. Another password may be the right one.
pub(super) fn is_login_refused(error: &DbErr) -> bool {
    // invalid_authorization_specification, invalid_password.
    matches!(cause(error), Some(sqlx::Error::Database(error)) if error.code().is_some_and(|code| ["28000", "28P01"].contains(&&*code)))
}

/// Why a server cannot be used, without its name and address.
pub(super) fn outage(error: &DbErr) -> &'static str {
    use std::io::ErrorKind;
    match cause(error) {
        Some(sqlx::Error::Io(error)) => match error.kind() {
            ErrorKind::ConnectionRefused => "the connection is refused",
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                "its host cannot be reached"
            }
            // The resolver's errors have no kind of their own.
            _ if error.to_string().contains("lookup address") => "its host name is unknown",
            _ => "the connection is lost",
        },
        Some(sqlx::Error::Tls(_)) => "its certificate is not accepted, or it has no TLS",
        Some(sqlx::Error::Database(error)) => match error.code().as_deref() {
            Some("28P01") => "it refuses the password",
            Some("28000") => "it refuses the role, its address or its encryption (pg_hba.conf)",
            Some("3D000") => "the database does not exist",
            Some("57P03") => "it is starting up or shutting down",
            Some(code) if code.starts_with("53") => "it has no connection or memory left",
            _ => "it reports an error",
        },
        _ => "no answer in time",
    }
}

/// SQLite's primary result codes (<https://www.sqlite.org/rescode.html>) for a database that is locked: `SQLITE_BUSY` and `SQLITE_LOCKED`.
const SQLITE_BUSY: [i32; 2] = [5, 6];
/// For storage that fails: `SQLITE_READONLY`, `SQLITE_IOERR`, `SQLITE_FULL`, `SQLITE_CANTOPEN` and `SQLITE_PROTOCOL`.
const SQLITE_STORAGE: [i32; 5] = [8, 10, 13, 14, 15];

/// The primary result code of an SQLite error; its extended codes have it in their lowest byte.
fn sqlite_code(error: &dyn sqlx::error::DatabaseError) -> Option<i32> {
    error.try_downcast_ref::<sqlx::sqlite::SqliteError>()?;
    let extended: i32 = error.code()?.parse().ok()?;
    Some(extended & 0xff)
}

/// Whether an error says that the database cannot store anything: full disk, read-only, or I/O error.
pub fn is_storage(error: &DbErr) -> bool {
    let Some(sqlx::Error::Database(error)) = cause(error) else {
        return false;
    };
    match sqlite_code(&**error) {
        Some(code) => SQLITE_STORAGE.contains(&code),
        // PostgreSQL: disk_full, io_error, read_only_sql_transaction.
        None => error
            .code()
            .is_some_and(|code| ["53100", "58030", "25006"].contains(&&*code)),
    }
}

/// Whether a change was attempted at a server of PostgreSQL that takes none: a standby.
pub fn is_standby(error: &DbErr) -> bool {
    // read_only_sql_transaction
    matches!(cause(error), Some(sqlx::Error::Database(error)) if error.code().is_some_and(|code| code == "25006"))
}

/// Whether an error is transient: it comes from the state of the database, and a retry may succeed.
pub fn is_transient(error: &DbErr) -> bool {
    if matches!(error, DbErr::Conn(_) | DbErr::ConnectionAcquire(_)) {
        return true;
    }
    match cause(error) {
        Some(
            sqlx::Error::Io(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            // SQLite's connection was left inside a transaction, and is discarded.
            | sqlx::Error::BeginFailed
            | sqlx::Error::InvalidSavePointStatement,
        ) => true,
        Some(sqlx::Error::Database(database)) => match sqlite_code(&**database) {
            Some(code) => SQLITE_BUSY.contains(&code) || SQLITE_STORAGE.contains(&code),
            // serialization_failure, deadlock_detected, all of insufficient_resources, lock_not_available,
            // query_canceled, cannot_connect_now.
            None => {
                is_storage(error)
                    || database.code().is_some_and(|code| {
                        is_connection_closed(&code)
                            || code.starts_with("53")
                            || ["40001", "40P01", "55P03", "57014", "57P03"].contains(&&*code)
                    })
            }
        },
        _ => false,
    }
}

/// Whether the database refused a statement, for example because of one row, and the connection is usable.
pub fn is_refusal(error: &DbErr) -> bool {
    matches!(cause(error), Some(sqlx::Error::Database(_))) && !is_lost(error) && !is_storage(error)
}

/// The database's own text of an error that it reports; `None` for other errors.
pub fn reported(error: &DbErr) -> Option<&str> {
    match cause(error) {
        Some(sqlx::Error::Database(error)) => Some(error.message()),
        _ => None,
    }
}

/// The text of an error; of one that the database reports, the database's own.
pub fn message(error: &DbErr) -> String {
    reported(error).map_or_else(|| error.to_string(), str::to_owned)
}

/// Whether a statement named a table that does not exist: its migration is not applied.
pub fn is_missing_table(error: &DbErr) -> bool {
    let Some(sqlx::Error::Database(error)) = cause(error) else {
        return false;
    };
    match sqlite_code(&**error) {
        // SQLite has no code of its own for it.
        Some(_) => error.message().starts_with("no such table"),
        // PostgreSQL: undefined_table.
        None => error.code().is_some_and(|code| code == "42P01"),
    }
}

/// Whether a statement has waited for too long for a row that another transaction has locked, on PostgreSQL.
pub fn is_locked(error: &DbErr) -> bool {
    // lock_not_available.
    matches!(cause(error), Some(sqlx::Error::Database(error)) if error.code().is_some_and(|code| code == "55P03"))
}

/// The error of a change that was attempted outside a transaction.
pub(super) fn outside_transaction() -> DbErr {
    DbErr::Custom("a change was attempted outside a transaction".to_owned())
}
