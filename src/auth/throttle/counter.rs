//! A limit on failed attempts, as both stores count it.

use chrono::TimeDelta;

/// How long failed attempts count, from the first of them.
pub const WINDOW: TimeDelta = TimeDelta::minutes(15);

/// A limit on failed attempts.
#[derive(Debug, Clone)]
pub struct Counter {
    /// A keyed hash of the user, the network or both.
    pub name: String,
    /// Attempts that may fail within [`WINDOW`].
    pub limit: i32,
}
