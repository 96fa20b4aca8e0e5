//! The headers that every answer carries for the browser's own protections.

use std::sync::Arc;

use poem::{
    Endpoint, IntoResponse, Request, Response, Result,
    http::{HeaderName, HeaderValue, header},
};

/// Django's four, and a policy under which nothing runs or loads but our own files.
const HEADERS: [(HeaderName, HeaderValue); 5] = [
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (
        header::REFERRER_POLICY,
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; \
             frame-ancestors 'none'",
        ),
    ),
];

/// Adds the headers.
pub async fn secure<E: Endpoint>(next: Arc<E>, request: Request) -> Result<Response> {
    let mut response = next.call(request).await?.into_response();
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(value);
    }
    Ok(response)
}
