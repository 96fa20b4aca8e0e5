//! The state of the connections to a database: which of them are suspect, because the server may not answer on them.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use prometheus_client::metrics::counter::Counter;
use sea_orm::{DbBackend, DbErr, RuntimeErr};
use tokio::sync::Notify;
use tracing::Instrument;

use super::{
    failure::{is_lost, is_refusal, is_storage},
    server::Newest,
    servers::Servers,
};

/// How much longer than PostgreSQL's `statement_timeout` a response is waited for.
const RESPONSE_GRACE: Duration = Duration::from_secs(2);
/// After so long without a response to any statement, new connections are tried: longer than PostgreSQL's `lock_timeout`.
const SILENCE: Duration = Duration::from_secs(2);
/// How long connections stay suspect, besides the time for a response.
const SUSPECT_FOR: Duration = Duration::from_secs(18);
/// The longest time until a connection whose statement was cancelled is released.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);

/// Backend processes that are recorded: more than a pool has connections.
const MAX_PROCESSES: usize = 2000;

/// The events that make connections suspect.
#[derive(Debug, Default)]
struct Suspicion {
    /// When a connection was last lost: others may be, too.
    lost: Option<Instant>,
    /// When the last response was received.
    last_response: Option<Instant>,
    /// Whether a statement timed out.
    is_unresponsive: bool,
    /// When all connections were last replaced.
    renewed: Option<Instant>,
    /// When a statement was last cancelled, for example by a client that disconnected: only its connection is suspect.
    cancelled: Option<Instant>,
    /// Whether the last change failed because the database could not store it.
    is_storage_failed: bool,
}

/// The state of the connections to a database.
#[derive(Debug, Clone, Default)]
pub struct Health {
    /// Statements that were retried after a lost connection.
    pub retries: Counter,
    /// Statements that timed out.
    pub timeouts: Counter,
    suspicion: Arc<Mutex<Suspicion>>,
    suspected: Arc<Notify>,
    /// The backend processes of the connections, with those of some closed ones.
    processes: Arc<Mutex<VecDeque<i32>>>,
    /// The value of OpenTelemetry's `db.system.name`.
    system: &'static str,
    /// The timeout of a statement without a response; those of commands have none.
    response_timeout: Option<Duration>,
    /// The newest timeline of the servers.
    pub(super) newest: Newest,
    /// Requests a comparison of the servers.
    wanted: Arc<Notify>,
}

impl Health {
    /// The state of a new pool without timeouts.
    pub(super) fn new(backend: DbBackend) -> Self {
        Self {
            system: match backend {
                DbBackend::Sqlite => "sqlite",
                _ => "postgresql",
            },
            ..Self::default()
        }
    }

    /// The state of a new pool to one of these servers. `statement_timeout` is PostgreSQL's.
    pub(super) fn of_servers(servers: &Servers, statement_timeout: Duration) -> Self {
        Self {
            response_timeout: Some(statement_timeout + RESPONSE_GRACE),
            newest: servers.newest(),
            wanted: servers.wanted(),
            ..Self::new(DbBackend::Postgres)
        }
    }

    fn suspicion(&self) -> MutexGuard<'_, Suspicion> {
        self.suspicion
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes all present connections suspect.
    fn suspect(&self) {
        self.suspicion().lost = Some(Instant::now());
    }

    /// Whether the last change failed because the database could not store it: see [`is_storage`].
    pub fn is_storage_failed(&self) -> bool {
        self.suspicion().is_storage_failed
    }

    /// Records that a change has been stored.
    pub fn storage_recovered(&self) {
        self.suspicion().is_storage_failed = false;
    }

    /// Makes the connections suspect that are released within [`RELEASE_TIMEOUT`].
    pub(super) fn discard_next_released(&self) {
        self.suspicion().cancelled = Some(Instant::now());
    }

    /// Records the backend process of a new connection.
    pub(super) fn note_process(&self, process: i32) {
        let mut processes = self.processes();
        if processes.len() == MAX_PROCESSES {
            processes.pop_front();
        }
        processes.push_back(process);
    }

    /// The backend processes of the connections, with those of some closed ones.
    pub(super) fn known_processes(&self) -> Vec<i32> {
        self.processes().iter().copied().collect()
    }

