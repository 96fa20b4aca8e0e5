//! Debug mode: an error page with details, and pages that reload when a template or an asset changes.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::{StreamExt, stream};
use hyper::body::Bytes;
use minijinja::{context, value::Serde};
use poem::{Body, Response, Route, get, handler, http::header, web::Data};
use serde::Serialize;

use super::{
    page::{BaseContext, html_response},
    request_info::RequestInfo,
};
use crate::{core::Core, error::AppError, settings::is_secret, templates::Templates};

/// The interval at which the files' modification times are read.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Lines of a template shown before and after the one with the error.
const CONTEXT_LINES: usize = 5;
/// The text in place of a secret, as on Django's debug page (`cleansed_substitute`).
const MASK: &str = "********************";

/// A line of a template.
#[derive(Debug, Serialize)]
struct Line {
    /// The line's number and its text.
    text: String,
    is_error_line: bool,
}

/// The debug page of a server error; `None` for client errors, and when the page itself does not render.
pub fn page(
    core: &Core,
    error: &AppError,
    info: &RequestInfo,
    base: BaseContext,
) -> Option<Response> {
    let causes = match error {
        AppError::Internal(cause) => cause.chain().map(ToString::to_string).collect(),
        AppError::Unavailable(cause) => vec![cause.to_string()],
        _ => return None,
    };
    let failed_template = match error {
        AppError::Internal(cause) => cause
            .chain()
            .filter_map(|cause| cause.downcast_ref::<minijinja::Error>())
            .last(),
        _ => None,
    };
    let template = failed_template.and_then(|error| {
        let (name, line) = (error.name()?, error.line()?);
        Some(context! { name, line, lines => Serde(lines_around(name, line)) })
    });
    let headers: Vec<_> = info
        .headers
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.to_string(), mask_secret(name.as_str(), value))
        })
        .collect();
    let query: Vec<_> = form_urlencoded::parse(info.uri.query().unwrap_or_default().as_bytes())
        .map(|(name, value)| (name.to_string(), mask_secret(&name, value.into_owned())))
        .collect();
    let context = context! {
        title => error.to_string(),
        status => error.status().as_u16(),
        causes => Serde(causes),
        template,
        method => info.method.as_str(),
        path => info.uri.path(),
        headers => Serde(headers),
        query => Serde(query),
        settings => Serde(core.settings.redacted()),
    };
    let context = context! { ..context, ..base.context() };
    match core.templates.render("debug.html", context) {
        Ok(html) => {
            let mut response = html_response(html);
            response.set_status(error.status());
            Some(response)
        }
        Err(error) => {
            tracing::error!(%error, "the debug page does not render");
            None
        }
    }
}

fn mask_secret(name: &str, value: String) -> String {
    if is_secret(name) {
        MASK.to_owned()
    } else {
        value
    }
}

fn lines_around(name: &str, line: usize) -> Vec<Line> {
    let source = Templates::source(name).unwrap_or_default();
    let lines = source.lines().enumerate().map(|(index, text)| Line {
        text: format!("{:>4}  {text}", index + 1),
        is_error_line: index + 1 == line,
    });
    lines
        .skip(line.saturating_sub(CONTEXT_LINES + 1))
        .take(2 * CONTEXT_LINES + 1)
        .collect()
}

/// Adds the route from which a page's script receives an event when a file has changed.
pub fn add_reload(site: Route) -> Route {
    site.at("/__reload__", get(reload))
}

/// Server-sent events (`text/event-stream`), one per change, until the shutdown begins.
#[handler]
fn reload(Data(core): Data<&Arc<Core>>) -> Response {
    let draining = core.draining.clone();
    let changes = stream::unfold(last_modified(), |previous| async move {
        loop {
            tokio::time::sleep(POLL_INTERVAL).await;
            let current = last_modified();
            if current != previous {
                return Some((Bytes::from_static(b"data: changed\n\n"), current));
            }
        }
    });
    let events = stream::once(async { Bytes::from_static(b": listening\n\n") })
        .chain(changes)
        .take_until(draining.cancelled_owned())
        .map(Ok::<_, std::io::Error>);
    Response::builder()
        .content_type("text/event-stream")
        .header(header::CACHE_CONTROL, "no-store")
        .body(Body::from_bytes_stream(events))
}

/// The latest modification time of all templates and assets.
fn last_modified() -> Option<SystemTime> {
    let mut pending = vec![
        Path::new("templates").to_owned(),
        Path::new("assets").to_owned(),
    ];
    let mut newest = None;
    while let Some(folder) = pending.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if metadata.is_dir() {
                pending.push(entry.path());
            }
            newest = newest.max(metadata.modified().ok());
        }
    }
    newest
}
