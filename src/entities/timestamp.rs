//! A timestamp in a column that may contain values written by hand.

use std::ops::Deref;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use sea_orm::{
    ColIdx, QueryResult, TryGetError, TryGetable, Value,
    sea_query::{ArrayType, ColumnType, Nullable, ValueType, ValueTypeErr},
};

/// A timestamp in UTC. On SQLite, whose columns accept any text, a date without a time (`2026-11-01`) is read as midnight, as
/// Django reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub DateTime<Utc>);

impl Deref for Timestamp {
    type Target = DateTime<Utc>;

    fn deref(&self) -> &DateTime<Utc> {
        &self.0
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(time: DateTime<Utc>) -> Self {
        Self(time)
    }
}

impl From<Timestamp> for Value {
    fn from(time: Timestamp) -> Self {
        time.0.into()
    }
}

impl TryGetable for Timestamp {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        let error = match DateTime::<Utc>::try_get_by(row, index) {
            Ok(time) => return Ok(Self(time)),
            Err(error) => error,
        };
        let is_sqlite = row.try_as_sqlite_row().is_some();
        let text = is_sqlite.then(|| String::try_get_by(row, index).ok());
        let date = text
            .flatten()
            .and_then(|text| text.parse::<NaiveDate>().ok());
        date.map(|date| Self(date.and_time(NaiveTime::MIN).and_utc()))
            .ok_or(error)
    }
}

impl ValueType for Timestamp {
    fn try_from(value: Value) -> Result<Self, ValueTypeErr> {
        <DateTime<Utc> as ValueType>::try_from(value).map(Self)
    }

    fn type_name() -> String {
        <DateTime<Utc> as ValueType>::type_name()
    }

    fn array_type() -> ArrayType {
        <DateTime<Utc> as ValueType>::array_type()
    }

    fn column_type() -> ColumnType {
        <DateTime<Utc> as ValueType>::column_type()
    }
}

impl Nullable for Timestamp {
    fn null() -> Value {
        <DateTime<Utc> as Nullable>::null()
    }
}
