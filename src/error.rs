//! Every way in which answering a request can fail. Only this crosses into poem, whose errors show their text.

use std::{borrow::Cow, sync::Arc};

use poem::http::StatusCode;
use sea_orm::DbErr;

use crate::{db::is_passing, sessions::SaveError};

/// What a view returns.
pub type Result<T, E = AppError> = std::result::Result<T, E>;

/// Why there is no page. The texts are for the log; clients see those of `web/errors.rs`.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The request makes no sense.
    #[error("bad request: {0}")]
    BadRequest(Cow<'static, str>),
    /// A form was not proven to come from our own page.
    #[error("CSRF verification failed: {0}")]
    Csrf(CsrfError),
    /// The client may not do this.
    #[error("permission denied")]
    PermissionDenied,
    /// Too many passwords have been tried; so many seconds are to pass.
    #[error("too many tries")]
    TooManyTries(i64),
    /// Too many others are being served.
    #[error("busy")]
    Busy,
    /// There is nothing at this address.
    #[error("not found")]
    NotFound,
    /// The address takes other methods: those named.
    #[error("method not allowed")]
    MethodNotAllowed(&'static str),
    /// The body is larger than we read.
    #[error("payload too large")]
    PayloadTooLarge,
    /// The body did not come in time.
    #[error("the body came too slowly")]
    BodyTooSlow,
    /// The answer was not there in time.
    #[error("no answer in time")]
    Timeout,
    /// The form came in a form that is not read.
    #[error("unsupported media type")]
    UnsupportedMediaType,
    /// The database cannot be reached just now.
    #[error("database unavailable: {0}")]
    Unavailable(Arc<DbErr>),
    /// Our own fault.
    #[error("internal error: {0:#}")]
    Internal(anyhow::Error),
}

/// Why a form was refused, worded as Django words it; some texts hold what the client sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsrfError {
    /// The Origin header names another site.
    #[error("Origin checking failed - {0} does not match any trusted origins.")]
    BadOrigin(String),
    /// Over HTTPS, and neither Origin nor Referer.
    #[error("Referer checking failed - no Referer.")]
    NoReferer,
    /// Over HTTPS, and the Referer is no address.
    #[error("Referer checking failed - Referer is malformed.")]
    MalformedReferer,
    /// Over HTTPS, and the Referer is not.
    #[error("Referer checking failed - Referer is insecure while host is secure.")]
    InsecureReferer,
    /// Over HTTPS, and the Referer names another site.
    #[error("Referer checking failed - {0} does not match any trusted origins.")]
    BadReferer(String),
    /// The browser has sent no cookie of ours.
    #[error("CSRF cookie not set.")]
    NoCookie,
    /// Neither the form nor a header has a token.
    #[error("CSRF token missing.")]
    NoToken,
    /// The token does not belong to the cookie.
    #[error("CSRF token incorrect.")]
    BadToken,
}

impl AppError {
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Csrf(_) | Self::PermissionDenied => StatusCode::FORBIDDEN,
            Self::TooManyTries(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Unavailable(_) | Self::Busy | Self::Timeout => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<DbErr> for AppError {
    fn from(error: DbErr) -> Self {
        Arc::new(error).into()
    }
}

/// For an error that several clients share.
impl From<Arc<DbErr>> for AppError {
    fn from(error: Arc<DbErr>) -> Self {
        if is_passing(&error) {
            Self::Unavailable(error)
        } else {
            Self::Internal(error.into())
        }
    }
}

impl From<SaveError> for AppError {
    fn from(error: SaveError) -> Self {
        match error {
            SaveError::Vanished => Self::BadRequest(error.to_string().into()),
            SaveError::Database(error) => error.into(),
        }
    }
}

impl From<minijinja::Error> for AppError {
    fn from(error: minijinja::Error) -> Self {
        Self::Internal(error.into())
    }
}

impl poem::error::ResponseError for AppError {
    fn status(&self) -> StatusCode {
        Self::status(self)
    }
}
