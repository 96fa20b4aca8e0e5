//! Why a connection is refused before there is a request to answer, and the answer that says so.

use std::fmt;

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The request is none, or could be read in two ways; the text is for the log.
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
}

impl Fault {
    /// Its name among the metrics.
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
        }
    }

    /// The whole answer.
    pub fn answer(self) -> String {
        let (status, advice) = match self {
            Self::Malformed(_) => (
                "400 Bad Request",
                "This is no request that can be read in one way only.",
            ),
            Self::LineTooLong => (
                "414 URI Too Long",
                "The address is longer than this site takes.",
            ),
            Self::FieldTooLarge | Self::TooManyFields | Self::HeadTooLarge => (
                "431 Request Header Fields Too Large",
                "Your browser sends more than this site takes: delete its cookies for this site.",
            ),
            Self::HeadTooSlow => ("408 Request Timeout", "The request did not come in time."),
            Self::AddressBusy => (
                "429 Too Many Requests",
                "There are too many connections from your address: close some, or try again in a moment.",
            ),
            Self::Full => (
                "503 Service Unavailable",
                "The site is full. Try again in a moment.",
            ),
        };
        let retry = match self {
            Self::AddressBusy | Self::Full => "Retry-After: 2\r\n",
            _ => "",
        };
        let body = format!("{advice}\n");
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n{retry}\
             Connection: close\r\n\r\n{body}",
            body.len()
        )
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
