//! The listening side: connections, their limits, and the end.
//!
//! Poem's endpoint is served from this loop and not by poem's own server, which has no time limit for request headers,
//! no limit on connections, and spins when it runs out of file descriptors.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use poem::{
    Addr, Endpoint, Request, Response,
    http::uri::Scheme,
    web::{LocalAddr, RemoteAddr},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};

/// For the headers of a request, and for the next request on a connection that stays open.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_HEADERS: usize = 100;
/// For the request line and the headers together, in bytes.
const MAX_HEADER_BYTES: usize = 64 * 1024;
const MAX_CONNECTIONS: usize = 10_000;
/// When no connection can be accepted (no file descriptors are left, say), trying again at once would not help.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `site` until `stop` comes, then finishes what is in flight, for `graceful_timeout` at most.
pub async fn serve(
    listener: TcpListener,
    site: impl Endpoint<Output = Response> + 'static,
    stop: impl Future<Output = ()>,
    graceful_timeout: Duration,
) {
    let site = Arc::new(site);
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, place)) => {
                // The connection's task begins with the watcher, so that none can slip past the end.
                tokio::spawn(connection(stream, site.clone(), graceful.watcher(), place));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(graceful_timeout, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!(
            "some requests were still in flight after {} s and were cut off",
            graceful_timeout.as_secs()
        );
    }
}

/// Waits for a place, then for a visitor to take it.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = places
        .clone()
        .acquire_owned()
        .await
        .expect("the semaphore is never closed");
    let (stream, _) = listener.accept().await?;
    // An answer is written whole: waiting for more to send with it would only delay it.
    stream.set_nodelay(true)?;
    Ok((stream, place))
}

async fn connection<E: Endpoint<Output = Response> + 'static>(
    stream: TcpStream,
    site: Arc<E>,
    watcher: hyper_util::server::graceful::Watcher,
    place: OwnedSemaphorePermit,
) {
    let (Ok(local), Ok(peer)) = (stream.local_addr(), stream.peer_addr()) else {
        return;
    };
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (local, peer) = (
            LocalAddr(Addr::SocketAddr(local)),
            RemoteAddr(Addr::SocketAddr(peer)),
        );
        let request = Request::from((request, local, peer, Scheme::HTTP));
        let site = site.clone();
        async move { Ok::<hyper::Response<_>, Infallible>(site.get_response(request).await.into()) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    // Visitors hang up and send nonsense all the time; hyper has answered what could be answered.
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%peer, error = %error.to_string().escape_debug(), "a connection ended early");
    }
    drop(place);
}
