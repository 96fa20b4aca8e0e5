//! What every request needs of the site, whichever app answers it.

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
    /// All settings, as they were at the start.
    pub settings: Settings,
    /// The server's settings, which a reload changes.
    pub live: Live<ServerSettings>,
    /// The databases, by purpose.
    pub db: Databases,
    /// The cache that replicas share, if there is one.
    pub cache: Cache,
    /// The templates of all pages.
    pub templates: Templates,
    /// Cancelled when the shutdown begins: from then on `/readyz` says that the server is not ready.
    pub draining: CancellationToken,
    clock: fn() -> DateTime<Utc>,
}

impl Core {
    /// Opens the databases and the cache; `clock` gives the present time. Has to be called on a tokio runtime.
    ///
    /// # Errors
    /// When the database cannot be opened.
    pub async fn open(settings: Settings, clock: fn() -> DateTime<Utc>) -> Result<Self, DbErr> {
        Ok(Self {
            db: Databases::connect(&settings.database).await?,
            cache: Cache::start(settings.cache.as_ref()),
            templates: Templates::new(settings.debug),
            live: Live::new(settings.server.clone()),
            settings,
            draining: CancellationToken::new(),
            clock,
        })
    }

    /// The core of the site that a request came to.
    ///
    /// # Panics
    /// When the router of [`crate::site`] has not given it to the request.
    pub fn of(request: &Request) -> &Arc<Self> {
        request
            .data()
            .expect("the router gives it to every request")
    }

    /// The present time.
    pub fn now(&self) -> DateTime<Utc> {
        (self.clock)()
    }
}
