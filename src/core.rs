//! The state that the requests of all apps share.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use poem::Request;
use sea_orm::DbErr;
use tokio_util::sync::CancellationToken;

use crate::{
    cache::Cache,
    db::Databases,
    settings::{Live, ServerSettings, Settings},
    templates::Templates,
};

/// The settings, databases, cache, templates, clock and shutdown signal. One per process, shared by all requests.
#[derive(Debug)]
pub struct Core {
    /// All settings, as read at the start.
    pub settings: Settings,
    /// The server's current settings, which a reload (SIGHUP) replaces.
    pub live: Live<ServerSettings>,
    /// The primary database and the replica.
    pub db: Databases,
    /// The cache that several server processes share, if one is configured.
    pub cache: Cache,
    /// The templates of all pages.
    pub templates: Templates,
    /// Cancelled when the shutdown begins: from then on `/readyz` says that the server is not ready.
    pub draining: CancellationToken,
    /// A random number, not 0, that tells this process from the others on the same database.
    pub process: u64,
    clock: fn() -> DateTime<Utc>,
}

impl Core {
    /// Opens the databases and the cache; `clock` returns the current time. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// When the database's settings are invalid, or SQLite's file cannot be opened.
    pub async fn open(settings: Settings, clock: fn() -> DateTime<Utc>) -> Result<Self, DbErr> {
        Ok(Self {
            db: Databases::connect(&settings.database).await?,
            cache: Cache::start(settings.cache.as_ref()),
            templates: Templates::new(&settings.static_url, settings.debug),
            live: Live::new(settings.server.clone()),
            settings,
            draining: CancellationToken::new(),
            process: rand::random_range(1..=u64::MAX),
            clock,
        })
    }

    /// The core in a request's data.
    ///
    /// # Panics
    /// When the router of [`crate::site`] has not set it on the request.
    pub fn of(request: &Request) -> &Arc<Self> {
        request.data().expect("the router sets it on every request")
    }

    /// The current time.
    pub fn now(&self) -> DateTime<Utc> {
        (self.clock)()
    }
}
