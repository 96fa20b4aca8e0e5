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
    in_flight: InFlightGuard,
    /// The memory of the response until it has been sent; none for a small one.
    memory: Option<Reserved>,
    is_http1: bool,
    is_ended: bool,
    _admitted: Option<Arc<Admitted>>,
}

impl<B> ResponseBody<B> {
    /// The body of a response; `admitted` is none when the request was refused.
    pub fn new(body: B, in_flight: InFlightGuard, admitted: Option<Arc<Admitted>>) -> Self {
        Self {
            body,
            in_flight,
            memory: None,
            is_http1: false,
            is_ended: false,
            _admitted: admitted,
        }
    }

    /// The same with the memory that is reserved for it, on a connection of this version of HTTP.
    pub fn with_memory(mut self, memory: Option<Reserved>, version: Version) -> Self {
        self.memory = memory;
        self.is_http1 = version < Version::HTTP_2;
        self
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
        self.is_ended = frame.is_none();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        // On HTTP/2 the end is polled for when the client's window has room after the last byte: until then the memory of a
        // large response is counted.
        self.body.is_end_stream() && (self.memory.is_none() || self.is_ended)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for ResponseBody<B> {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take().filter(|_| self.is_http1) {
            // hyper has copied it into its own buffer, which is written later.
            self.in_flight.keep_until_written(memory);
        }
    }
}
