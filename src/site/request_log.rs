//! The access log, and the ids of requests.

use std::{
    borrow::Cow,
    fmt::Write as _,
    time::{Duration, Instant},
};

use poem::{
    Request, Response,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
};
use rand::RngExt;
use tracing::{
    Span,
    field::{Empty, display},
};

use crate::{
    core::Core,
    settings::{AccessLogFormat, Piece},
    telemetry,
    web::request_info::{Head, REQUEST_ID, Source},
};

const MAX_ID_LENGTH: usize = 128;
/// What is logged of a field of a head, in characters.
const MAX_FIELD: usize = 1024;
/// The query parameters whose values are not logged: they are the right to vote, and the proof of a vote.
const SECRET_PARAMETERS: [&str; 2] = ["code", "receipt"];
/// The usual length of a line, in bytes.
const USUAL_LENGTH: usize = 256;

/// What is known of a request before its response.
pub struct RequestLog<'a> {
    core: &'a Core,
    /// When it was received.
    pub start: Instant,
    /// Where it comes from.
    pub source: Source,
    /// The span of what is done for it.
    pub span: Span,
    ids: Ids,
}

impl<'a> RequestLog<'a> {
    /// Begins with a request that has just been received.
    pub fn new(core: &'a Core, request: &Request) -> Self {
        let start = Instant::now();
        let source = Source::of(request, &core.settings.security);
        Self {
            core,
            start,
            source,
            span: Span::none(),
            ids: Ids::of(request, source.is_from_proxy),
        }
    }

    /// The id of the request.
    pub fn id(&self) -> &str {
        self.ids.text()
    }

    /// Whether requests are exported as traces.
    pub fn is_traced(&self) -> bool {
        self.core.settings.log.traces.is_some()
    }

    /// Begins the span.
    pub fn begin_span(&mut self, headers: &HeaderMap) {
        self.span = tracing::error_span!(
            "request",
            id = self.ids.text(),
            otel.kind = Empty,
            otel.name = Empty,
            http.request.method = Empty,
            http.response.status_code = Empty,
            http.route = Empty,
            url.path = Empty,
        );
        if self.is_traced() {
            if self.source.is_from_proxy {
                telemetry::continue_trace(&self.span, headers);
            }
            let trace = telemetry::trace_id(&self.span);
            self.ids.trace = trace.or(self.ids.trace.take());
        }
    }

    /// Logs the response that was ready after `took`, and adds the request id to it.
    pub fn finish(
        &self,
        head: Head<'_>,
        route: &str,
        took: Duration,
        mut response: Response,
    ) -> Response {
        if self.is_traced() {
            describe(&self.span, head, route, response.status());
        }
        response
            .headers_mut()
            .insert(REQUEST_ID, self.ids.request.clone());
        write(self.core, head, &self.ids, &response, took);
        response
    }
}

/// Writes into a request's span what OpenTelemetry has names for
/// (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/>).
fn describe(span: &Span, head: Head<'_>, route: &str, status: StatusCode) {
    span.record("otel.kind", "server");
    span.record(
        "otel.name",
        display(format_args!("{} {route}", head.method)),
    );
    span.record("http.request.method", display(head.method));
    span.record("http.response.status_code", status.as_u16());
    span.record("http.route", route);
    span.record("url.path", display(head.uri.path().escape_debug()));
}

fn write(core: &Core, head: Head<'_>, ids: &Ids, response: &Response, took: Duration) {
    if !tracing::enabled!(target: "access", tracing::Level::INFO) {
        return;
    }
    if core.settings.log.json {
        let (size, ms) = (size(response), took.as_secs_f64() * 1000.0);
        // The writer escapes what needs it.
        tracing::info!(
            target: "access",
            address = %head.address,
            method = %head.method,
            target = visible(head.target()),
            version = ?head.version,
            status = response.status().as_u16(),
            size,
            ms,
            referer = field(head.headers, &header::REFERER).as_deref().map(visible),
            user_agent = field(head.headers, &header::USER_AGENT).as_deref().map(visible),
            request_id = ids.text(),
            trace_id = ids.trace,
            "request",
        );
    } else {
        let settings = core.live.get();
        let line = line(&settings.access_log_format, head, response, took);
        tracing::info!(target: "access", "{line}");
    }
}

fn size(response: &Response) -> Option<u64> {
    let length = response.headers().get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

/// A field of a head, at most [`MAX_FIELD`] characters of it; bytes that are no text are replaced.
fn field<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Cow<'a, str>> {
    let value = String::from_utf8_lossy(headers.get(name)?.as_bytes());
    Some(match value.char_indices().nth(MAX_FIELD) {
        Some((end, _)) => value[..end].to_owned().into(),
        None => value,
    })
}

