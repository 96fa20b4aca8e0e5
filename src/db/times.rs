//! Times as Django stores them.

use chrono::{DateTime, Datelike, SubsecRound, Timelike, Utc};
use sea_orm::{DbBackend, DbErr, Statement, Value};

/// Whether a time is one that Django can read: Python's years have four digits, and so have those of the text form.
pub fn is_storable(time: DateTime<Utc>) -> bool {
    (1..=9999).contains(&time.year())
}

/// A time cut (not rounded) to the microseconds that both databases keep.
pub fn microseconds(time: DateTime<Utc>) -> DateTime<Utc> {
    time.trunc_subsecs(6)
}

/// A time as Django stores it on SQLite: `YYYY-MM-DD HH:MM:SS`, with six more digits unless they are zero. All rows
/// have this form, and so comparing texts compares times.
pub fn sqlite_time(time: DateTime<Utc>) -> String {
    let is_whole = time.nanosecond() < 1000;
    time.format(if is_whole {
        "%Y-%m-%d %H:%M:%S"
    } else {
        "%Y-%m-%d %H:%M:%S%.6f"
    })
    .to_string()
}

/// Gives the statement's times the form that Django stores: whole microseconds, and on SQLite its text.
pub(super) fn prepare(mut statement: Statement) -> Result<Statement, DbErr> {
    let is_sqlite = statement.db_backend == DbBackend::Sqlite;
    for value in statement.values.iter_mut().flat_map(|values| &mut values.0) {
        if let Value::ChronoDateTimeUtc(Some(time)) = value {
            if !is_storable(*time) {
                return Err(DbErr::Custom(format!(
                    "the time {time} is not within the years 1 to 9999"
                )));
            }
            if is_sqlite {
                *value = Value::from(sqlite_time(*time));
            } else {
                *time = microseconds(*time);
            }
        }
    }
    Ok(statement)
}
