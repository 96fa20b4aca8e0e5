//! Parsing of form data: request bodies and query strings.

use std::sync::Arc;

use poem::{FromRequest, Request, RequestBody, Result};

use super::body::{self, BodyPermit};
use crate::{core::Core, error::AppError};

/// Django's error message for an empty required field.
pub const REQUIRED: &str = "This field is required.";

/// The fields of a form, in the order of the request. Invalid UTF-8 is replaced by U+FFFD. Clones share the fields and the
/// memory that is counted for them.
#[derive(Debug, Clone, Default)]
pub struct Form(Arc<Fields>);

#[derive(Debug, Default)]
struct Fields {
    all: Vec<(String, String)>,
    _memory: Option<BodyPermit>,
}

impl Form {
    /// Reads a form from the body of a request; empty if the content type is not that of a form.
    ///
    /// # Errors
    /// [`AppError::UnsupportedMediaType`] for `multipart/form-data`, which no page sends; [`AppError::BadRequest`] when there are
    /// more than `DATA_UPLOAD_MAX_NUMBER_FIELDS` fields; and those of [`body::read`].
    pub async fn read(request: &mut Request) -> Result<Self, AppError> {
        // Media types are case-insensitive (RFC 9110, 8.3.1).
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
        // U+FFFD is longer than the bytes that it replaces.
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

    /// Parses `application/x-www-form-urlencoded`; `None` when there are more than `max_fields` fields.
    pub fn parse(text: &[u8], max_fields: usize) -> Option<Self> {
        parse(text, max_fields).map(Self::from)
    }

    /// The value of a field; of several, the last (Django's `QueryDict.get`).
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .all
            .iter()
            .rev()
            .find(|(field, _)| field == name)
            .map(|(_, value)| value.as_str())
    }

    /// All values of a field, in the order of the request (Django's `QueryDict.getlist`).
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .all
            .iter()
            .filter(move |(field, _)| field == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether the field is present, even with an empty value.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The fields of a request's query string; those beyond `DATA_UPLOAD_MAX_NUMBER_FIELDS` are ignored.
    pub fn of_query(request: &Request) -> Self {
        let max_fields = Core::of(request)
            .settings
            .security
            .data_upload_max_number_fields;
        let query = request.original_uri().query().unwrap_or_default();
        let fields = form_urlencoded::parse(query.as_bytes());
        let fields = fields.map(|(name, value)| (name.into_owned(), value.into_owned()));
        Self::from(fields.take(max_fields).collect::<Vec<_>>())
    }

    /// Names and values, in the order of the request.
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

fn parse(text: &[u8], max_fields: usize) -> Option<Vec<(String, String)>> {
    let mut fields =
        form_urlencoded::parse(text).map(|(name, value)| (name.into_owned(), value.into_owned()));
    let all = fields.by_ref().take(max_fields).collect();
    fields.next().is_none().then_some(all)
}

/// Views extract the form that `csrf::protect` has read and checked.
impl<'a> FromRequest<'a> for Form {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> Result<Self> {
        Ok(request.data::<Self>().cloned().unwrap_or_default())
    }
}
