//! What a form sends.

use poem::{FromRequest, Request, RequestBody, Result};

use super::body;
use crate::{core::Core, error::AppError};

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
        let core = Core::of(request).clone();
        let security = &core.settings.security;
        let body = body::read(request, security.data_upload_max_memory_size).await?;
        Self::parse(&body.bytes, security.data_upload_max_number_fields)
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
        let most = Core::of(request)
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
