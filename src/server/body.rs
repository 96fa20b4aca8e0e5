//! The bodies of requests and responses, which show when the server waits for a client.

use std::{
    io::ErrorKind,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use futures_util::{Stream, future::BoxFuture};
use hyper::{
    Version,
    body::{Body, Bytes, Frame, SizeHint},
};

use super::{
    admission::{Admitted, Parked, Slot},
    fault::Fault,
    in_flight::{InFlightGuard, Receiving},
    memory::Reserved,
};

/// The slot of a request, which its body gives back while it waits for the client.
pub type SharedSlot = Arc<Mutex<Option<Slot>>>;

/// The body of a request. It gives the slot back when it has to wait, and ends when it has one again;
/// it ends with [`ErrorKind::ResourceBusy`] when too many wait, or when it gets no slot.
pub struct RequestBody<S> {
    /// Set while it waits for the client. Dropped before the request leaves [`InFlight`](super::in_flight::InFlight).
    parked: Option<Parked>,
    body: S,
    admitted: Arc<Admitted>,
    slot: SharedSlot,
    /// While it waits for the slot at its end.
    ending: Option<BoxFuture<'static, Result<Slot, Fault>>>,
    receiving: Option<Receiving>,
}

impl<S> RequestBody<S> {
    /// The body of a request that holds `slot`.
    pub fn new(body: S, admitted: Arc<Admitted>, slot: SharedSlot, receiving: Receiving) -> Self {
        Self {
            body,
            admitted,
            slot,
            parked: None,
            ending: None,
            receiving: Some(receiving),
        }
    }

    fn slot(&self) -> MutexGuard<'_, Option<Slot>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Stream<Item = Result<Bytes, std::io::Error>> + Unpin> Stream for RequestBody<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ending.is_none() {
            if self.receiving.is_none() {
                return Poll::Ready(None);
            }
            match Pin::new(&mut self.body).poll_next(context) {
                Poll::Pending => {
                    let parked = self.admitted.park(&mut self.slot());
                    match parked {
                        Ok(None) => {}
                        Ok(parked) => self.parked = parked,
                        Err(_) => {
                            self.receiving = None;
                            return Poll::Ready(Some(Err(ErrorKind::ResourceBusy.into())));
                        }
                    }
                    return Poll::Pending;
                }
                Poll::Ready(Some(piece)) => return Poll::Ready(Some(piece)),
                Poll::Ready(None) => {
                    self.receiving = None;
                    if self.slot().is_some() {
                        return Poll::Ready(None);
                    }
                    let admitted = self.admitted.clone();
                    self.ending = Some(Box::pin(async move { admitted.slot().await }));
                }
            }
        }
        if let Some(ending) = &mut self.ending {
            let slot = ready!(ending.as_mut().poll(context));
            self.ending = None;
            self.parked = None;
            let Ok(slot) = slot else {
                return Poll::Ready(Some(Err(ErrorKind::ResourceBusy.into())));
            };
            *self.slot() = Some(slot);
        }
        Poll::Ready(None)
    }
}

/// The body of a response, which keeps its request in flight until it has been sent.
#[derive(Debug)]
pub struct ResponseBody<B> {
    body: B,
    held: Arc<Held>,
}

/// What a response holds until it has been sent.
#[derive(Debug)]
pub struct Held {
    /// The request.
    pub in_flight: InFlightGuard,
    /// The version of HTTP of its connection.
    pub version: Version,
    /// The memory of the response; none for a small one.
    pub memory: Option<Reserved>,
    /// Its place among the admitted requests; none for a refused one and for a health check.
    pub _admitted: Option<Arc<Admitted>>,
}

/// Bytes that hyper keeps until the client's window has room for them.
struct Unsent {
    bytes: Bytes,
    _held: Arc<Held>,
}

impl<B> ResponseBody<B> {
    /// The body of a response.
    pub fn new(body: B, held: Held) -> Self {
        Self {
            body,
            held: Arc::new(held),
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if self.held.version < Version::HTTP_2 {
            return Poll::Ready(frame);
        }
        let hold = |bytes| {
            Bytes::from_owner(Unsent {
                bytes,
                _held: self.held.clone(),
            })
        };
        Poll::Ready(frame.map(|frame| Ok(frame?.map_data(hold))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl AsRef<[u8]> for Unsent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let is_http1 = self.version < Version::HTTP_2;
        if let Some(memory) = self.memory.take().filter(|_| is_http1) {
            // hyper has copied it into its own buffer, which is written later.
            self.in_flight.keep_until_written(memory);
        }
    }
}
