//! The security headers of every response, and the redirect from HTTP to HTTPS.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use poem::{
    Endpoint, IntoResponse, Request, Response, Result,
    http::{HeaderName, HeaderValue, StatusCode, header},
};

use super::{format::http_date, hosts::Origin, request_info::RequestInfo, routing::redirect};
use url::Url;

use crate::{
    core::Core,
    settings::{HeaderSettings, Settings},
};

/// The security headers from the settings. Built once.
#[derive(Debug)]
pub struct SecurityHeaders {
    of_pages: BySecurity,
    of_embedded: BySecurity,
}

/// Headers for plain HTTP and for HTTPS.
#[derive(Debug)]
struct BySecurity {
    plain: Vec<(HeaderName, HeaderValue)>,
    over_https: Vec<(HeaderName, HeaderValue)>,
}

/// Response data: the page may be shown in a frame of the sites in `EMBED_FRAME_ANCESTORS`.
#[derive(Debug, Clone, Copy)]
pub struct Embedded;

impl SecurityHeaders {
    /// Builds the headers.
    pub fn new(settings: &Settings) -> Self {
        let of = |is_embedded| BySecurity {
            plain: headers(settings, is_embedded, false).collect(),
            over_https: headers(settings, is_embedded, true).collect(),
        };
        Self {
            of_pages: of(false),
            of_embedded: of(true),
        }
    }
}

/// Adds the security headers to responses; headers that a response already has are not changed.
///
/// # Errors
/// Those of `next`.
pub async fn secure<E: Endpoint>(
    next: Arc<E>,
    request: Request,
    headers: Arc<SecurityHeaders>,
) -> Result<Response> {
    let is_secure = RequestInfo::of(&request).source.is_secure;
    let mut response = next.call(request).await?.into_response();
    let headers = match response.data::<Embedded>() {
        Some(_) => &headers.of_embedded,
        None => &headers.of_pages,
    };
    let headers = if is_secure {
        &headers.over_https
    } else {
        &headers.plain
    };
    for (name, value) in headers {
        response
            .headers_mut()
            .entry(name)
            .or_insert_with(|| value.clone());
    }
    Ok(response)
}

/// Sets the headers of a response that must not be cached (Django's `never_cache`).
pub fn never_cache(response: &mut Response, now: DateTime<Utc>) {
    let headers = response.headers_mut();
    headers.insert(
        header::EXPIRES,
        HeaderValue::from_str(&http_date(now)).expect("a formatted date is ASCII"),
    );
    let never = HeaderValue::from_static("max-age=0, no-cache, no-store, must-revalidate, private");
    headers.insert(header::CACHE_CONTROL, never);
}

/// Redirects plain HTTP to HTTPS if `SECURE_SSL_REDIRECT` is set. Requests without an [`Origin`], such as health checks, are not
/// redirected.
///
/// # Errors
/// Those of `next`.
pub async fn require_https<E: Endpoint>(next: Arc<E>, request: Request) -> Result<Response> {
    let settings = &Core::of(&request).settings.security.headers;
    let origin = request.data::<Origin>();
    match origin.and_then(|origin| https_location(&request, origin, settings)) {
        Some(location) => Ok(redirect(StatusCode::MOVED_PERMANENTLY, &location)),
        None => Ok(next.call(request).await?.into_response()),
    }
}

/// Where a request of `origin` is redirected to, if it has to use HTTPS.
pub fn https_location(
    request: &Request,
    origin: &Origin,
    settings: &HeaderSettings,
) -> Option<String> {
    if !settings.ssl_redirect || origin.is_secure {
        return None;
    }
    let uri = request.original_uri();
    let path = uri.path().trim_start_matches('/');
    if settings
        .redirect_exempt
        .iter()
        .any(|exempt| exempt.is_match(path))
    {
        return None;
    }
    let host = settings.ssl_host.as_ref().unwrap_or(&origin.host);
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    Some(format!("https://{host}{target}"))
}

/// Allows scripts, styles and images from this site and from the origin of `STATIC_URL` only, and events from this site.
fn content_security_policy(settings: &Settings, is_embedded: bool) -> String {
    let origin = Url::parse(&settings.static_url).map(|url| url.origin().ascii_serialization());
    let origin = origin.map_or_else(|_| String::new(), |origin| format!(" {origin}"));
    let allowed = &settings.other_sites.embed_frame_ancestors;
    let ancestors = match settings.security.headers.x_frame_options {
        _ if is_embedded && !allowed.is_empty() => allowed.join(" "),
        "SAMEORIGIN" => "'self'".to_owned(),
        _ => "'none'".to_owned(),
    };
    format!(
        "default-src 'none'; script-src 'self'{origin}; style-src 'self'{origin}; img-src 'self'{origin} data:; \
         connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors {ancestors}"
    )
}

fn headers(
    settings: &Settings,
    is_embedded: bool,
    is_secure: bool,
) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let policy = content_security_policy(settings, is_embedded);
    // It cannot name other sites; browsers that do not know `frame-ancestors` are not supported in frames.
    let has_frame_options = !is_embedded || settings.other_sites.embed_frame_ancestors.is_empty();
    let settings = &settings.security.headers;
    let hsts = (is_secure && settings.hsts_seconds > 0).then(|| hsts(settings));
    [
        (
            header::X_FRAME_OPTIONS,
            has_frame_options.then(|| settings.x_frame_options.to_owned()),
        ),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            settings.content_type_nosniff.then(|| "nosniff".to_owned()),
        ),
        (header::REFERRER_POLICY, settings.referrer_policy.clone()),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            settings.cross_origin_opener_policy.clone(),
        ),
        (header::CONTENT_SECURITY_POLICY, Some(policy)),
        (header::STRICT_TRANSPORT_SECURITY, hsts),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, constant(value?)?)))
}

/// A value for the life of the process: the clones of other values share a reference count, which all threads write to.
fn constant(value: String) -> Option<HeaderValue> {
    HeaderValue::from_str(&value).ok()?;
    Some(HeaderValue::from_static(value.leak()))
}

/// The `Strict-Transport-Security` header (RFC 6797).
fn hsts(settings: &HeaderSettings) -> String {
    let mut policy = format!("max-age={}", settings.hsts_seconds);
    if settings.hsts_include_subdomains {
        policy += "; includeSubDomains";
    }
    if settings.hsts_preload {
        policy += "; preload";
    }
    policy
}
