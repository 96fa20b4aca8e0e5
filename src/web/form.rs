//! What a form sends.

use poem::{FromRequest, Request, RequestBody, Result};

use super::app_of;
use crate::{error::AppError, settings::MAX_FIELDS};

/// What Django says of a field that must not be empty.
pub const REQUIRED: &str = "This field is required.";

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
        let query = request.original_uri().query().unwrap_or_default();
        let fields = form_urlencoded::parse(query.as_bytes());
        Self(
            fields
                .take(MAX_FIELDS)
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
