//! The listening side: connections, their limits, and the end.
//!
//! Poem's endpoint is served from this loop and not by poem's own server, which has no time limit for request headers,
//! no limit on connections, and spins when it runs out of file descriptors.

mod admission;
mod body;
mod closing;
mod connections;
pub mod fault;
pub mod framing;
mod guard;
mod http2;
mod in_flight;
pub mod listen;
pub mod proxy;
mod stream;
mod timeouts;
pub mod tls;
mod visit;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ipnet::IpNet;
use poem::{
    Endpoint, Response,
    http::{HeaderMap, uri::Scheme},
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
};
use tokio::sync::Semaphore;
use tokio_util::{bytes::BytesMut, sync::CancellationToken, task::TaskTracker};

use self::{
    admission::{Admission, Admitted, OfConnection, Queue},
    closing::{lingering_close, write_at_once},
    connections::{Connections, Place},
    fault::Fault,
    listen::Listener,
    stream::Stream,
    tls::Tls,
    visit::{Sender, Visit},
};
use crate::{
    network::{client_network, forwarded_client, is_trusted},
    settings::{Live, ServerSettings},
};

/// When no connection can be accepted (no file descriptors are left, say), trying again at once would not help.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a visitor waits at the door while others make room: so often, for so long.
const ROOM_TRIES: usize = 20;
const ROOM_PAUSE: Duration = Duration::from_millis(5);

/// How many connections of HTTP/1 may keep their parser between requests, for each request that is being answered.
const PARSERS_FACTOR: usize = 4;

/// Marks the requests of a connection whose PROXY header announced no client (`UNKNOWN`, `LOCAL`): nothing is known of who
/// sent them, and their forwarding headers do not count.
#[derive(Debug, Clone, Copy)]
pub struct Unannounced;

/// What was refused, by reason.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RefusedLabels {
    reason: &'static str,
}

/// A server, shared by all connections.
#[derive(Debug, Clone)]
pub struct Server {
    settings: Live<ServerSettings>,
    trusted_proxies: Vec<IpNet>,
    tls: Option<Tls>,
    /// Whether proxies stand before it.
    has_proxies: bool,
    draining: CancellationToken,
    stopping: CancellationToken,
    connections: Connections,
    admission: Admission,
    /// Connections of HTTP/1 that may keep their parser while they wait for the next request.
    parsers: Arc<Semaphore>,
    /// Paths of health checks, which are answered however many requests there are.
    probes: &'static [&'static str],
    tasks: TaskTracker,
    /// How many connections and requests were refused before there was anything to answer.
    pub refused: Family<RefusedLabels, Counter>,
}

