//! How it goes with the connections to a database, and which of them may lead nowhere.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use prometheus_client::metrics::counter::Counter;
use sea_orm::{DbErr, RuntimeErr};
use tracing::Instrument;

use super::failure::is_lost;

/// How long a statement of a request may be without an answer, whatever has become of PostgreSQL: longer than it works.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(12);
/// How long a doubt about connections is remembered: longer than any of them can have been without an answer.
const DOUBT: Duration = Duration::from_secs(30);
/// How long it takes at most until a connection that was left in the middle of something is given back.
const LEFT: Duration = Duration::from_secs(2);

/// What makes connections doubtful.
#[derive(Debug, Default)]
struct Doubts {
    /// When one was last lost: others may be, too.
    lost: Option<Instant>,
    /// When one was last left in the middle of something, by a visitor who went away, say: that one only.
    left: Option<Instant>,
}

/// How it goes with the connections to a database.
#[derive(Debug, Clone, Default)]
pub struct Health {
    /// Statements that were tried once more after a lost connection.
    pub retries: Counter,
    /// Statements that were not answered in time.
    pub timeouts: Counter,
    doubts: Arc<Mutex<Doubts>>,
    /// The kind of database, as OpenTelemetry calls it.
    system: &'static str,
    /// Whether statements have a time limit of ours: those of commands have none.
    is_limited: bool,
}

impl Health {
    pub(super) fn new(system: &'static str, is_limited: bool) -> Self {
        Self {
            system,
            is_limited,
            ..Self::default()
        }
    }

    fn doubts(&self) -> MutexGuard<'_, Doubts> {
        self.doubts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that connections as old as this moment may lead nowhere.
    pub(super) fn doubt(&self) {
        self.doubts().lost = Some(Instant::now());
    }

    /// Whether a connection of this age has to show that it lives; `is_given_back` if somebody has just used it.
    pub(super) fn is_doubtful(&self, age: Duration, is_given_back: bool) -> bool {
        let doubts = self.doubts();
        let is_within = |moment: Option<Instant>, time| {
            moment.is_some_and(|moment| moment.elapsed() < time && age >= moment.elapsed())
        };
        is_within(doubts.lost, DOUBT) || is_given_back && is_within(doubts.left, LEFT)
    }

    /// Waits for an answer, but not for ever. Whoever stops waiting before it is there leaves a connection behind that
    /// nobody knows about.
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
            return answer.await;
        }
        let answer = std::pin::pin!(answer);
        // Dropped before the answer is.
        let mut unanswered = Unanswered(Some(self));
        let result = tokio::time::timeout(ANSWER_TIMEOUT, answer).await;
        let Ok(result) = result else {
            self.timeouts.inc();
            self.doubt();
            let seconds = ANSWER_TIMEOUT.as_secs();
            let text = format!("no answer in {seconds} s");
            return Err(DbErr::Conn(RuntimeErr::Internal(text)));
        };
        unanswered.0 = None;
        if result.as_ref().is_err_and(is_lost) {
            self.doubt();
        }
        result
    }
}

/// Doubts a connection when it is dropped, unless the answer has come.
struct Unanswered<'a>(Option<&'a Health>);

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(health) = self.0 {
            health.doubts().left = Some(Instant::now());
        }
    }
}
