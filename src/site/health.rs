//! Health checks: liveness and readiness.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use poem::{EndpointExt, IntoResponse, Response, Route, handler, http::StatusCode, web::Data};
use sea_orm::{DbBackend, DbErr};
use tokio::sync::Mutex;

use crate::{core::Core, migrations, web::routing::named};

/// The timeout of the database's check.
const TIMEOUT: Duration = Duration::from_secs(1);
/// The timeout for the cause of an outage.
const CAUSE_TIMEOUT: Duration = Duration::from_millis(400);
/// How long the result of a check is used for other probes.
const CACHE_TIME: Duration = Duration::from_millis(100);

/// The paths of the probes.
pub const PROBES: &[&str] = &["/livez", "/readyz"];

/// The routes of the probes.
pub fn routes(readiness: Readiness) -> Route {
    let ready = poem::get(readyz).data(Arc::new(readiness));
    Route::new()
        .at("/livez", named("/livez", poem::get(livez)))
        .at("/readyz", named("/readyz", ready))
}

/// Liveness: the process responds; nothing else is checked.
#[handler]
fn livez() -> &'static str {
    "ok\n"
}

/// Why the server is not ready.
#[derive(Debug, Clone, Copy)]
enum Reason {
    /// It is about to stop.
    Stopping,
    /// The database lacks migrations of this version.
    Migrations,
    /// The database cannot store changes.
    Storage,
    /// No server of the database is a primary.
    Standby,
    /// The database does not answer; with the cause, if it is known.
    Outage(Option<&'static str>),
}

impl Reason {
    /// Whether the database may recover from it without intervention.
    fn is_outage(self) -> bool {
        matches!(self, Self::Outage(_) | Self::Storage | Self::Standby)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopping => f.write_str("the server is about to stop"),
            Self::Migrations => f.write_str("migrations are missing: run `polls migrate`"),
            Self::Storage => f.write_str(
                "the database cannot store anything: its disk is full, or it is read-only",
            ),
            Self::Standby => {
                f.write_str("no server of the database takes changes: there is only a standby")
            }
            Self::Outage(None) => f.write_str("the database does not answer"),
            Self::Outage(Some(cause)) => write!(f, "the database does not answer: {cause}"),
        }
    }
}

/// The results of the last readiness checks.
#[derive(Debug, Default)]
pub struct Readiness(Mutex<Checks>);

#[derive(Debug, Clone, Copy, Default)]
struct Checks {
    /// The last one.
    last: Option<(Instant, Result<(), Reason>)>,
    /// When the database last answered.
    answered: Option<Instant>,
}

impl Readiness {
    /// Checks the database unless another probe has just done so; one check runs at a time.
    async fn check(&self, core: &Core) -> Checks {
        let mut checks = self.0.lock().await;
        let is_recent = |(checked, _): (Instant, _)| checked.elapsed() < CACHE_TIME;
        if !checks.last.is_some_and(is_recent) {
            let result = match tokio::time::timeout(TIMEOUT, check_database(core)).await {
                Ok(Ok(result)) => result,
                Ok(Err(_)) | Err(_) => Err(Reason::Outage(cause(core).await)),
            };
            let now = Instant::now();
            checks.last = Some((now, result));
            if !matches!(result, Err(reason) if reason.is_outage()) {
                checks.answered = Some(now);
            }
        }
        *checks
    }
}

/// Why the database does not answer, if that shows quickly.
async fn cause(core: &Core) -> Option<&'static str> {
    let outage = tokio::time::timeout(CAUSE_TIMEOUT, core.db.write().outage()).await;
    match outage {
        Ok(cause) => cause,
        Err(_) => Some("no answer in time"),
    }
}

async fn check_database(core: &Core) -> Result<Result<(), Reason>, DbErr> {
    if !migrations::unapplied(core.db.probe()).await?.is_empty() {
        return Ok(Err(Reason::Migrations));
    }
    let health = core.db.write().health();
    if core.db.write().is_standby() {
        return Ok(Err(Reason::Standby));
    }
    if health.is_storage_failed() {
        if migrations::check_writable(core.db.probe()).await.is_err() {
            return Ok(Err(Reason::Storage));
        }
        health.storage_recovered();
    }
    Ok(Ok(()))
}

/// Readiness: the database is reachable, has all migrations and stores changes, and the server is not shutting down. An outage of
/// PostgreSQL is tolerated for a while, and a standby that is read without a primary as long as that lasts: all servers would cease to be ready at once, and visitors would get no page at all.
#[handler]
async fn readyz(Data(core): Data<&Arc<Core>>, Data(readiness): Data<&Arc<Readiness>>) -> Response {
    if core.draining.is_cancelled() {
        return not_ready(Reason::Stopping);
    }
    let Checks { last, answered } = readiness.check(core).await;
    match last {
        Some((_, Err(reason))) => {
            let tolerance = core.settings.database.outage_tolerance;
            let is_tolerated = reason.is_outage()
                && core.settings.database.backend == DbBackend::Postgres
                && (matches!(reason, Reason::Standby)
                    || answered.is_some_and(|answered| answered.elapsed() < tolerance));
            if is_tolerated {
                format!("ok for now: {reason}\n").into_response()
            } else {
                not_ready(reason)
            }
        }
        _ => "ok\n".into_response(),
    }
}

fn not_ready(reason: Reason) -> Response {
    let text = format!("{reason}\n");
    text.with_status(StatusCode::SERVICE_UNAVAILABLE)
        .into_response()
}
