//! The metrics, in the OpenMetrics text format (<https://prometheus.io/docs/specs/om/open_metrics_spec/>).
//! Each counter belongs to the code that counts; here they are registered.

use std::{
    fs,
    sync::{Arc, atomic::AtomicU64},
};

use poem::{
    Endpoint, EndpointExt, IntoResponse, Response, Route, handler,
    http::{StatusCode, header},
    web::Data,
};
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, gauge::Gauge, info::Info},
    registry::{Registry, Unit},
};

use super::Site;
use crate::server::Server;

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Ticks per second in `/proc` (`USER_HZ`, 100 on all of Linux's platforms that Rust knows).
const TICKS: f64 = 100.0;

/// The endpoint of the metrics.
pub fn router(site: Site, server: Server) -> impl Endpoint<Output = Response> {
    let exporter = Arc::new(Exporter::new(site, server));
    let route = Route::new().at("/metrics", poem::get(export).head(export));
    route.data(exporter).map_to_response()
}

#[handler]
fn export(Data(exporter): Data<&Arc<Exporter>>) -> Response {
    match exporter.text() {
        Ok(text) => text
            .with_header(header::CONTENT_TYPE, CONTENT_TYPE)
            .into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// All metrics, and those that are read at each scrape.
struct Exporter {
    site: Site,
    server: Server,
    registry: Registry,
    connections: Gauge,
    pool_open: Gauge,
    pool_idle: Gauge,
    page_cache: Gauge,
    memory: Gauge,
    files: Gauge,
    cpu: Counter<f64, AtomicU64>,
}

impl Exporter {
    fn new(site: Site, server: Server) -> Self {
        let mut registry = Registry::default();
        let info = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("polls_build", "The version of the program", info);
        let requests = &site.requests;
        registry.register(
            "polls_http_requests",
            "HTTP requests by method, route and status",
            requests.total.clone(),
        );
        registry.register_with_unit(
            "polls_http_request_duration",
            "Time from the head of a request until its response is ready",
            Unit::Seconds,
            requests.seconds.clone(),
        );
        registry.register(
            "polls_http_requests_in_flight",
            "HTTP requests in flight",
            requests.in_flight.clone(),
        );
        registry.register(
            "polls_connections_refused",
            "Connections and requests refused before routing, by reason",
            server.refused.clone(),
        );
        registry.register(
            "polls_page_maps",
            "Lookups in the page maps of long lists, by result",
            site.admin.page_maps.lookups().clone(),
        );
        let cache = site.core.cache.counters();
        registry.register(
            "polls_cache_in_use",
            "Whether the cache is used: 1 or 0",
            cache.in_use.clone(),
        );
        let pages = site.pages.counters();
        registry.register(
            "polls_page_cache_connected",
            "Whether changes in the database are received: 1 or 0",
            pages.connected.clone(),
        );
        registry.register(
            "polls_live_streams",
            "Open streams of live results",
            site.live.streams().clone(),
        );
        if let Some(replica) = site.core.db.replica() {
            registry.register(
                "polls_replica_in_use",
                "Whether the replica is used: 1 or 0",
                replica.in_use.clone(),
            );
            registry.register_with_unit(
                "polls_replica_lag",
                "Upper bound of the replication lag when it was last measured",
                Unit::Seconds,
                replica.lag.clone(),
            );
            registry.register(
                "polls_replica_reads",
                "Statements executed on the replica",
                replica.reads.clone(),
            );
            registry.register(
                "polls_replica_fallbacks",
                "Statements executed on the primary because the replica was not usable",
                replica.fallbacks.clone(),
            );
        }
        if let Some(servers) = site.core.db.write().server_counters() {
            registry.register(
                "polls_database_server",
                "The server of the database in use, and its timeline",
                servers.in_use.clone(),
            );
            registry.register(
                "polls_database_server_changes",
                "How often another server of the database has been used",
                servers.changes.clone(),
            );
            registry.register(
                "polls_database_servers_refused",
                "Connections refused because the server is a former primary",
                servers.stale.clone(),
            );
        }
        let (votes, database) = (site.votes.counters(), site.core.db.write().health());
        for (name, help, counter) in [
            ("polls_votes", "Votes committed", &votes.committed),
            ("polls_votes_failed", "Votes that failed", &votes.failed),
            (
                "polls_votes_unknown",
                "Votes whose commit has an unknown result",
                &votes.unknown,
            ),
            (
                "polls_vote_commits",
                "Transactions with votes committed",
                &votes.commits,
            ),
            (
                "polls_login_failures",
                "Logins with a wrong username or password",
                &site.admin.auth.counters.failed,
            ),
            (
                "polls_logins_throttled",
                "Logins refused by the throttle",
                &site.admin.auth.counters.throttled,
            ),
            (
                "polls_database_retries",
                "Statements retried after a lost connection",
                &database.retries,
            ),
            (
                "polls_database_timeouts",
                "Statements that timed out",
                &database.timeouts,
            ),
            (
                "polls_page_cache_hits",
                "Pages served from memory",
                &pages.hits,
            ),
            (
                "polls_page_cache_renders",
                "Pages rendered to be served from memory",
                &pages.renders,
            ),
            (
                "polls_cache_hits",
                "Sessions found in the cache",
                &cache.hits,
            ),
            (
                "polls_cache_misses",
                "Sessions not found in the cache",
                &cache.misses,
            ),
            (
                "polls_cache_failures",
                "Cache operations that failed or timed out",
                &cache.failures,
            ),
        ] {
            registry.register(name, help, counter.clone());
        }
        let mut gauge = |name: &str, help: &str| {
            let gauge: Gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let connections = gauge("polls_connections", "Open client connections");
        let pool_open = gauge(
            "polls_database_connections",
            "Open connections to the database",
        );
        let pool_idle = gauge(
            "polls_database_connections_idle",
            "Idle connections to the database",
        );
        let page_cache = gauge("polls_page_cache_bytes", "Size of the pages in memory");
        let memory = gauge("process_resident_memory_bytes", "Resident memory");
        let files = gauge("process_open_fds", "Open file descriptors");
        let cpu = Counter::default();
        registry.register("process_cpu_seconds", "CPU time used", cpu.clone());
        Self {
            site,
            server,
            registry,
            connections,
            pool_open,
            pool_idle,
            page_cache,
            memory,
            files,
            cpu,
        }
    }

    fn text(&self) -> Result<String, std::fmt::Error> {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.connections.set(number(self.server.connection_count()));
        let (open, idle) = self.site.core.db.write().pool_size();
        self.pool_open.set(number(open));
        self.pool_idle.set(number(idle));
        self.page_cache
            .set(i64::try_from(self.site.pages.size()).unwrap_or(i64::MAX));
        if let Some(seconds) = processor_seconds() {
            self.cpu.inc_by((seconds - self.cpu.get()).max(0.0));
        }
        self.memory.set(memory_bytes().unwrap_or_default());
        self.files
            .set(fs::read_dir("/proc/self/fd").map_or(0, |files| number(files.count())));
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// CPU time of this process (`man 5 proc_pid_stat`).
fn processor_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is a name and may hold anything, the last closing bracket ends it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    Some((ticks(14)? + ticks(15)?) / TICKS)
}

/// Resident memory of this process (`man 5 proc_pid_status`).
fn memory_bytes() -> Option<i64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: i64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}
