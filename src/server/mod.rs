//! The listening side: connections, their limits, and the end.
//!
//! Poem's endpoint is served from this loop and not by poem's own server, which has no time limit for request headers,
//! no limit on connections, and spins when it runs out of file descriptors.

mod connections;
pub mod fault;
pub mod framing;
mod guard;
pub mod listen;
pub mod proxy;
pub mod tls;

use std::{
    convert::Infallible,
    future::poll_fn,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use futures_util::FutureExt as _;
use http_body_util::combinators::BoxBody;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use ipnet::IpNet;
use poem::{
    Addr, Endpoint, Request, Response,
    http::{HeaderValue, Version, header, uri::Scheme},
    web::{LocalAddr, RemoteAddr},
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::{bytes::BytesMut, sync::CancellationToken, task::TaskTracker};

use self::{
    connections::{Connections, Place},
    fault::Fault,
    framing::Limits,
    guard::{Answer, Guard, Patience, Protocol, Turn},
    listen::{Listener, Stream},
    tls::Tls,
};
use crate::settings::{Live, MAX_HEAD, ServerSettings};

/// What hyper may keep of a request's head, which the framing has measured before.
const MAX_HEADER_BYTES: usize = 2 * MAX_HEAD;
/// Requests at once on one connection of HTTP/2.
const MAX_STREAMS: u32 = 100;
/// Streams that a visitor has begun and taken back, at most, before the connection ends (CVE-2023-44487).
const MAX_RESET_STREAMS: usize = 20;
/// The largest head on HTTP/2, in bytes.
const MAX_HTTP2_HEAD: u32 = 32 * 1024;
/// When no connection can be accepted (no file descriptors are left, say), trying again at once would not help.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a visitor waits at the door while others make room: so often, for so long.
const ROOM_TRIES: usize = 20;
const ROOM_PAUSE: Duration = Duration::from_millis(5);
/// After so long without a request a connection rests.
const REST: Duration = Duration::from_secs(1);
/// When the server stops, for the first request of who has just connected.
const LAST_CALL: Duration = Duration::from_secs(1);
/// How long, and for how many bytes, a visitor is heard who has been refused: closing at once could take the answer back.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 256 * 1024;

/// An answer's body as the site makes it.
type SiteBody = BoxBody<Bytes, std::io::Error>;

/// An answer that is being made.
type Answering = Pin<Box<dyn Future<Output = hyper::Response<Answer<SiteBody>>> + Send>>;

/// The address of those who have none.
const UNIX: &str = "unix";

/// Marks requests that came from a proxy by the way they came: on a Unix socket, which is open to this machine only, or
/// behind a header of the PROXY protocol, which is taken from trusted proxies only.
#[derive(Debug, Clone, Copy)]
pub struct Proxied;

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
    tasks: TaskTracker,
    /// How many connections and requests were refused before there was anything to answer.
    pub refused: Family<RefusedLabels, Counter>,
}

impl Server {
    /// A server whose settings may change while it runs. `draining` says when it begins to end.
    pub fn new(
        settings: Live<ServerSettings>,
        trusted_proxies: Vec<IpNet>,
        tls: Option<Tls>,
        draining: CancellationToken,
    ) -> Self {
        Self {
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
            ..Self::new(settings, proxies, None, CancellationToken::new())
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
        let site = Arc::new(site);
        let accepting: Vec<_> = listeners
            .into_iter()
            .map(|listener| tokio::spawn(self.clone().accept(listener, site.clone())))
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
    ) {
        let max_files = raise_file_limit();
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
                // Not even a task can be spared: what fits into the socket's own buffer is said.
                self.note(fault, stream.peer());
                let mut context = std::task::Context::from_waker(std::task::Waker::noop());
                let _ = Pin::new(&mut stream).poll_write(&mut context, fault.answer().as_bytes());
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
        let mut is_proxied = peer.is_none();
        let local = match &stream {
            Stream::Tcp(stream, _) => stream
                .local_addr()
                .map_or(Addr::custom(UNIX, ""), Addr::from),
            Stream::Unix(_) => Addr::custom(UNIX, ""),
        };
        let opening = async {
            let mut waiting = BytesMut::new();
            if self.has_proxies && settings.proxy_protocol && self.is_trusted(peer) {
                peer = proxy::read_header(&mut stream, &mut waiting)
                    .await?
                    .or(peer);
                is_proxied = true;
            }
            if let Some(peer) = peer
                && !self.is_trusted(Some(peer))
            {
                place.count_address(
                    peer.ip().to_canonical(),
                    settings.max_connections_per_address,
                )?;
            }
            Ok(waiting)
        };
        let opened = tokio::select! {
            opened = tokio::time::timeout(settings.header_timeout, opening) => opened,
            () = place.closing().cancelled() => return,
        };
        let waiting = match opened {
            Ok(Ok(waiting)) => waiting,
            Ok(Err(fault)) => {
                self.note(fault, peer);
                // Who has not begun with TLS could not read it.
                if self.tls.is_none() {
                    say_goodbye(&mut stream, Some(fault)).await;
                }
                return;
            }
            Err(_) => return self.note(Fault::HeadTooSlow, peer),
        };
        let visit = Visit {
            server: self,
            settings,
            place,
            site,
            peer,
            is_proxied,
            local,
        };
        match &visit.server.tls {
            None => Box::pin(visit.serve(stream, waiting, Scheme::HTTP)).await,
            Some(tls) => {
                let stream = Rewound { waiting, stream };
                let handshake = Box::pin(tls.acceptor().accept(stream));
                let handshake = tokio::select! {
                    done = tokio::time::timeout(visit.settings.header_timeout, handshake) => done,
                    () = visit.place.closing().cancelled() => return,
                };
                match handshake {
                    Ok(Ok(stream)) => {
                        Box::pin(visit.serve(stream, BytesMut::new(), Scheme::HTTPS)).await;
                    }
                    Ok(Err(error)) => {
                        tracing::debug!(peer = ?visit.peer, %error, "TLS could not begin");
                    }
                    Err(_) => visit.server.note(Fault::HeadTooSlow, visit.peer),
                }
            }
        }
    }

    /// Whether an address is a proxy's that we trust. A Unix socket is open to this machine only.
    fn is_trusted(&self, peer: Option<SocketAddr>) -> bool {
        peer.is_none_or(|peer| is_trusted(peer.ip(), &self.trusted_proxies))
    }
}

/// Whether an address belongs to one of the networks.
pub fn is_trusted(address: IpAddr, networks: &[IpNet]) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// One visitor's connection.
struct Visit<E> {
    server: Server,
    settings: Arc<ServerSettings>,
    place: Place,
    site: Arc<E>,
    peer: Option<SocketAddr>,
    is_proxied: bool,
    local: Addr,
}

impl<E: Endpoint<Output = Response> + 'static> Visit<E> {
    async fn serve(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        waiting: BytesMut,
        scheme: Scheme,
    ) {
        let limits = Limits {
            line: self.settings.limit_request_line,
            fields: self.settings.limit_request_fields,
            field: self.settings.limit_request_field_size,
        };
        let patience = Patience {
            head: self.settings.header_timeout,
            idle: self.settings.keepalive,
            answer: self.settings.timeout,
        };
        let mut guard = Guard::new(stream, waiting, limits, patience);
        self.place.watch(guard.in_flight());
        // A visitor who has been served before may leave without a word, and be left.
        let mut has_been_served = false;
        loop {
            let first = tokio::select! {
                biased;
                first = guard.first_request() => first,
                () = self.place.closing().cancelled() => return,
                () = self.server.stopping.cancelled() => {
                    let last_call = if has_been_served { Duration::ZERO } else { LAST_CALL };
                    tokio::time::timeout(last_call, guard.first_request()).await.unwrap_or(Ok(None))
                }
            };
            match first {
                Ok(None) => return,
                Ok(Some(Protocol::Http1)) => {
                    // Boxed, here and below: those who rest or are silent do not need the room.
                    let rested = Box::pin(self.serve_http1(guard, scheme.clone())).await;
                    let Some(rested) = rested else {
                        return;
                    };
                    guard = rested;
                    has_been_served = true;
                }
                Ok(Some(Protocol::Http2)) => {
                    return Box::pin(self.serve_http2(guard, scheme)).await;
                }
                Err(fault) => {
                    self.server.note(fault, self.peer);
                    return say_goodbye(guard.stream(), Some(fault)).await;
                }
            }
        }
    }

    /// Answers requests until the connection ends. When it only rests, the stream is given back: the parser's buffers are
    /// larger than all else that a connection needs.
    async fn serve_http1<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        guard: Guard<S>,
        scheme: Scheme,
    ) -> Option<Guard<S>> {
        let in_flight = guard.in_flight().clone();
        let turns = in_flight.clone();
        let answer = self.answers(scheme);
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            answer(request, Turn::counted(&turns)).map(Ok::<_, Infallible>)
        });
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // Who has said all they want to say may still listen.
            .half_close(true)
            // The guard sees to it, and knows a visitor who rests from one who is slow.
            .header_read_timeout(None)
            .max_headers(self.settings.limit_request_fields)
            .max_buf_size(MAX_HEADER_BYTES)
            .serve_connection(TokioIo::new(guard), service);
        let mut ended = std::pin::pin!(self.told_to_end());
        let (mut is_ending, mut rested_after) = (false, None);
        let result = loop {
            tokio::select! {
                // What has come already is heard before the end.
                biased;
                result = poll_fn(|context| connection.poll_without_shutdown(context)) => break result,
                () = &mut ended, if !is_ending => {
                    is_ending = true;
                    Pin::new(&mut connection).graceful_shutdown();
                }
                () = tokio::time::sleep(REST), if !is_ending => {
                    if in_flight.rests_since().is_some_and(|since| since.elapsed() >= REST) {
                        is_ending = true;
                        rested_after = Some(in_flight.total());
                        Pin::new(&mut connection).graceful_shutdown();
                    }
                }
            }
        };
        let is_sound = result.is_ok();
        self.log_end(result);
        let mut guard = connection.into_parts().io.into_inner();
        // Unless a request has come in at that moment, whose answer has said that it is the last.
        if is_sound && rested_after == Some(in_flight.total()) && !guard.is_closed() {
            return Some(guard);
        }
        let fault = guard.take_fault();
        if let Some((fault, _)) = fault {
            self.server.note(fault, self.peer);
        }
        let said = fault.and_then(|(fault, may_answer)| may_answer.then_some(fault));
        say_goodbye(guard.stream(), said).await;
        None
    }

    async fn serve_http2<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        guard: Guard<S>,
        scheme: Scheme,
    ) {
        let in_flight = guard.in_flight().clone();
        let turns = in_flight.clone();
        let answer = self.answers(scheme);
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            answer(request, Turn::begin(&turns)).map(Ok::<_, Infallible>)
        });
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_HTTP2_HEAD)
            .max_pending_accept_reset_streams(MAX_RESET_STREAMS)
            .serve_connection(TokioIo::new(guard), service);
        let mut connection = std::pin::pin!(connection);
        let mut ended = std::pin::pin!(self.told_to_end());
        let mut is_ending = false;
        let result = loop {
            tokio::select! {
                biased;
                result = connection.as_mut() => break result,
                () = &mut ended, if !is_ending => {
                    is_ending = true;
                    connection.as_mut().graceful_shutdown();
                }
                // The library waits for the visitor to agree.
                () = tokio::time::sleep(LAST_CALL), if is_ending => {
                    if in_flight.count() == 0 {
                        break Ok(());
                    }
                }
            }
        };
        self.log_end(result);
    }

    /// Comes when the connection shall take no more requests.
    async fn told_to_end(&self) {
        tokio::select! {
            () = self.server.stopping.cancelled() => {}
            () = self.place.closing().cancelled() => {}
        }
    }

    /// Visitors hang up and send nonsense all the time; what could be answered has been.
    fn log_end(&self, result: hyper::Result<()>) {
        if let Err(error) = result {
            tracing::debug!(peer = ?self.peer, error = %error.to_string().escape_debug(), "a connection ended early");
        }
    }

    /// The site as a function from requests to answers that hold their turns.
    fn answers(
        &self,
        scheme: Scheme,
    ) -> impl Fn(hyper::Request<Incoming>, Turn) -> Answering + Send + 'static + use<E> {
        let (site, draining) = (self.site.clone(), self.server.draining.clone());
        let local = self.local.clone();
        let peer = self.peer.map_or(Addr::custom(UNIX, ""), Addr::from);
        let is_proxied = self.is_proxied;
        let limits = self.settings.clone();
        move |mut request, turn| {
            let version = request.version();
            if version == Version::HTTP_2
                && let Some(fault) = too_large(&request, &limits)
            {
                let response = hyper::Response::from(fault.response());
                let response = response.map(|body: SiteBody| Answer::new(body, turn));
                return Box::pin(std::future::ready(response));
            }
            if is_proxied {
                request.extensions_mut().insert(Proxied);
            }
            let sides = (LocalAddr(local.clone()), RemoteAddr(peer.clone()));
            let request = Request::from((request, sides.0, sides.1, scheme.clone()));
            let (site, draining) = (site.clone(), draining.clone());
            Box::pin(async move {
                let mut response = site.get_response(request).await;
                // A connection that ends with an answer cannot end in the middle of the next request.
                if draining.is_cancelled() && version < Version::HTTP_2 {
                    response
                        .headers_mut()
                        .insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                hyper::Response::from(response).map(|body: SiteBody| Answer::new(body, turn))
            })
        }
    }
}

