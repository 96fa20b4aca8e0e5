//! Pages of lists that may be long: nothing here takes longer with a million objects than with a thousand.
//!
//! Counting stops at [`COUNT_LIMIT`]. A list beyond that can be paged through to there; only the plain list (everything,
//! newest first) has all its pages, through a [`PageMap`]: the keys of every thousandth object, taken in one go and
//! again after a while, from which any page is a few steps.

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

/// Rows are counted, and pages can be reached, up to here.
pub const COUNT_LIMIT: u64 = 10_000;
/// The number of the newest objects that a search in a longer list covers, unless all are requested.
pub const SEARCH_LIMIT: u64 = 50_000;
/// Objects between two keys of a map.
const STEP: u64 = 1000;
/// How long a map is good. Until the next one, objects that others deleted meanwhile shift pages by as many rows.
const MAP_AGE: TimeDelta = TimeDelta::seconds(60);

/// How many objects a list has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// The number, or how far was counted.
    pub number: u64,
    /// Whether there are more.
    pub has_more: bool,
}

/// Where the pages of a long table begin.
#[derive(Debug, Clone)]
pub struct PageMap {
    taken: DateTime<Utc>,
    /// How many objects there were.
    pub total: u64,
    /// The keys of the first object, the thousand-and-first, and so on, newest first.
    keys: Vec<i32>,
}

/// The maps of the tables that are long.
#[derive(Debug, Default)]
pub struct PageMaps {
    maps: Mutex<HashMap<&'static str, PageMap>>,
    /// Held while a table is counted of which there is no map.
    counting: tokio::sync::Mutex<()>,
    lookups: Family<LookupLabels, Counter>,
}

/// What was found of a map.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LookupLabels {
    result: &'static str,
}

impl PageMaps {
    /// The map of a model's table, if it is longer than what is counted. A map that is too old is still used, while
    /// the next is taken.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn of(
        &self,
        model: &Model,
        db: &Database,
        now: DateTime<Utc>,
    ) -> Result<Option<PageMap>, DbErr> {
        let known = self.maps().get(model.table()).cloned();
        let result = match &known {
            Some(map) if now - map.taken < MAP_AGE => "fresh",
            Some(_) => "old",
            None => "none",
        };
        self.lookups.get_or_create(&LookupLabels { result }).inc();
        match known {
            Some(map) if now - map.taken < MAP_AGE => Ok(Some(map)),
            Some(map) => {
                // Until it is there, the others keep to the old one and take none of their own.
                let old = PageMap { taken: now, ..map };
                self.maps().insert(model.table(), old.clone());
                Ok(self.take(model, db, now).await.unwrap_or_else(|error| {
                    tracing::warn!(%error, table = model.table(), "the pages of a long list could not be found anew");
                    Some(old)
                }))
            }
            None => {
                // One counts, and the others wait for what it finds.
                let _counting = self.counting.lock().await;
                let known = self.maps().get(model.table()).cloned();
                if known.is_some() {
                    return Ok(known);
                }
                let count =
                    count(Connection::Database(db), model.select(), COUNT_LIMIT + 1).await?;
                if count <= COUNT_LIMIT {
                    Ok(None)
                } else {
                    self.take(model, db, now).await
                }
            }
        }
    }

    /// Forgets the map of a table whose objects were deleted: the next list makes a new one.
    pub fn forget(&self, table: &str) {
        self.maps().remove(table);
    }

    /// How often a map was looked for, by what was found.
    pub fn lookups(&self) -> &Family<LookupLabels, Counter> {
        &self.lookups
    }

    async fn take(
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
            self.forget(model.table());
            return Ok(None);
        }
        let map = PageMap {
            taken: now,
            total,
            keys,
        };
        self.maps().insert(model.table(), map.clone());
        Ok(Some(map))
    }

    fn maps(&self) -> MutexGuard<'_, HashMap<&'static str, PageMap>> {
        self.maps.lock().expect("no holder panics")
    }
}

impl PageMap {
    /// Where the object of a rank is found: its key's upper bound, and how many objects to skip from there; `newer` is
    /// the number of objects that came after the map was taken.
    fn start(&self, rank: u64, newer: u64) -> (Option<i32>, u64) {
        let Some(rank) = rank.checked_sub(newer) else {
            return (None, rank);
        };
        let index = (rank / STEP).min(self.keys.len() as u64 - 1);
        (Some(self.keys[index as usize]), rank - index * STEP)
    }

    /// The key before which a search does not look.
    pub fn oldest_searched(&self) -> Option<i32> {
        (self.total > SEARCH_LIMIT).then(|| self.keys[(SEARCH_LIMIT / STEP) as usize])
    }

    /// How many objects came after the map was taken.
    async fn newer(&self, model: &Model, db: Connection<'_>) -> Result<u64, DbErr> {
        // In order, so that a database that knows nothing of the table yet walks the index and not the table.
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
    /// How many objects the list has.
    pub count: Count,
    /// The page, from 1.
    pub number: u64,
    /// How many pages there are.
    pub pages: u64,
    /// Whether all rows are on this one page, as was asked for.
    pub shows_all: bool,
    /// Whether all rows could be.
    pub can_show_all: bool,
    /// Upper bound of the keys, and rows to skip.
    start: (Option<i32>, u64),
    /// Rows on the page at most.
    limit: u64,
}

impl Paging {
    /// Counts a list, and finds the page that its address asks for; `None` if there is no such page.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn find(
        list: &ChangeList<'_>,
        db: Connection<'_>,
        map: Option<&PageMap>,
        oldest: Option<i32>,
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
                list.narrow(&mut rows, oldest);
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

    /// The statement for the page's rows.
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

    /// The numbers for links: around this page and at both ends, `None` for a gap (Django's `get_elided_page_range`).
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
