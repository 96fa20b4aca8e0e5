//! Reading request bodies, within limits on their size, their time and the memory of all together.

use std::{
    io::ErrorKind,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures_util::StreamExt as _;
use poem::{Request, http::header};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{core::Core, error::AppError};

/// The memory for all bodies that are being read, in KiB.
const MEMORY: usize = 64 * 1024;
/// The first bytes of a body, which are not counted: most forms are no larger.
const UNCOUNTED: usize = 16 * 1024;
/// The buffer of a body grows by `1 / GROWTH` of its size.
const GROWTH: usize = 8;

/// The memory that is left for request bodies and the forms in them, in KiB, so that many large ones at the same time cannot
/// use up the memory of the process.
#[derive(Debug, Clone)]
pub struct BodyMemory(Arc<Semaphore>);

impl Default for BodyMemory {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MEMORY)))
    }
}

/// The memory of a body, given back when dropped.
#[derive(Debug)]
pub struct BodyPermit(OwnedSemaphorePermit);

/// A request body, whose memory is counted.
#[derive(Debug)]
pub struct CountedBody {
    /// The content.
    pub bytes: Vec<u8>,
    /// What has been counted; none for a small body.
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
                // The server receives too many other bodies.
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

    /// Counts `size` bytes for the body, unless as many have been counted.
    ///
    /// # Errors
    /// [`AppError::Busy`] when other bodies have taken the memory.
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
/// [`AppError::Busy`] when other bodies have taken the memory, [`AppError::BadRequest`] when the body breaks off.
///
/// # Panics
/// When the router has not given the request a [`BodyMemory`].
pub async fn read(request: &mut Request, max_size: usize) -> Result<CountedBody, AppError> {
    let timeout = Core::of(request).live.get().body_timeout;
    let memory: BodyMemory = request
        .data()
        .cloned()
        .expect("the router gives it to every request");
    let time = request.data::<BodyTime>().cloned().unwrap_or_default();
    let start = Instant::now();
    *time.reading() = Some(Reading::Underway);
    let body = tokio::time::timeout(timeout, CountedBody::read(memory, request, max_size)).await;
    *time.reading() = Some(Reading::Took(start.elapsed()));
    body.map_err(|_| AppError::BodyTooSlow)?
}

/// How long a request's body took to come.
#[derive(Debug, Clone, Default)]
pub struct BodyTime(Arc<Mutex<Option<Reading>>>);

#[derive(Debug, Clone, Copy)]
enum Reading {
    Underway,
    Took(Duration),
}

impl BodyTime {
    /// None if it has not been read; while it is being read, `most`.
    pub fn taken(&self, most: Duration) -> Duration {
        match *self.reading() {
            None => Duration::ZERO,
            Some(Reading::Underway) => most,
            Some(Reading::Took(time)) => time,
        }
    }

    fn reading(&self) -> MutexGuard<'_, Option<Reading>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
