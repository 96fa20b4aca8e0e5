//! Changes that other processes commit to the database, for what this process keeps in memory.
//!
//! A task with a connection of its own receives them: on PostgreSQL by `LISTEN`, on SQLite by polling `PRAGMA data_version`. That
//! no change has been missed is known from heartbeats, whose responses come after all changes that were committed before them;
//! each renews the [`Lease`].

mod lease;
mod postgres;
mod sqlite;
mod triggers;

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use prometheus_client::metrics::gauge::Gauge;
use sea_orm::{DbBackend, DbErr, RuntimeErr};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

pub use self::{lease::Lease, triggers::has_triggers};
use super::Database;
use crate::settings::DatabaseSettings;

/// The time from one heartbeat to the next.
const PERIOD: Duration = Duration::from_millis(250);
/// The timeout of a heartbeat, and of the listening connection after the trial connection.
const TIMEOUT: Duration = Duration::from_secs(1);
/// The first delay before a new connection; doubled after each attempt.
const RECONNECT_DELAY: Duration = Duration::from_millis(250);
/// The longest delay.
const MAX_RECONNECT_DELAY: Duration = Duration::from_secs(8);

/// What is known of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<'a> {
    /// Anything may have changed.
    Any,
    /// The payload of a notification.
    Notified(&'a str),
}

/// Receives changes.
type OnChange = Box<dyn FnMut(Change<'_>) + Send>;

/// The task that receives changes; it ends when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct ChangeFeed {
    lease: Arc<Lease>,
    /// 1 while heartbeats are answered.
    connected: Gauge,
    stop: CancellationToken,
    task: TaskTracker,
    _stop: Arc<DropGuard>,
}

impl ChangeFeed {
    /// Begins to receive changes in `db`, which was opened with these settings; each is given to `on_change`. Has to be called on
    /// a tokio runtime.
    pub fn start(
        db: &Database,
        settings: &DatabaseSettings,
        on_change: impl FnMut(Change<'_>) + Send + 'static,
    ) -> Self {
        let stop = CancellationToken::new();
        let feed = Self {
            lease: Arc::new(Lease::expired()),
            connected: Gauge::default(),
            task: TaskTracker::new(),
            _stop: Arc::new(stop.clone().drop_guard()),
            stop,
        };
        let listener = Listener {
            db: db.clone(),
            settings: settings.clone(),
            lease: feed.lease.clone(),
            connected: feed.connected.clone(),
            stop: feed.stop.clone(),
            on_change: Box::new(on_change),
        };
        feed.task.spawn(listener.run());
        feed
    }

    /// Whether all changes that were committed up to a second ago have been given to `on_change`.
    pub fn is_current(&self, now: Instant) -> bool {
        self.lease.is_held(now)
    }

    /// 1 while changes are received.
    pub fn connected(&self) -> &Gauge {
        &self.connected
    }

    /// Closes its connection.
    pub async fn close(&self) {
        self.stop.cancel();
        self.task.close();
        self.task.wait().await;
    }
}

/// The state of the task.
struct Listener {
    db: Database,
    settings: DatabaseSettings,
    lease: Arc<Lease>,
    connected: Gauge,
    stop: CancellationToken,
    on_change: OnChange,
}

impl Listener {
    /// Connects, and again whenever the connection is lost.
    async fn run(mut self) {
        let mut delay = RECONNECT_DELAY;
        let mut logged = None;
        while !self.stop.is_cancelled() {
            let start = Instant::now();
            let listened = match self.settings.backend {
                DbBackend::Sqlite => self.poll_sqlite().await,
                _ => self.listen_to_postgres().await,
            };
            self.lease.end();
            let was_connected = self.connected.set(0) == 1;
            let Err(error) = listened else {
                return;
            };
            if was_connected {
                logged = None;
            }
            let reason = error.to_string();
            if logged.as_ref() != Some(&reason) {
                tracing::warn!(
                    "changes in the database are not received, so pages are not served from memory: {}",
                    reason.escape_debug()
                );
                logged = Some(reason);
            }
            if start.elapsed() > MAX_RECONNECT_DELAY {
                delay = RECONNECT_DELAY;
            }
            let stop = self.stop.clone();
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(delay) => {}
            }
            delay = (2 * delay).min(MAX_RECONNECT_DELAY);
        }
    }

    /// Renews the lease after a heartbeat.
    fn renew(&self, sent: Instant) {
        if self.connected.set(1) == 0 {
            tracing::debug!("changes in the database are received");
        }
        self.lease.renew(sent);
    }
}

/// The result of listening until [`ChangeFeed::close`]; otherwise why it cannot be continued.
type Listened = Result<(), DbErr>;

fn failed(reason: &str) -> DbErr {
    DbErr::Conn(RuntimeErr::Internal(reason.to_owned()))
}

fn from_sqlx(error: sqlx::Error) -> DbErr {
    DbErr::Conn(RuntimeErr::SqlxError(error.into()))
}

/// The result of a future that must be ready within [`TIMEOUT`].
async fn in_time<T>(action: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, DbErr> {
    match tokio::time::timeout(TIMEOUT, action).await {
        Ok(result) => result.map_err(from_sqlx),
        Err(_) => Err(failed("no answer in time")),
    }
}

/// The error of a loop that has no other end.
fn error_of(result: Result<Infallible, DbErr>) -> DbErr {
    match result {
        Ok(never) => match never {},
        Err(error) => error,
    }
}
