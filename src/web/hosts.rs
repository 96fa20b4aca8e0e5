//! Validation of a request's host against `ALLOWED_HOSTS`, as in Django's `HttpRequest.get_host`; safe redirect targets.

use std::{borrow::Cow, sync::Arc};

use poem::{
    Endpoint, Request, Result,
    http::{HeaderName, header},
};

use super::request_info::{RequestInfo, Source};
use crate::{core::Core, error::AppError, settings::SecuritySettings};

const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The scheme and the host of a request. [`validate`] sets it on every request but health checks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Whether the client uses HTTPS, to this server or to a trusted proxy.
    pub is_secure: bool,
    /// The host with the port, unless it is the scheme's default, as in the `Host` header.
    pub host: String,
}

impl Origin {
    /// The origin of a request.
    ///
    /// # Panics
    /// When [`validate`] has not set it, as on health checks.
    pub fn of(request: &Request) -> &Self {
        let origin = request.data();
        origin.expect("hosts::validate sets it on every request")
    }

    /// The absolute URL of a path of the site.
    pub fn absolute(&self, path: &str) -> String {
        format!("{}{path}", self.url())
    }

    /// `https` or `http`.
    pub fn scheme(&self) -> &'static str {
        if self.is_secure { "https" } else { "http" }
    }

    /// The URL of the site, without a slash at its end.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme(), self.host)
    }
}

/// Refuses requests for hosts that are not in `ALLOWED_HOSTS`; sets the [`Origin`] of the others as request data.
///
/// # Errors
/// [`AppError::BadRequest`] when the host is missing, ambiguous or not allowed; those of `next`.
pub async fn validate<E: Endpoint>(next: Arc<E>, mut request: Request) -> Result<E::Output> {
    let source = RequestInfo::of(&request).source;
    let origin = origin(&request, source, &Core::of(&request).settings.security)?;
    request.set_data(origin);
    next.call(request).await
}

/// The origin that a request is for.
///
/// # Errors
/// [`AppError::BadRequest`] when the host is missing, ambiguous or not allowed.
pub fn origin(
    request: &Request,
    source: Source,
    security: &SecuritySettings,
) -> Result<Origin, AppError> {
    let uses_forwarded = security.use_x_forwarded_host && source.is_from_proxy;
    let host = requested_host(request, uses_forwarded)
        .map_err(AppError::BadRequest)?
        .to_owned();
    if !is_allowed(&host, &security.allowed_hosts) {
        let reason =
            format!("Invalid HTTP_HOST header: {host}. You may need to add it to ALLOWED_HOSTS.");
        return Err(AppError::BadRequest(reason.into()));
    }
    Ok(Origin {
        is_secure: source.is_secure,
        host,
    })
}

/// The requested host: from the `Host` header, from the request target (HTTP/2's `:authority`), or from `X-Forwarded-Host` if that
/// is used. `Host` header and target must not differ.
fn requested_host(request: &Request, uses_forwarded: bool) -> Result<&str, Cow<'static, str>> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host_header = hosts.next().map(|host| host.to_str().unwrap_or_default());
    if hosts.next().is_some() {
        return Err("there are several Host headers".into());
    }
    let target = request
        .original_uri()
        .authority()
        .map(|authority| authority.as_str());
    let host = match (host_header, target) {
        (Some(host), Some(target)) if !host.eq_ignore_ascii_case(target) => {
            return Err("the Host header and the request target have different hosts".into());
        }
        (Some(host), _) | (None, Some(host)) => host,
        (None, None) => "",
    };
    let forwarded = uses_forwarded.then(|| request.header(X_FORWARDED_HOST));
    let forwarded = forwarded.flatten();
    Ok(forwarded.map_or(host, str::trim))
}

/// The maximum length of a redirect target, in bytes: no page of this site sends a longer one.
pub const MAX_REDIRECT_LENGTH: usize = 2048;

