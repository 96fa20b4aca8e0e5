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

/// The memory that is left for request bodies, in KiB, so that many large ones at the same time cannot use up the memory of
/// the process.
#[derive(Debug, Clone)]
pub struct BodyMemory(Arc<Semaphore>);

impl Default for BodyMemory {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MEMORY)))
    }
}

/// A request body, whose memory is counted until it is dropped.
#[derive(Debug)]
pub struct RequestBytes {
    /// The content.
    pub bytes: Vec<u8>,
    memory: Option<OwnedSemaphorePermit>,
}

impl BodyMemory {
    async fn read(&self, request: &mut Request, max_size: usize) -> Result<RequestBytes, AppError> {
        let length = request.header(header::CONTENT_LENGTH);
        let length: Option<u64> = length.and_then(|length| length.parse().ok());
        if length.is_some_and(|length| length > max_size as u64) {
            return Err(AppError::PayloadTooLarge);
        }
        let mut chunks = std::pin::pin!(request.take_body().into_bytes_stream());
        let mut body = RequestBytes {
            bytes: Vec::new(),
            memory: None,
        };
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| match error.kind() {
                // The server receives too many other bodies.
                ErrorKind::ResourceBusy => AppError::Busy,
                _ => AppError::BadRequest("the body could not be read".into()),
            })?;
            if body.bytes.len() + chunk.len() > max_size {
                return Err(AppError::PayloadTooLarge);
            }
            body.bytes.extend_from_slice(&chunk);
            self.count(&mut body)?;
        }
        Ok(body)
    }

    /// Acquires the memory that a body has grown to.
    fn count(&self, body: &mut RequestBytes) -> Result<(), AppError> {
        let needed = body.bytes.len().saturating_sub(UNCOUNTED).div_ceil(1024);
        let acquired = body
            .memory
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits);
        let more = needed.saturating_sub(acquired);
        if more > 0 {
            let more = u32::try_from(more).unwrap_or(u32::MAX);
            let more = self.0.clone().try_acquire_many_owned(more);
            let more = more.map_err(|_| AppError::Busy)?;
            match &mut body.memory {
                Some(memory) => memory.merge(more),
                None => body.memory = Some(more),
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
pub async fn read(request: &mut Request, max_size: usize) -> Result<RequestBytes, AppError> {
    let timeout = Core::of(request).live.get().body_timeout;
    let memory: BodyMemory = request
        .data()
        .cloned()
        .expect("the router gives it to every request");
    let time = request.data::<BodyTime>().cloned().unwrap_or_default();
    let start = Instant::now();
    *time.reading() = Some(Reading::Underway);
    let body = tokio::time::timeout(timeout, memory.read(request, max_size)).await;
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
