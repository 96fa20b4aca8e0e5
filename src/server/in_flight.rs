//! The requests of one connection that are being answered.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures_util::task::AtomicWaker;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::time::Instant;

/// How many requests of a connection are being answered. The connection's two ends share it.
#[derive(Debug)]
pub struct InFlight {
    requests: AtomicUsize,
    /// How many there have been.
    total: AtomicUsize,
    reader: AtomicWaker,
    begun: Instant,
    /// When the last of them ended, in milliseconds since the beginning.
    rests_since: AtomicU64,
}

impl Default for InFlight {
    fn default() -> Self {
        Self {
            requests: AtomicUsize::new(0),
            total: AtomicUsize::new(0),
            reader: AtomicWaker::new(),
            begun: Instant::now(),
            rests_since: AtomicU64::new(0),
        }
    }
}

impl InFlight {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.requests.load(Ordering::Acquire)
    }

    /// How many there have been.
    pub fn total(&self) -> usize {
        self.total.load(Ordering::Acquire)
    }

    /// Counts one more.
    pub fn begin(&self) {
        self.total.fetch_add(1, Ordering::AcqRel);
        self.requests.fetch_add(1, Ordering::AcqRel);
    }

    /// Wakes the connection's reader when one begins or ends elsewhere.
    pub fn wake_on_change(&self, reader: &Waker) {
        self.reader.register(reader);
    }

    /// Since when there are none, if so.
    pub fn rests_since(&self) -> Option<Instant> {
        let since = Duration::from_millis(self.rests_since.load(Ordering::Relaxed));
        (self.count() == 0).then(|| self.begun + since)
    }
}

/// One of the requests that are being answered. Ends with the answer's last byte.
#[derive(Debug)]
pub struct Turn(Arc<InFlight>);

impl Turn {
    /// For a request whose beginning the guard has counted.
    pub fn counted(in_flight: &Arc<InFlight>) -> Self {
        Self(in_flight.clone())
    }

    /// For a request that begins now.
    pub fn begin(in_flight: &Arc<InFlight>) -> Self {
        in_flight.begin();
        // The reader has another time limit from here on.
        in_flight.reader.wake();
        Self(in_flight.clone())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let now = u64::try_from(self.0.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.rests_since.store(now, Ordering::Relaxed);
        self.0.requests.fetch_sub(1, Ordering::AcqRel);
        self.0.reader.wake();
    }
}

/// An answer's body that holds its turn.
#[derive(Debug)]
pub struct Answer<B> {
    body: B,
    _turn: Turn,
}

impl<B> Answer<B> {
    /// The body and its turn.
    pub fn new(body: B, turn: Turn) -> Self {
        Self { body, _turn: turn }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Answer<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
