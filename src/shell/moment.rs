//! Times and durations.

use std::fmt;

use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc};
use rhai::Engine;

use super::connection::{Result, failure, now};

/// A time in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub DateTime<Utc>);

impl fmt::Display for Moment {
    /// Python's `str(datetime)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = match self.0.nanosecond() {
            0..1000 => "%Y-%m-%d %H:%M:%S+00:00",
            _ => "%Y-%m-%d %H:%M:%S%.6f+00:00",
        };
        write!(f, "{}", self.0.format(format))
    }
}

/// A difference of times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Duration(TimeDelta);

fn duration(amount: i64, unit: fn(i64) -> Option<TimeDelta>) -> Result<Duration> {
    unit(amount)
        .map(Duration)
        .ok_or_else(|| failure("the duration is too long"))
}

fn moved(time: Moment, by: Option<TimeDelta>) -> Result<Moment> {
    let moved = by.and_then(|by| time.0.checked_add_signed(by));
    moved
        .map(Moment)
        .ok_or_else(|| failure("the time is out of range"))
}

/// Registers the types with their operators.
pub fn register(engine: &mut Engine) {
    engine
        .register_type_with_name::<Moment>("datetime")
        .register_fn("to_string", |time: &mut Moment| time.to_string())
        .register_fn("to_debug", |time: &mut Moment| time.to_string())
        .register_get("year", |time: &mut Moment| i64::from(time.0.year()))
        .register_get("month", |time: &mut Moment| i64::from(time.0.month()))
        .register_get("day", |time: &mut Moment| i64::from(time.0.day()))
        .register_fn("now", || Moment(now()))
        .register_fn("days", |amount: i64| duration(amount, TimeDelta::try_days))
        .register_fn("hours", |amount: i64| {
            duration(amount, TimeDelta::try_hours)
        })
        .register_fn("minutes", |amount: i64| {
            duration(amount, TimeDelta::try_minutes)
        })
        .register_fn("seconds", |amount: i64| {
            duration(amount, TimeDelta::try_seconds)
        })
        .register_type_with_name::<Duration>("timedelta")
        .register_fn("to_string", |duration: &mut Duration| {
            duration.0.to_string()
        })
        .register_fn("+", |time: Moment, by: Duration| moved(time, Some(by.0)))
        .register_fn("-", |time: Moment, by: Duration| {
            moved(time, TimeDelta::zero().checked_sub(&by.0))
        })
        .register_fn("-", |one: Moment, other: Moment| Duration(one.0 - other.0));
    macro_rules! comparisons {
        ($($type:ty),*) => { $(
            engine
                .register_fn("==", |one: $type, other: $type| one == other)
                .register_fn("!=", |one: $type, other: $type| one != other)
                .register_fn("<", |one: $type, other: $type| one < other)
                .register_fn("<=", |one: $type, other: $type| one <= other)
                .register_fn(">", |one: $type, other: $type| one > other)
                .register_fn(">=", |one: $type, other: $type| one >= other);
        )* };
    }
    comparisons!(Moment, Duration);
}
