//! Where sessions are: rows, and in the cache copies of those that were read a moment ago.
//!
//! A copy is good for [`COPY_TIME`] at most from when the row was read, whenever it got into the cache, since Django on the
//! same database knows nothing of it. Before a row is changed, its copy is replaced by a mark that keeps others from being
//! made until all who may have read the old row are done. A copy carries a keyed hash of its name and content: who can
//! write to the cache cannot log in with that.

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

/// How long a copy is good.
const COPY_TIME: Duration = Duration::from_secs(10);
/// How long no copy is made of a row that has been changed: longer than a request may read one.
const MARK_TIME: Duration = Duration::from_secs(60);
/// What is in the place of a copy that must not be.
const MARK: &str = "-";

/// Where sessions are.
#[derive(Debug, Clone, Copy)]
pub struct Store<'a> {
    /// The rows.
    pub db: &'a Database,
    /// The copies.
    pub cache: &'a Cache,
    /// What copies and rows are signed with.
    pub keys: &'a Keys,
}

impl<'a> Store<'a> {
    /// The sessions of the site.
    pub fn of(core: &'a Core) -> Self {
        Self {
            db: core.db.write(),
            cache: &core.cache,
            keys: &core.settings.security.keys,
        }
    }

    /// The row of that key, unless it is over.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn find(self, key: &str, now: DateTime<Utc>) -> Result<Option<Model>, DbErr> {
        let name = self.name(key);
        let kept = self.cache.get(&name).await;
        let counters = self.cache.counters();
        if let Some(row) = kept
            .as_deref()
            .and_then(|kept| self.read(&name, key, kept, now))
        {
            counters.hits.inc();
            return Ok(Some(row).filter(|row| row.expire_date > now));
        }
        let found = Entity::find_by_id(key).filter(COLUMN.expire_date.gt(now));
        let found = found.one(self.db).await?;
        if let Some(row) = &found
            && kept.is_none()
        {
            counters.misses.inc();
            let copy = self.copy(&name, row, now);
            self.cache.add(&name, &copy, COPY_TIME).await;
        }
        Ok(found)
    }

    /// Says that the row of that key is about to be changed.
    pub async fn will_change(self, key: &str) {
        self.cache.set(&self.name(key), MARK, MARK_TIME).await;
    }

    /// The key of a copy, which does not reveal the session's key.
    fn name(self, key: &str) -> String {
        let name = hex(&self.keys.salted_hmac("polls.sessions.name", key));
        format!("polls:session:{name}")
    }

    fn copy(self, name: &str, row: &Model, now: DateTime<Utc>) -> String {
        let (read, expire_date) = (now.timestamp_micros(), row.expire_date.timestamp_micros());
        let content = format!("{read}:{expire_date}:{}", row.session_data);
        format!("{}:{content}", self.seal(name, &content))
    }

    fn read(self, name: &str, key: &str, kept: &str, now: DateTime<Utc>) -> Option<Model> {
        let (seal, content) = kept.split_once(':')?;
        if !bool::from(seal.as_bytes().ct_eq(self.seal(name, content).as_bytes())) {
            return None;
        }
        let (read, rest) = content.split_once(':')?;
        let (expire_date, session_data) = rest.split_once(':')?;
        // Of a machine whose clock is ahead, too.
        let age = now.timestamp_micros() - read.parse::<i64>().ok()?;
        if age.unsigned_abs() > COPY_TIME.as_micros() as u64 {
            return None;
        }
        Some(Model {
            session_key: key.to_owned(),
            session_data: session_data.to_owned(),
            expire_date: DateTime::from_timestamp_micros(expire_date.parse().ok()?)?,
        })
    }

    fn seal(self, name: &str, content: &str) -> String {
        let text = format!("{name}:{content}");
        hex(&self.keys.salted_hmac("polls.sessions.copy", &text))
    }
}
