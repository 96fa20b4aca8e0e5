//! What a form sends.

use std::sync::Arc;

use poem::{FromRequest, Request, RequestBody, Result};

use super::body::{self, BodyPermit};
use crate::{core::Core, error::AppError};

/// What Django says of a field that must not be empty.
pub const REQUIRED: &str = "This field is required.";

/// The fields of a form in the order in which they were sent. Bytes that are no UTF-8 are replaced. Clones share the fields,
/// and the memory that is counted for them.
#[derive(Debug, Clone, Default)]
pub struct Form(Arc<Fields>);

#[derive(Debug, Default)]
struct Fields {
    all: Vec<(String, String)>,
    _memory: Option<BodyPermit>,
}

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
        let mut body = body::read(request, security.data_upload_max_memory_size).await?;
        let all = parse(&body.bytes, security.data_upload_max_number_fields)
            .ok_or(AppError::BadRequest("the form has too many fields".into()))?;
        // Replaced bytes take more room than they did.
        let size = all
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        body.count(size)?;
        Ok(Self(Arc::new(Fields {
            all,
            _memory: body.permit,
        })))
    }

    /// The fields of a text, unless there are more than `most`.
    pub fn parse(text: &[u8], most: usize) -> Option<Self> {
        parse(text, most).map(Self::from)
    }

    /// The value of a field; of several, the last, as Django has it.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .all
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
            .all
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
        let fields = fields.map(|(name, value)| (name.into_owned(), value.into_owned()));
        Self::from(fields.take(most).collect::<Vec<_>>())
    }

    /// Names and values, in the order in which they were sent.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .all
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl From<Vec<(String, String)>> for Form {
    fn from(all: Vec<(String, String)>) -> Self {
        Self(Arc::new(Fields { all, _memory: None }))
    }
}

fn parse(text: &[u8], most: usize) -> Option<Vec<(String, String)>> {
    let mut fields =
        form_urlencoded::parse(text).map(|(name, value)| (name.into_owned(), value.into_owned()));
    let all = fields.by_ref().take(most).collect();
    fields.next().is_none().then_some(all)
}

/// Views get the form that `csrf::protect` has read and checked.
impl<'a> FromRequest<'a> for Form {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> Result<Self> {
        Ok(request.data::<Self>().cloned().unwrap_or_default())
    }
}
