//! The app `sessions`: the data of a client's session, in Django's table and with Django's signature
//! (`django/contrib/sessions/backends/db.py`), so that a session is valid in both.

mod store;

use std::sync::{Mutex, MutexGuard};

use chrono::{DateTime, TimeDelta, Utc};
use rand::RngExt;
use sea_orm::{ActiveValue::Set, ConnectionTrait, DbErr, EntityTrait, QueryFilter};
use serde_json::{Map, Value};

pub use self::store::SessionStore;
use crate::{
    db::Transaction,
    entities::session::{ActiveModel, COLUMN, Entity},
    settings::SecuritySettings,
    signing::Purpose,
};

const KEY_LENGTH: usize = 32;
const KEY_ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
/// The minimum length of a session key; Django ignores shorter cookies.
const MIN_KEY_LENGTH: usize = 8;
const MAX_KEY_LENGTH: usize = 40;
/// The session's expiry in its data (Django's `set_expiry`): absent, whole seconds (0: with the browser), or a time.
const EXPIRY: &str = "_session_expiry";

/// The session of one request. It is loaded when it is first used, and saved only when it was modified.
#[derive(Debug)]
pub struct Session(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The session key in the cookie.
    cookie: Option<String>,
    /// The key of the stored row, if there is one.
    row: Option<String>,
    /// Whether the row gets a new key when it is saved.
    is_cycled: bool,
    data: Map<String, Value>,
    is_loaded: bool,
    is_modified: bool,
}

/// The change of the session's cookie in the response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CookieChange {
    /// No change.
    None,
    /// A new cookie: the key, and the seconds until it expires; `None`: when the browser closes.
    Set(String, Option<i64>),
    /// The cookie is deleted.
    Delete,
}

/// The error of saving a session.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// Its row does not exist any more: the user has logged out in a concurrent request.
    #[error("The request's session was deleted before the request completed.")]
    Deleted,
    /// The database cannot be reached or written to.
    #[error(transparent)]
    Database(#[from] DbErr),
}

impl Session {
    /// The session of a cookie, not loaded yet. A key of invalid length is ignored.
    pub fn new(cookie: Option<&str>) -> Self {
        let cookie = cookie.filter(|key| (MIN_KEY_LENGTH..=MAX_KEY_LENGTH).contains(&key.len()));
        Self(Mutex::new(State {
            cookie: cookie.map(str::to_owned),
            ..State::default()
        }))
    }

    /// Loads the row. Without a row, or when it has expired or its signature is invalid, the session is empty.
    ///
    /// # Errors
    /// When the database cannot be reached or the query fails.
    pub async fn load(&self, store: SessionStore<'_>, now: DateTime<Utc>) -> Result<(), DbErr> {
        let key = {
            let state = self.state();
            if state.is_loaded {
                return Ok(());
            }
            state.cookie.clone()
        };
        let row = match &key {
            Some(key) => store.find(key, now).await?,
            None => None,
        };
        let mut state = self.state();
        state.is_loaded = true;
        if let Some(row) = row {
            state.data = match store.keys.loads(&row.session_data, Purpose::Sessions) {
                Some(Value::Object(data)) => data,
                _ => Map::new(),
            };
            state.row = Some(row.session_key);
        }
        Ok(())
    }

    /// Whether the session was used, so that the response depends on it.
    pub fn is_accessed(&self) -> bool {
        let state = self.state();
        state.is_loaded || state.is_modified
    }

    /// A value; the session must be loaded.
    pub fn get(&self, name: &str) -> Option<Value> {
        self.state().data.get(name).cloned()
    }

    /// Sets a value.
    pub fn set(&self, name: &str, value: Value) {
        let mut state = self.state();
        state.data.insert(name.to_owned(), value);
        state.is_modified = true;
    }

    /// Removes a value.
    pub fn remove(&self, name: &str) {
        let mut state = self.state();
        if state.data.shift_remove(name).is_some() {
            state.is_modified = true;
        }
    }

    /// Gives the session a new key when saved, which prevents session fixation (Django's `cycle_key`).
    pub fn cycle_key(&self) {
        let mut state = self.state();
        state.is_cycled = true;
        state.is_modified = true;
    }

    /// Removes all data, and the row when saved (Django's `flush`).
    pub fn flush(&self) {
        let mut state = self.state();
        state.data.clear();
        state.is_cycled = true;
        state.is_modified = true;
    }

