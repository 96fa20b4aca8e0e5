//! The filters beside a changelist (`django/contrib/admin/filters.py`).

use chrono::{Datelike, Days, NaiveDate};
use sea_orm::{ConnectionTrait, DbErr};
use serde::Serialize;

use super::{ChangeList, count, lookups};
use crate::{
    admin::{
        entity::KEY,
        field::{Field, Kind},
        options::ListFilter,
    },
    db::Connection,
    web::format::grouped,
};

/// The maximum number of rows that are counted for a facet.
const MAX_FACET_COUNT: u64 = 10_000;
/// The maximum number of choices for which facets are counted.
const MAX_FACETS: usize = 20;
/// The maximum number of choices of a filter by related objects.
const MAX_RELATED: u64 = 200;

/// A filter (Django's `ListFilter`).
#[derive(Debug, Serialize)]
pub struct Filter {
    /// The field's verbose name.
    pub title: String,
    /// The choices, the one without a condition first.
    pub choices: Vec<Choice>,
    /// Whether the filter is active.
    pub is_used: bool,
}

/// A choice of a filter.
#[derive(Debug, Serialize)]
pub struct Choice {
    /// The label.
    pub text: String,
    /// The query string of the link.
    pub url: String,
    /// Whether its condition is in effect.
    pub is_selected: bool,
    /// The number of objects with this choice, if facets are requested.
    pub count: Option<String>,
    /// The parameters that the choice sets.
    #[serde(skip)]
    params: Vec<(String, String)>,
}

/// The filters of a list, with facet counts when the query string has `_facets`.
///
/// # Errors
/// When the database cannot be reached or the query fails.
pub async fn filters(
    list: &ChangeList<'_>,
    db: Connection<'_>,
    min_key: Option<i32>,
) -> Result<Vec<Filter>, DbErr> {
    let mut filters = Vec::new();
    for name in list.model.options.list_filter {
        let (title, (keys, options)) = match (list.model.filter(name), list.model.field(name)) {
            (Some(filter), _) => (name.replace('_', " "), custom_options(filter)),
            (None, Some(field)) => (field.verbose_name.clone(), options(list, db, field).await?),
            (None, None) => continue,
        };
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let current = |key: &str| list.params.get(key);
        let is_used = keys.iter().any(|key| current(key).is_some());
        let mut choices = Vec::new();
        for (text, params) in options {
            let set: Vec<(&str, &str)> = params
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str()))
                .collect();
            let is_selected = keys.iter().all(|key| {
                current(key)
                    == set
                        .iter()
                        .find(|(known, _)| known == key)
                        .map(|(_, value)| *value)
            });
            choices.push(Choice {
                text,
                url: list.params.with(&set, &keys),
                is_selected,
                count: None,
                params,
            });
        }
        if list.params.get("_facets").is_some() && choices.len() <= MAX_FACETS {
            for choice in &mut choices {
                choice.count = facet(list, db, min_key, &keys, &choice.params).await?;
            }
        }
        filters.push(Filter {
            title,
            choices,
            is_used,
        });
    }
    Ok(filters)
}

/// The label and the parameters of each choice.
type Options = Vec<(String, Vec<(String, String)>)>;

/// The parameter of a filter that is not by a field, and its choices.
fn custom_options(filter: &ListFilter) -> (Vec<String>, Options) {
    let key = filter.name.to_owned();
    let choice = |(value, text): &(&str, &str)| {
        ((*text).to_owned(), vec![(key.clone(), (*value).to_owned())])
    };
    let all = [("All".to_owned(), Vec::new())];
    let choices = all.into_iter().chain(filter.choices.iter().map(choice));
    (vec![key.clone()], choices.collect())
}

