//! Pagination of long lists, in a time that does not depend on the number of objects.
//!
//! Counting stops at [`COUNT_LIMIT`], and pages end there. Only the plain list (all objects, by descending key) has all its
//! pages, through a [`PageMap`]: the key of every 1000th object, read by one query and cached for [`MAP_AGE`]. The query for a
//! page begins at such a key, with a small OFFSET.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
};

use chrono::{DateTime, TimeDelta, Utc};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
};
use sea_orm::{ConnectionTrait, DbErr, Statement, sea_query::SelectStatement};

use super::{ChangeList, count, limited};
use crate::{
    admin::{entity::KEY, model::Model},
    db::{Connection, Database},
};

/// The maximum number of rows that are counted, and of rows on the pages of a list that is not plain.
pub const COUNT_LIMIT: u64 = 10_000;
/// The number of newest objects that a search in a longer list covers, without the parameter `scope=all`.
pub const SEARCH_LIMIT: u64 = 50_000;
/// The number of objects between two keys of a map.
const STEP: u64 = 1000;
/// The time after which a map is renewed. Until then, objects deleted by other processes shift pages by their number.
const MAP_AGE: TimeDelta = TimeDelta::seconds(60);

/// The number of objects in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// The number of objects, or the limit if counting stopped there.
    pub number: u64,
    /// Whether there are more than `number`.
    pub has_more: bool,
}

/// The keys at which the pages of a long table begin.
#[derive(Debug, Clone)]
pub struct PageMap {
    read_at: DateTime<Utc>,
    /// The number of objects when the map was read.
    pub total: u64,
    /// The keys of the objects at the ranks 0, [`STEP`], 2 × [`STEP`] and so on, by descending key.
    keys: Vec<i32>,
}

/// The cached page maps of long tables, by table.
#[derive(Debug, Default)]
pub struct PageMaps {
    maps: Mutex<HashMap<&'static str, PageMap>>,
    /// Locked while a table without a map is counted.
    counting: tokio::sync::Mutex<()>,
    lookups: Family<LookupLabels, Counter>,
}

/// The labels of the metric of map lookups.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LookupLabels {
    result: &'static str,
}

impl PageMaps {
    /// The map of a model's table, if the table has more than `COUNT_LIMIT` rows. An expired map is renewed; meanwhile, and if
    /// that fails, it is still used.
    ///
    /// # Errors
    /// When the database cannot be reached or the query fails.
    pub async fn get(
        &self,
        model: &Model,
        db: &Database,
        now: DateTime<Utc>,
    ) -> Result<Option<PageMap>, DbErr> {
        let cached = self.maps().get(model.table()).cloned();
        let result = match &cached {
            Some(map) if now - map.read_at < MAP_AGE => "fresh",
            Some(_) => "old",
            None => "none",
        };
        self.lookups.get_or_create(&LookupLabels { result }).inc();
        match cached {
            Some(map) if now - map.read_at < MAP_AGE => Ok(Some(map)),
            Some(map) => {
                // Concurrent requests use the expired map until it is renewed.
                let expired = PageMap {
                    read_at: now,
                    ..map
                };
                self.maps().insert(model.table(), expired.clone());
                Ok(self.read(model, db, now).await.unwrap_or_else(|error| {
                    let error = error.to_string();
                    tracing::warn!(error = %error.escape_debug(), table = model.table(), "the page map of a long list cannot be renewed");
                    Some(expired)
                }))
            }
            None => {
                // One request counts, and concurrent ones wait for its result.
                let _counting = self.counting.lock().await;
                let cached = self.maps().get(model.table()).cloned();
                if cached.is_some() {
                    return Ok(cached);
                }
                let count =
                    count(Connection::Database(db), model.select(), COUNT_LIMIT + 1).await?;
                if count <= COUNT_LIMIT {
                    Ok(None)
                } else {
                    self.read(model, db, now).await
                }
            }
        }
    }

    /// Removes the map of a table whose objects were deleted: the next request reads a new one.
    pub fn invalidate(&self, table: &str) {
        self.maps().remove(table);
    }

    /// The metric of map lookups, by result.
    pub fn lookups(&self) -> &Family<LookupLabels, Counter> {
        &self.lookups
    }

    async fn read(
        &self,
        model: &Model,
        db: &Database,
        now: DateTime<Utc>,
    ) -> Result<Option<PageMap>, DbErr> {
        let sql = format!(
            "SELECT id, n FROM (SELECT id, row_number() OVER (ORDER BY id DESC) AS n FROM {table}) AS numbered \
             WHERE n % {STEP} = 1 OR id = (SELECT min(id) FROM {table}) ORDER BY n",
            table = model.table()
        );
        let rows = db
            .query_all_raw(Statement::from_string(db.get_database_backend(), sql))
            .await?;
        let mut keys = Vec::with_capacity(rows.len());
        let mut total = 0;
        for row in rows {
            let number: i64 = row.try_get("", "n")?;
            total = number as u64;
            if number as u64 % STEP == 1 {
                keys.push(row.try_get("", KEY)?);
            }
        }
        if total <= COUNT_LIMIT {
            self.invalidate(model.table());
            return Ok(None);
        }
        let map = PageMap {
            read_at: now,
            total,
            keys,
        };
        self.maps().insert(model.table(), map.clone());
        Ok(Some(map))
    }

