//! What a form sends.

use std::sync::Arc;

use poem::{FromRequest, Request, RequestBody, Result, http::header};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::app_of;
use crate::error::AppError;

/// What Django says of a field that must not be empty.
pub const REQUIRED: &str = "This field is required.";

/// What bodies that are being read may take together, in KiB.
const ROOM: u32 = 128 * 1024;
/// What a body may have without a place, in bytes: the forms that most visitors send.
const SMALL: usize = 16 * 1024;

/// Room for the bodies that are being read, so that many large ones at once cannot use up the memory.
#[derive(Debug)]
pub struct Bodies(Arc<Semaphore>);

impl Default for Bodies {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(ROOM as usize)))
    }
}

impl Bodies {
    /// A place for the body of a request: as large as it says it is, or as large as it may be.
    fn room_for(
        &self,
        request: &Request,
        most: usize,
    ) -> Result<Option<OwnedSemaphorePermit>, AppError> {
        let length = request
            .header(header::CONTENT_LENGTH)
            .and_then(|length| length.parse().ok());
        let size = length.unwrap_or(most).min(most);
        if size <= SMALL {
            return Ok(None);
        }
        let room = u32::try_from(size / 1024 + 1).unwrap_or(ROOM).min(ROOM);
        let place = self.0.clone().try_acquire_many_owned(room);
        place.map(Some).map_err(|_| AppError::Busy)
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
        if request
            .content_type()
            .is_some_and(|kind| kind.starts_with("multipart/"))
        {
            return Err(AppError::UnsupportedMediaType);
        }
        if !request
            .content_type()
            .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"))
        {
            return Ok(Self::default());
        }
        let app = app_of(request).clone();
        let security = &app.settings.security;
        let _room = app
            .bodies
            .room_for(request, security.data_upload_max_memory_size)?;
        let body = request
            .take_body()
            .into_bytes_limit(security.data_upload_max_memory_size);
        let body = tokio::time::timeout(app.live.get().body_timeout, body)
            .await
            .map_err(|_| AppError::BodyTooSlow)?;
        let body = body.map_err(|error| match error {
            poem::error::ReadBodyError::PayloadTooLarge => AppError::PayloadTooLarge,
            _ => AppError::BadRequest("the body could not be read".into()),
        })?;
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

/// Views get the form that `csrf::protect` has read and checked.
impl<'a> FromRequest<'a> for Form {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> Result<Self> {
        Ok(request.data::<Self>().cloned().unwrap_or_default())
    }
}
