//! The lookups of filters: `question__question_text__icontains`.

use chrono::{DateTime, Utc};
use migration::{Field, Kind};
use rhai::{Dynamic, Map};
use sea_orm::{
    DbBackend,
    sea_query::{Alias, BinOper, Expr, ExprTrait, Func, LikeExpr, Query, SelectStatement},
};
use serde_json::Value as Json;

use super::{
    connection::{Connection, Result, failure},
    instance::{Instance, convert, to_json},
};
use crate::{
    apps::{self, Model},
    dateparse::parse_datetime,
};

/// The lookups of fields.
pub const LOOKUPS: [&str; 17] = [
    "exact",
    "iexact",
    "contains",
    "icontains",
    "startswith",
    "istartswith",
    "endswith",
    "iendswith",
    "gt",
    "gte",
    "lt",
    "lte",
    "in",
    "isnull",
    "range",
    "year",
    "date",
];

/// The condition that all these lookups hold.
///
/// # Errors
/// When there is no such field or lookup, or a value is invalid.
pub fn conditions(
    connection: &Connection,
    model: &'static Model,
    lookups: &Map,
) -> Result<Vec<Expr>> {
    let conditions = lookups.iter().map(|(path, value)| {
        let parts: Vec<&str> = path.split("__").collect();
        condition(connection, model, &parts, value)
    });
    conditions.collect()
}

fn condition(
    connection: &Connection,
    model: &'static Model,
    path: &[&str],
    value: &Dynamic,
) -> Result<Expr> {
    let (name, rest) = path
        .split_first()
        .ok_or_else(|| failure("a lookup has no name"))?;
    let key = Alias::new(model.key.column());
    if *name == "pk" || *name == model.key.name {
        return compare(connection, &model.key, rest, value);
    }
    let field = model
        .field(name)
        .or_else(|| model.field(name.strip_suffix("_id")?));
    let is_lookup = rest.first().is_none_or(|name| LOOKUPS.contains(name));
    let (owners, other) = match (field, field.and_then(apps::related)) {
        (Some(field), Some(related)) if field.is_concrete() && !is_lookup => {
            let of_related = condition(connection, related, rest, value)?;
            let keys = select_keys(related, of_related);
            return Ok(Expr::col(Alias::new(field.column())).in_subquery(keys));
        }
        (Some(field), _) if field.is_concrete() => return compare(connection, field, rest, value),
        (Some(field), Some(related)) => {
            let through = model.through(field);
            let owners = Owners::new(&through.table, &through.source, &through.target);
            (owners, related)
        }
        _ => reverse_owners(model, name)?,
    };
    let column = Expr::col(key);
    if rest == ["isnull"] {
        return match value.as_bool() {
            Ok(true) => Ok(column.not_in_subquery(owners.select(None))),
            Ok(false) => Ok(column.in_subquery(owners.select(None))),
            Err(_) => Err(failure("`isnull` needs true or false")),
        };
    }
    let rest = if is_lookup {
        [&["pk"], rest].concat()
    } else {
        rest.to_vec()
    };
    let of_other = condition(connection, other, &rest, value)?;
    let keys = select_keys(other, of_other);
    Ok(column.in_subquery(owners.select(Some(keys))))
}

/// The table whose rows relate objects to others.
struct Owners {
    table: Alias,
    /// The column with the key of the object.
    own: Alias,
    /// The column with the key of the other object.
    other: Alias,
}

impl Owners {
    fn new(table: &str, own: &str, other: &str) -> Self {
        Self {
            table: Alias::new(table),
            own: Alias::new(own),
            other: Alias::new(other),
        }
    }

    /// The keys of the objects that are related to one of the others with these keys, or to any.
    fn select(&self, others: Option<SelectStatement>) -> SelectStatement {
        let mut query = Query::select();
        query
            .column(self.own.clone())
            .from(self.table.clone())
            .and_where(Expr::col(self.own.clone()).is_not_null());
        if let Some(others) = others {
            query.and_where(Expr::col(self.other.clone()).in_subquery(others));
        }
        query
    }
}

