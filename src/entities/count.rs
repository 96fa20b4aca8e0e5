//! A counter in a column whose range depends on the database.

use std::fmt;

use sea_orm::{
    ColIdx, QueryResult, TryGetError, TryGetable, Value,
    sea_query::{ArrayType, ColumnType, Nullable, ValueType, ValueTypeErr},
};

/// A number in a column of 32 bits. The columns of SQLite have no such limit, and Django stores up to 64 bits there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Count(pub i64);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<i32> for Count {
    fn from(number: i32) -> Self {
        Self(number.into())
    }
}

impl From<Count> for Value {
    fn from(count: Count) -> Self {
        match <i32 as TryFrom<i64>>::try_from(count.0) {
            Ok(number) => number.into(),
            Err(_) => count.0.into(),
        }
    }
}

impl TryGetable for Count {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        if row.try_as_sqlite_row().is_some() {
            i64::try_get_by(row, index).map(Self)
        } else {
            i32::try_get_by(row, index).map(Self::from)
        }
    }
}

impl ValueType for Count {
    fn try_from(value: Value) -> Result<Self, ValueTypeErr> {
        match value {
            Value::BigInt(Some(number)) => Ok(Self(number)),
            other => <i32 as ValueType>::try_from(other).map(Self::from),
        }
    }

    fn type_name() -> String {
        <i32 as ValueType>::type_name()
    }

    fn array_type() -> ArrayType {
        <i32 as ValueType>::array_type()
    }

    fn column_type() -> ColumnType {
        <i32 as ValueType>::column_type()
    }
}

impl Nullable for Count {
    fn null() -> Value {
        <i32 as Nullable>::null()
    }
}
