//! Static files under `/static/`, embedded and compressed at build time. Names with a digest of the content are cached for a
//! year, names without one are revalidated at each request.

use std::path::Path;

use poem::{
    IntoResponse, Request, Response, handler,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    web::headers::{ETag, HeaderMapExt, IfNoneMatch},
};

use crate::{
    assets::{self, Asset},
    core::Core,
    error::AppError,
};

const IMMUTABLE: &str = "max-age=31536000, public, immutable";
const REVALIDATE: &str = "no-cache";

/// Responds with a static file, or with 404; in debug mode from the folder `assets` if it is there.
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
            .with_header(header::CACHE_CONTROL, REVALIDATE);
        return Ok(response.into_response());
    }
    Ok(response(asset, path == asset.hashed, request.headers()))
}

fn response(asset: &'static Asset, is_hashed: bool, request: &HeaderMap) -> Response {
    let accepted = request.get(header::ACCEPT_ENCODING);
    let accepted = accepted
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let (encoding, content) = match (asset.brotli, asset.gzip) {
        (Some(brotli), _) if accepts(accepted, "br") => (Some("br"), brotli),
        (_, Some(gzip)) if accepts(accepted, "gzip") => (Some("gzip"), gzip),
        _ => (None, asset.plain),
    };
    // Each encoding has its own entity tag (RFC 9110, 8.8.3).
    let suffix = encoding.map(|name| format!("-{name}")).unwrap_or_default();
    let etag: ETag = format!("\"{}{suffix}\"", asset.digest)
        .parse()
        .expect("hexadecimal digits are a valid entity tag");
    let is_unchanged = request
        .typed_get::<IfNoneMatch>()
        .is_some_and(|known| !known.precondition_passes(&etag));
    let mut response = if is_unchanged {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let body = poem::Body::from_bytes(content.into());
        Response::builder()
            .content_type(asset.content_type)
            .header(header::CONTENT_LENGTH, content.len())
            .body(body)
    };
    let headers = response.headers_mut();
    headers.typed_insert(etag);
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static(if is_hashed { IMMUTABLE } else { REVALIDATE }),
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

/// Whether an `Accept-Encoding` header lists an encoding with a quality above 0 (RFC 9110, 12.5.3).
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
