//! Health checks: liveness and readiness.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use poem::{EndpointExt, IntoResponse, Response, Route, handler, http::StatusCode, web::Data};
use sea_orm::DbErr;
use tokio::sync::Mutex;

use crate::{core::Core, migrations, web::routing::named};

/// The timeout of the database's check.
const TIMEOUT: Duration = Duration::from_secs(1);
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

/// The result of the last readiness check: none, or why the server is not ready.
#[derive(Debug, Default)]
pub struct Readiness(Mutex<Option<(Instant, Option<&'static str>)>>);

impl Readiness {
    /// Why the server is not ready. Checks the database unless another probe has just done so; one check runs at a time.
    async fn check(&self, core: &Core) -> Option<&'static str> {
        let mut last = self.0.lock().await;
        if let Some((checked, reason)) = *last
            && checked.elapsed() < CACHE_TIME
        {
            return reason;
        }
        let reason = match tokio::time::timeout(TIMEOUT, check_database(core)).await {
            Ok(Ok(reason)) => reason,
            Ok(Err(_)) | Err(_) => Some("the database does not answer\n"),
        };
        *last = Some((Instant::now(), reason));
        reason
    }
}

async fn check_database(core: &Core) -> Result<Option<&'static str>, DbErr> {
    if !migrations::unapplied(core.db.probe()).await?.is_empty() {
        return Ok(Some("migrations are missing: run `polls migrate`\n"));
    }
    let health = core.db.write().health();
    if health.is_storage_failed() {
        if migrations::check_writable(core.db.probe()).await.is_err() {
            return Ok(Some(
                "the database cannot store anything: its disk is full, or it is read-only\n",
            ));
        }
        health.storage_recovered();
    }
    Ok(None)
}

/// Readiness: the database is reachable, has all migrations and stores changes, and the server is not shutting down.
#[handler]
async fn readyz(Data(core): Data<&Arc<Core>>, Data(readiness): Data<&Arc<Readiness>>) -> Response {
    let reason = if core.draining.is_cancelled() {
        Some("the server is about to stop\n")
    } else {
        readiness.check(core).await
    };
    match reason {
        None => "ok\n".into_response(),
        Some(reason) => reason
            .with_status(StatusCode::SERVICE_UNAVAILABLE)
            .into_response(),
    }
}
