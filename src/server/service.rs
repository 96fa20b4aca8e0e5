//! One request of a connection: its admission, its slot, the site's response.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use http_body_util::combinators::BoxBody;
use hyper::body::{Body as _, Bytes, Incoming};
use poem::{
    Addr, Body, Endpoint, Request, Response,
    http::{HeaderValue, Version, header, uri::Scheme},
    web::{LocalAddr, RemoteAddr},
};

use super::{
    admission::{Admitted, Slot},
    body::{Held, RequestBody, ResponseBody, SharedSlot},
    connection::Connection,
    fault::Fault,
    http2::check_head,
    in_flight::{InFlight, InFlightGuard},
    stream::unix_address,
};
use crate::network::UnknownClient;

/// The body of the site's responses.
type SiteBody = BoxBody<Bytes, std::io::Error>;

/// The future of a response.
type ResponseFuture = Pin<Box<dyn Future<Output = hyper::Response<ResponseBody<SiteBody>>> + Send>>;

impl<E: Endpoint<Output = Response> + 'static> Connection<E> {
    /// The site as a function from requests to responses that stay in flight until they are sent. `first` is of the first
    /// request, if it has been admitted.
    pub(super) fn service(
        &self,
        scheme: Scheme,
        first: Option<(Admitted, Slot)>,
        in_flight: &Arc<InFlight>,
    ) -> impl Fn(hyper::Request<Incoming>, InFlightGuard) -> ResponseFuture + Send + 'static + use<E>
    {
        let (site, server, in_flight) = (self.site.clone(), self.server.clone(), in_flight.clone());
        let local = self.local.clone();
        let client = self.client.clone();
        let limits = self.settings.clone();
        let first = Mutex::new(first);
        move |mut request, in_flight_guard| {
            let version = request.version();
            let first = first.lock().unwrap_or_else(PoisonError::into_inner).take();
            let admission = match first {
                Some((admitted, slot)) => Ok((admitted, Some(slot))),
                None => check_head(&request, &limits)
                    .and_then(|size| {
                        let path = request.uri().path();
                        server.admit(path, request.headers(), &client, size, in_flight.count())
                    })
                    .map(|admitted| (admitted, None)),
            };
            let (admitted, slot) = match admission {
                Ok((admitted, slot)) => (Arc::new(admitted), slot),
                Err(fault) => {
                    server.count_refusal(fault, client.peer);
                    let response = refuse(fault, in_flight_guard, version);
                    return Box::pin(std::future::ready(response));
                }
            };
            let peer = client.peer;
            if client.is_unannounced {
                request.extensions_mut().insert(UnknownClient);
            }
            let (site, server) = (site.clone(), server.clone());
            let sides = (
                LocalAddr(local.clone()),
                RemoteAddr(peer.map_or_else(unix_address, Addr::from)),
            );
            let (scheme, in_flight) = (scheme.clone(), in_flight.clone());
            // While a request waits for a slot, this is all its memory.
            Box::pin(async move {
                let slot = match slot {
                    Some(slot) => Ok(slot),
                    None => admitted.slot().await,
                };
                let slot: SharedSlot = match slot {
                    Ok(slot) => Arc::new(Mutex::new(Some(slot))),
                    Err(fault) => {
                        server.count_refusal(fault, peer);
                        return refuse(fault, in_flight_guard, version);
                    }
                };
                let has_body = !request.body().is_end_stream();
                let mut request = Request::from((request, sides.0, sides.1, scheme));
                if has_body {
                    let body = RequestBody::new(
                        request.take_body().into_bytes_stream(),
                        admitted.clone(),
                        slot.clone(),
                        in_flight.begin_receiving(),
                    );
                    request.set_body(Body::from_bytes_stream(body));
                }
                let mut response = site.get_response(request).await;
                drop(slot);
                // A connection that ends with this response cannot end in the middle of the next request.
                if server.draining.is_cancelled() && version < Version::HTTP_2 {
                    response
                        .headers_mut()
                        .insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                let response: hyper::Response<SiteBody> = response.into();
                let size = response.body().size_hint().exact().unwrap_or_default();
                let size = usize::try_from(size).unwrap_or(usize::MAX);
                let memory = match server.memory.reserve(admitted.network(), size) {
                    Ok(memory) => memory,
                    Err(fault) => {
                        server.count_refusal(fault, peer);
                        return refuse(fault, in_flight_guard, version);
                    }
                };
                let held = Held {
                    in_flight: in_flight_guard,
                    version,
                    memory,
                    _admitted: admitted.unless_probe(),
                };
                response.map(|body| ResponseBody::new(body, held))
            })
        }
    }
}

/// The response to a request that is not admitted.
fn refuse(
    fault: Fault,
    in_flight: InFlightGuard,
    version: Version,
) -> hyper::Response<ResponseBody<SiteBody>> {
    let held = Held {
        in_flight,
        version,
        memory: None,
        _admitted: None,
    };
    hyper::Response::from(fault.response()).map(|body: SiteBody| ResponseBody::new(body, held))
}
