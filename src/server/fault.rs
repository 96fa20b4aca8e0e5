//! Why a connection or request is refused before routing, and the response.

use std::fmt;

use poem::http::{StatusCode, header};

/// The header `Retry-After` of a 503: seconds until the client may try again.
pub const RETRY_AFTER: &str = "2";

/// Why a connection or request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The request is malformed or ambiguous; the text is for the log.
    Malformed(&'static str),
    /// The request line is too long.
    LineTooLong,
    /// A field of the head is too large.
    FieldTooLarge,
    /// The head has too many fields.
    TooManyFields,
    /// The head is too large as a whole.
    HeadTooLarge,
    /// The head did not come in time.
    HeadTooSlow,
    /// The address has too many connections.
    AddressBusy,
    /// There are too many connections.
    Full,
    /// There are too many requests in flight.
    Busy,
    /// Too many HTTP/2 frames without content.
    TooManyFrames,
}

impl Fault {
    /// The value of the metrics' label `reason`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::LineTooLong => "line_too_long",
            Self::FieldTooLarge => "field_too_large",
            Self::TooManyFields => "too_many_fields",
            Self::HeadTooLarge => "head_too_large",
            Self::HeadTooSlow => "head_too_slow",
            Self::AddressBusy => "address_busy",
            Self::Full => "full",
            Self::Busy => "busy",
            Self::TooManyFrames => "too_many_frames",
        }
    }

    /// The status and the text of the response.
    fn status_and_body(self) -> (StatusCode, &'static str) {
        match self {
            Self::Malformed(_) => (
                StatusCode::BAD_REQUEST,
                "The request is malformed or ambiguous.\n",
            ),
            Self::LineTooLong => (
                StatusCode::URI_TOO_LONG,
                "The address is longer than this site takes.\n",
            ),
            Self::FieldTooLarge | Self::TooManyFields | Self::HeadTooLarge => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "Your browser sends more than this site takes: delete its cookies for this site.\n",
            ),
            Self::HeadTooSlow => (
                StatusCode::REQUEST_TIMEOUT,
                "The request did not come in time.\n",
            ),
            Self::AddressBusy => (
                StatusCode::TOO_MANY_REQUESTS,
                "There are too many connections from your address: close some, or try again in a moment.\n",
            ),
            Self::Full => (
                StatusCode::SERVICE_UNAVAILABLE,
                "The site is full. Try again in a moment.\n",
            ),
            Self::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "The site is very busy just now. Try again in a moment.\n",
            ),
            // On HTTP/2 the connection ends without a response.
            Self::TooManyFrames => (StatusCode::BAD_REQUEST, "There are too many frames.\n"),
        }
    }

    /// The response as bytes, for a connection of HTTP/1.
    pub fn http1_response(self) -> String {
        let (status, body) = self.status_and_body();
        let retry = if self.is_retryable() {
            format!("Retry-After: {RETRY_AFTER}\r\n")
        } else {
            String::new()
        };
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n{retry}\
             Connection: close\r\n\r\n{body}",
            body.len()
        )
    }

    /// The response to a request that hyper has read.
    pub fn response(self) -> poem::Response {
        let (status, body) = self.status_and_body();
        let response = poem::Response::builder()
            .status(status)
            .content_type("text/plain; charset=utf-8");
        if self.is_retryable() {
            response.header(header::RETRY_AFTER, RETRY_AFTER)
        } else {
            response
        }
        .body(body)
    }

    /// Whether the client may try again without a change.
    fn is_retryable(self) -> bool {
        matches!(self, Self::AddressBusy | Self::Full | Self::Busy)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(reason) => write!(f, "malformed: {reason}"),
            other => f.write_str(other.name()),
        }
    }
}
