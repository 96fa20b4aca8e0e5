//! What a form sends.

use std::{
    io::ErrorKind,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures_util::StreamExt as _;
use poem::{FromRequest, Request, RequestBody, Result, http::header};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::app_of;
use crate::error::AppError;

/// What Django says of a field that must not be empty.
pub const REQUIRED: &str = "This field is required.";

/// What bodies that are being read may take together, in KiB.
const ROOM: usize = 64 * 1024;
/// What a body may have without a place, in bytes: the forms that most visitors send.
const SMALL: usize = 16 * 1024;

/// Room for the bodies that are being read, so that many large ones at once cannot use up the memory.
#[derive(Debug)]
pub struct Bodies(Arc<Semaphore>);

impl Default for Bodies {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(ROOM)))
    }
}

impl Bodies {
    /// Reads a body of so many bytes at most. It has a place for as much as has come of it, until what is given back beside
    /// it is dropped.
    async fn read(
        &self,
        request: &mut Request,
        most: usize,
    ) -> Result<(Vec<u8>, Option<OwnedSemaphorePermit>), AppError> {
        let length = request.header(header::CONTENT_LENGTH);
        let length: Option<u64> = length.and_then(|length| length.parse().ok());
        if length.is_some_and(|length| length > most as u64) {
            return Err(AppError::PayloadTooLarge);
        }
        let mut pieces = std::pin::pin!(request.take_body().into_bytes_stream());
        let (mut body, mut place) = (Vec::new(), None::<OwnedSemaphorePermit>);
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| match error.kind() {
                // The server waits for too many other bodies.
                ErrorKind::ResourceBusy => AppError::Busy,
                _ => AppError::BadRequest("the body could not be read".into()),
            })?;
            if body.len() + piece.len() > most {
                return Err(AppError::PayloadTooLarge);
            }
            body.extend_from_slice(&piece);
            let needed = body.len().saturating_sub(SMALL).div_ceil(1024);
            let more = needed.saturating_sub(place.as_ref().map_or(0, |place| place.num_permits()));
            if more > 0 {
                let more = u32::try_from(more).unwrap_or(u32::MAX);
                let more = self.0.clone().try_acquire_many_owned(more);
                let more = more.map_err(|_| AppError::Busy)?;
                match &mut place {
                    Some(place) => place.merge(more),
                    None => place = Some(more),
                }
            }
        }
        Ok((body, place))
    }
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

/// The fields of a form in the order in which they were sent. Bytes that are no UTF-8 are replaced.
#[derive(Debug, Clone, Default)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// Reads the body of a request; one that is not a form has no fields.
    ///
    /// # Errors
    /// When the body is too large, breaks off, has too many fields, or is `multipart/form-data`, which no page sends.
    pub async fn read(request: &mut Request) -> Result<Self, AppError> {
        // Types are case-insensitive (RFC 9110, 8.3.1).
        let media_type = request.content_type().unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        let media_type = media_type.to_ascii_lowercase();
        if media_type.starts_with("multipart/") {
            return Err(AppError::UnsupportedMediaType);
        }
        if media_type != "application/x-www-form-urlencoded" {
            return Ok(Self::default());
        }
        let app = app_of(request).clone();
        let security = &app.settings.security;
        let time = request.data::<BodyTime>().cloned().unwrap_or_default();
        let start = Instant::now();
        *time.reading() = Some(Reading::Underway);
        let body = app
            .bodies
            .read(request, security.data_upload_max_memory_size);
        let body = tokio::time::timeout(app.live.get().body_timeout, body).await;
        *time.reading() = Some(Reading::Took(start.elapsed()));
        let (body, _place) = body.map_err(|_| AppError::BodyTooSlow)??;
        Self::parse(&body, security.data_upload_max_number_fields)
            .ok_or(AppError::BadRequest("the form has too many fields".into()))
    }

    /// The fields of a text, unless there are more than `most`.
    pub fn parse(text: &[u8], most: usize) -> Option<Self> {
        let mut fields = form_urlencoded::parse(text)
            .map(|(name, value)| (name.into_owned(), value.into_owned()));
        let form = Self(fields.by_ref().take(most).collect());
        fields.next().is_none().then_some(form)
    }

    /// The value of a field; of several, the last, as Django has it.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .rev()
            .find(|(field, _)| field == name)
            .map(|(_, value)| value.as_str())
    }
}

impl Form {
    /// All values of a field, in the order in which they were sent.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(field, _)| field == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether a field was sent, with whatever value.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The fields of the query of an address.
    pub fn of_query(request: &Request) -> Self {
        let most = app_of(request)
            .settings
            .security
            .data_upload_max_number_fields;
        let query = request.original_uri().query().unwrap_or_default();
        let fields = form_urlencoded::parse(query.as_bytes());
        Self(
            fields
                .take(most)
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect(),
        )
    }

    /// Names and values, in the order in which they were sent.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl From<Vec<(String, String)>> for Form {
    fn from(fields: Vec<(String, String)>) -> Self {
        Self(fields)
    }
}

/// Views get the form that `csrf::protect` has read and checked.
impl<'a> FromRequest<'a> for Form {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> Result<Self> {
        Ok(request.data::<Self>().cloned().unwrap_or_default())
    }
}
