//! Data of a request that middleware shares: where it comes from, its head, its id and its route.

use std::{
    fmt,
    net::IpAddr,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use poem::{
    Request,
    http::{HeaderMap, HeaderName, Method, Uri, Version, uri::Scheme},
};

use crate::{
    network::{UnknownClient, forwarded_client, is_trusted},
    settings::SecuritySettings,
};

/// The header of a request's id, in requests and responses.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The route pattern of a request, empty until the request reaches a route.
#[derive(Debug, Clone, Default)]
pub struct RouteName(Arc<OnceLock<Arc<str>>>);

impl RouteName {
    /// Sets the route of a request; called by the route.
    pub fn set(request: &Request, route: &Arc<str>) {
        if let Some(name) = request.data::<Self>() {
            // It is set once per request.
            let _ = name.0.set(route.clone());
        }
    }

    /// The route, if the request has reached one.
    pub fn get(&self) -> Option<&Arc<str>> {
        self.0.get()
    }
}

/// A client's IP address, shown as `-` if it is not known.
#[derive(Debug, Clone, Copy)]
pub struct ClientAddress(pub Option<IpAddr>);

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => write!(f, "{address}"),
            None => f.write_str("-"),
        }
    }
}

/// Where a request comes from.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    /// The client: the peer, or what a trusted proxy forwards.
    pub address: ClientAddress,
    /// Whether it was forwarded by a trusted proxy, so that its `X-Forwarded-*` headers are used. The peer of a Unix socket is
    /// trusted: only processes of this machine can connect to it.
    pub is_from_proxy: bool,
    /// Whether the client uses HTTPS, to this server or to the proxy.
    pub is_secure: bool,
}

impl Source {
    /// The source of `request`.
    pub fn of(request: &Request, security: &SecuritySettings) -> Self {
        let peer = request.remote_addr().as_socket_addr();
        let peer = peer.map(|peer| peer.ip().to_canonical());
        let proxies = &security.trusted_proxies;
        let is_from_proxy = request.data::<UnknownClient>().is_none()
            && peer.is_none_or(|peer| is_trusted(peer, proxies));
        let (client, schemes) = if is_from_proxy {
            let client = forwarded_client(peer, request.headers(), proxies);
            (client, request.header(X_FORWARDED_PROTO))
        } else {
            (peer, None)
        };
        Self {
            address: ClientAddress(client),
            is_from_proxy,
            is_secure: match schemes {
                // Each proxy appends the scheme of its request; the first is the client's.
                Some(schemes) => schemes.split(',').next().map(str::trim) == Some("https"),
                None => *request.scheme() == Scheme::HTTPS,
            },
        }
    }
}

/// What the log shows of a request.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// The method.
    pub method: &'a Method,
    /// The request target, as received.
    pub uri: &'a Uri,
    /// The HTTP version.
    pub version: Version,
    /// All header fields.
    pub headers: &'a HeaderMap,
    /// The client's address.
    pub address: ClientAddress,
}

impl<'a> Head<'a> {
    /// The head of `request`.
    pub fn of(request: &'a Request, address: ClientAddress) -> Self {
        Self {
            method: request.method(),
            uri: request.original_uri(),
            version: request.version(),
            headers: request.headers(),
            address,
        }
    }

    /// Path and query.
    pub fn target(&self) -> &'a str {
        let target = self.uri.path_and_query();
        target.map(|target| target.as_str()).unwrap_or_default()
    }
}

/// A request as it was received. Request data of every request that no page in memory answers.
#[derive(Debug)]
pub struct RequestInfo {
    /// The method.
    pub method: Method,
    /// The request target, as received.
    pub uri: Uri,
    /// The HTTP version.
    pub version: Version,
    /// All header fields.
    pub headers: HeaderMap,
    /// Where it comes from.
    pub source: Source,
    /// The request id, as in the log and in `X-Request-ID`.
    pub id: String,
    /// When the site began to handle it.
    pub received: Instant,
}

impl RequestInfo {
    /// Copies the head of `request`, which was received at a time; `id` is the request id.
    pub fn new(request: &Request, source: Source, id: &str, received: Instant) -> Self {
        let head = Head::of(request, source.address);
        Self {
            method: head.method.clone(),
            uri: head.uri.clone(),
            version: head.version,
            headers: head.headers.clone(),
            source,
            id: id.to_owned(),
            received,
        }
    }

    /// The moment at which `timeout` will have passed since it was received.
    pub fn deadline(&self, timeout: Duration) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.received) + timeout
    }

    /// The client's address, if it is known.
    pub fn client_address(request: &Request) -> Option<IpAddr> {
        Self::of(request).source.address.0
    }

    /// The info of `request`.
    ///
    /// # Panics
    /// When it is not set: the outermost endpoint sets it.
    pub fn of(request: &Request) -> &Arc<Self> {
        request
            .data::<Arc<Self>>()
            .expect("the outermost endpoint sets it")
    }

    /// What the log shows of it.
    pub fn head(&self) -> Head<'_> {
        Head {
            method: &self.method,
            uri: &self.uri,
            version: self.version,
            headers: &self.headers,
            address: self.source.address,
        }
    }
}
