//! Debug mode: an error page with all that is known, and pages that load themselves again when a file changes.

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
    page::{Frame, html_response},
    request_info::RequestInfo,
};
use crate::{core::Core, error::AppError, settings::is_secret, templates::Templates};

/// How often files are looked at.
const PAUSE: Duration = Duration::from_millis(500);
/// Lines of a template shown before and behind the one at fault.
const AROUND: usize = 5;
/// What is shown in place of a secret, as Django's page has it.
const MASK: &str = "********************";
/// A line of a template.
#[derive(Debug, Serialize)]
struct Line {
    /// With its number in front.
    text: String,
    is_at_fault: bool,
}

/// The page for a failure of ours; `None` for what is the client's, and when the page itself fails.
pub fn page(core: &Core, error: &AppError, info: &RequestInfo, frame: Frame) -> Option<Response> {
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
            (name.to_string(), minfo(name.as_str(), value))
        })
        .collect();
    let query: Vec<_> = form_urlencoded::parse(info.uri.query().unwrap_or_default().as_bytes())
        .map(|(name, value)| (name.to_string(), minfo(&name, value.into_owned())))
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
        settings => Serde(core.settings.shown()),
    };
    let context = context! { ..context, ..frame.context() };
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

fn minfo(name: &str, value: String) -> String {
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
        is_at_fault: index + 1 == line,
    });
    lines
        .skip(line.saturating_sub(AROUND + 1))
        .take(2 * AROUND + 1)
        .collect()
}

/// Adds the address where a page's script hears that a file has changed.
pub fn add_reload(site: Route) -> Route {
    site.at("/__reload__", get(reload))
}

/// Events as `text/event-stream`, one per change, until the server stops.
#[handler]
fn reload(Data(core): Data<&Arc<Core>>) -> Response {
    let stopped = core.draining.clone();
    let changes = stream::unfold(newest(), |known| async move {
        loop {
            tokio::time::sleep(PAUSE).await;
            let now = newest();
            if now != known {
                return Some((Bytes::from_static(b"data: changed\n\n"), now));
            }
        }
    });
    let events = stream::once(async { Bytes::from_static(b": listening\n\n") })
        .chain(changes)
        .take_until(stopped.cancelled_owned())
        .map(Ok::<_, std::io::Error>);
    Response::builder()
        .content_type("text/event-stream")
        .header(header::CACHE_CONTROL, "no-store")
        .body(Body::from_bytes_stream(events))
}

/// When a template or an asset was last changed.
fn newest() -> Option<SystemTime> {
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
