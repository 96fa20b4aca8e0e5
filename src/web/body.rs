//! Reading request bodies, with limits on the size and the time of each and on their total memory.

use std::{
    io::ErrorKind,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures_util::StreamExt as _;
use poem::{Request, http::header};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{core::Core, error::AppError};

/// The total memory for request bodies, in KiB.
const MEMORY: usize = 64 * 1024;
/// How many bytes of each body are not counted: most forms are no larger.
const UNCOUNTED: usize = 16 * 1024;
/// A body's buffer grows by `1 / GROWTH` of its size.
const GROWTH: usize = 8;

/// The memory left for request bodies and the forms parsed from them, in KiB: many large bodies at the same time cannot
/// exhaust the memory of the process.
#[derive(Debug, Clone)]
pub struct BodyMemory(Arc<Semaphore>);

impl Default for BodyMemory {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MEMORY)))
    }
}

/// The counted memory of a body, released when dropped.
#[derive(Debug)]
pub struct BodyPermit(OwnedSemaphorePermit);

/// A request body whose memory is counted.
#[derive(Debug)]
pub struct CountedBody {
    /// The content.
    pub bytes: Vec<u8>,
    /// The counted memory; `None` for a body of at most 16 KiB.
    pub permit: Option<BodyPermit>,
    memory: BodyMemory,
}

impl CountedBody {
    async fn read(
        memory: BodyMemory,
        request: &mut Request,
        max_size: usize,
    ) -> Result<Self, AppError> {
        let length = request.header(header::CONTENT_LENGTH);
        let length: Option<u64> = length.and_then(|length| length.parse().ok());
        if length.is_some_and(|length| length > max_size as u64) {
            return Err(AppError::PayloadTooLarge);
        }
        let mut chunks = std::pin::pin!(request.take_body().into_bytes_stream());
        let mut body = Self {
            bytes: Vec::new(),
            permit: None,
            memory,
        };
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| match error.kind() {
                // Too many other requests are receiving their bodies.
                ErrorKind::ResourceBusy => AppError::Busy,
                _ => AppError::BadRequest("the body could not be read".into()),
            })?;
            let size = body.bytes.len() + chunk.len();
            if size > max_size {
                return Err(AppError::PayloadTooLarge);
            }
            if size > body.bytes.capacity() {
                // Not doubled, so that no more is allocated than is counted.
                let more = chunk.len() + size / GROWTH;
                body.count(body.bytes.len() + more)?;
                body.bytes.reserve_exact(more);
            }
            body.bytes.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// Counts memory for the body until `size` bytes are counted in total.
    ///
    /// # Errors
    /// [`AppError::Busy`] when other bodies use too much of the memory.
    pub fn count(&mut self, size: usize) -> Result<(), AppError> {
        let needed = size.saturating_sub(UNCOUNTED).div_ceil(1024);
        let counted = self
            .permit
            .as_ref()
            .map_or(0, |permit| permit.0.num_permits());
        let more = u32::try_from(needed.saturating_sub(counted)).unwrap_or(u32::MAX);
        if more > 0 {
            let more = self.memory.0.clone().try_acquire_many_owned(more);
            let more = more.map_err(|_| AppError::Busy)?;
            match &mut self.permit {
                Some(permit) => permit.0.merge(more),
                None => self.permit = Some(BodyPermit(more)),
            }
        }
        Ok(())
    }
}

/// Reads the body of a request.
///
/// # Errors
/// [`AppError::PayloadTooLarge`] beyond `max_size` bytes, [`AppError::BodyTooSlow`] after `BODY_TIMEOUT`,
/// [`AppError::Busy`] when other bodies use too much of the memory, [`AppError::BadRequest`] when the body is incomplete
/// or malformed.
///
/// # Panics
/// When the request has no [`BodyMemory`]: the router sets it.
pub async fn read(request: &mut Request, max_size: usize) -> Result<CountedBody, AppError> {
    let timeout = Core::of(request).live.get().body_timeout;
    let memory: BodyMemory = request
        .data()
        .cloned()
        .expect("the router sets it on every request");
    let time = request.data::<BodyReadTime>().cloned().unwrap_or_default();
    let start = Instant::now();
    *time.reading() = Some(Reading::InProgress);
    let body = tokio::time::timeout(timeout, CountedBody::read(memory, request, max_size)).await;
    *time.reading() = Some(Reading::Done(start.elapsed()));
    body.map_err(|_| AppError::BodyTooSlow)?
}

/// How long it took to receive a request's body.
#[derive(Debug, Clone, Default)]
pub struct BodyReadTime(Arc<Mutex<Option<Reading>>>);

#[derive(Debug, Clone, Copy)]
enum Reading {
    InProgress,
    Done(Duration),
}

impl BodyReadTime {
    /// The time; zero if the body has not been read, `max` while it is being read.
    pub fn elapsed(&self, max: Duration) -> Duration {
        match *self.reading() {
            None => Duration::ZERO,
            Some(Reading::InProgress) => max,
            Some(Reading::Done(time)) => time,
        }
    }

    fn reading(&self) -> MutexGuard<'_, Option<Reading>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
