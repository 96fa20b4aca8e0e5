//! Static files under `/static/`: embedded, compressed in advance, and cached for good under names that change with
//! their content. The plain names work too, and are asked for again each time.

use std::path::Path;

use poem::{
    IntoResponse, Request, Response, handler,
    http::{HeaderMap, HeaderValue, StatusCode, header},
};

use crate::{
    assets::{self, Asset},
    core::Core,
    error::AppError,
};

const FOREVER: &str = "max-age=31536000, public, immutable";
const ASK_AGAIN: &str = "no-cache";

/// Sends a file.
#[handler]
pub fn serve(request: &Request) -> Result<Response, AppError> {
    let path = request
        .uri()
        .path()
        .strip_prefix("/static/")
        .unwrap_or_default();
    let asset = assets::ASSETS
        .iter()
        .find(|asset| asset.hashed == path || asset.name == path)
        .ok_or(AppError::NotFound)?;
    if Core::of(request).settings.debug
        && let Ok(content) = std::fs::read(Path::new("assets").join(asset.name))
    {
        let response = content
            .with_content_type(asset.content_type)
            .with_header(header::CACHE_CONTROL, ASK_AGAIN);
        return Ok(response.into_response());
    }
    Ok(response(asset, path == asset.hashed, request.headers()))
}

fn response(asset: &'static Asset, is_hashed: bool, request: &HeaderMap) -> Response {
    let text = |name| {
        request
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let accepted = text(header::ACCEPT_ENCODING);
    let (encoding, content) = match (asset.brotli, asset.gzip) {
        (Some(brotli), _) if accepts(accepted, "br") => (Some("br"), brotli),
        (_, Some(gzip)) if accepts(accepted, "gzip") => (Some("gzip"), gzip),
        _ => (None, asset.plain),
    };
    // Other bytes, another tag (RFC 9110, 8.8.3).
    let etag = format!(
        "\"{}{}\"",
        asset.digest,
        encoding.map(|name| format!("-{name}")).unwrap_or_default()
    );
    let mut response = if is_known(text(header::IF_NONE_MATCH), &etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let body = poem::Body::from_bytes(content.into());
        Response::builder()
            .content_type(asset.content_type)
            .header(header::CONTENT_LENGTH, content.len())
            .body(body)
    };
    let headers = response.headers_mut();
    headers.insert(
        header::ETAG,
        HeaderValue::from_str(&etag).expect("digits are plain ASCII"),
    );
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static(if is_hashed { FOREVER } else { ASK_AGAIN }),
    );
    if asset.gzip.is_some() || asset.brotli.is_some() {
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    if let (Some(encoding), false) = (encoding, response.status() == StatusCode::NOT_MODIFIED) {
        response
            .headers_mut()
            .insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    response
}

/// Whether an `If-None-Match` header names the tag; a weak one will do (RFC 9110, 13.1.2).
fn is_known(header: &str, etag: &str) -> bool {
    header
        .split(',')
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag == etag || tag == "*")
}

/// Whether an `Accept-Encoding` header takes an encoding (RFC 9110, 12.5.3).
pub fn accepts(header: &str, encoding: &str) -> bool {
    header.split(',').any(|entry| {
        let (name, parameters) = entry.split_once(';').unwrap_or((entry, ""));
        let quality = parameters
            .trim()
            .strip_prefix("q=")
            .map_or(Ok(1.0), str::parse::<f32>);
        name.trim().eq_ignore_ascii_case(encoding) && quality.is_ok_and(|quality| quality > 0.0)
    })
}
