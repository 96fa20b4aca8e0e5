//! Times as Django stores them.

use chrono::{DateTime, Datelike, SubsecRound, Timelike, Utc};

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
