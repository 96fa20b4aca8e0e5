//! The state that all connections of a server share.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::AtomicBool},
};

use ipnet::IpNet;
use poem::http::HeaderMap;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    admission::{Admission, Admitted, OfConnection, Queue},
    connections::Connections,
    fault::Fault,
    memory::Memory,
    tls::Tls,
};
use crate::{
    network::{client_network, forwarded_client, is_trusted},
    settings::{Live, ServerSettings},
};

/// Connections of HTTP/1 that may keep hyper's buffers between requests, for each slot.
const BUFFERS_FACTOR: usize = 4;

/// The client of a connection.
#[derive(Debug, Clone)]
pub struct Client {
    /// The peer's address, or the one that a PROXY header announces; none on a Unix socket.
    pub peer: Option<SocketAddr>,
    /// Whether a PROXY header announced none.
    pub is_unannounced: bool,
    /// The queue of its requests that wait for a slot.
    pub queue: Queue,
}

/// The metrics' label of refusals.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RefusedLabels {
    reason: &'static str,
}

/// A server, shared by all connections.
#[derive(Debug, Clone)]
pub struct Server {
    /// The settings in effect.
    pub(super) settings: Live<ServerSettings>,
    /// The networks of the proxies whose forwarding headers are trusted.
    pub(super) trusted_proxies: Vec<IpNet>,
    /// The certificate, if the server speaks TLS.
    pub(super) tls: Option<Tls>,
    /// Whether trusted proxies send a PROXY header.
    pub(super) has_proxies: bool,
    /// Cancelled when the shutdown begins: connections are still accepted.
    pub(super) draining: CancellationToken,
    /// Whether `draining` has been cancelled, for each response: the token has a lock that all connections would take.
    pub(super) is_draining: Arc<AtomicBool>,
    /// Cancelled when no more connections and requests are accepted.
    pub(super) stopping: CancellationToken,
    /// The open connections.
    pub(super) connections: Connections,
    /// The slots of requests in flight and the queues for them.
    pub(super) admission: Admission,
    /// The bound on the memory of heads and unsent responses.
    pub(super) memory: Memory,
    /// Connections of HTTP/1 that may keep hyper's buffers while they wait for the next request.
    pub(super) buffers: Arc<Semaphore>,
    /// Paths of health checks, which have their own limit.
    pub(super) probes: &'static [&'static str],
    /// The tasks that serve connections.
    pub(super) tasks: TaskTracker,
    /// Connections and requests refused before routing.
    pub refused: Family<RefusedLabels, Counter>,
}

impl Server {
    /// A server whose settings may be reloaded. `probes` are the paths of health checks; `draining` is cancelled when the
    /// shutdown begins.
    pub fn new(
        settings: Live<ServerSettings>,
        trusted_proxies: Vec<IpNet>,
        tls: Option<Tls>,
        probes: &'static [&'static str],
        draining: CancellationToken,
    ) -> Self {
        let max_slots = settings.get().max_requests_in_flight;
        let max_buffers = max_slots.saturating_mul(BUFFERS_FACTOR);
        Self {
            admission: Admission::new(max_slots),
            memory: Memory::default(),
            buffers: Arc::new(Semaphore::new(max_buffers.min(Semaphore::MAX_PERMITS))),
            probes,
            settings,
            trusted_proxies,
            tls,
            has_proxies: true,
            draining,
            is_draining: Arc::default(),
            stopping: CancellationToken::new(),
            connections: Connections::default(),
            tasks: TaskTracker::new(),
            refused: Family::default(),
        }
    }

    /// Another server with the same settings, for the metrics: without TLS, and not stopped before the process ends.
    #[must_use]
    pub fn for_metrics(&self) -> Self {
        let (settings, proxies) = (self.settings.clone(), self.trusted_proxies.clone());
        Self {
            has_proxies: false,
            ..Self::new(settings, proxies, None, &[], CancellationToken::new())
        }
    }

    /// The number of open connections.
    pub fn connection_count(&self) -> usize {
        self.connections.count()
    }

    /// Counts and logs a refusal.
    pub fn count_refusal(&self, fault: Fault, peer: Option<SocketAddr>) {
        self.refused
            .get_or_create(&RefusedLabels {
                reason: fault.name(),
            })
            .inc();
        let address = peer.map_or_else(
            || "-".to_owned(),
            |peer| peer.ip().to_canonical().to_string(),
        );
        tracing::info!(target: "access", "{address} refused: {fault}");
    }

    /// Admits a request with the memory of its head, given its path and fields, the size of the head in bytes, and the number
    /// of requests on the connection, this one included.
    ///
    /// # Errors
    /// [`Fault::Busy`] when too many requests are in flight or wait, or too much memory is reserved, in all or by this client.
    pub fn admit(
        &self,
        path: &str,
        headers: &HeaderMap,
        client: &Client,
        head_size: usize,
        of_connection: usize,
    ) -> Result<Admitted, Fault> {
        let peer = client.peer.map(|peer| peer.ip().to_canonical());
        let address = if self.is_trusted(client.peer) && !client.is_unannounced {
            forwarded_client(peer, headers, &self.trusted_proxies)
        } else {
            peer
        };
        let connection = (address == peer).then_some(OfConnection {
            in_flight: of_connection,
            queue: &client.queue,
        });
        // Requests of a proxy that does not forward addresses come from many clients.
        let address = address.filter(|address| !is_trusted(*address, &self.trusted_proxies));
        let network = address.map(client_network);
        let mut admitted = if self.probes.contains(&path) {
            self.admission.admit_probe(network)?
        } else {
            self.admission.admit(network, connection)?
        };
        admitted.head = self.memory.reserve(network, head_size)?;
        Ok(admitted)
    }

    /// The network whose memory a connection counts for; none for a trusted proxy, whose clients are known by their requests.
    pub fn network_of(&self, client: &Client) -> Option<IpAddr> {
        let peer = client.peer.filter(|peer| !self.is_trusted(Some(*peer)));
        peer.map(|peer| client_network(peer.ip()))
    }

    /// Whether an address is a trusted proxy's. A Unix socket is reachable from this machine only.
    pub fn is_trusted(&self, peer: Option<SocketAddr>) -> bool {
        peer.is_none_or(|peer| is_trusted(peer.ip(), &self.trusted_proxies))
    }
}
