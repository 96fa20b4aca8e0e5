//! Field lookups in query strings: `pub_date__gte=2026-01-01`, `is_staff__exact=1`, `groups__id__exact=3`.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Months, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use chrono_tz::Tz;
use sea_orm::{
    DbBackend, Value,
    sea_query::{Alias, Condition, Expr, ExprTrait, Query},
};

use crate::{
    admin::{
        dates,
        entity::KEY,
        field::{Field, Kind},
        model::Model,
    },
    db::{LOOKUPS, is_storable, text_lookup},
    digits,
};

/// The maximum number of lookups in a query string: more than any link of the admin has.
const MAX_LOOKUPS: usize = 50;
/// The maximum number of values of `__in`.
const MAX_VALUES: usize = 200;

/// Year, month and day of a date hierarchy, as far as they are given.
type Day = [Option<u32>; 3];

/// The condition for all lookups, given as names and values; `None` when one of them is invalid.
pub fn condition(
    model: &Model,
    lookups: &[(&str, &str)],
    (zone, now, backend): (Tz, DateTime<Utc>, DbBackend),
) -> Option<Condition> {
    if lookups.len() > MAX_LOOKUPS {
        return None;
    }
    let mut days: BTreeMap<&str, Day> = BTreeMap::new();
    // Several values of one parameter are alternatives, as in Django.
    let mut alternatives: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, value) in lookups {
        if value.contains('\0') || value.split(',').count() > MAX_VALUES {
            return None;
        }
        match name.rsplit_once("__") {
            Some((field, part @ ("year" | "month" | "day"))) => {
                let index = ["year", "month", "day"]
                    .iter()
                    .position(|known| *known == part)?;
                days.entry(field).or_default()[index] = Some(value.parse().ok()?);
            }
            _ => drop(alternatives.entry(*name).or_default().insert(*value)),
        }
    }
    let mut all = Condition::all();
    for (name, values) in alternatives {
        let mut any = Condition::any();
        for value in values {
            if let Some(filter) = model.filter(name) {
                any = any.add((filter.condition)(value, now)?);
                continue;
            }
            any = any.add(lookup_condition(model, name, value, zone, backend)?);
        }
        all = all.add(any);
    }
    for (name, day) in days {
        let field = model
            .field(name)
            .filter(|field| field.kind == Kind::DateTime)?;
        let (from, to) = range(day, zone)?;
        let column = model.expression(field);
        all = all.add(column.clone().gte(from)).add(column.lt(to));
    }
    Some(all)
}

/// The start (inclusive) and the end (exclusive) of a year, a month or a day; `None` for an invalid date.
pub fn range([year, month, day]: Day, zone: Tz) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let year = i32::try_from(year?)
        .ok()
        .filter(|year| (1..=9999).contains(year))?;
    let from = NaiveDate::from_ymd_opt(year, month.unwrap_or(1), day.unwrap_or(1))?;
    let to = match (month, day) {
        (None, None) => from.checked_add_months(Months::new(12))?,
        (Some(_), None) => from.checked_add_months(Months::new(1))?,
        (Some(_), Some(_)) => from.succ_opt()?,
        (None, Some(_)) => return None,
    };
    // Stored times are in the years 1 to 9999 of UTC.
    let storable = |time: DateTime<Utc>| {
        let first = NaiveDate::from_ymd_opt(1, 1, 1)?.and_time(NaiveTime::MIN);
        let last = NaiveDate::from_ymd_opt(9999, 12, 31)?.and_hms_micro_opt(23, 59, 59, 999_999)?;
        Some(time.clamp(first.and_utc(), last.and_utc()))
    };
    Some((
        storable(midnight(from, zone)?)?,
        storable(midnight(to, zone)?)?,
    ))
}

/// The start of a day in a time zone; without a local midnight (daylight saving time), the first full hour that exists.
pub fn midnight(day: NaiveDate, zone: Tz) -> Option<DateTime<Utc>> {
    (0..3).find_map(|hour| {
        let local = day
            .and_time(NaiveTime::from_hms_opt(hour, 0, 0)?)
            .and_local_timezone(zone);
        local.earliest().map(|time| time.to_utc())
    })
}

