//! The comparisons of a lookup: `question_text__icontains`.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use migration::{Field, Kind};
use rhai::Dynamic;
use sea_orm::{
    DbBackend, Value,
    sea_query::{Alias, Expr, ExprTrait},
};
use serde_json::Value as Json;

use super::{
    connection::{Connection, Result, failure},
    instance::{Instance, convert, to_json},
};
use crate::{
    dateparse::parse_datetime,
    db::{self, text_lookup},
};

/// The lookups of fields: those of the admin, and three that it has not.
pub static LOOKUPS: LazyLock<Vec<&str>> =
    LazyLock::new(|| [&db::LOOKUPS[..], &["range", "year", "date"]].concat());

/// A condition of the rows of a model.
pub struct Condition {
    /// The condition.
    pub expression: Expr,
    /// Whether it holds where there is no row: an outer join has NULL in all columns (Django's join promotion).
    pub holds_without_row: bool,
}

/// The condition of a lookup of a column; `rest` is what follows the name of the field.
///
/// # Errors
/// When there is no such lookup, or the value is invalid.
pub fn compare(
    connection: &Connection,
    field: &Field,
    rest: &[&str],
    value: &Dynamic,
) -> Result<Condition> {
    let column = || Expr::col(Alias::new(field.column()));
    let lookup = match rest {
        [] => "exact",
        [lookup] => lookup,
        [_, unknown, ..] => return Err(failure(format!("{} has no field {unknown}", field.name))),
    };
    // For `in`, each object.
    let objects = value.clone().try_cast::<rhai::Array>();
    for value in objects.iter().flatten().chain([value]) {
        if value.is::<Instance>() {
            convert(connection, field, value)?;
        }
    }
    let json = to_json(value)?;
    let is_number = matches!(
        field.kind,
        Kind::Auto
            | Kind::Integer
            | Kind::BigInteger
            | Kind::PositiveSmallInteger
            | Kind::ForeignKey(_)
    );
    let to_value = |json: &Json| {
        // Also one that the column cannot have.
        if let (true, Some(number)) = (is_number, json.as_i64()) {
            return Ok(Value::from(number));
        }
        let converted = connection.conversion().value(field, json);
        converted.map_err(|error| failure(format!("{}: {error}", field.name)))
    };
    let expression = match lookup {
        "exact" if json == Json::Null => column().is_null(),
        "exact" => column().eq(to_value(&json)?),
        "gt" => column().gt(to_value(&json)?),
        "gte" => column().gte(to_value(&json)?),
        "lt" => column().lt(to_value(&json)?),
        "lte" => column().lte(to_value(&json)?),
        "in" => match &json {
            Json::Array(values) => {
                column().is_in(values.iter().map(to_value).collect::<Result<Vec<_>>>()?)
            }
            _ => return Err(failure("`in` needs an array")),
        },
        "isnull" => match json {
            Json::Bool(true) => column().is_null(),
            Json::Bool(false) => column().is_not_null(),
            _ => return Err(failure("`isnull` needs true or false")),
        },
        "range" => match json.as_array().map(Vec::as_slice) {
            Some([first, last]) => column().between(to_value(first)?, to_value(last)?),
            _ => return Err(failure("`range` needs an array of two values")),
        },
        "year" | "date" if field.kind == Kind::DateTime => {
            let (first, end) = match lookup {
                "year" => year(connection, &json)?,
                _ => day(connection, &json)?,
            };
            match end {
                Some(end) => column().gte(first).and(column().lt(end)),
                None => column().gte(first),
            }
        }
        "iexact" | "contains" | "icontains" | "startswith" | "istartswith" | "endswith"
        | "iendswith" => {
            let Json::String(text) = &json else {
                return Err(failure(format!("`{lookup}` needs a text")));
            };
            match_text(connection.backend(), field, lookup, text)
        }
        unknown => {
            return Err(failure(format!(
                "there is no lookup {unknown}: there are {}",
                LOOKUPS.join(", ")
            )));
        }
    };
    Ok(Condition {
        expression,
        holds_without_row: lookup == "exact" && json == Json::Null
            || lookup == "isnull" && json == Json::Bool(true),
    })
}

/// The beginning of a period, and its end if a time can have it.
type Period = (DateTime<Utc>, Option<DateTime<Utc>>);

/// A year in the site's time zone.
fn year(connection: &Connection, value: &Json) -> Result<Period> {
    let year = match value {
        Json::String(text) => text.trim().parse().ok(),
        value => value.as_i64(),
    };
    let year = year.filter(|year| (1..=9999).contains(year));
    let year = year.ok_or_else(|| failure("`year` needs a year"))?;
    let first = |year| parse_datetime(&format!("{year:04}-01-01"), connection.settings.zone);
    let beginning = first(year).ok_or_else(|| failure("the year is out of range"))?;
    Ok((beginning, first(year + 1)))
}

/// A day in the site's time zone.
fn day(connection: &Connection, value: &Json) -> Result<Period> {
    let zone = connection.settings.zone;
    let time = value.as_str().and_then(|text| parse_datetime(text, zone));
    let date = time.map(|time| time.with_timezone(&zone).date_naive());
    let first = |date: chrono::NaiveDate| parse_datetime(&date.to_string(), zone);
    let period = date.and_then(|date| Some((first(date)?, date.succ_opt().and_then(first))));
    period.ok_or_else(|| failure("`date` needs a date, as \"2026-11-27\""))
}

/// A comparison of texts by LIKE, as in Django.
fn match_text(backend: DbBackend, field: &Field, lookup: &str, text: &str) -> Expr {
    let column = Expr::col(Alias::new(field.column()));
    let column = if matches!(field.kind, Kind::Char(_) | Kind::Text) {
        column
    } else {
        column.cast_as("text")
    };
    text_lookup(column, lookup, text, backend)
}