/// What the limits on a head forbid, on HTTP/2, whose heads come in frames.
fn too_large(request: &hyper::Request<Incoming>, limits: &ServerSettings) -> Option<Fault> {
    let target = request.uri().path_and_query();
    if target.is_some_and(|target| target.as_str().len() > limits.limit_request_line) {
        return Some(Fault::LineTooLong);
    }
    if request.headers().len() > limits.limit_request_fields {
        return Some(Fault::TooManyFields);
    }
    let mut sizes = request
        .headers()
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 2);
    sizes
        .any(|size| size > limits.limit_request_field_size)
        .then_some(Fault::FieldTooLarge)
}

/// Says why the connection ends, if there is more to say, and ends it so that it is heard.
async fn say_goodbye(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), fault: Option<Fault>) {
    let saying = async {
        if let Some(fault) = fault {
            stream.write_all(fault.answer().as_bytes()).await?;
        }
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(LINGER_BYTES), &mut tokio::io::sink()).await
    };
    // Whoever has gone needs no good-bye.
    let _ = tokio::time::timeout(LINGER, saying).await;
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

/// A stream of which a part has been read.
struct Rewound {
    waiting: BytesMut,
    stream: Stream,
}

impl AsyncRead for Rewound {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.waiting.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let count = self.waiting.len().min(buffer.remaining());
        buffer.put_slice(&self.waiting.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rewound {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