    /// Saves the session if it was modified, in one transaction; returns what to do with the cookie.
    ///
    /// # Errors
    /// [`SaveError::Deleted`] when the row was deleted; otherwise when the database cannot be reached or written to.
    pub async fn save(
        &self,
        store: SessionStore<'_>,
        security: &SecuritySettings,
        now: DateTime<Utc>,
    ) -> Result<CookieChange, SaveError> {
        let (row, is_cycled, data, has_cookie) = {
            let state = self.state();
            let is_renewed = security.session_save_every_request && !state.data.is_empty();
            if !state.is_modified && !is_renewed {
                let has_stale_cookie =
                    state.is_loaded && state.data.is_empty() && state.cookie.is_some();
                return Ok(if has_stale_cookie {
                    CookieChange::Delete
                } else {
                    CookieChange::None
                });
            }
            (
                state.row.clone(),
                state.is_cycled,
                state.data.clone(),
                state.cookie.is_some(),
            )
        };
        let (lifetime, max_age) = lifetime(&data, security, now);
        if let Some(row) = &row {
            store.invalidate(row).await;
        }
        let tx = store.db.begin().await?;
        if let Some(old) = row.as_ref().filter(|_| is_cycled || data.is_empty()) {
            Entity::delete_by_id(old.clone()).exec(&tx).await?;
        }
        if data.is_empty() {
            tx.commit().await?;
            return Ok(if has_cookie {
                CookieChange::Delete
            } else {
                CookieChange::None
            });
        }
        let existing = row.filter(|_| !is_cycled);
        let signed = store
            .keys
            .dumps(&Value::Object(data), Purpose::Sessions, now);
        let key = existing.clone().unwrap_or_else(random_key);
        let content = ActiveModel {
            session_key: Set(key.clone()),
            session_data: Set(signed),
            expire_date: Set((now + lifetime).into()),
        };
        write(&tx, content, existing.is_some()).await?;
        tx.commit().await?;
        Ok(CookieChange::Set(key, max_age))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no holder panics")
    }
}

/// Deletes the sessions that have expired; returns their number.
///
/// # Errors
/// When the database cannot be reached or written to.
pub async fn clear_expired(tx: &Transaction, now: DateTime<Utc>) -> Result<u64, DbErr> {
    let expired = Entity::delete_many().filter(COLUMN.expire_date.lt(now));
    Ok(expired.exec(tx).await?.rows_affected)
}

async fn write(tx: &Transaction, row: ActiveModel, exists: bool) -> Result<(), SaveError> {
    if !exists {
        Entity::insert(row).exec_without_returning(tx).await?;
        return Ok(());
    }
    let update = sea_orm::sea_query::Query::update()
        .table(Entity)
        .value(
            crate::entities::session::Column::SessionData,
            row.session_data.unwrap(),
        )
        .value(
            crate::entities::session::Column::ExpireDate,
            row.expire_date.unwrap(),
        )
        .and_where(COLUMN.session_key.eq(row.session_key.unwrap()))
        .take();
    match tx.execute(&update).await?.rows_affected() {
        0 => Err(SaveError::Deleted),
        _ => Ok(()),
    }
}

/// How long the row is valid, and the cookie's `Max-Age` in seconds; `None`: until the browser closes.
fn lifetime(
    data: &Map<String, Value>,
    security: &SecuritySettings,
    now: DateTime<Utc>,
) -> (TimeDelta, Option<i64>) {
    let age = security.session_cookie.age;
    let default = if security.session_expire_at_browser_close {
        0
    } else {
        age
    };
    let seconds = match data.get(EXPIRY) {
        Some(Value::Number(seconds)) => seconds.as_i64().unwrap_or(default),
        Some(Value::String(time)) => DateTime::parse_from_rfc3339(time)
            .map_or(default, |time| (time.to_utc() - now).num_seconds()),
        _ => default,
    };
    match seconds {
        0 => (TimeDelta::seconds(age), None),
        // Caps the expiry at 100 years so that the stored timestamp stays in range.
        _ => {
            let seconds = seconds.clamp(0, 100 * 366 * 86_400);
            (TimeDelta::seconds(seconds), Some(seconds))
        }
    }
}

fn random_key() -> String {
    let mut rng = rand::rng();
    let letter = || char::from(KEY_ALPHABET[rng.random_range(0..KEY_ALPHABET.len())]);
    std::iter::repeat_with(letter).take(KEY_LENGTH).collect()
}
