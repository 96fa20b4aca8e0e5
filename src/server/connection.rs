//! One client's connection: its requests over HTTP/1 or HTTP/2 and the site's responses, until it ends.

use std::{
    convert::Infallible,
    future::poll_fn,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{FutureExt as _, future::Either};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use poem::{
    Addr, Endpoint, Response,
    http::uri::Scheme,
    web::{LocalAddr, RemoteAddr},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::oneshot,
};

use super::{
    admission::{Admitted, Slot},
    closing::{lingering_close, try_write_response},
    connections::ConnectionSlot,
    event_stream,
    fault::Fault,
    framing::{self, Limits},
    guard::{Guard, Protocol},
    in_flight::{InFlight, InFlightGuard},
    service::{self, Requests},
    state::{Client, Server},
    stream::unix_address,
    timeouts::Timeouts,
};
use crate::settings::{MAX_HEAD, ServerSettings};

/// The most that hyper may buffer of a request's head, whose size the framing has checked before.
const MAX_HEADER_BYTES: usize = 2 * MAX_HEAD;
/// hyper's default for the fields of a head.
const HYPER_MAX_HEADERS: usize = 100;
/// Concurrent streams on one connection of HTTP/2, ...
const MAX_STREAMS: usize = 100;
/// ... when there are many connections, the part of one in all streams, ...
const ALL_STREAMS: usize = 20_000;
/// ... but at least this number. Each stream takes memory until its client has read the response, refused or not.
const MIN_STREAMS: usize = 8;
/// Streams that a client has opened and reset, at most, before the connection ends (CVE-2023-44487).
const MAX_RESET_STREAMS: usize = 20;
/// The largest head on HTTP/2, in bytes.
const MAX_HTTP2_HEAD: u32 = 32 * 1024;
/// How long a connection is without a request until it gives its buffers back.
const IDLE: Duration = Duration::from_secs(1);
/// When the server stops, how long it waits for the first request of a client that has just connected, ...
const STOP_GRACE_NEW: Duration = Duration::from_secs(1);
/// ... and for the next request on a keep-alive connection, which a client may have sent already.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// What follows hyper's connection of HTTP/1.
enum Next<S> {
    /// It is idle: the next request gets new buffers.
    Idle(Guard<S>),
    /// It sends events.
    Events(Guard<S>, service::Response),
    /// It has ended.
    End,
}

/// One client's connection.
pub struct Connection<E> {
    /// The state of the server.
    pub server: Arc<Server>,
    /// The settings when the connection was accepted: a reload does not change them.
    pub settings: Arc<ServerSettings>,
    /// Its place among the open connections, released when dropped.
    pub slot: ConnectionSlot,
    /// The endpoint of all requests.
    pub site: Arc<E>,
    /// The peer.
    pub client: Client,
    /// The local address.
    pub local: Addr,
}

impl<E: Endpoint<Output = Response> + 'static> Connection<E> {
    /// Serves all requests.
    pub async fn serve(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        scheme: Scheme,
    ) {
        let limits = Limits {
            line: self.settings.limit_request_line,
            fields: self.settings.limit_request_fields,
            field: self.settings.limit_request_field_size,
        };
        let timeouts = Timeouts {
            head: self.settings.header_timeout,
            idle: self.settings.keepalive,
            response: self.settings.timeout,
            write: self.settings.write_timeout,
        };
        let memory = (
            self.server.memory.clone(),
            self.server.network_of(&self.client),
        );
        let mut guard = Guard::new(stream, limits, timeouts, memory);
        self.slot.watch(guard.in_flight());
        let mut has_been_served = false;
        loop {
            let first = tokio::select! {
                biased;
                first = guard.first_request() => first,
                () = self.slot.evicted().cancelled() => return,
                () = self.server.stopping.cancelled() => {
                    let grace = if has_been_served { STOP_GRACE } else { STOP_GRACE_NEW };
                    tokio::time::timeout(grace, guard.first_request()).await.unwrap_or(Ok(None))
                }
            };
            match first {
                Ok(None) => return,
                Ok(Some(Protocol::Http1)) => {
                    // Before hyper allocates its buffers, which are larger than all else of a connection.
                    let first = match self.admit_first(guard.first_head()).await {
                        Ok(first) => first,
                        Err(fault) => {
                            self.server.count_refusal(fault, self.client.peer);
                            return lingering_close(guard.stream(), Some(fault)).await;
                        }
                    };
                    // Boxed, here and below: idle connections do not need its memory.
                    match Box::pin(self.serve_http1(guard, scheme.clone(), first)).await {
                        Next::Idle(idle) => guard = idle,
                        Next::Events(guard, response) => {
                            return Box::pin(self.send_events(guard, response)).await;
                        }
                        Next::End => return,
                    }
                    has_been_served = true;
                }
                Ok(Some(Protocol::Http2)) => {
                    return Box::pin(self.serve_http2(guard, scheme)).await;
                }
                Err(fault) => {
                    self.server.count_refusal(fault, self.client.peer);
                    return lingering_close(guard.stream(), Some(fault)).await;
                }
            }
        }
    }

    /// Admits the first request of a connection of HTTP/1, and waits for a slot.
    async fn admit_first(&self, head: &[u8]) -> Result<(Admitted, Slot), Fault> {
        let (path, headers) = framing::path_and_forwarded(head);
        let admitted = self
            .server
            .admit(&path, &headers, &self.client, head.len(), 1)?;
        let slot = admitted.slot().await?;
        Ok((admitted, slot))
    }

    /// Serves requests until the connection ends or is idle. An idle one is returned without hyper's buffers, which are
    /// larger than all else of a connection. When many connections have buffers, it is returned after the first response,
    /// so that the next request waits for its slot without them. So is one that sends events. The first request has been admitted
    /// already.
    async fn serve_http1<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        mut guard: Guard<S>,
        scheme: Scheme,
        first: (Admitted, Slot),
    ) -> Next<S> {
        let in_flight = guard.in_flight().clone();
        let counter = in_flight.clone();
        let keeps_buffers = self.server.buffers.clone().try_acquire_owned().ok();
        if keeps_buffers.is_none() {
            guard.take_one_request();
        }
        let (event_stream, mut events) = oneshot::channel();
        let requests = self.requests(scheme, Some(first), Some(event_stream), &in_flight);
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let in_flight = InFlightGuard::counted(&counter);
            requests
                .respond(request, in_flight)
                .map(Ok::<_, Infallible>)
        });
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            // The guard has the timeouts, and distinguishes idle clients from slow ones.
            .header_read_timeout(None)
            .max_buf_size(MAX_HEADER_BYTES);
        // The framing has the limit; hyper parses up to its own default faster.
        if self.settings.limit_request_fields > HYPER_MAX_HEADERS {
            builder.max_headers(self.settings.limit_request_fields);
        }
        let mut connection = builder.serve_connection(TokioIo::new(guard), service);
        let mut ended = std::pin::pin!(async {
            self.slot.closing().cancelled().await;
            // Requests that are being sent get a response with `Connection: close`.
            if !self.slot.evicted().is_cancelled() {
                tokio::time::sleep(STOP_GRACE).await;
            }
        });
        let (mut is_ending, mut idle_after) = (false, None);
        let result = loop {
            tokio::select! {
                // Requests that were received are served before the end.
                biased;
                // The guard leaves the stream open when all has been written.
                result = Pin::new(&mut connection) => break result,
                // The guard passes a request on when the response before it has been written: hyper's buffers are empty.
                Ok(response) = &mut events => {
                    return Next::Events(connection.into_parts().io.into_inner(), response);
                }
                () = &mut ended, if !is_ending => {
                    // An incomplete body must not keep the slot that another connection needs.
                    if self.slot.evicted().is_cancelled() && in_flight.is_receiving() {
                        self.server.count_refusal(Fault::Full, self.client.peer);
                        let mut guard = connection.into_parts().io.into_inner();
                        try_write_response(guard.stream(), Fault::Full);
                        return Next::End;
                    }
                    // Nor must a response that its client does not read.
                    let is_writing_response = in_flight.count() == 0 && !in_flight.is_between_requests();
                    if self.slot.evicted().is_cancelled() && is_writing_response {
                        return Next::End;
                    }
                    is_ending = true;
                    Pin::new(&mut connection).graceful_shutdown();
                }
                // Checked whenever the connection has been polled, which writes the last byte of a response.
                () = poll_fn(|_| in_flight.poll_between_requests()), if !is_ending && keeps_buffers.is_none() => {
                    is_ending = true;
                    idle_after = Some(in_flight.total());
                    Pin::new(&mut connection).graceful_shutdown();
                }
                () = tokio::time::sleep(IDLE), if !is_ending => {
                    if in_flight.between_requests_since().is_some_and(|since| since.elapsed() >= IDLE) {
                        is_ending = true;
                        idle_after = Some(in_flight.total());
                        Pin::new(&mut connection).graceful_shutdown();
                    }
                }
            }
        };
        let is_ok = result.is_ok();
        self.log_end(result);
        let parts = connection.into_parts();
        let mut guard = parts.io.into_inner();
        // Unless a request was received at that moment, whose response had `Connection: close`.
        let is_idle = is_ok && idle_after == Some(in_flight.total());
        if is_idle && parts.read_buf.is_empty() && guard.is_between_requests() {
            guard.expect_request();
            return Next::Idle(guard);
        }
        let fault = guard.take_fault();
        if let Some((fault, _)) = fault {
            self.server.count_refusal(fault, self.client.peer);
        }
        let response = fault.and_then(|(fault, is_sent)| is_sent.then_some(fault));
        lingering_close(guard.stream(), response).await;
        Next::End
    }

    /// Sends a stream of events, and ends the connection.
    async fn send_events<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        mut guard: Guard<S>,
        response: service::Response,
    ) {
        let sent = tokio::select! {
            sent = event_stream::send(&mut guard, response) => sent,
            () = self.slot.evicted().cancelled() => return,
        };
        match sent {
            Ok(()) => lingering_close(guard.stream(), None).await,
            Err(error) => {
                tracing::debug!(peer = ?self.client.peer, error = %error.to_string().escape_debug(), "a stream of events ended early");
            }
        }
    }

    async fn serve_http2<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        guard: Guard<S>,
        scheme: Scheme,
    ) {
        let in_flight = guard.in_flight().clone();
        let counter = in_flight.clone();
        let requests = self.requests(scheme, None, None, &in_flight);
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let in_flight = InFlightGuard::begin(&counter);
            let response = match requests.respond(request, in_flight) {
                Either::Left(refused) => Either::Left(refused),
                // Boxed: refused streams, of which there can be many at once, do not need its memory.
                Either::Right(response) => Either::Right(Box::pin(response)),
            };
            response.map(Ok::<_, Infallible>)
        });
        let share = ALL_STREAMS / self.server.connection_count().max(1);
        let streams = share.clamp(MIN_STREAMS, MAX_STREAMS);
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(streams as u32)
            .max_header_list_size(MAX_HTTP2_HEAD)
            .max_pending_accept_reset_streams(MAX_RESET_STREAMS)
            .serve_connection(TokioIo::new(guard), service);
        let mut connection = std::pin::pin!(connection);
        let mut ended = std::pin::pin!(self.slot.closing().cancelled());
        let mut is_ending = false;
        let result = loop {
            tokio::select! {
                biased;
                result = connection.as_mut() => break result,
                () = &mut ended, if !is_ending => {
                    is_ending = true;
                    connection.as_mut().graceful_shutdown();
                }
                // hyper waits for the client's GOAWAY, and for bodies.
                () = tokio::time::sleep(STOP_GRACE_NEW), if is_ending => {
                    let is_evicted = self.slot.evicted().is_cancelled();
                    if in_flight.count() == 0 || is_evicted && in_flight.is_receiving() {
                        break Ok(());
                    }
                }
            }
        };
        if let Some(fault) = in_flight.fault() {
            self.server.count_refusal(fault, self.client.peer);
        }
        self.log_end(result);
    }

    /// What the requests share. `first` is of the first of them, if it has been admitted; `event_stream` takes one that sends events.
    fn requests(
        &self,
        scheme: Scheme,
        first: Option<(Admitted, Slot)>,
        event_stream: Option<oneshot::Sender<service::Response>>,
        in_flight: &Arc<InFlight>,
    ) -> Arc<Requests<E>> {
        let peer = self.client.peer.map_or_else(unix_address, Addr::from);
        Arc::new(Requests {
            site: self.site.clone(),
            server: self.server.clone(),
            settings: self.settings.clone(),
            client: self.client.clone(),
            addresses: (LocalAddr(self.local.clone()), RemoteAddr(peer)),
            scheme,
            in_flight: in_flight.clone(),
            first: Mutex::new(first),
            event_stream: Mutex::new(event_stream),
        })
    }

    /// At level debug: clients that disconnect and malformed requests are usual.
    fn log_end(&self, result: hyper::Result<()>) {
        if let Err(error) = result {
            tracing::debug!(peer = ?self.client.peer, error = %error.to_string().escape_debug(), "a connection ended early");
        }
    }
}