    fn processes(&self) -> MutexGuard<'_, VecDeque<i32>> {
        self.processes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Completes when a statement has waited for [`SILENCE`].
    pub(super) async fn suspected(&self) {
        self.suspected.notified().await;
    }

    /// Whether no statement gets a response, or one has timed out.
    pub(super) fn is_unreachable(&self) -> bool {
        let suspicion = self.suspicion();
        let is_silent = |at: Instant| at.elapsed() >= SILENCE;
        suspicion.is_unresponsive || suspicion.last_response.is_none_or(is_silent)
    }

    /// Records that all connections have been replaced, and a statement on a new one has succeeded.
    pub(super) fn renewed(&self) {
        let (mut suspicion, now) = (self.suspicion(), Instant::now());
        suspicion.is_unresponsive = false;
        suspicion.last_response = Some(now);
        suspicion.renewed = Some(now);
    }

    /// Records that a statement which started then still has no response. Ignored for connections that have been replaced.
    fn note_waiting(&self, start: Instant, is_timed_out: bool) {
        let mut suspicion = self.suspicion();
        if suspicion.renewed.is_none_or(|renewed| start > renewed) {
            suspicion.is_unresponsive |= is_timed_out;
            self.suspected.notify_one();
        }
    }

    /// Whether a connection of this age has to be pinged; `is_released` if it has just been used.
    pub(super) fn is_suspect(&self, age: Duration, is_released: bool) -> bool {
        let suspicion = self.suspicion();
        let is_within = |moment: Option<Instant>, time| {
            moment.is_some_and(|moment| moment.elapsed() < time && age >= moment.elapsed())
        };
        let suspect_for = SUSPECT_FOR + self.response_timeout.unwrap_or_default();
        is_within(suspicion.lost, suspect_for)
            || is_released && is_within(suspicion.cancelled, RELEASE_TIMEOUT)
    }

    fn note_storage(&self, error: &DbErr) {
        if is_storage(error) {
            self.suspicion().is_storage_failed = true;
            self.discard_next_released();
            // The server may have become a standby.
            self.wanted.notify_one();
        }
    }

    /// Waits for the response to a statement, until the timeout. A caller that is cancelled before leaves a connection whose
    /// state is not known.
    pub(super) async fn watch<T>(
        &self,
        response: impl Future<Output = Result<T, DbErr>>,
    ) -> Result<T, DbErr> {
        let response = response.instrument(tracing::debug_span!(
            "statement",
            otel.kind = "client",
            db.system.name = self.system
        ));
        let Some(response_timeout) = self.response_timeout else {
            let result = response.await;
            if let Err(error) = &result {
                self.note_storage(error);
            }
            return result;
        };
        let start = Instant::now();
        let mut response = std::pin::pin!(response);
        // Dropped before `response`.
        let mut cancel_guard = CancelGuard(Some(self));
        let result = match tokio::time::timeout(SILENCE, response.as_mut()).await {
            Ok(result) => Ok(result),
            Err(_) => {
                self.note_waiting(start, false);
                tokio::time::timeout(response_timeout - SILENCE, response).await
            }
        };
        let Ok(result) = result else {
            self.timeouts.inc();
            self.note_waiting(start, true);
            let seconds = response_timeout.as_secs();
            let text = format!("no answer in {seconds} s");
            return Err(DbErr::Conn(RuntimeErr::Internal(text)));
        };
        cancel_guard.0 = None;
        if let Err(error) = &result {
            self.note_storage(error);
        }
        match &result {
            Err(error) if is_lost(error) => {
                self.suspect();
                self.wanted.notify_one();
            }
            Err(error) if !is_refusal(error) => {}
            Ok(_) | Err(_) => self.suspicion().last_response = Some(Instant::now()),
        }
        result
    }
}

/// Makes the connection suspect when dropped before the response.
struct CancelGuard<'a>(Option<&'a Health>);

impl Drop for CancelGuard<'_> {
    fn drop(&mut self) {
        if let Some(health) = self.0 {
            health.suspicion().cancelled = Some(Instant::now());
        }
    }
}
