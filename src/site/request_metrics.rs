//! How many requests were answered, how, and in what time.

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
/// What tells requests apart: few values each, whatever clients send.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    method: &'static str,
    route: Arc<str>,
    status: u16,
}

/// What tells times apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RouteLabels {
    route: Arc<str>,
}

/// The requests' own metrics.
#[derive(Debug, Clone)]
pub struct RequestMetrics {
    /// Answered requests.
    pub total: Family<RequestLabels, Counter>,
    /// The time from a request to its answer, in seconds.
    pub seconds: Family<RouteLabels, Histogram, fn() -> Histogram>,
    /// Requests that are being answered.
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
    /// Counts a request in; it is counted out when what is returned is dropped, answered or not.
    pub fn begin(&self) -> RequestInFlight {
        self.in_flight.inc();
        RequestInFlight(self.in_flight.clone())
    }

    /// Counts an answer.
    pub fn answered(&self, method: &Method, route: &Arc<str>, status: StatusCode, took: Duration) {
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

/// A request that is being answered.
#[derive(Debug)]
pub struct RequestInFlight(Gauge);

impl Drop for RequestInFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A method, if it is one of the usual: clients may make up any number.
fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
