//! Data of a request that middleware shares: its head, its id and its route.

use std::{
    fmt,
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use poem::{
    Request,
    http::{HeaderMap, HeaderName, Method, Uri, Version},
};

/// The header of a request's id, in requests and responses.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

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

/// The head of a request, for the log and the error page.
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
    /// The client's address.
    pub address: ClientAddress,
    /// The request id, as in the log and in `X-Request-ID`.
    pub id: String,
}

impl RequestInfo {
    /// Copies a head; `id` is the request id.
    pub fn new(head: Head<'_>, id: &str) -> Self {
        Self {
            method: head.method.clone(),
            uri: head.uri.clone(),
            version: head.version,
            headers: head.headers.clone(),
            address: head.address,
            id: id.to_owned(),
        }
    }

    /// What the log shows of it.
    pub fn head(&self) -> Head<'_> {
        Head {
            method: &self.method,
            uri: &self.uri,
            version: self.version,
            headers: &self.headers,
            address: self.address,
        }
    }
}
