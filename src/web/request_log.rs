//! One line per request.

use std::{sync::Arc, time::Instant};

use poem::{Endpoint, IntoResponse, Request, Response, Result, http::header};

use super::hosts::peer_address;

/// Logs a request with its answer's status, size in bytes and time in milliseconds.
pub async fn log<E: Endpoint>(next: Arc<E>, request: Request) -> Result<Response> {
    let start = Instant::now();
    let (method, uri, version) = (
        request.method().clone(),
        request.original_uri().clone(),
        request.version(),
    );
    let peer = peer_address(&request)
        .map(|peer| peer.to_string())
        .unwrap_or_default();
    let response = next.call(request).await?.into_response();
    let size = response
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok())
        .unwrap_or("-");
    // A request's target may hold quotes, and bytes that a terminal would obey.
    let target = uri
        .path_and_query()
        .map(|target| target.as_str())
        .unwrap_or_default()
        .escape_debug();
    let (status, ms) = (
        response.status().as_u16(),
        start.elapsed().as_secs_f64() * 1000.0,
    );
    tracing::info!(target: "access", "{peer} \"{method} {target} {version:?}\" {status} {size} {ms:.1}ms");
    Ok(response)
}
