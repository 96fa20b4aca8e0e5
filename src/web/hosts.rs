//! Which names the site answers to, as Django's `HttpRequest.get_host` decides.

use std::{net::IpAddr, sync::Arc};

use poem::{Endpoint, Request, Result, http::header};

use super::{app_of, health};
use crate::{error::AppError, settings::SecuritySettings};

/// How the visitor reached us. Every request that gets to a view has one.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Whether over HTTPS, to us or to a proxy that we trust.
    pub is_secure: bool,
    /// Name and port as in the address bar.
    pub host: String,
}

impl Origin {
    /// `https` or `http`.
    pub fn scheme(&self) -> &'static str {
        if self.is_secure { "https" } else { "http" }
    }
}

/// Refuses requests for other names, and notes for all others how they came.
pub async fn validate<E: Endpoint>(next: Arc<E>, mut request: Request) -> Result<E::Output> {
    // Probes come by address, whatever the site's name.
    if health::is_probe(request.uri().path()) {
        return next.call(request).await;
    }
    let security = &app_of(&request).settings.security;
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts
        .next()
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    if hosts.next().is_some() || !is_allowed(&host, &security.allowed_hosts) {
        let reason =
            format!("Invalid HTTP_HOST header: {host}. You may need to add it to ALLOWED_HOSTS.");
        return Err(AppError::BadRequest(reason.into()).into());
    }
    let is_secure = is_secure(&request, security);
    request.set_data(Origin { is_secure, host });
    next.call(request).await
}

/// The visitor's address. On a socket for both families, IPv4 comes in IPv6's clothes, which are taken off.
pub fn peer_address(request: &Request) -> Option<IpAddr> {
    request
        .remote_addr()
        .as_socket_addr()
        .map(|address| address.ip().to_canonical())
}

/// The visitor's address, or what proxies that we trust say it is: of those in `X-Forwarded-For`, the last that is not
/// one of theirs.
pub fn client_address(request: &Request, security: &SecuritySettings) -> Option<IpAddr> {
    let mut address = peer_address(request)?;
    let headers = request.headers().get_all("x-forwarded-for").iter();
    let lists: Vec<&str> = headers.filter_map(|value| value.to_str().ok()).collect();
    for hop in lists.iter().flat_map(|list| list.split(',')).rev() {
        if !is_trusted(address, security) {
            break;
        }
        match hop.trim().parse::<IpAddr>() {
            Ok(hop) => address = hop.to_canonical(),
            // What stands before is anybody's guess.
            Err(_) => break,
        }
    }
    Some(address)
}

/// Whether an address leads nowhere but to this site (Django's `url_has_allowed_host_and_scheme`): browsers read
/// backslashes as slashes, skip control characters, and take `//` for the start of a host.
pub fn is_own_address(address: &str, own: &Origin) -> bool {
    let has_oddities = address.starts_with(char::is_whitespace)
        || address.chars().any(|c| c.is_control() || c == '\\');
    if address.is_empty() || has_oddities {
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

fn is_trusted(address: IpAddr, security: &SecuritySettings) -> bool {
    security
        .trusted_proxies
        .iter()
        .any(|network| network.contains(&address))
}

fn is_secure(request: &Request, security: &SecuritySettings) -> bool {
    peer_address(request).is_some_and(|peer| is_trusted(peer, security))
        && request.header("x-forwarded-proto") == Some("https")
}

fn is_allowed(host: &str, allowed: &[String]) -> bool {
    let Some(domain) = domain(host) else {
        return false;
    };
    allowed.iter().any(|pattern| {
        let pattern = pattern.to_ascii_lowercase();
        match pattern.strip_prefix('.') {
            Some(parent) => {
                let child = domain.strip_suffix(parent);
                child.is_some_and(|child| child.is_empty() || child.ends_with('.'))
            }
            None => pattern == "*" || pattern == domain,
        }
    })
}

/// The name in a Host header, in small letters and without port; `None` when it has characters that no name has.
fn domain(host: &str) -> Option<String> {
    let host = host.to_ascii_lowercase();
    let (domain, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            let is_address = address.contains(':')
                && address
                    .chars()
                    .all(|c| c.is_ascii_hexdigit() || ":.".contains(c));
            (is_address.then(|| format!("[{address}]"))?, port)
        }
        None => {
            let (name, port) = host.split_at(host.find(':').unwrap_or(host.len()));
            let is_name = name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || ".-".contains(c));
            (
                (is_name && !name.is_empty()).then(|| name.to_owned())?,
                port,
            )
        }
    };
    let is_port = |port: &str| !port.is_empty() && port.chars().all(|c| c.is_ascii_digit());
    let has_good_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
    has_good_port.then(|| domain.strip_suffix('.').unwrap_or(&domain).to_owned())
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
            assert!(is_own_address(address, &own), "{address}");
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
            assert!(!is_own_address(address, &own), "{address}");
        }
        assert!(is_allowed("anything.test", &["*".to_owned()]));
        assert!(!is_allowed("any thing/", &["*".to_owned()]));
    }
}