/// The rows that relate objects of a model by a reverse relation, and the model of the others.
fn reverse_owners(model: &Model, name: &str) -> Result<(Owners, &'static Model)> {
    if let Some((other, field)) = apps::reverse_many_to_many(model, name) {
        let through = other.through(field);
        let owners = Owners::new(&through.table, &through.target, &through.source);
        return Ok((owners, other));
    }
    match apps::reverse_relation(model, name) {
        Some((other, field)) => {
            let owners = Owners::new(&other.table, &field.column(), &other.key.column());
            Ok((owners, other))
        }
        None => Err(failure(format!("{} has no field {name}", model.name))),
    }
}

fn select_keys(model: &Model, condition: Expr) -> SelectStatement {
    Query::select()
        .column(Alias::new(model.key.column()))
        .from(Alias::new(&model.table))
        .and_where(condition)
        .take()
}

fn compare(connection: &Connection, field: &Field, rest: &[&str], value: &Dynamic) -> Result<Expr> {
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
    let to_value = |json: &Json| {
        let converted = connection.conversion().value(field, json);
        converted.map_err(|error| failure(format!("{}: {error}", field.name)))
    };
    Ok(match lookup {
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
            column().gte(first).and(column().lt(end))
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
    })
}

/// The beginning and the end of a year in the site's time zone.
fn year(connection: &Connection, value: &Json) -> Result<(DateTime<Utc>, DateTime<Utc>)> {
    let year = value.as_i64().filter(|year| (1..9999).contains(year));
    let year = year.ok_or_else(|| failure("`year` needs a year"))?;
    let first = |year| parse_datetime(&format!("{year:04}-01-01"), connection.settings.zone);
    let limits = first(year).zip(first(year + 1));
    limits.ok_or_else(|| failure("the year is out of range"))
}

/// The beginning and the end of a day in the site's time zone.
fn day(connection: &Connection, value: &Json) -> Result<(DateTime<Utc>, DateTime<Utc>)> {
    let zone = connection.settings.zone;
    let time = value.as_str().and_then(|text| parse_datetime(text, zone));
    let date = time.map(|time| time.with_timezone(&zone).date_naive());
    let limits = date.and_then(|date| {
        let first = |date: chrono::NaiveDate| parse_datetime(&date.to_string(), zone);
        first(date).zip(first(date.succ_opt()?))
    });
    limits.ok_or_else(|| failure("`date` needs a date, as \"2026-11-27\""))
}

/// A comparison of texts by LIKE, as in Django.
fn match_text(backend: DbBackend, field: &Field, lookup: &str, text: &str) -> Expr {
    let column = Expr::col(Alias::new(field.column()));
    let column = if matches!(field.kind, Kind::Char(_) | Kind::Text) {
        column
    } else {
        column.cast_as("text")
    };
    let (kind, is_insensitive) = match lookup.strip_prefix('i') {
        Some(kind) => (kind, true),
        None => (lookup, false),
    };
    let escaped = text
        .replace('\\', "\\\\")
        .replace('%', "\\%")
        .replace('_', "\\_");
    let pattern = match kind {
        "contains" => format!("%{escaped}%"),
        "startswith" => format!("{escaped}%"),
        "endswith" => format!("%{escaped}"),
        _ => escaped,
    };
    let like = |pattern: String| LikeExpr::new(pattern).escape('\\');
    match (backend, is_insensitive) {
        // PostgreSQL's own escape character is the backslash.
        (DbBackend::Postgres, true) => {
            Expr::from(Func::upper(column)).binary(BinOper::Like, Func::upper(Expr::val(pattern)))
        }
        // On SQLite, LIKE ignores the case of ASCII letters, also for `contains`.
        _ => column.like(like(pattern)),
    }
}
