//! The requests in flight on one connection.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Poll, Waker},
    time::Duration,
};

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

use super::{fault::Fault, memory::Reserved};

/// The requests in flight on a connection, shared by its reader, its writer and its requests.
#[derive(Debug)]
pub struct InFlight {
    requests: AtomicUsize,
    /// Requests so far.
    total: AtomicUsize,
    reader: AtomicWaker,
    start: Instant,
    /// When the last of them ended, in milliseconds since `start`.
    idle_since: AtomicU64,
    /// Requests in flight that wait for the rest of their bodies.
    receiving: AtomicUsize,
    /// When the first of these began to, in milliseconds since `start`.
    receiving_since: AtomicU64,
    /// Whether a part of a request is still to be passed on, or of a response to be written.
    is_mid_request: AtomicBool,
    /// The memory of responses that HTTP/1 has taken and not written.
    unwritten: Mutex<Vec<Reserved>>,
    /// What made the connection end, on HTTP/2.
    fault: OnceLock<Fault>,
}

impl Default for InFlight {
    fn default() -> Self {
        Self {
            requests: AtomicUsize::new(0),
            total: AtomicUsize::new(0),
            reader: AtomicWaker::new(),
            start: Instant::now(),
            idle_since: AtomicU64::new(0),
            receiving: AtomicUsize::new(0),
            receiving_since: AtomicU64::new(0),
            is_mid_request: AtomicBool::new(false),
            unwritten: Mutex::default(),
            fault: OnceLock::new(),
        }
    }
}

impl InFlight {
    /// Requests in flight.
    pub fn count(&self) -> usize {
        self.requests.load(Ordering::Acquire)
    }

    /// Requests so far.
    pub fn total(&self) -> usize {
        self.total.load(Ordering::Acquire)
    }

    /// Counts one more.
    pub fn begin(&self) {
        self.total.fetch_add(1, Ordering::AcqRel);
        self.requests.fetch_add(1, Ordering::AcqRel);
    }

    /// Wakes the connection's reader when a request begins or ends.
    pub fn wake_on_change(&self, reader: &Waker) {
        self.reader.register(reader);
    }

    /// Whether all of the last request has been read, and all of its response written.
    pub fn is_between_requests(&self) -> bool {
        self.count() == 0 && !self.is_mid_request.load(Ordering::Acquire)
    }

    /// Ready when [`Self::is_between_requests`]. Registers no waker.
    pub fn poll_between_requests(&self) -> Poll<()> {
        if self.is_between_requests() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Notes whether a part of a request is still to be passed on, or of a response to be written.
    pub fn set_mid_request(&self, is_mid_request: bool) {
        self.is_mid_request.store(is_mid_request, Ordering::Release);
    }

    /// Wakes the connection's reader.
    pub fn wake_reader(&self) {
        self.reader.wake();
    }

    /// Since when the connection is between requests; `None` if it is not.
    pub fn between_requests_since(&self) -> Option<Instant> {
        self.idle_since().filter(|_| self.is_between_requests())
    }

    /// Since when no request has been in flight; `None` while one is.
    fn idle_since(&self) -> Option<Instant> {
        let since = Duration::from_millis(self.idle_since.load(Ordering::Relaxed));
        (self.count() == 0).then(|| self.start + since)
    }

    /// Whether there are requests, and all of them wait for the rest of their bodies.
    pub fn is_receiving(&self) -> bool {
        let receiving = self.receiving.load(Ordering::Acquire);
        receiving > 0 && receiving >= self.count()
    }

    /// Since when the connection waits for its client: for a request, for the rest of bodies, or to take a response.
    pub fn waits_since(&self) -> Option<Instant> {
        let receiving_since = || {
            let since = Duration::from_millis(self.receiving_since.load(Ordering::Relaxed));
            self.is_receiving().then(|| self.start + since)
        };
        self.idle_since().or_else(receiving_since)
    }

    /// Notes that a request waits for its body until what is returned is dropped.
    pub fn begin_receiving(self: &Arc<Self>) -> Receiving {
        if self.receiving.fetch_add(1, Ordering::AcqRel) == 0 {
            self.receiving_since
                .store(self.elapsed_millis(), Ordering::Relaxed);
        }
        Receiving(self.clone())
    }

    /// Gives back the memory of all responses: the connection has written all that it was given.
    pub fn all_written(&self) {
        self.unwritten().clear();
    }

    fn unwritten(&self) -> MutexGuard<'_, Vec<Reserved>> {
        self.unwritten
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what makes the connection end.
    pub fn set_fault(&self, fault: Fault) {
        // The first is the cause.
        let _ = self.fault.set(fault);
    }

    /// What made the connection end.
    pub fn fault(&self) -> Option<Fault> {
        self.fault.get().copied()
    }

    fn elapsed_millis(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// A request that waits for the rest of its body.
#[derive(Debug)]
pub struct Receiving(Arc<InFlight>);

impl Drop for Receiving {
    fn drop(&mut self) {
        self.0.receiving.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A request in flight, until the last byte of its response.
#[derive(Debug)]
pub struct InFlightGuard(Arc<InFlight>);

impl InFlightGuard {
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

    /// Keeps the memory of a response of HTTP/1 until the connection has written it.
    pub fn keep_until_written(&self, memory: Reserved) {
        self.0.unwritten().push(memory);
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.0
            .idle_since
            .store(self.0.elapsed_millis(), Ordering::Relaxed);
        self.0.requests.fetch_sub(1, Ordering::AcqRel);
        self.0.reader.wake();
    }
}