/// The names of the parameters of a filter, and its choices.
async fn options(
    list: &ChangeList<'_>,
    db: Connection<'_>,
    field: &Field,
) -> Result<(Vec<String>, Options), DbErr> {
    let all_option = |text: &str| (text.to_owned(), Vec::new());
    let exact = format!("{}__exact", field.name);
    let is_null = format!("{}__isnull", field.name);
    let option = |text: &str, key: &str, value: &str| {
        (text.to_owned(), vec![(key.to_owned(), value.to_owned())])
    };
    if !field.options.choices.is_empty() {
        let mut options = vec![all_option("All")];
        options.extend(
            field
                .options
                .choices
                .iter()
                .map(|(value, text)| option(text, &exact, value)),
        );
        return Ok((vec![exact], options));
    }
    Ok(match &field.kind {
        Kind::Boolean => {
            let options = vec![
                all_option("All"),
                option("Yes", &exact, "1"),
                option("No", &exact, "0"),
            ];
            (vec![exact], options)
        }
        Kind::DateTime => {
            let (from, to) = (
                format!("{}__gte", field.name),
                format!("{}__lt", field.name),
            );
            let mut options = vec![all_option("Any date")];
            options.extend(periods(list).into_iter().map(|(text, start, end)| {
                (
                    text.to_owned(),
                    vec![(from.clone(), start), (to.clone(), end)],
                )
            }));
            if field.null {
                options.push(option("No date", &is_null, "True"));
                options.push(option("Has date", &is_null, "False"));
            }
            (vec![from, to, is_null], options)
        }
        Kind::ForeignKey(table) => {
            let key = format!("{}__id__exact", field.name);
            let mut options = vec![all_option("All")];
            if let Some(target) = list.site.of_table(table) {
                let mut query = target.select();
                query
                    .order_by_expr(target.column(KEY), sea_orm::sea_query::Order::Asc)
                    .limit(MAX_RELATED);
                let objects = target.all(db, query, list.now).await?;
                options.extend(
                    objects
                        .iter()
                        .map(|object| option(&object.label, &key, &object.id.to_string())),
                );
            }
            if field.null {
                options.push(option("-", &is_null, "True"));
            }
            (vec![key, is_null], options)
        }
        Kind::ManyToMany => {
            let key = format!("{}__id__exact", field.name);
            let mut options = vec![all_option("All")];
            if let Some(relation) = list
                .model
                .options
                .many_to_many
                .iter()
                .find(|relation| relation.name == field.name)
            {
                let mut query = (relation.choices.query)();
                for row in db.query_all(query.limit(MAX_RELATED)).await? {
                    let id: i32 = row.try_get("", KEY)?;
                    options.push(option(
                        &(relation.choices.label)(&row)?,
                        &key,
                        &id.to_string(),
                    ));
                }
            }
            options.push(option("-", &is_null, "True"));
            (vec![key, is_null], options)
        }
        _ => (Vec::new(), Vec::new()),
    })
}

/// The periods of a filter by date: the label, the inclusive start and the exclusive end, formatted as by Django.
fn periods(list: &ChangeList<'_>) -> Vec<(&'static str, String, String)> {
    let today = list.now.with_timezone(&list.zone).date_naive();
    let tomorrow = today + Days::new(1);
    let first_of = |year: i32, month: u32| NaiveDate::from_ymd_opt(year, month, 1).unwrap_or(today);
    let next_month = if today.month() == 12 {
        first_of(today.year() + 1, 1)
    } else {
        first_of(today.year(), today.month() + 1)
    };
    let text = |day: NaiveDate| {
        let start = lookups::midnight(day, list.zone)
            .unwrap_or(list.now)
            .with_timezone(&list.zone);
        start.format("%Y-%m-%d %H:%M:%S%:z").to_string()
    };
    [
        ("Today", today, tomorrow),
        ("Past 7 days", today - Days::new(7), tomorrow),
        (
            "This month",
            first_of(today.year(), today.month()),
            next_month,
        ),
        (
            "This year",
            first_of(today.year(), 1),
            first_of(today.year() + 1, 1),
        ),
    ]
    .map(|(name, from, to)| (name, text(from), text(to)))
    .to_vec()
}

/// The number of objects in the list with `params` in place of the filter's parameters `keys`; `None` if they are invalid.
async fn facet(
    list: &ChangeList<'_>,
    db: Connection<'_>,
    min_key: Option<i32>,
    keys: &[&str],
    params: &[(String, String)],
) -> Result<Option<String>, DbErr> {
    let others = list
        .params
        .lookups()
        .filter(|(name, _)| !keys.contains(name));
    let own = params
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let lookups: Vec<(&str, &str)> = others.chain(own).collect();
    let time = (list.zone, list.now, list.backend);
    let Some(condition) = lookups::condition(list.model, &lookups, time) else {
        return Ok(None);
    };
    let mut query = list.model.select();
    query.cond_where(condition);
    list.narrow_by_search(&mut query, min_key);
    let count = count(db, query, MAX_FACET_COUNT + 1).await? as i64;
    let limit = MAX_FACET_COUNT as i64;
    Ok(Some(if count > limit {
        format!("{}+", grouped(limit))
    } else {
        grouped(count)
    }))
}