/// Escapes control characters, and formatting characters that would show the rest in another place; for JSON, which escapes only
/// what it must.
fn visible(text: &str) -> String {
    let is_hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// The formatted line. Input may hold quotes and control characters of terminals.
fn line(format: &AccessLogFormat, head: Head<'_>, response: &Response, took: Duration) -> String {
    let mut line = String::with_capacity(USUAL_LENGTH);
    for piece in format.pieces() {
        let written = match piece {
            Piece::Text(text) => line.write_str(text),
            Piece::Atom(atom) => write_atom(&mut line, *atom, head, response, took),
            Piece::RequestHeader(name) => write_field(&mut line, head.headers, name),
            Piece::ResponseHeader(name) => write_field(&mut line, response.headers(), name),
        };
        written.expect("a string takes all");
    }
    line
}

fn write_field(line: &mut String, headers: &HeaderMap, name: &HeaderName) -> std::fmt::Result {
    match field(headers, name) {
        Some(value) if *name == header::REFERER => write_escaped(line, &without_secrets(&value)),
        Some(value) => write_escaped(line, &value),
        None => line.write_str("-"),
    }
}

/// A URL or a query string with the values of [`SECRET_PARAMETERS`] masked.
fn without_secrets(url: &str) -> Cow<'_, str> {
    let begins = |part: &str| {
        let mut names = SECRET_PARAMETERS.iter();
        names.find(|name| {
            part.strip_prefix(**name)
                .is_some_and(|rest| rest.starts_with('='))
        })
    };
    let is_separator = |letter: char| matches!(letter, '?' | '&');
    if !url.split(is_separator).any(|part| begins(part).is_some()) {
        return url.into();
    }
    let parts = url.split_inclusive(is_separator).map(|part| {
        let end = part.strip_suffix(is_separator).map_or(part.len(), str::len);
        match begins(part) {
            Some(name) => format!("{name}=***{}", &part[end..]),
            None => part.to_owned(),
        }
    });
    parts.collect::<String>().into()
}

/// Writes a text as `escape_debug` does, which goes through it by characters.
fn write_escaped(line: &mut String, text: &str) -> std::fmt::Result {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && !b"\"'\\".contains(&byte);
    if text.bytes().all(is_plain) {
        line.write_str(text)
    } else {
        write!(line, "{}", text.escape_debug())
    }
}

fn write_atom(
    line: &mut String,
    atom: char,
    head: Head<'_>,
    response: &Response,
    took: Duration,
) -> std::fmt::Result {
    let (method, version) = (head.method, head.version);
    match atom {
        'h' => write!(line, "{}", head.address),
        't' => write!(
            line,
            "{}",
            chrono::Utc::now().format("[%d/%b/%Y:%H:%M:%S %z]")
        ),
        'r' => {
            write!(line, "{method} ")?;
            write_escaped(line, &without_secrets(head.target()))?;
            write!(line, " {version:?}")
        }
        'm' => write!(line, "{method}"),
        'U' => write_escaped(line, head.uri.path()),
        'q' => {
            let query = head.uri.query().unwrap_or_default();
            write_escaped(line, &without_secrets(query))
        }
        'H' => write!(line, "{version:?}"),
        's' => write!(line, "{}", response.status().as_u16()),
        'B' => write!(line, "{}", size(response).unwrap_or_default()),
        'b' => match size(response) {
            Some(size) => write!(line, "{size}"),
            None => line.write_str("-"),
        },
        'f' => write_field(line, head.headers, &header::REFERER),
        'a' => write_field(line, head.headers, &header::USER_AGENT),
        'T' => write!(line, "{}", took.as_secs()),
        'M' => write!(line, "{:.1}", took.as_secs_f64() * 1000.0),
        'D' => write!(line, "{}", took.as_micros()),
        'L' => write!(line, "{:.6}", took.as_secs_f64()),
        'p' => write!(line, "<{}>", std::process::id()),
        // The user by RFC 1413 and by HTTP authentication: neither is known.
        _ => line.write_str("-"),
    }
}

/// The ids of a request.
struct Ids {
    /// In visible ASCII.
    request: HeaderValue,
    /// Of its trace (<https://www.w3.org/TR/trace-context/>).
    trace: Option<String>,
}

impl Ids {
    /// The id that a trusted proxy has sent, or a new one.
    fn of(request: &Request, is_trusted: bool) -> Self {
        let given = request
            .header(REQUEST_ID)
            .filter(|id| is_trusted && is_valid_id(id));
        let id = given.map_or_else(
            || format!("{:032x}", rand::rng().random::<u128>()),
            str::to_owned,
        );
        Self {
            request: HeaderValue::try_from(id).expect("valid, or made of hexadecimal digits"),
            trace: is_trusted
                .then(|| telemetry::incoming_trace_id(request.headers()))
                .flatten(),
        }
    }

    fn text(&self) -> &str {
        self.request.to_str().unwrap_or_default()
    }
}

fn is_valid_id(id: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || "-_.:+/=".contains(c);
    (1..=MAX_ID_LENGTH).contains(&id.len()) && id.chars().all(is_letter)
}

#[cfg(test)]
mod tests {
    use super::without_secrets;

    #[test]
    fn codes_and_receipts_are_masked() {
        for (url, logged) in [
            ("/polls/1/?code=K7QP-2M4X", "/polls/1/?code=***"),
            (
                "/polls/1/export/?format=csv&code=K7QP&x=1",
                "/polls/1/export/?format=csv&code=***&x=1",
            ),
            (
                "http://x/polls/1/receipt/?receipt=A&receipt=B",
                "http://x/polls/1/receipt/?receipt=***&receipt=***",
            ),
            ("code=1", "code=***"),
            ("/?code=a?code=b", "/?code=***?code=***"),
            (
                "/polls/?barcode=1&codes=2&code",
                "/polls/?barcode=1&codes=2&code",
            ),
            ("/code=1/", "/code=1/"),
            ("", ""),
        ] {
            assert_eq!(without_secrets(url), logged);
        }
    }
}
