//! The HTTP server: listeners, connections, limits, shutdown.
//!
//! Poem's endpoint is served from this loop and not by poem's own server, which has no time limit for request headers,
//! no limit on connections, and spins when it runs out of file descriptors.

mod admission;
mod body;
mod closing;
mod connection;
mod connections;
mod event_stream;
pub mod fault;
pub mod framing;
mod guard;
mod http2;
mod in_flight;
pub mod listen;
mod memory;
pub mod proxy;
mod service;
mod state;
mod stream;
mod timeouts;
pub mod tls;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use poem::{Endpoint, Response, http::uri::Scheme};
use tokio_util::bytes::BytesMut;

pub use self::state::Server;
use self::{
    admission::Queue,
    closing::{lingering_close, try_write_response},
    connection::Connection,
    connections::ConnectionSlot,
    fault::Fault,
    listen::Listener,
    state::Client,
    stream::Stream,
};
use crate::network::client_network;

/// The pause when no connection can be accepted, for example because no file descriptors are left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How often, and for how long each time, a new connection waits for others that are being closed.
const ROOM_TRIES: usize = 20;
const ROOM_PAUSE: Duration = Duration::from_millis(5);

impl Server {
    /// Serves `site` until the server has shut down: it accepts connections for `shutdown_delay`, then those of the backlog,
    /// and finishes the requests in flight, for `graceful_timeout` at most.
    pub async fn serve(
        &self,
        listeners: Vec<Listener>,
        site: impl Endpoint<Output = Response> + 'static,
    ) {
        let (server, site) = (Arc::new(self.clone()), Arc::new(site));
        let max_files = raise_file_limit();
        let accepting: Vec<_> = listeners
            .into_iter()
            .map(|listener| tokio::spawn(server.clone().accept(listener, site.clone(), max_files)))
            .collect();
        self.draining.cancelled().await;
        self.is_draining.store(true, Ordering::Relaxed);
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
        self: Arc<Self>,
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
                Ok(stream) => self.spawn_connection(stream, &site, max_files).await,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        // Connections in the backlog count as accepted: their clients are connected already.
        for stream in listener.close() {
            self.spawn_connection(stream, &site, max_files).await;
        }
    }

    async fn spawn_connection<E: Endpoint<Output = Response> + 'static>(
        self: &Arc<Self>,
        mut stream: Stream,
        site: &Arc<E>,
        max_files: usize,
    ) {
        let most = self.settings.get().max_connections.min(max_files);
        let mut acquired = self.connections.acquire(most, &self.stopping);
        // The connections that are being closed need a moment.
        for _ in 0..ROOM_TRIES {
            if acquired.is_ok() || !self.connections.has_closing() {
                break;
            }
            tokio::time::sleep(ROOM_PAUSE).await;
            acquired = self.connections.acquire(most, &self.stopping);
        }
        match acquired {
            Ok(slot) => {
                let server = self.clone();
                let site = site.clone();
                self.tasks
                    .spawn(async move { server.connection(stream, slot, site).await });
            }
            Err(fault) => {
                // Without a task: there are too many.
                self.count_refusal(fault, stream.peer());
                // A TLS client could not read it.
                if self.tls.is_none() {
                    try_write_response(&mut stream, fault);
                }
            }
        }
    }

    async fn connection<E: Endpoint<Output = Response> + 'static>(
        self: Arc<Self>,
        mut stream: Stream,
        slot: ConnectionSlot,
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
                slot.count_address(
                    client_network(peer.ip()),
                    settings.max_connections_per_address,
                )?;
            }
            stream.unread(waiting);
            Ok(())
        };
        let opened = tokio::select! {
            opened = tokio::time::timeout(settings.header_timeout, opening) => opened,
            () = slot.evicted().cancelled() => return,
        };
        match opened {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => {
                self.count_refusal(fault, peer);
                // Before the TLS handshake a client could not read it.
                if self.tls.is_none() {
                    lingering_close(&mut stream, Some(fault)).await;
                }
                return;
            }
            Err(_) => return self.count_refusal(Fault::HeadTooSlow, peer),
        }
        let connection = Connection {
            server: self,
            settings,
            slot,
            site,
            client: Client {
                peer,
                is_unannounced,
                queue: Queue::default(),
            },
            local: stream.local(),
        };
        match &connection.server.tls {
            None => Box::pin(connection.serve(stream, Scheme::HTTP)).await,
            Some(tls) => {
                let handshake = Box::pin(tls.acceptor().accept(stream));
                let handshake = tokio::select! {
                    done = tokio::time::timeout(connection.settings.header_timeout, handshake) => done,
                    () = connection.slot.evicted().cancelled() => return,
                };
                match handshake {
                    Ok(Ok(stream)) => {
                        Box::pin(connection.serve(stream, Scheme::HTTPS)).await;
                    }
                    Ok(Err(error)) => {
                        tracing::debug!(peer = ?connection.client.peer, %error, "TLS could not begin");
                    }
                    Err(_) => connection
                        .server
                        .count_refusal(Fault::HeadTooSlow, connection.client.peer),
                }
            }
        }
    }
}

/// Raises the process's soft limit of open files to the hard limit; gives the number of connections that it allows.
fn raise_file_limit() -> usize {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    /// File descriptors for the database, the log and all else.
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