impl Server {
    /// A server whose settings may change while it runs. `probes` are the paths of health checks; `draining` says when it
    /// begins to end.
    pub fn new(
        settings: Live<ServerSettings>,
        trusted_proxies: Vec<IpNet>,
        tls: Option<Tls>,
        probes: &'static [&'static str],
        draining: CancellationToken,
    ) -> Self {
        let max_slots = settings.get().max_requests_in_flight;
        let max_parsers = max_slots.saturating_mul(PARSERS_FACTOR);
        Self {
            admission: Admission::new(max_slots),
            parsers: Arc::new(Semaphore::new(max_parsers.min(Semaphore::MAX_PERMITS))),
            probes,
            settings,
            trusted_proxies,
            tls,
            has_proxies: true,
            draining,
            stopping: CancellationToken::new(),
            connections: Connections::default(),
            tasks: TaskTracker::new(),
            refused: Family::default(),
        }
    }

    /// A server with the same settings for those who watch: it speaks plain HTTP, has visitors of its own, and goes on
    /// until the process ends.
    #[must_use]
    pub fn for_watchers(&self) -> Self {
        let (settings, proxies) = (self.settings.clone(), self.trusted_proxies.clone());
        Self {
            has_proxies: false,
            ..Self::new(settings, proxies, None, &[], CancellationToken::new())
        }
    }

    /// How many are connected.
    pub fn connection_count(&self) -> usize {
        self.connections.count()
    }

    /// Serves `site` until the server is told to end and has done so: it goes on for `shutdown_delay`, takes those who
    /// have connected by then, and finishes what is in flight, for `graceful_timeout` at most.
    pub async fn serve(
        &self,
        listeners: Vec<Listener>,
        site: impl Endpoint<Output = Response> + 'static,
    ) {
        let (site, max_files) = (Arc::new(site), raise_file_limit());
        let accepting: Vec<_> = listeners
            .into_iter()
            .map(|listener| tokio::spawn(self.clone().accept(listener, site.clone(), max_files)))
            .collect();
        self.draining.cancelled().await;
        tokio::time::sleep(self.settings.get().shutdown_delay).await;
        self.stopping.cancel();
        for task in accepting {
            let _ = task.await;
        }
        self.tasks.close();
        let most = self.settings.get().graceful_timeout;
        if tokio::time::timeout(most, self.tasks.wait()).await.is_err() {
            tracing::warn!(
                "some requests were still in flight after {} s and were cut off",
                most.as_secs()
            );
        }
    }

    async fn accept<E: Endpoint<Output = Response> + 'static>(
        self,
        listener: Listener,
        site: Arc<E>,
        max_files: usize,
    ) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.stopping.cancelled() => break,
            };
            match accepted {
                Ok(stream) => self.take(stream, &site, max_files).await,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        // Who is connected already has been promised an answer.
        for stream in listener.close() {
            self.take(stream, &site, max_files).await;
        }
    }

    async fn take<E: Endpoint<Output = Response> + 'static>(
        &self,
        mut stream: Stream,
        site: &Arc<E>,
        max_files: usize,
    ) {
        let most = self.settings.get().max_connections.min(max_files);
        let mut entered = self.connections.enter(most);
        // Those who make room need a moment.
        for _ in 0..ROOM_TRIES {
            if entered.is_ok() || !self.connections.has_leavers() {
                break;
            }
            tokio::time::sleep(ROOM_PAUSE).await;
            entered = self.connections.enter(most);
        }
        match entered {
            Ok(place) => {
                let server = self.clone();
                let site = site.clone();
                self.tasks
                    .spawn(async move { server.connection(stream, place, site).await });
            }
            Err(fault) => {
                // Not even a task can be spared.
                self.note(fault, stream.peer());
                // A client of TLS could not read it.
                if self.tls.is_none() {
                    write_at_once(&mut stream, fault);
                }
            }
        }
    }

    /// Counts and logs a refusal.
    fn note(&self, fault: Fault, peer: Option<SocketAddr>) {
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

    async fn connection<E: Endpoint<Output = Response> + 'static>(
        self,
        mut stream: Stream,
        place: Place,
        site: Arc<E>,
    ) {
        let settings = self.settings.get();
        let mut peer = stream.peer();
        let mut is_unannounced = false;
        let opening = async {
            let mut waiting = BytesMut::new();
            if self.has_proxies && settings.proxy_protocol && self.is_trusted(peer) {
                let announced = proxy::read_header(&mut stream, &mut waiting).await?;
                is_unannounced = announced.is_none();
                peer = announced.or(peer);
            }
            if let Some(peer) = peer
                && !self.is_trusted(Some(peer))
            {
                place.count_address(
                    client_network(peer.ip()),
                    settings.max_connections_per_address,
                )?;
            }
            stream.unread(waiting);
            Ok(())
        };
        let opened = tokio::select! {
            opened = tokio::time::timeout(settings.header_timeout, opening) => opened,
            () = place.closing().cancelled() => return,
        };
        match opened {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => {
                self.note(fault, peer);
                // Who has not begun with TLS could not read it.
                if self.tls.is_none() {
                    lingering_close(&mut stream, Some(fault)).await;
                }
                return;
            }
            Err(_) => return self.note(Fault::HeadTooSlow, peer),
        }
        let visit = Visit {
            server: self,
            settings,
            place,
            site,
            from: Sender {
                peer,
                is_unannounced,
                queue: Queue::default(),
            },
            local: stream.local(),
        };
        match &visit.server.tls {
            None => Box::pin(visit.serve(stream, Scheme::HTTP)).await,
            Some(tls) => {
                let handshake = Box::pin(tls.acceptor().accept(stream));
                let handshake = tokio::select! {
                    done = tokio::time::timeout(visit.settings.header_timeout, handshake) => done,
                    () = visit.place.closing().cancelled() => return,
                };
                match handshake {
                    Ok(Ok(stream)) => {
                        Box::pin(visit.serve(stream, Scheme::HTTPS)).await;
                    }
                    Ok(Err(error)) => {
                        tracing::debug!(peer = ?visit.from.peer, %error, "TLS could not begin");
                    }
                    Err(_) => visit.server.note(Fault::HeadTooSlow, visit.from.peer),
                }
            }
        }
    }

    /// Counts a request in, given its path and fields, and how many the connection has, this one included.
    fn admit(
        &self,
        path: &str,
        headers: &HeaderMap,
        from: &Sender,
        of_connection: usize,
    ) -> Result<Admitted, Fault> {
        let peer = from.peer.map(|peer| peer.ip().to_canonical());
        let client = if self.is_trusted(from.peer) && !from.is_unannounced {
            forwarded_client(peer, headers, &self.trusted_proxies)
        } else {
            peer
        };
        let connection = (client == peer).then_some(OfConnection {
            in_flight: of_connection,
            queue: &from.queue,
        });
        // A proxy that does not forward addresses sends the requests of many.
        let client = client.filter(|client| !is_trusted(*client, &self.trusted_proxies));
        let network = client.map(client_network);
        if self.probes.contains(&path) {
            self.admission.enter_probe(network)
        } else {
            self.admission.enter(network, connection)
        }
    }

    /// Whether an address is a proxy's that we trust. A Unix socket is open to this machine only.
    fn is_trusted(&self, peer: Option<SocketAddr>) -> bool {
        peer.is_none_or(|peer| is_trusted(peer.ip(), &self.trusted_proxies))
    }
}

/// Lets this process open as many files as it may, for connections; gives how many connections that allows.
fn raise_file_limit() -> usize {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    /// For the database, the log and all else.
    const OTHERS: u64 = 256;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return usize::MAX;
    };
    let limit = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    };
    usize::try_from(limit.saturating_sub(OTHERS).max(limit / 2)).unwrap_or(usize::MAX)
}
