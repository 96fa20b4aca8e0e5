//! A timestamp in a column that may contain values written by hand.

use std::ops::Deref;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use sea_orm::{
    ColIdx, DbErr, QueryResult, TryGetError, TryGetable, Value,
    sea_query::{ArrayType, ColumnType, Nullable, ValueType, ValueTypeErr},
};
use sqlx::{Decode, Postgres, Row, ValueRef, postgres::PgRow};

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
        if let Some(pg_row) = row.try_as_pg_row() {
            return from_postgres(pg_row, index);
        }
        let error = match DateTime::<Utc>::try_get_by(row, index) {
            Ok(time) => return Ok(Self(time)),
            Err(error) => error,
        };
        let text = String::try_get_by(row, index).ok();
        let date = text.and_then(|text| text.parse::<NaiveDate>().ok());
        date.map(|date| Self(date.and_time(NaiveTime::MIN).and_utc()))
            .ok_or(error)
    }
}

/// The microseconds from 1970 to 2000, from where PostgreSQL counts.
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;

/// A timestamp of PostgreSQL: the driver panics at `infinity`.
fn from_postgres<I: ColIdx>(row: &PgRow, index: I) -> Result<Timestamp, TryGetError> {
    let failed = |error: sqlx::Error| TryGetError::DbErr(DbErr::Type(error.to_string()));
    let raw = row.try_get_raw(index.as_sqlx_postgres_index());
    let raw = raw.map_err(failed)?;
    if raw.is_null() {
        return Err(TryGetError::Null(format!("{index:?}")));
    }
    let micros = <i64 as Decode<'_, Postgres>>::decode(raw);
    let micros = micros.map_err(|error| failed(sqlx::Error::Decode(error)))?;
    let time = micros.checked_add(POSTGRES_EPOCH);
    let time = time
        .and_then(DateTime::from_timestamp_micros)
        .map(Timestamp);
    time.ok_or_else(|| TryGetError::DbErr(DbErr::Type("the time is out of range".to_owned())))
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
