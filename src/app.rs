//! What all requests share, built once at the start.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use chrono::{DateTime, Utc};
use sea_orm::DbErr;

use crate::{
    db::Databases, polls_app::votes::VoteCounter, settings::Settings, web::templates::Templates,
};

/// The application: settings, databases, templates, clock.
#[derive(Debug)]
pub struct App {
    /// What the operator decided.
    pub settings: Settings,
    /// The databases by purpose.
    pub db: Databases,
    /// The pages' templates.
    pub templates: Templates,
    /// Takes votes.
    pub votes: VoteCounter,
    clock: fn() -> DateTime<Utc>,
    draining: AtomicBool,
}

impl App {
    /// Connects and prepares everything; `clock` tells the time. Has to be called on a tokio runtime.
    ///
    /// # Errors
    /// When the database cannot be opened.
    pub async fn build(
        settings: Settings,
        clock: fn() -> DateTime<Utc>,
    ) -> Result<Arc<Self>, DbErr> {
        let db = Databases::connect(&settings.database).await?;
        let templates = Templates::new(settings.debug);
        let votes = VoteCounter::start(db.write());
        Ok(Arc::new(Self {
            settings,
            db,
            templates,
            votes,
            clock,
            draining: AtomicBool::new(false),
        }))
    }

    /// The present time.
    pub fn now(&self) -> DateTime<Utc> {
        (self.clock)()
    }

    /// Says that the server is about to stop: from now on it is not ready for new visitors.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the server is about to stop.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}