fn lookup_condition(
    model: &Model,
    name: &str,
    value: &str,
    zone: Tz,
    backend: DbBackend,
) -> Option<Expr> {
    let (path, lookup) = match name.rsplit_once("__") {
        Some((path, lookup)) if LOOKUPS.contains(&lookup) => (path, lookup),
        _ => (name, "exact"),
    };
    let path = path
        .strip_suffix("__id")
        .or_else(|| path.strip_suffix("__pk"))
        .unwrap_or(path);
    if path == KEY || path == "pk" {
        return compare_number(model.column(KEY), lookup, value);
    }
    let field = model.field(path).filter(can_be_looked_up)?;
    if field.kind == Kind::ManyToMany {
        return many_to_many(model, field, lookup, value);
    }
    let column = model.expression(field);
    if lookup == "isnull" {
        return Some(if boolean(value)? {
            column.is_null()
        } else {
            column.is_not_null()
        });
    }
    match field.kind {
        Kind::Boolean if lookup == "exact" => Some(column.eq(boolean(value)?)),
        Kind::Boolean => None,
        Kind::Integer | Kind::SmallInteger | Kind::ForeignKey(_) => {
            compare_number(column, lookup, value)
        }
        Kind::DateTime => compare(column, lookup, moment(value, zone)?),
        Kind::Char(_) | Kind::Text => match lookup {
            "in" => Some(column.is_in(value.split(',').map(str::to_owned))),
            "gt" | "gte" | "lt" | "lte" | "exact" => compare(column, lookup, value.to_owned()),
            _ => Some(text_lookup(column, lookup, value, backend)),
        },
        Kind::ManyToMany | Kind::Virtual(_) => None,
    }
}

fn can_be_looked_up(field: &&Field) -> bool {
    !field.options.is_secret && !matches!(field.kind, Kind::Virtual(_))
}

fn many_to_many(model: &Model, field: &Field, lookup: &str, value: &str) -> Option<Expr> {
    let relation = model
        .options
        .many_to_many
        .iter()
        .find(|relation| relation.name == field.name)?;
    let (table, source, target) = relation.through;
    let mut query = Query::select();
    query.column(Alias::new(source)).from(Alias::new(table));
    let key = model.column(KEY);
    match lookup {
        "isnull" if boolean(value)? => Some(key.not_in_subquery(query)),
        "isnull" => Some(key.in_subquery(query)),
        _ => {
            query.and_where(compare_number(
                Expr::col(Alias::new(target)),
                lookup,
                value,
            )?);
            Some(key.in_subquery(query))
        }
    }
}

fn compare_number(column: Expr, lookup: &str, value: &str) -> Option<Expr> {
    // A number that does not fit the key's type is valid, and matches no object.
    let number = |text: &str| digits::to_ascii(text).trim().parse::<i64>().ok();
    match lookup {
        "in" => Some(column.is_in(value.split(',').map(number).collect::<Option<Vec<_>>>()?)),
        "isnull" => Some(if boolean(value)? {
            column.is_null()
        } else {
            column.is_not_null()
        }),
        _ => compare(column, lookup, number(value)?),
    }
}

fn compare(column: Expr, lookup: &str, value: impl Into<Value>) -> Option<Expr> {
    let value = Expr::val(value.into());
    Some(match lookup {
        "exact" => column.eq(value),
        "gt" => column.gt(value),
        "gte" => column.gte(value),
        "lt" => column.lt(value),
        "lte" => column.lte(value),
        _ => return None,
    })
}

fn boolean(value: &str) -> Option<bool> {
    match value {
        "1" | "True" | "true" => Some(true),
        "0" | "False" | "false" => Some(false),
        _ => None,
    }
}

/// Parses a date, or a date and a time, with or without an offset from UTC.
fn moment(value: &str, zone: Tz) -> Option<DateTime<Utc>> {
    let value = value.trim();
    let with_offset =
        DateTime::parse_from_str(&value.replacen('T', " ", 1), "%Y-%m-%d %H:%M:%S%.f%#z");
    let moment = match with_offset {
        Ok(time) => time.to_utc(),
        Err(_) => {
            let naive =
                NaiveDateTime::parse_from_str(&value.replacen('T', " ", 1), "%Y-%m-%d %H:%M:%S%.f");
            match naive {
                Ok(naive) => dates::moment(naive, zone).ok()?,
                Err(_) => midnight(dates::parse_date(value)?, zone)?,
            }
        }
    };
    is_storable(moment).then_some(moment)
}
