//! Every error of a request. Views return no other errors to poem, which would show their texts to clients.

use std::{borrow::Cow, sync::Arc};

use poem::http::StatusCode;
use sea_orm::DbErr;

use crate::{
    db::{is_missing_table, is_transient},
    sessions::SaveError,
};

/// The result of a view.
pub type Result<T, E = AppError> = std::result::Result<T, E>;

/// The error of a request. The texts are for the log; clients see those of `web/errors.rs`.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// 400: the request is malformed.
    #[error("bad request: {0}")]
    BadRequest(Cow<'static, str>),
    /// 403: the form's CSRF check failed.
    #[error("CSRF verification failed: {0}")]
    Csrf(CsrfError),
    /// 403: the user lacks the permission.
    #[error("permission denied")]
    PermissionDenied,
    /// 429: too many failed logins; the seconds until the next attempt.
    #[error("too many tries")]
    TooManyAttempts(i64),
    /// 503: too many requests.
    #[error("busy")]
    Busy,
    /// 404.
    #[error("not found")]
    NotFound,
    /// 405, with the allowed methods.
    #[error("method not allowed")]
    MethodNotAllowed(&'static str),
    /// 413: the body is too large.
    #[error("payload too large")]
    PayloadTooLarge,
    /// 408: the body was not received in time.
    #[error("the body came too slowly")]
    BodyTooSlow,
    /// 503: the request took longer than `REQUEST_TIMEOUT`.
    #[error("no answer in time")]
    Timeout,
    /// 415: the form's content type is not supported.
    #[error("unsupported media type")]
    UnsupportedMediaType,
    /// 503: the database is not reachable.
    #[error("database unavailable: {0}")]
    Unavailable(Arc<DbErr>),
    /// 503: a table does not exist, since migrations have not been applied.
    #[error("the database is not migrated, run `polls migrate`: {0}")]
    NotMigrated(Arc<DbErr>),
    /// 500.
    #[error("internal error: {0:#}")]
    Internal(anyhow::Error),
}

/// Why the CSRF check failed, in Django's words; some texts hold what the client sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsrfError {
    /// The Origin header names another site.
    #[error("Origin checking failed - {0} does not match any trusted origins.")]
    BadOrigin(String),
    /// No Origin header, on a page that needs it. Django has no such check.
    #[error("Origin checking failed - no Origin.")]
    NoOrigin,
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
    /// No CSRF cookie.
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
    /// The status of the response.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Csrf(_) | Self::PermissionDenied => StatusCode::FORBIDDEN,
            Self::TooManyAttempts(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Unavailable(_) | Self::NotMigrated(_) | Self::Busy | Self::Timeout => {
                StatusCode::SERVICE_UNAVAILABLE
            }
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
        if is_transient(&error) {
            Self::Unavailable(error)
        } else if is_missing_table(&error) {
            Self::NotMigrated(error)
        } else {
            Self::Internal(error.into())
        }
    }
}

impl From<SaveError> for AppError {
    fn from(error: SaveError) -> Self {
        match error {
            SaveError::Deleted => Self::BadRequest(error.to_string().into()),
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
