//! Data of a request that middleware shares: its head, its id and its route.

use std::sync::{Arc, OnceLock};

use poem::{
    Request,
    http::{HeaderMap, Method, Uri, Version},
};

use super::hosts;
use crate::settings::SecuritySettings;

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
    /// The client's IP address, or `-` if it is not known.
    pub address: String,
    /// The request id, as in the log and in `X-Request-ID`.
    pub id: String,
}

impl RequestInfo {
    /// Copies the head of `request`; `id` is the request id.
    pub fn new(request: &Request, security: &SecuritySettings, id: &str) -> Self {
        Self {
            method: request.method().clone(),
            uri: request.original_uri().clone(),
            version: request.version(),
            headers: request.headers().clone(),
            address: hosts::client_address(request, security)
                .map_or_else(|| "-".to_owned(), |address| address.to_string()),
            id: id.to_owned(),
        }
    }

    /// Path and query.
    pub fn target(&self) -> &str {
        let target = self.uri.path_and_query();
        target.map(|target| target.as_str()).unwrap_or_default()
    }
}
