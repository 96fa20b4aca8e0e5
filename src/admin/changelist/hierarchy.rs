//! The date hierarchy: links by year, month and day of a date field.

use std::collections::BTreeSet;

use chrono::Datelike;
use sea_orm::{
    ConnectionTrait, DbErr,
    sea_query::{Alias, Expr, ExprTrait, Func, Query, SelectStatement, UnionType},
};
use serde::Serialize;

use super::{ChangeList, lookups};
use crate::{db::Connection, entities::Timestamp};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// The maximum number of years in the hierarchy, and of years that one statement checks.
const MAX_YEARS: u32 = 60;
/// The maximum number of spans of [`MAX_YEARS`] years that are queried for one page.
const MAX_SPANS: usize = 4;

/// The label of a link, and its year, month and day.
type Candidate = (String, Vec<u32>);

/// The links of the date hierarchy.
#[derive(Debug, Default, Serialize)]
pub struct Hierarchy {
    /// The links to the levels above.
    pub back: Vec<Step>,
    /// The label of the selected period.
    pub current: String,
    /// The periods of the level below.
    pub steps: Vec<Step>,
}

/// A link.
#[derive(Debug, Serialize)]
pub struct Step {
    /// The label: a year, a month or a day.
    pub text: String,
    /// The query string.
    pub url: String,
}

/// The date hierarchy of a list; `None` if its model has none, or there are no objects.
///
/// # Errors
/// When the database cannot be reached or the query fails.
pub async fn hierarchy(
    list: &ChangeList<'_>,
    db: Connection<'_>,
) -> Result<Option<Hierarchy>, DbErr> {
    let Some(field) = list
        .model
        .options
        .date_hierarchy
        .and_then(|name| list.model.field(name))
    else {
        return Ok(None);
    };
    let keys = ["year", "month", "day"].map(|part| format!("{}__{part}", field.name));
    let keys = [keys[0].as_str(), keys[1].as_str(), keys[2].as_str()];
    let number = |index: usize| {
        list.params
            .get(keys[index])
            .and_then(|value| value.parse::<u32>().ok())
    };
    let (year, month, day) = (number(0), number(1), number(2));
    let link = |text: String, values: &[u32]| {
        let values: Vec<String> = values.iter().map(u32::to_string).collect();
        let set: Vec<(&str, &str)> = keys
            .iter()
            .zip(&values)
            .map(|(key, value)| (*key, value.as_str()))
            .collect();
        Step {
            text,
            url: list.params.with(&set, &keys),
        }
    };
    let month_name = |month: u32| MONTHS.get(month as usize - 1).copied().unwrap_or_default();
    let mut result = Hierarchy::default();
    let candidates: Vec<Candidate> = match (year, month, day) {
        (Some(year), Some(month), day) if (1..=12).contains(&month) => {
            result.back.push(link("All dates".to_owned(), &[]));
            result.back.push(link(year.to_string(), &[year]));
            if let Some(day) = day {
                result
                    .back
                    .push(link(month_name(month).to_owned(), &[year, month]));
                result.current = format!("{} {day}", month_name(month));
                Vec::new()
            } else {
                result.current = format!("{} {year}", month_name(month));
                (1..=31)
                    .map(|day| {
                        (
                            format!("{} {day}", month_name(month)),
                            vec![year, month, day],
                        )
                    })
                    .collect()
            }
        }
        (Some(year), None, None) => {
            result.back.push(link("All dates".to_owned(), &[]));
            result.current = year.to_string();
            (1..=12)
                .map(|month| (format!("{} {year}", month_name(month)), vec![year, month]))
                .collect()
        }
        _ => years(list, db, field.column).await?,
    };
    let is_top_level = result.back.is_empty();
    let periods = if is_top_level {
        candidates
    } else {
        non_empty(list, db, field.column, candidates).await?
    };
    result.steps = periods
        .into_iter()
        .map(|(text, values)| link(text, &values))
        .collect();
    let is_empty = result.steps.is_empty() && result.back.is_empty();
    Ok((!is_empty).then_some(result))
}

/// The years that have objects, ascending: the latest [`MAX_YEARS`] of them. Queries [`MAX_SPANS`] spans at most, with two
/// statements each; a span ends with the latest year that has objects before the previous span. If there are gaps of more than
/// [`MAX_YEARS`] years, the earliest years can be missing.
async fn years(
    list: &ChangeList<'_>,
    db: Connection<'_>,
    column: &str,
) -> Result<Vec<Candidate>, DbErr> {
    let mut years = Vec::new();
    let mut before = None;
    for _ in 0..MAX_SPANS {
        let mut query = Query::select();
        query
            .expr_as(Func::max(list.model.column(column)), Alias::new("last"))
            .from(Alias::new(list.model.table()))
            .cond_where(list.condition.clone());
        if let Some(before) = before {
            query.and_where(list.model.column(column).lt(before));
        }
        let row = db.query_one(&query).await?;
        let last = row.map_or(Ok(None), |row| row.try_get::<Option<Timestamp>>("", "last"))?;
        let Some(last) = last.map(|time| time.with_timezone(&list.zone).year().unsigned_abs())
        else {
            break;
        };
        let first = std::cmp::max(last.saturating_sub(MAX_YEARS - 1), 1);
        let span = (first..=last).map(|year| (year.to_string(), vec![year]));
        let mut earlier = non_empty(list, db, column, span.collect()).await?;
        earlier.append(&mut years);
        years = earlier;
        before = lookups::range([Some(first), None, None], list.zone).map(|(from, _)| from);
        if before.is_none() || years.len() >= MAX_YEARS as usize {
            break;
        }
    }
    years.drain(..years.len().saturating_sub(MAX_YEARS as usize));
    Ok(years)
}

/// The candidates that have objects, given the list's filters.
async fn non_empty(
    list: &ChangeList<'_>,
    db: Connection<'_>,
    column: &str,
    candidates: Vec<Candidate>,
) -> Result<Vec<Candidate>, DbErr> {
    let mut union: Option<SelectStatement> = None;
    for (index, (_, values)) in candidates.iter().enumerate() {
        let part = |index: usize| values.get(index).copied();
        let Some((from, to)) = lookups::range([part(0), part(1), part(2)], list.zone) else {
            continue;
        };
        // Not `EXISTS`, for which PostgreSQL may read a table from its beginning up to the first row of the period.
        let mut rows = Query::select();
        rows.expr(Func::min(list.model.column(column)))
            .from(Alias::new(list.model.table()));
        // Without the search, which would be repeated for each period.
        rows.cond_where(list.condition.clone());
        rows.and_where(list.model.column(column).gte(from))
            .and_where(list.model.column(column).lt(to));
        let one = Query::select()
            .expr_as(Expr::val(index as i32), Alias::new("number"))
            .and_where(Expr::from(rows).is_not_null())
            .take();
        match &mut union {
            None => union = Some(one),
            Some(union) => {
                union.union(UnionType::All, one);
            }
        }
    }
    let mut present = BTreeSet::new();
    if let Some(query) = union {
        for row in db.query_all(&query).await? {
            present.insert(row.try_get::<i32>("", "number")?);
        }
    }
    let numbered = (0..).zip(candidates);
    Ok(numbered
        .filter(|(number, _)| present.contains(number))
        .map(|(_, candidate)| candidate)
        .collect())
}
