//! One visitor's connection: the site's answers to its requests, over HTTP/1 or HTTP/2, until it ends.

use std::{
    convert::Infallible, future::poll_fn, net::SocketAddr, pin::Pin, sync::Arc, time::Duration,
};

use futures_util::FutureExt as _;
use http_body_util::combinators::BoxBody;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use poem::{
    Addr, Endpoint, Request, Response,
    http::{HeaderValue, Version, header, uri::Scheme},
    web::{LocalAddr, RemoteAddr},
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{
    Server, Unannounced,
    connections::Place,
    fault::Fault,
    framing::Limits,
    guard::{Guard, Patience, Protocol},
    in_flight::{Answer, Turn},
    stream::unix_address,
};
use crate::settings::{MAX_HEAD, ServerSettings};

/// What hyper may keep of a request's head, which the framing has measured before.
const MAX_HEADER_BYTES: usize = 2 * MAX_HEAD;
/// Requests at once on one connection of HTTP/2.
const MAX_STREAMS: u32 = 100;
/// Streams that a visitor has begun and taken back, at most, before the connection ends (CVE-2023-44487).
const MAX_RESET_STREAMS: usize = 20;
/// The largest head on HTTP/2, in bytes.
const MAX_HTTP2_HEAD: u32 = 32 * 1024;
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

/// One visitor's connection.
pub struct Visit<E> {
    pub server: Server,
    pub settings: Arc<ServerSettings>,
    pub place: Place,
    pub site: Arc<E>,
    pub peer: Option<SocketAddr>,
    /// Whether a PROXY header announced no client.
    pub is_unannounced: bool,
    /// Our end of it.
    pub local: Addr,
}

impl<E: Endpoint<Output = Response> + 'static> Visit<E> {
    /// Answers all requests.
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
        let patience = Patience {
            head: self.settings.header_timeout,
            idle: self.settings.keepalive,
            answer: self.settings.timeout,
        };
        let mut guard = Guard::new(stream, limits, patience);
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
        let peer = self.peer.map_or_else(unix_address, Addr::from);
        let is_unannounced = self.is_unannounced;
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
            if is_unannounced {
                request.extensions_mut().insert(Unannounced);
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
pub async fn say_goodbye(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), fault: Option<Fault>) {
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
