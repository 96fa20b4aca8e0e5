//! The storage of sessions: rows in the database, and copies of recently read rows in the cache.
//!
//! A copy is valid for [`COPY_TIME`] from when the row was read, also when it was stored later, since Django on the same
//! database does not invalidate it. Before a row is changed, its copy is replaced by a tombstone, which prevents new copies
//! until all requests that may have read the old row have ended. A copy has a keyed hash of its name and content, so that
//! write access to the cache is not enough to forge a session.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sea_orm::{DbErr, EntityTrait, QueryFilter};
use subtle::ConstantTimeEq;

use crate::{
    cache::Cache,
    core::Core,
    db::Database,
    entities::session::{COLUMN, Entity, Model},
    signing::{Keys, hex},
};

/// How long a copy is valid.
const COPY_TIME: Duration = Duration::from_secs(10);
/// How long a changed row is not copied: longer than a request can hold the old row.
const TOMBSTONE_TIME: Duration = Duration::from_secs(60);
/// The value that prevents a copy.
const TOMBSTONE: &str = "-";

/// The storage of sessions.
#[derive(Debug, Clone, Copy)]
pub struct SessionStore<'a> {
    /// The database with the rows.
    pub db: &'a Database,
    /// The cache with the copies.
    pub cache: &'a Cache,
    /// The keys that sign rows and copies.
    pub keys: &'a Keys,
}

impl<'a> SessionStore<'a> {
    /// The storage of the site.
    pub fn of(core: &'a Core) -> Self {
        Self {
            db: core.db.write(),
            cache: &core.cache,
            keys: &core.settings.security.keys,
        }
    }

    /// The row with that key, unless it has expired.
    ///
    /// # Errors
    /// When the database cannot be reached or the query fails.
    pub async fn find(self, key: &str, now: DateTime<Utc>) -> Result<Option<Model>, DbErr> {
        let name = self.cache_key(key);
        let cached = self.cache.get(&name).await;
        let counters = self.cache.counters();
        if let Some(row) = cached
            .as_deref()
            .and_then(|cached| self.decode(&name, key, cached, now))
        {
            counters.hits.inc();
            return Ok(Some(row).filter(|row| *row.expire_date > now));
        }
        let found = Entity::find_by_id(key).filter(COLUMN.expire_date.gt(now));
        let found = found.one(self.db).await?;
        if let Some(row) = &found
            && cached.is_none()
        {
            counters.misses.inc();
            let copy = self.encode(&name, row, now);
            self.cache.add(&name, &copy, COPY_TIME).await;
        }
        Ok(found)
    }

    /// Invalidates the copy of a row that is about to be changed.
    pub async fn invalidate(self, key: &str) {
        self.cache
            .set(&self.cache_key(key), TOMBSTONE, TOMBSTONE_TIME)
            .await;
    }

    /// The cache key of a copy, from which the session key cannot be computed.
    fn cache_key(self, key: &str) -> String {
        let name = hex(&self.keys.salted_hmac("polls.sessions.name", key));
        format!("polls:session:{name}")
    }

    fn encode(self, name: &str, row: &Model, now: DateTime<Utc>) -> String {
        let (read, expire_date) = (now.timestamp_micros(), row.expire_date.timestamp_micros());
        let content = format!("{read}:{expire_date}:{}", row.session_data);
        format!("{}:{content}", self.mac(name, &content))
    }

    fn decode(self, name: &str, key: &str, cached: &str, now: DateTime<Utc>) -> Option<Model> {
        let (mac, content) = cached.split_once(':')?;
        if !bool::from(mac.as_bytes().ct_eq(self.mac(name, content).as_bytes())) {
            return None;
        }
        let (read, rest) = content.split_once(':')?;
        let (expire_date, session_data) = rest.split_once(':')?;
        // The absolute value, since the clock of another server may be ahead.
        let age = now.timestamp_micros() - read.parse::<i64>().ok()?;
        if age.unsigned_abs() > COPY_TIME.as_micros() as u64 {
            return None;
        }
        Some(Model {
            session_key: key.to_owned(),
            session_data: session_data.to_owned(),
            expire_date: DateTime::from_timestamp_micros(expire_date.parse().ok()?)?.into(),
        })
    }

    fn mac(self, name: &str, content: &str) -> String {
        let text = format!("{name}:{content}");
        hex(&self.keys.salted_hmac("polls.sessions.copy", &text))
    }
}
