//! The app `sessions`: the data of a client's session, in Django's rows and under Django's signature
//! (`django/contrib/sessions/backends/db.py`), so that a login with one is a login with the other.

mod store;

use std::sync::{Mutex, MutexGuard};

use chrono::{DateTime, TimeDelta, Utc};
use rand::RngExt;
use sea_orm::{ActiveValue::Set, ConnectionTrait, DbErr, EntityTrait};
use serde_json::{Map, Value};

pub use self::store::Store;
use crate::{
    db::Transaction,
    entities::session::{ActiveModel, COLUMN, Entity},
    settings::SecuritySettings,
    signing::Purpose,
};

const KEY_LENGTH: usize = 32;
const KEY_LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
/// Django takes no shorter cookie for a session's key.
const MIN_KEY_LENGTH: usize = 8;
const MAX_KEY_LENGTH: usize = 40;
/// When the session ends: absent, whole seconds (0: with the browser), or a moment.
const EXPIRY: &str = "_session_expiry";

/// The session of one request. It is read when it is first needed, and written only when it was changed.
#[derive(Debug)]
pub struct Session(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// What the browser sent.
    cookie: Option<String>,
    /// The key of the row that holds the data, if one does.
    row: Option<String>,
    /// The row is to have another key.
    is_cycled: bool,
    data: Map<String, Value>,
    is_loaded: bool,
    is_modified: bool,
}

/// What the answer has to tell the browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CookieChange {
    /// Nothing.
    None,
    /// The key, and how many seconds to keep it; `None` until the browser is closed.
    Set(String, Option<i64>),
    /// The session is over.
    Delete,
}

/// Why a session was not written.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// Its row is gone: the user has logged out in another request meanwhile.
    #[error("The request's session was deleted before the request completed.")]
    Vanished,
    /// The database refuses.
    #[error(transparent)]
    Database(#[from] DbErr),
}

impl Session {
    /// The session that a cookie names, not read yet.
    pub fn new(cookie: Option<&str>) -> Self {
        let cookie = cookie.filter(|key| (MIN_KEY_LENGTH..=MAX_KEY_LENGTH).contains(&key.len()));
        Self(Mutex::new(State {
            cookie: cookie.map(str::to_owned),
            ..State::default()
        }))
    }

    /// Reads the row. A row that is not there, is over or was not signed with our keys is an empty session.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn load(&self, store: Store<'_>, now: DateTime<Utc>) -> Result<(), DbErr> {
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

    /// Whether the answer depends on the session.
    pub fn is_accessed(&self) -> bool {
        let state = self.state();
        state.is_loaded || state.is_modified
    }

    /// A value; the session has to be loaded.
    pub fn get(&self, name: &str) -> Option<Value> {
        self.state().data.get(name).cloned()
    }

    /// Remembers a value.
    pub fn set(&self, name: &str, value: Value) {
        let mut state = self.state();
        state.data.insert(name.to_owned(), value);
        state.is_modified = true;
    }

    /// Forgets a value.
    pub fn remove(&self, name: &str) {
        let mut state = self.state();
        if state.data.shift_remove(name).is_some() {
            state.is_modified = true;
        }
    }

    /// Keeps the contents under a new key, so that one who knew the old key has nothing.
    pub fn cycle_key(&self) {
        let mut state = self.state();
        state.is_cycled = true;
        state.is_modified = true;
    }

    /// Forgets everything.
    pub fn flush(&self) {
        let mut state = self.state();
        state.data.clear();
        state.is_cycled = true;
        state.is_modified = true;
    }

    /// Writes what was changed, in one transaction.
    ///
    /// # Errors
    /// When the row is gone, or the database refuses.
    pub async fn save(
        &self,
        store: Store<'_>,
        security: &SecuritySettings,
        now: DateTime<Utc>,
    ) -> Result<CookieChange, SaveError> {
        let (row, is_cycled, data, has_cookie) = {
            let state = self.state();
            let is_renewed = security.session_save_every_request && !state.data.is_empty();
            if !state.is_modified && !is_renewed {
                let is_over = state.is_loaded && state.data.is_empty() && state.cookie.is_some();
                return Ok(if is_over {
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
            store.will_change(row).await;
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
        let kept = row.filter(|_| !is_cycled);
        let signed = store
            .keys
            .dumps(&Value::Object(data), Purpose::Sessions, now);
        let key = kept.clone().unwrap_or_else(random_key);
        let content = ActiveModel {
            session_key: Set(key.clone()),
            session_data: Set(signed),
            expire_date: Set(now + lifetime),
        };
        write(&tx, content, kept.is_some()).await?;
        tx.commit().await?;
        Ok(CookieChange::Set(key, max_age))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no holder panics")
    }
}

async fn write(tx: &Transaction, row: ActiveModel, is_there: bool) -> Result<(), SaveError> {
    if !is_there {
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
        0 => Err(SaveError::Vanished),
        _ => Ok(()),
    }
}

/// How long the row is to last, and the cookie; the latter in seconds, `None` until the browser is closed.
fn lifetime(
    data: &Map<String, Value>,
    security: &SecuritySettings,
    now: DateTime<Utc>,
) -> (TimeDelta, Option<i64>) {
    let age = security.session_cookie.age;
    let usual = if security.session_expire_at_browser_close {
        0
    } else {
        age
    };
    let seconds = match data.get(EXPIRY) {
        Some(Value::Number(seconds)) => seconds.as_i64().unwrap_or(usual),
        Some(Value::String(moment)) => DateTime::parse_from_rfc3339(moment)
            .map_or(usual, |moment| (moment.to_utc() - now).num_seconds()),
        _ => usual,
    };
    match seconds {
        0 => (TimeDelta::seconds(age), None),
        // A century is for ever, and no time that is stored gets beyond what can be.
        _ => {
            let seconds = seconds.clamp(0, 100 * 366 * 86_400);
            (TimeDelta::seconds(seconds), Some(seconds))
        }
    }
}

fn random_key() -> String {
    let mut rng = rand::rng();
    let letter = || char::from(KEY_LETTERS[rng.random_range(0..KEY_LETTERS.len())]);
    std::iter::repeat_with(letter).take(KEY_LENGTH).collect()
}
