//! The lookups of filters: `question__question_text__icontains`.

use chrono::{DateTime, Utc};
use migration::{Field, Kind};
use rhai::{Dynamic, Map};
use sea_orm::{
    DbBackend, Value,
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

/// Whether the lookups of one call over the same relation to several objects are about the same object (Django's `filter()`), or
/// about any each (`exclude()`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// About the same object.
    Same,
    /// About any object each.
    Each,
}

/// A condition of the rows of a model.
struct Condition {
    expression: Expr,
    /// Whether it holds where there is no row: an outer join has NULL in all columns (Django's join promotion).
    holds_without_row: bool,
}

/// A part of a lookup's path, and its value.
type Lookup<'a> = (Vec<&'a str>, &'a Dynamic);

/// The conditions that all these lookups hold.
///
/// # Errors
/// When there is no such field or lookup, or a value is invalid.
pub fn conditions(
    connection: &Connection,
    model: &'static Model,
    lookups: &Map,
    scope: Scope,
) -> Result<Vec<Expr>> {
    let lookups = lookups
        .iter()
        .map(|(path, value)| (path.split("__").collect(), value));
    let conditions = resolve(connection, model, lookups.collect(), scope)?;
    Ok(conditions
        .into_iter()
        .map(|condition| condition.expression)
        .collect())
}

fn resolve(
    connection: &Connection,
    model: &'static Model,
    lookups: Vec<Lookup<'_>>,
    scope: Scope,
) -> Result<Vec<Condition>> {
    let mut conditions = Vec::new();
    // By the name of the relation.
    let mut related: Vec<(&str, Relation, Vec<Lookup<'_>>)> = Vec::new();
    for (path, value) in lookups {
        let (name, rest) = path
            .split_first()
            .ok_or_else(|| failure("a lookup has no name"))?;
        match find(model, name, rest)? {
            Step::Column(field) => conditions.push(compare(connection, field, rest, value)?),
            Step::Relation(relation) => {
                let is_lookup = rest.first().is_none_or(|name| LOOKUPS.contains(name));
                let rest = if is_lookup {
                    [&["pk"], rest].concat()
                } else {
                    rest.to_vec()
                };
                let known = related
                    .iter_mut()
                    .find(|(known, ..)| scope == Scope::Same && known == name);
                match known {
                    Some((.., lookups)) => lookups.push((rest, value)),
                    None => related.push((name, relation, vec![(rest, value)])),
                }
            }
        }
    }
    for (_, relation, lookups) in related {
        let of_other = resolve(connection, relation.other, lookups, scope)?;
        conditions.push(relation.condition(of_other));
    }
    Ok(conditions)
}

/// What the name in a path is.
enum Step {
    /// A field that is compared.
    Column(&'static Field),
    /// A relation to other objects, which the rest of the path is about.
    Relation(Relation),
}

fn find(model: &'static Model, name: &str, rest: &[&str]) -> Result<Step> {
    if name == "pk" || name == model.key.name {
        return Ok(Step::Column(&model.key));
    }
    let field = model
        .field(name)
        .or_else(|| model.field(name.strip_suffix("_id")?));
    let is_lookup = rest.first().is_none_or(|name| LOOKUPS.contains(name));
    Ok(match (field, field.and_then(apps::related)) {
        (Some(field), Some(other)) if field.is_concrete() && !is_lookup => {
            Step::Relation(Relation {
                own: Alias::new(field.column()),
                rows: None,
                other,
            })
        }
        (Some(field), _) if field.is_concrete() => Step::Column(field),
        (Some(field), Some(other)) => {
            let through = model.through(field);
            Step::Relation(Relation {
                own: Alias::new(model.key.column()),
                rows: Some(Owners::new(
                    &through.table,
                    &through.source,
                    &through.target,
                )),
                other,
            })
        }
        _ => {
            let (owners, other) = reverse_owners(model, name)?;
            Step::Relation(Relation {
                own: Alias::new(model.key.column()),
                rows: Some(owners),
                other,
            })
        }
    })
}

/// A relation of the rows of a model to other objects.
struct Relation {
    /// The column of the foreign key; the key if the relation has rows.
    own: Alias,
    /// The rows that relate objects to others; none for a foreign key.
    rows: Option<Owners>,
    /// The model of the others.
    other: &'static Model,
}

impl Relation {
    /// The condition that a related object has all of these; if they hold without one, that there is none.
    fn condition(&self, of_other: Vec<Condition>) -> Condition {
        let holds_without_row = of_other.iter().all(|condition| condition.holds_without_row);
        let others = of_other
            .into_iter()
            .map(|condition| condition.expression)
            .reduce(ExprTrait::and)
            .map(|all| select_keys(self.other, all))
            .expect("a relation has a lookup");
        let column = || Expr::col(self.own.clone());
        let (keys, has_none) = match &self.rows {
            None => (others, column().is_null()),
            Some(rows) => (
                rows.select(Some(others)),
                column().not_in_subquery(rows.select(None)),
            ),
        };
        let has_one = column().in_subquery(keys);
        Condition {
            expression: if holds_without_row {
                has_one.or(has_none)
            } else {
                has_one
            },
            holds_without_row,
        }
    }
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

fn compare(
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
