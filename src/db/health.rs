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

use super::failure::{is_lost, is_refusal, is_storage};

/// How long a statement of a request may be without an answer, whatever has become of PostgreSQL: longer than it works.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(12);
/// After so long without an answer to any statement, new connections are tried: longer than a statement waits for a lock.
const SILENCE: Duration = Duration::from_secs(2);
/// How long connections stay suspect: longer than any of them can have been without an answer.
const SUSPECT_FOR: Duration = Duration::from_secs(30);
/// How long it takes at most until a connection that was left in the middle of something is given back.
const LEFT: Duration = Duration::from_secs(2);

/// Processes that are remembered: more than a pool has connections.
const MAX_PROCESSES: usize = 2000;

/// What makes connections suspect.
#[derive(Debug, Default)]
struct Suspicion {
    /// When one was last lost: others may be, too.
    lost: Option<Instant>,
    /// When an answer last came.
    answered: Option<Instant>,
    /// Whether a statement was not answered at all.
    is_unanswered: bool,
    /// When all connections were last replaced.
    renewed: Option<Instant>,
    /// When one was last left in the middle of something, for example by a client that disconnected: that one only.
    left: Option<Instant>,
    /// Whether the last change failed because the database could not store it.
    is_storage_failed: bool,
}

/// The state of the connections to a database.
#[derive(Debug, Clone, Default)]
pub struct Health {
    /// Statements that were tried once more after a lost connection.
    pub retries: Counter,
    /// Statements that were not answered in time.
    pub timeouts: Counter,
    suspicion: Arc<Mutex<Suspicion>>,
    suspected: Arc<Notify>,
    /// The processes of PostgreSQL that serve the connections, with those of some that have ended.
    processes: Arc<Mutex<VecDeque<i32>>>,
    /// The kind of database, as OpenTelemetry calls it.
    system: &'static str,
    /// Whether statements have a time limit of ours: those of commands have none.
    is_limited: bool,
}

impl Health {
    pub(super) fn new(backend: DbBackend, is_limited: bool) -> Self {
        Self {
            system: match backend {
                DbBackend::Sqlite => "sqlite",
                _ => "postgresql",
            },
            is_limited,
            ..Self::default()
        }
    }

    fn suspicion(&self) -> MutexGuard<'_, Suspicion> {
        self.suspicion
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the connections that exist now suspect.
    fn suspect(&self) {
        self.suspicion().lost = Some(Instant::now());
    }

    /// Whether the last change failed because the database could not store it: see [`is_storage`].
    pub fn is_storage_failed(&self) -> bool {
        self.suspicion().is_storage_failed
    }

    /// Notes that a change has been stored.
    pub fn storage_recovered(&self) {
        self.suspicion().is_storage_failed = false;
    }

    /// Lets no connection be used again that is given back within the next moments.
    pub(super) fn discard_next_released(&self) {
        self.suspicion().left = Some(Instant::now());
    }

    /// Notes which process of PostgreSQL serves a new connection.
    pub(super) fn note_process(&self, process: i32) {
        let mut processes = self.processes();
        if processes.len() == MAX_PROCESSES {
            processes.pop_front();
        }
        processes.push_back(process);
    }

    /// The processes of PostgreSQL that serve the connections, with those of some that have ended.
    pub(super) fn known_processes(&self) -> Vec<i32> {
        self.processes().iter().copied().collect()
    }

    fn processes(&self) -> MutexGuard<'_, VecDeque<i32>> {
        self.processes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Comes when a statement has waited for long.
    pub(super) async fn suspected(&self) {
        self.suspected.notified().await;
    }

    /// Whether no statement is answered, or one has timed out.
    pub(super) fn is_unreachable(&self) -> bool {
        let suspicion = self.suspicion();
        let is_silent = |answered: Instant| answered.elapsed() >= SILENCE;
        suspicion.is_unanswered || suspicion.answered.is_none_or(is_silent)
    }

    /// Says that all connections have been replaced, and the first of them has been answered.
    pub(super) fn renewed(&self) {
        let (mut suspicion, now) = (self.suspicion(), Instant::now());
        suspicion.is_unanswered = false;
        suspicion.answered = Some(now);
        suspicion.renewed = Some(now);
    }

    /// Says that a statement which began then still has no answer. Of one on a connection that has been replaced nothing
    /// follows.
    fn wait_on(&self, began: Instant, is_given_up: bool) {
        let mut suspicion = self.suspicion();
        if suspicion.renewed.is_none_or(|renewed| began > renewed) {
            suspicion.is_unanswered |= is_given_up;
            self.suspected.notify_one();
        }
    }

    /// Whether a connection of this age has to show that it lives; `is_given_back` if it has just been used.
    pub(super) fn is_suspect(&self, age: Duration, is_given_back: bool) -> bool {
        let suspicion = self.suspicion();
        let is_within = |moment: Option<Instant>, time| {
            moment.is_some_and(|moment| moment.elapsed() < time && age >= moment.elapsed())
        };
        is_within(suspicion.lost, SUSPECT_FOR) || is_given_back && is_within(suspicion.left, LEFT)
    }

    fn note_storage(&self, error: &DbErr) {
        if is_storage(error) {
            self.suspicion().is_storage_failed = true;
            self.discard_next_released();
        }
    }

    /// Waits for an answer, but not for ever. A caller that stops waiting before it is there leaves a connection behind whose
    /// state is not known.
    pub(super) async fn watch<T>(
        &self,
        answer: impl Future<Output = Result<T, DbErr>>,
    ) -> Result<T, DbErr> {
        let answer = answer.instrument(tracing::debug_span!(
            "statement",
            otel.kind = "client",
            db.system.name = self.system
        ));
        if !self.is_limited {
            let result = answer.await;
            if let Err(error) = &result {
                self.note_storage(error);
            }
            return result;
        }
        let began = Instant::now();
        let mut answer = std::pin::pin!(answer);
        // Dropped before the answer is.
        let mut unanswered = Unanswered(Some(self));
        let result = match tokio::time::timeout(SILENCE, answer.as_mut()).await {
            Ok(result) => Ok(result),
            Err(_) => {
                self.wait_on(began, false);
                tokio::time::timeout(ANSWER_TIMEOUT - SILENCE, answer).await
            }
        };
        let Ok(result) = result else {
            self.timeouts.inc();
            self.wait_on(began, true);
            let seconds = ANSWER_TIMEOUT.as_secs();
            let text = format!("no answer in {seconds} s");
            return Err(DbErr::Conn(RuntimeErr::Internal(text)));
        };
        unanswered.0 = None;
        if let Err(error) = &result {
            self.note_storage(error);
        }
        match &result {
            Err(error) if is_lost(error) => self.suspect(),
            Err(error) if !is_refusal(error) => {}
            Ok(_) | Err(_) => self.suspicion().answered = Some(Instant::now()),
        }
        result
    }
}

/// Suspects a connection when it is dropped, unless the answer has come.
struct Unanswered<'a>(Option<&'a Health>);

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(health) = self.0 {
            health.suspicion().left = Some(Instant::now());
        }
    }
}
