//! Compression of HTML responses. Against BREACH, which derives a secret from the lengths of compressed responses, each page
//! masks its CSRF tokens with a new mask, and each response gets random padding (as in Django's `GZipMiddleware`).
//! Pages from memory (`polls_app/pages/cached.rs`) store the token uncompressed instead.

use std::{io::Write, sync::Arc};

use flate2::{Compression, GzBuilder};
use poem::{
    Body, Endpoint, IntoResponse, Request, Response, Result,
    http::{HeaderValue, header},
};
use rand::RngExt;

use super::statics::accepts;

/// Shorter pages are not compressed, in bytes: they fit into one packet.
pub const MIN_LENGTH: usize = 1400;
/// The maximum length of the random padding, in bytes.
const MAX_PADDING: usize = 100;

/// Compresses HTML pages with gzip for clients that accept it.
///
/// # Errors
/// Those of `next`.
pub async fn pages<E: Endpoint>(next: Arc<E>, request: Request) -> Result<Response> {
    let is_accepted = request
        .header(header::ACCEPT_ENCODING)
        .is_some_and(|accepted| accepts(accepted, "gzip"));
    let mut response = next.call(request).await?.into_response();
    if response
        .content_type()
        .is_none_or(|kind| !kind.starts_with("text/html"))
    {
        return Ok(response);
    }
    response
        .headers_mut()
        .append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if !is_accepted || response.headers().contains_key(header::CONTENT_ENCODING) {
        return Ok(response);
    }
    let Ok(page) = response.take_body().into_bytes().await else {
        return Ok(response);
    };
    if page.len() < MIN_LENGTH {
        response.set_body(Body::from_bytes(page));
        return Ok(response);
    }
    let compressed = gzip(&page);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.insert(header::CONTENT_LENGTH, compressed.len().into());
    response.set_body(Body::from_vec(compressed));
    Ok(response)
}

fn gzip(page: &[u8]) -> Vec<u8> {
    let padding = vec![b'a'; rand::rng().random_range(1..=MAX_PADDING)];
    let mut encoder = GzBuilder::new()
        .filename(padding)
        .write(Vec::new(), Compression::new(4));
    let compressed = encoder.write_all(page).and_then(|()| encoder.finish());
    compressed.expect("writing to a Vec does not fail")
}
