//! What an orchestrator asks: is the process alive, and may it get visitors?

use std::{sync::Arc, time::Duration};

use poem::{IntoResponse, Response, handler, http::StatusCode, web::Data};

use crate::{app::App, migrations};

/// How long the database may take to answer.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Whether a path is one of the probes.
pub fn is_probe(path: &str) -> bool {
    path == "/livez" || path == "/readyz"
}

/// The process answers; nothing else is asked.
#[handler]
pub fn livez() -> &'static str {
    "ok\n"
}

/// The database is reachable, has all migrations, and the server is not about to stop.
#[handler]
pub async fn readyz(Data(app): Data<&Arc<App>>) -> Response {
    let refuse = |reason: &'static str| {
        reason
            .with_status(StatusCode::SERVICE_UNAVAILABLE)
            .into_response()
    };
    if app.is_draining() {
        return refuse("the server is about to stop\n");
    }
    match tokio::time::timeout(TIMEOUT, migrations::unapplied(app.db.write())).await {
        Ok(Ok(unapplied)) if unapplied.is_empty() => "ok\n".into_response(),
        Ok(Ok(_)) => refuse("migrations are missing: run `polls migrate`\n"),
        Ok(Err(_)) | Err(_) => refuse("the database does not answer\n"),
    }
}