    fn maps(&self) -> MutexGuard<'_, HashMap<&'static str, PageMap>> {
        self.maps.lock().expect("no panic while it is locked")
    }
}

impl PageMap {
    /// Where the query for the object with a rank (0 is the newest) starts: an upper bound of the key, and the OFFSET from there.
    /// `newer` is the number of objects added after the map was read.
    fn start(&self, rank: u64, newer: u64) -> (Option<i32>, u64) {
        let Some(rank) = rank.checked_sub(newer) else {
            return (None, rank);
        };
        let index = (rank / STEP).min(self.keys.len() as u64 - 1);
        (Some(self.keys[index as usize]), rank - index * STEP)
    }

    /// The lowest key that a search covers by default; `None` if it covers all.
    pub fn min_searched_key(&self) -> Option<i32> {
        (self.total > SEARCH_LIMIT).then(|| self.keys[(SEARCH_LIMIT / STEP) as usize])
    }

    /// The number of objects added after the map was read.
    async fn newer(&self, model: &Model, db: Connection<'_>) -> Result<u64, DbErr> {
        // With ORDER BY, so that PostgreSQL uses the index even without statistics of the table.
        let sql = format!(
            "SELECT count(*) AS count FROM (SELECT 1 FROM {} WHERE id > $1 ORDER BY id DESC LIMIT {COUNT_LIMIT}) AS newer",
            model.table()
        );
        let backend = db.get_database_backend();
        let statement = Statement::from_sql_and_values(backend, sql, [self.keys[0].into()]);
        let row = db.query_one_raw(statement).await?;
        Ok(row.map_or(Ok(0), |row| row.try_get::<i64>("", "count"))? as u64)
    }
}

/// A page of a list.
#[derive(Debug)]
pub struct Paging {
    /// The number of rows, as far as they are counted.
    pub count: Count,
    /// The number of the page, from 1.
    pub number: u64,
    /// The number of pages.
    pub pages: u64,
    /// Whether the page has all rows ("Show all", the parameter `all`).
    pub shows_all: bool,
    /// Whether "Show all" is possible (Django's `list_max_show_all`).
    pub can_show_all: bool,
    /// The upper bound of the keys, and the OFFSET.
    start: (Option<i32>, u64),
    /// The maximum number of rows.
    limit: u64,
}

impl Paging {
    /// Counts a list, and finds the requested page; `None` if it does not exist.
    ///
    /// # Errors
    /// When the database cannot be reached or the query fails.
    pub async fn find(
        list: &ChangeList<'_>,
        db: Connection<'_>,
        map: Option<&PageMap>,
        min_key: Option<i32>,
    ) -> Result<Option<Self>, DbErr> {
        let per_page = list.model.options.list_per_page;
        let mut newer = 0;
        let count = match map {
            Some(map) if !list.is_narrowed() => {
                newer = map.newer(list.model, db).await?;
                Count {
                    number: map.total + newer,
                    has_more: false,
                }
            }
            _ => {
                let mut rows = list.model.select();
                list.narrow(&mut rows, min_key);
                let counted = count(db, rows, COUNT_LIMIT + 1).await?;
                Count {
                    number: counted.min(COUNT_LIMIT),
                    has_more: counted > COUNT_LIMIT,
                }
            }
        };
        let reachable = if list.is_plain() {
            count.number
        } else {
            count.number.min(COUNT_LIMIT)
        };
        let pages = reachable.div_ceil(per_page).max(1);
        let can_show_all = count.number <= list.model.options.list_max_show_all;
        let shows_all = can_show_all && list.params.get("all").is_some();
        let number = match list.params.get("p") {
            None => 1,
            Some(text) => match text.parse::<u64>() {
                Ok(number) if (1..=pages).contains(&number) => number,
                _ => return Ok(None),
            },
        };
        let rank = if shows_all {
            0
        } else {
            (number - 1) * per_page
        };
        let start = match map {
            Some(map) if list.is_plain() => map.start(rank, newer),
            _ => (None, rank),
        };
        let limit = if shows_all {
            list.model.options.list_max_show_all
        } else {
            per_page
        };
        Ok(Some(Self {
            count,
            number,
            pages,
            shows_all,
            can_show_all,
            start,
            limit,
        }))
    }

    /// The query for the page's rows.
    pub fn statement(
        &self,
        db: Connection<'_>,
        model: &Model,
        query: &mut SelectStatement,
    ) -> Statement {
        if let Some(key) = self.start.0 {
            query.and_where(sea_orm::sea_query::ExprTrait::lte(model.column(KEY), key));
        }
        limited(db, query, self.limit, self.start.1)
    }

    /// The page numbers of links: around this page and at both ends, `None` for a gap (Django's `get_elided_page_range`).
    pub fn elided(&self) -> Vec<Option<u64>> {
        const AROUND: u64 = 3;
        const AT_ENDS: u64 = 2;
        let mut numbers = Vec::new();
        let mut last = 0;
        for number in (1..=AT_ENDS)
            .chain(self.number.saturating_sub(AROUND).max(1)..=self.number + AROUND)
            .chain(self.pages.saturating_sub(AT_ENDS - 1).max(1)..=self.pages)
        {
            if number <= last || number > self.pages {
                continue;
            }
            if number == last + 2 {
                numbers.push(Some(last + 1));
            } else if number > last + 1 {
                numbers.push(None);
            }
            numbers.push(Some(number));
            last = number;
        }
        numbers
    }
}
