//! The changelist: the objects of a model that a query string selects by search, filters, order and page
//! (`django/contrib/admin/views/main.py`).

pub mod columns;
pub mod filters;
pub mod hierarchy;
pub mod lookups;
pub mod paging;
mod params;
pub mod search;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, Statement,
    sea_query::{Condition, Expr, Order, SelectStatement},
};

use self::{columns::Column, params::Params};
use super::{AdminSite, entity::KEY, model::Model};
use crate::{db::Connection, web::form::Form};

/// The maximum length of a search, in characters.
const MAX_SEARCH: usize = 1000;

/// The parsed query string of a changelist.
pub struct ChangeList<'a> {
    /// The registered models.
    pub site: &'a AdminSite,
    /// The model whose objects are listed.
    pub model: &'a Model,
    /// The time zone of dates.
    pub zone: Tz,
    /// The time of the request.
    pub now: DateTime<Utc>,
    /// The database system, on which the SQL of dates depends.
    pub backend: DbBackend,
    /// The parameters, for links that change one of them.
    pub params: Params,
    /// The columns, in order.
    pub columns: Vec<Column>,
    /// The requested order: positions in `columns`, and whether descending. Empty for the default order.
    pub order: Vec<(usize, bool)>,
    /// The search terms (`q`); empty without a search.
    pub search: String,
    /// The condition of the filters, without the search.
    pub condition: Condition,
}

/// The query string is invalid: an unknown parameter or an invalid value (Django's `IncorrectLookupParameters`).
#[derive(Debug)]
pub struct BadLookup;

impl<'a> ChangeList<'a> {
    /// Parses the parameters of a query string.
    ///
    /// # Errors
    /// [`BadLookup`] when a parameter is unknown, or its value is invalid.
    pub fn new(
        site: &'a AdminSite,
        model: &'a Model,
        query: &Form,
        (zone, now, backend): (Tz, DateTime<Utc>, DbBackend),
    ) -> Result<Self, BadLookup> {
        let params = Params::new(query);
        let columns = columns::of(site, model);
        let order = columns::order(&columns, model, params.get("o"));
        let lookups: Vec<(&str, &str)> = params.lookups().collect();
        let condition =
            lookups::condition(model, &lookups, (zone, now, backend)).ok_or(BadLookup)?;
        let search = params
            .get("q")
            .unwrap_or_default()
            .chars()
            .filter(|c| *c != '\0')
            .take(MAX_SEARCH)
            .collect::<String>()
            .trim()
            .to_owned();
        Ok(Self {
            site,
            model,
            zone,
            now,
            backend,
            columns,
            order,
            search,
            condition,
            params,
        })
    }

    /// Whether the list has all objects, by descending key. Only then a [`paging::PageMap`] gives all pages.
    pub fn is_plain(&self) -> bool {
        self.condition.is_empty()
            && self.search.is_empty()
            && self.order.is_empty()
            && self.model.options.ordering.is_empty()
    }

    /// Whether the list has a search or filters.
    pub fn is_narrowed(&self) -> bool {
        !self.condition.is_empty() || !self.search.is_empty()
    }

    /// Adds the conditions of the list to a query; the search covers keys from `min_key` on, or all.
    pub fn narrow(&self, query: &mut SelectStatement, min_key: Option<i32>) {
        query.cond_where(self.condition.clone());
        self.narrow_by_search(query, min_key);
    }

    /// Adds the condition of the search only.
    pub fn narrow_by_search(&self, query: &mut SelectStatement, min_key: Option<i32>) {
        if self.search.is_empty() {
            return;
        }
        query.cond_where(search::condition(
            self.site,
            self.model,
            &self.search,
            min_key,
            self.backend,
        ));
    }

    /// Adds the order to a query, with the key as last criterion.
    pub fn sort(&self, query: &mut SelectStatement) {
        let direction = |is_descending| {
            if is_descending {
                Order::Desc
            } else {
                Order::Asc
            }
        };
        for (position, is_descending) in &self.order {
            if let Some(expression) = self.columns[*position].order_by(self.model) {
                query.order_by_expr(expression, direction(*is_descending));
            }
        }
        if self.order.is_empty() {
            for name in self.model.options.ordering {
                let (name, is_descending) = name
                    .strip_prefix('-')
                    .map_or((*name, false), |name| (name, true));
                let column = self.model.field(name).map_or(name, |field| field.column);
                query.order_by_expr(self.model.column(column), direction(is_descending));
            }
        }
        // Django orders equal rows by `-pk`, whatever the direction of the columns.
        query.order_by_expr(self.model.column(KEY), Order::Desc);
    }

    /// Selects the objects' columns and those of related models.
    pub fn select(&self) -> SelectStatement {
        let mut query = self.model.select();
        for column in &self.columns {
            column.select(self.model, &mut query);
        }
        query
    }
}

/// The number of rows of a query; counting stops at `limit`.
///
/// # Errors
/// When the database cannot be reached or the query fails.
pub async fn count(
    db: Connection<'_>,
    mut rows: SelectStatement,
    limit: u64,
) -> Result<u64, DbErr> {
    rows.clear_selects().clear_order_by().expr(Expr::val(1));
    let mut statement = limited(db, &rows, limit, 0);
    statement.sql = format!(
        "SELECT count(*) AS count FROM ({}) AS counted",
        statement.sql
    );
    let row = db.query_one_raw(statement).await?;
    Ok(row.map_or(Ok(0), |row| row.try_get::<i64>("", "count"))? as u64)
}

/// A query with `LIMIT` and `OFFSET`. The numbers are literals: for parameters, PostgreSQL's planner assumes a tenth of the rows.
pub fn limited(db: Connection<'_>, rows: &SelectStatement, limit: u64, offset: u64) -> Statement {
    let mut statement = db.get_database_backend().build(rows);
    statement.sql += &format!(" LIMIT {limit} OFFSET {offset}");
    statement
}