/// Whether a URL of at most [`MAX_REDIRECT_LENGTH`] bytes is on this site (Django's `url_has_allowed_host_and_scheme`). Browsers treat
/// backslashes as slashes, skip control characters, and parse what follows a leading `//` as a host.
pub fn is_allowed_redirect(address: &str, own: &Origin) -> bool {
    let has_unsafe_chars = address.starts_with(char::is_whitespace)
        || address.chars().any(|c| c.is_control() || c == '\\');
    if address.is_empty() || address.len() > MAX_REDIRECT_LENGTH || has_unsafe_chars {
        return false;
    }
    match address.strip_prefix('/') {
        Some(rest) => !rest.starts_with('/'),
        None => url::Url::parse(address).is_ok_and(|url| {
            let own = url::Url::parse(&format!("{}://{}", own.scheme(), own.host));
            address.contains("://") && own.is_ok_and(|own| own.origin() == url.origin())
        }),
    }
}

fn is_allowed(host: &str, allowed: &[String]) -> bool {
    let Some(domain) = domain(host) else {
        return false;
    };
    allowed.iter().any(|pattern| {
        pattern == "*"
            || match pattern.strip_prefix('.') {
                Some(parent) => {
                    let start = domain.len().checked_sub(parent.len());
                    let parts = start.and_then(|start| domain.split_at_checked(start));
                    parts.is_some_and(|(child, rest)| {
                        rest.eq_ignore_ascii_case(parent)
                            && (child.is_empty() || child.ends_with('.'))
                    })
                }
                None => pattern.eq_ignore_ascii_case(domain),
            }
    })
}

/// The host in a `Host` header, without the port; `None` when it is malformed.
fn domain(host: &str) -> Option<&str> {
    let (domain, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            let is_address = address.contains(':')
                && address
                    .chars()
                    .all(|c| c.is_ascii_hexdigit() || ":.".contains(c));
            let domain = &host[..address.len() + "[]".len()];
            (is_address.then_some(domain)?, port)
        }
        None => {
            let (name, port) = host.split_at(host.find(':').unwrap_or(host.len()));
            let is_name = name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || ".-".contains(c));
            ((is_name && !name.is_empty()).then_some(name)?, port)
        }
    };
    let is_port = |port: &str| !port.is_empty() && port.chars().all(|c| c.is_ascii_digit());
    let has_good_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
    has_good_port.then(|| domain.strip_suffix('.').unwrap_or(domain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_matched_as_django_matches_them() {
        let allowed = ["example.com", ".example.org", "[::1]", "127.0.0.1"].map(str::to_owned);
        for host in [
            "example.com",
            "EXAMPLE.com:80",
            "example.com.",
            "example.org",
            "a.b.example.org",
            "[::1]:8000",
        ] {
            assert!(is_allowed(host, &allowed), "{host}");
        }
        for host in [
            "",
            "evil.com",
            "www.example.com",
            "badexample.org",
            "example.com:x",
            "example.com:",
            "a b",
            "[::1",
        ] {
            assert!(!is_allowed(host, &allowed), "{host}");
        }
        let own = Origin {
            is_secure: true,
            host: "example.com".to_owned(),
        };
        for address in [
            "/",
            "/admin/?q=//x",
            "https://example.com/admin/",
            "https://example.com:443/",
        ] {
            assert!(is_allowed_redirect(address, &own), "{address}");
        }
        for address in [
            "",
            "//evil.com",
            "/\\evil.com",
            "\\\\evil.com",
            "///evil.com",
            "https://evil.com",
            "http://example.com/",
            "https:evil.com",
            "javascript:alert(1)",
            " /",
            "/\n/evil.com",
            "https://example.com@evil.com/",
            "evil",
        ] {
            assert!(!is_allowed_redirect(address, &own), "{address}");
        }
        assert!(is_allowed("anything.test", &["*".to_owned()]));
        assert!(!is_allowed("any thing/", &["*".to_owned()]));
    }
}
