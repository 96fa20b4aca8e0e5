//! The metrics of requests: counts, durations, requests in flight.

use std::{sync::Arc, time::Duration};

use poem::http::{Method, StatusCode};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
};

/// Seconds: a page from the database takes about one thousandth, a password's hash about a quarter.
const BUCKETS: [f64; 13] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];
/// The labels of requests: few values each, whatever clients send.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    method: &'static str,
    route: Arc<str>,
    status: u16,
}

/// The labels of durations.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RouteLabels {
    route: Arc<str>,
}

/// The requests' own metrics.
#[derive(Debug, Clone)]
pub struct RequestMetrics {
    /// Requests with a response.
    pub total: Family<RequestLabels, Counter>,
    /// The time from a request to its response, in seconds.
    pub seconds: Family<RouteLabels, Histogram, fn() -> Histogram>,
    /// Requests in flight.
    pub in_flight: Gauge,
}

impl Default for RequestMetrics {
    fn default() -> Self {
        Self {
            total: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            in_flight: Gauge::default(),
        }
    }
}

impl RequestMetrics {
    /// Counts a request in flight until what is returned is dropped.
    pub fn begin(&self) -> RequestInFlight {
        self.in_flight.inc();
        RequestInFlight(self.in_flight.clone())
    }

    /// The metrics of a route.
    pub fn of_route(&self, route: &str) -> RouteMetrics {
        let route: Arc<str> = route.into();
        let labels = RequestLabels {
            method: "GET",
            route: route.clone(),
            status: StatusCode::OK.as_u16(),
        };
        let of_route = RouteLabels {
            route: route.clone(),
        };
        RouteMetrics {
            ok: self.total.get_or_create(&labels).clone(),
            seconds: self.seconds.get_or_create(&of_route).clone(),
            route,
            all: self.clone(),
        }
    }

    /// Counts a response.
    pub fn observe(&self, method: &Method, route: &Arc<str>, status: StatusCode, took: Duration) {
        let labels = RequestLabels {
            method: known_method(method),
            route: route.clone(),
            status: status.as_u16(),
        };
        self.total.get_or_create(&labels).inc();
        let labels = RouteLabels {
            route: route.clone(),
        };
        self.seconds
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
    }
}

/// The metrics of one route of public pages, looked up once.
#[derive(Debug)]
pub struct RouteMetrics {
    route: Arc<str>,
    /// Of `GET` with the status 200.
    ok: Counter,
    seconds: Histogram,
    all: RequestMetrics,
}

impl RouteMetrics {
    /// The pattern of the route.
    pub fn route(&self) -> &str {
        &self.route
    }

    /// Counts a response.
    pub fn observe(&self, method: &Method, status: StatusCode, took: Duration) {
        if *method == Method::GET && status == StatusCode::OK {
            self.ok.inc();
            self.seconds.observe(took.as_secs_f64());
        } else {
            self.all.observe(method, &self.route, status, took);
        }
    }
}

/// A request in flight.
#[derive(Debug)]
pub struct RequestInFlight(Gauge);

impl Drop for RequestInFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The label of a method: clients may send any number of others.
fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
