//! Every way in which answering a request can fail. Only this crosses into poem, whose errors show their text.

use std::sync::Arc;

use poem::http::StatusCode;
use sea_orm::DbErr;

/// What a view returns.
pub type Result<T, E = AppError> = std::result::Result<T, E>;

/// Why there is no page. The texts are for the log; visitors see those of `web/errors.rs`.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The request makes no sense.
    #[error("bad request: {0}")]
    BadRequest(&'static str),
    /// A form was not proven to come from our own page.
    #[error("CSRF verification failed: {0}")]
    Csrf(CsrfError),
    /// There is nothing at this address.
    #[error("not found")]
    NotFound,
    /// The address takes other methods: those named.
    #[error("method not allowed")]
    MethodNotAllowed(&'static str),
    /// The body is larger than we read.
    #[error("payload too large")]
    PayloadTooLarge,
    /// The database cannot be reached just now.
    #[error("database unavailable: {0}")]
    Unavailable(Arc<DbErr>),
    /// Our own fault.
    #[error("internal error: {0:#}")]
    Internal(anyhow::Error),
}

/// Why a form was refused; the texts are Django's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CsrfError {
    /// The Origin header names another site.
    #[error("Origin checking failed.")]
    BadOrigin,
    /// Over HTTPS, and neither Origin nor Referer.
    #[error("Referer checking failed - no Referer.")]
    NoReferer,
    /// Over HTTPS, and the Referer is no address of an HTTPS page.
    #[error("Referer checking failed - Referer is malformed or insecure.")]
    MalformedReferer,
    /// Over HTTPS, and the Referer names another site.
    #[error("Referer checking failed - Referer does not match any trusted origins.")]
    BadReferer,
    /// The browser has sent no cookie of ours.
    #[error("CSRF cookie not set.")]
    NoCookie,
    /// The form has no token.
    #[error("CSRF token missing.")]
    NoToken,
    /// The form's token does not belong to the cookie.
    #[error("CSRF token incorrect.")]
    BadToken,
}

impl AppError {
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Csrf(_) => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<DbErr> for AppError {
    fn from(error: DbErr) -> Self {
        Arc::new(error).into()
    }
}

/// For an error that several visitors share.
impl From<Arc<DbErr>> for AppError {
    fn from(error: Arc<DbErr>) -> Self {
        match *error {
            DbErr::Conn(_) | DbErr::ConnectionAcquire(_) => Self::Unavailable(error),
            _ => Self::Internal(error.into()),
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
