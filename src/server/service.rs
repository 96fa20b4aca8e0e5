//! One request of a connection: its admission, its slot, the site's response.

use std::{
    future::{Ready, ready},
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
};

use futures_util::future::Either;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body as _, Bytes, Incoming};
use poem::{
    Body, Endpoint, Request,
    http::{HeaderValue, Method, Version, header, uri::Scheme},
    web::{LocalAddr, RemoteAddr},
};
use tokio::sync::oneshot;

use super::{
    admission::{Admitted, Slot},
    body::{Held, RequestBody, ResponseBody, SharedSlot},
    event_stream::is_event_stream,
    fault::Fault,
    http2::check_head,
    in_flight::{InFlight, InFlightGuard},
    memory::Reserved,
    state::{Client, Server},
};
use crate::{network::UnknownClient, settings::ServerSettings};

/// The body of the site's responses.
type SiteBody = BoxBody<Bytes, std::io::Error>;

/// A response, in flight until it is sent.
pub type Response = hyper::Response<ResponseBody<SiteBody>>;

/// What a refused stream of HTTP/2 takes until the client has read its response, in bytes: 4.5 kB were measured.
const REFUSED_STREAM: usize = 5 * 1024;

/// A response of the site, with what it holds until it is sent.
type SiteResponse = (
    hyper::Response<SiteBody>,
    Option<Reserved>,
    Option<Arc<Admitted>>,
);

/// What the requests of one connection share.
pub struct Requests<E> {
    /// The endpoint of all requests.
    pub site: Arc<E>,
    /// The state of the server.
    pub server: Arc<Server>,
    /// The settings when the connection was accepted.
    pub settings: Arc<ServerSettings>,
    /// The peer.
    pub client: Client,
    /// The addresses of the connection.
    pub addresses: (LocalAddr, RemoteAddr),
    /// Whether the connection uses TLS.
    pub scheme: Scheme,
    /// The requests in flight.
    pub in_flight: Arc<InFlight>,
    /// Of the first request, if it has been admitted.
    pub first: Mutex<Option<(Admitted, Slot)>>,
    /// Takes a stream of events over from hyper; none on HTTP/2.
    pub event_stream: Mutex<Option<oneshot::Sender<Response>>>,
}

impl<E: Endpoint<Output = poem::Response> + 'static> Requests<E> {
    /// Admits a request and responds to it; the response stays in flight until it is sent. A refused one is ready at once.
    pub fn respond(
        self: &Arc<Self>,
        request: hyper::Request<Incoming>,
        in_flight: InFlightGuard,
    ) -> Either<Ready<Response>, impl Future<Output = Response> + Send + use<E>> {
        let (requests, version) = (self.clone(), request.version());
        let has_chunks = *request.method() == Method::GET && version == Version::HTTP_11;
        let respond = move |response: Result<SiteResponse, Fault>| {
            let (response, memory, admitted) =
                response.unwrap_or_else(|fault| requests.refuse(fault, version));
            let held = Held {
                in_flight,
                version,
                memory,
                _admitted: admitted,
            };
            response.map(|body| ResponseBody::new(body, held))
        };
        match self.admit(&request) {
            Ok((admitted, slot)) => {
                let requests = self.clone();
                Either::Right(async move {
                    let response = requests.call_site(request, Arc::new(admitted), slot);
                    let response = respond(response.await);
                    if has_chunks && is_event_stream(&response) {
                        requests.send_events(response).await
                    } else {
                        response
                    }
                })
            }
            Err(fault) => Either::Left(ready(respond(Err(fault)))),
        }
    }

    /// Hands a stream of events over to its connection, which then drops the future; on HTTP/2 it is the response.
    async fn send_events(&self, response: Response) -> Response {
        let sender = self.event_stream.lock();
        let sender = sender.unwrap_or_else(PoisonError::into_inner).take();
        match sender {
            Some(sender) => {
                drop(sender.send(response));
                std::future::pending().await
            }
            None => response,
        }
    }

    fn admit(&self, request: &hyper::Request<Incoming>) -> Result<(Admitted, Option<Slot>), Fault> {
        let first = self.first.lock();
        if let Some((admitted, slot)) = first.unwrap_or_else(PoisonError::into_inner).take() {
            return Ok((admitted, Some(slot)));
        }
        let size = check_head(request, &self.settings)?;
        let (path, in_flight) = (request.uri().path(), self.in_flight.count());
        let admitted = self
            .server
            .admit(path, request.headers(), &self.client, size, in_flight)?;
        Ok((admitted, None))
    }

    /// The site's response to an admitted request, with what it holds until it is sent.
    async fn call_site(
        &self,
        mut request: hyper::Request<Incoming>,
        admitted: Arc<Admitted>,
        slot: Option<Slot>,
    ) -> Result<SiteResponse, Fault> {
        let version = request.version();
        let mut slot = match slot {
            Some(slot) => Some(slot),
            None => Some(admitted.slot().await?),
        };
        if self.client.is_unannounced {
            request.extensions_mut().insert(UnknownClient);
        }
        let has_body = !request.body().is_end_stream();
        let (local, remote) = self.addresses.clone();
        let mut request = Request::from((request, local, remote, self.scheme.clone()));
        let shared_slot = has_body.then(|| SharedSlot::new(Mutex::new(slot.take())));
        if let Some(shared_slot) = &shared_slot {
            let body = RequestBody::new(
                request.take_body().into_bytes_stream(),
                admitted.clone(),
                shared_slot.clone(),
                self.in_flight.begin_receiving(),
            );
            request.set_body(Body::from_bytes_stream(body));
        }
        let response = self.site.call(request).await;
        let mut response = response.unwrap_or_else(|error| error.into_response());
        drop((slot, shared_slot));
        // A connection that ends with this response cannot end in the middle of the next request.
        if self.server.is_draining.load(Ordering::Relaxed) && version < Version::HTTP_2 {
            response
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let response: hyper::Response<SiteBody> = response.into();
        let size = response.body().size_hint().exact().unwrap_or_default();
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let memory = self.server.memory.reserve(admitted.network(), size)?;
        // A stream of events lasts, and does nothing most of the time: it must not keep others from being admitted.
        let is_lasting = is_event_stream(&response);
        let admitted = admitted.unless_probe().filter(|_| !is_lasting);
        Ok((response, memory, admitted))
    }

    /// The response to a request that is refused.
    fn refuse(&self, fault: Fault, version: Version) -> SiteResponse {
        self.server.count_refusal(fault, self.client.peer);
        let response: hyper::Response<SiteBody> = fault.response().into();
        if version < Version::HTTP_2 {
            return (response, None, None);
        }
        // A stream stays open until the client's window has room for the body. Without a body it ends with the header.
        let network = self.server.network_of(&self.client);
        match self.server.memory.reserve(network, REFUSED_STREAM) {
            Ok(memory) => (response, memory, None),
            Err(_) => (response.map(|_| Body::empty().into()), None, None),
        }
    }
}
