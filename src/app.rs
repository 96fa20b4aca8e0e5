//! What all requests share, built once at the start.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sea_orm::DbErr;
use tokio_util::sync::CancellationToken;

use crate::{
    admin::{AdminSite, PageMaps},
    auth::{self, hashing::Hashing, login::LoginCounters, throttle::Throttle},
    cache::Cache,
    db::Databases,
    metrics::RequestMetrics,
    polls_app::{self, votes::VoteCounter},
    sessions::Store,
    settings::{Live, ServerSettings, Settings},
    web::{form::Bodies, health::Readiness, templates::Templates},
};

/// The admin site with the models of all apps.
pub fn admin_site() -> AdminSite {
    let mut site = AdminSite::default();
    polls_app::admin::register(&mut site);
    auth::admin::register(&mut site);
    site
}

/// The application: settings, databases, templates, clock.
#[derive(Debug)]
pub struct App {
    /// What the operator decided.
    pub settings: Settings,
    /// The databases by purpose.
    pub db: Databases,
    /// What replicas share besides, if anything.
    pub cache: Cache,
    /// The pages' templates.
    pub templates: Templates,
    /// Takes votes.
    pub votes: VoteCounter,
    /// The models that the admin shows.
    pub admin: AdminSite,
    /// Where the pages of long lists begin.
    pub page_maps: PageMaps,
    /// Makes and compares the hashes of passwords.
    pub hashing: Hashing,
    /// Room for what visitors send.
    pub bodies: Bodies,
    /// What the last readiness check found.
    pub readiness: Readiness,
    /// How logins go.
    pub logins: LoginCounters,
    /// How requests go.
    pub requests: RequestMetrics,
    /// Those settings of the server that may change while it runs.
    pub live: Live<ServerSettings>,
    clock: fn() -> DateTime<Utc>,
    draining: CancellationToken,
}

impl App {
    /// Connects and prepares everything; `admin` says what the admin shows, `clock` tells the time. Has to be called on a tokio runtime.
    ///
    /// # Errors
    /// When the database cannot be opened.
    pub async fn build(
        settings: Settings,
        admin: AdminSite,
        clock: fn() -> DateTime<Utc>,
    ) -> Result<Arc<Self>, DbErr> {
        let db = Databases::connect(&settings.database).await?;
        let cache = Cache::start(settings.cache.as_ref());
        let templates = Templates::new(settings.debug);
        let votes = VoteCounter::start(db.write());
        Ok(Arc::new(Self {
            db,
            cache,
            templates,
            votes,
            admin,
            page_maps: PageMaps::default(),
            hashing: Hashing::new(settings.security.password_iterations),
            bodies: Bodies::default(),
            readiness: Readiness::default(),
            logins: LoginCounters::default(),
            requests: RequestMetrics::default(),
            live: Live::new(settings.server.clone()),
            settings,
            clock,
            draining: CancellationToken::new(),
        }))
    }

    /// Where sessions are.
    pub fn session_store(&self) -> Store<'_> {
        Store {
            db: self.db.write(),
            cache: &self.cache,
            keys: &self.settings.security.keys,
        }
    }

    /// Where failed logins are counted.
    pub fn throttle(&self) -> Throttle<'_> {
        Throttle {
            cache: &self.cache,
            db: self.db.write(),
            keys: &self.settings.security.keys,
        }
    }

    /// The present time.
    pub fn now(&self) -> DateTime<Utc> {
        (self.clock)()
    }

    /// Says that the server is about to stop: from now on it is not ready for new visitors.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// Comes when the server is about to stop.
    pub fn draining(&self) -> CancellationToken {
        self.draining.clone()
    }

    /// Whether the server is about to stop.
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }
}
