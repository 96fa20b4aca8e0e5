//! The framing of HTTP/1.1 requests, parsed strictly (RFC 9112): ambiguous requests are refused, so that no request can be
//! smuggled past a proxy inside another one. hyper, which parses them again, is more lenient.

mod lines;

use self::lines::{check_chunk_end, content, content_length, field, is_http_1_0, whole_line};
use hyper::{
    Uri,
    header::{HeaderMap, HeaderValue},
};

use super::fault::Fault;
use crate::{network::X_FORWARDED_FOR, settings::MAX_HEAD};

/// The longest line before a chunk, with its extensions, in bytes.
const MAX_CHUNK_LINE: usize = 256;
/// Digits of a chunk's size: a longer one exceeds every limit.
const MAX_CHUNK_DIGITS: usize = 12;

/// Limits on the parts of a head.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Of the request line, in bytes.
    pub line: usize,
    /// Fields in a head.
    pub fields: usize,
    /// Of one field, in bytes.
    pub field: usize,
}

/// The framing of one connection.
#[derive(Debug)]
pub struct Framing {
    limits: Limits,
    position: Position,
}

/// The position of the next byte in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// In the head, with the number of its bytes that have been searched for the end.
    Head { searched: usize },
    /// In a body of a known length, with the number of bytes left.
    Body { left: u64 },
    /// In the line before a chunk.
    ChunkLine,
    /// In a chunk, with the number of bytes left, its line end included.
    Chunk { left: u64 },
    /// In the trailer, with the number of its bytes that have been passed on.
    Trailers { passed: usize },
    /// After the end.
    End,
}

/// The result of [`Framing::parse`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// This number of bytes at the front is valid and belongs to the request.
    Bytes(usize),
    /// This number of bytes at the front belongs to no request.
    Skipped(usize),
    /// More bytes are needed.
    Incomplete,
}

impl Framing {
    /// At the start of the first request.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            position: Position::Head { searched: 0 },
        }
    }

    /// Whether the request is complete.
    pub fn is_at_end(&self) -> bool {
        self.position == Position::End
    }

    /// Whether the next byte belongs to a head.
    pub fn is_in_head(&self) -> bool {
        matches!(self.position, Position::Head { .. })
    }

    /// Starts the next request.
    pub fn next_request(&mut self) {
        self.position = Position::Head { searched: 0 };
    }

    /// Parses `bytes`, all that have been received and not passed on. A head is passed on whole.
    ///
    /// # Errors
    /// What is wrong with the request; the connection has to end.
    pub fn parse(&mut self, bytes: &[u8]) -> Result<Parsed, Fault> {
        match self.position {
            Position::Head { searched } => self.parse_head(bytes, searched),
            Position::Body { left } => Ok(self.pass(bytes, left, |left| {
                if left == 0 {
                    Position::End
                } else {
                    Position::Body { left }
                }
            })),
            Position::ChunkLine => self.parse_chunk_line(bytes),
            Position::Chunk { left } => {
                check_chunk_end(bytes, left)?;
                Ok(self.pass(bytes, left, |left| {
                    if left == 0 {
                        Position::ChunkLine
                    } else {
                        Position::Chunk { left }
                    }
                }))
            }
            Position::Trailers { passed } => self.parse_trailer(bytes, passed),
            Position::End => Ok(Parsed::Incomplete),
        }
    }

    fn pass(&mut self, bytes: &[u8], left: u64, next: impl Fn(u64) -> Position) -> Parsed {
        let passed = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        if passed == 0 {
            return Parsed::Incomplete;
        }
        self.position = next(left - passed as u64);
        Parsed::Bytes(passed)
    }

    fn parse_head(&mut self, bytes: &[u8], searched: usize) -> Result<Parsed, Fault> {
        // Some clients send a line end after the body of the previous request (RFC 9112, 2.2).
        if bytes.starts_with(b"\r\n") {
            return Ok(Parsed::Skipped(2));
        }
        let start = searched.saturating_sub(3);
        let end = bytes[start..]
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .map(|position| start + position + 4);
        let head = &bytes[..end.unwrap_or(bytes.len())];
        if head.len() > MAX_HEAD {
            return Err(Fault::HeadTooLarge);
        }
        let Some(end) = end else {
            self.position = Position::Head {
                searched: bytes.len(),
            };
            // A line that is too long or ends invalidly is found without parsing all again with each byte.
            self.check_open_head(head, searched)?;
            return Ok(Parsed::Incomplete);
        };
        self.position = self.read_head(&head[..end - 2])?;
        Ok(Parsed::Bytes(end))
    }

    /// Checks a head that is incomplete.
    fn check_open_head(&self, head: &[u8], searched: usize) -> Result<(), Fault> {
        let new = &head[searched.saturating_sub(1)..];
        let is_bare = |pair: &[u8]| pair[1] == b'\n' && pair[0] != b'\r';
        if new.windows(2).any(is_bare) || head.first() == Some(&b'\n') {
            return Err(Fault::Malformed("a line ends without CR"));
        }
        if head.len() > self.limits.line + 2 && !head[..self.limits.line + 2].contains(&b'\n') {
            return Err(Fault::LineTooLong);
        }
        Ok(())
    }

    /// Parses the lines of a head, each with its end, and gives the state after it.
    fn read_head(&self, head: &[u8]) -> Result<Position, Fault> {
        let mut lines = head.split_inclusive(|byte| *byte == b'\n');
        let line = content(lines.next().unwrap_or_default())?;
        if line.len() > self.limits.line {
            return Err(Fault::LineTooLong);
        }
        let is_http_1_0 = is_http_1_0(line)?;
        let (mut hosts, mut length, mut is_chunked) = (0, None, false);
        for (number, line) in lines.enumerate() {
            if number == self.limits.fields {
                return Err(Fault::TooManyFields);
            }
            let line = content(line)?;
            if line.len() > self.limits.field {
                return Err(Fault::FieldTooLarge);
            }
            let (name, value) = field(line)?;
            if name.eq_ignore_ascii_case(b"host") {
                hosts += 1;
            } else if name.eq_ignore_ascii_case(b"content-length") {
                if length.replace(content_length(value)?).is_some() {
                    return Err(Fault::Malformed("Content-Length comes twice"));
                }
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                if is_chunked || !value.eq_ignore_ascii_case(b"chunked") || is_http_1_0 {
                    return Err(Fault::Malformed("Transfer-Encoding is not exactly chunked"));
                }
                is_chunked = true;
            }
        }
        if hosts > 1 || hosts == 0 && !is_http_1_0 {
            return Err(Fault::Malformed("there is not exactly one Host"));
        }
        match (length, is_chunked) {
            (Some(_), true) => Err(Fault::Malformed(
                "both Content-Length and Transfer-Encoding",
            )),
            (None, true) => Ok(Position::ChunkLine),
            (None | Some(0), false) => Ok(Position::End),
            (Some(left), false) => Ok(Position::Body { left }),
        }
    }

    fn parse_chunk_line(&mut self, bytes: &[u8]) -> Result<Parsed, Fault> {
        let Some(line) = whole_line(bytes, MAX_CHUNK_LINE)? else {
            return Ok(Parsed::Incomplete);
        };
        let text = content(line)?;
        let digits = text
            .iter()
            .take_while(|byte| byte.is_ascii_hexdigit())
            .count();
        let extension = &text[digits..];
        if !(1..=MAX_CHUNK_DIGITS).contains(&digits)
            || !(extension.is_empty() || extension.starts_with(b";"))
        {
            return Err(Fault::Malformed("a chunk size is invalid"));
        }
        let size = text[..digits].iter().fold(0, |size: u64, digit| {
            let value = char::from(*digit)
                .to_digit(16)
                .expect("only hexadecimal digits were taken");
            size << 4 | u64::from(value)
        });
        self.position = match size {
            0 => Position::Trailers { passed: 0 },
            size => Position::Chunk { left: size + 2 },
        };
        Ok(Parsed::Bytes(line.len()))
    }

    fn parse_trailer(&mut self, bytes: &[u8], passed: usize) -> Result<Parsed, Fault> {
        let Some(line) = whole_line(bytes, self.limits.field + 2)? else {
            return Ok(Parsed::Incomplete);
        };
        let text = content(line)?;
        if passed + line.len() > MAX_HEAD {
            return Err(Fault::HeadTooLarge);
        }
        self.position = if text.is_empty() {
            Position::End
        } else {
            field(text)?;
            Position::Trailers {
                passed: passed + line.len(),
            }
        };
        Ok(Parsed::Bytes(line.len()))
    }
}

/// The path of a request's target, without a query, and the `X-Forwarded-For` fields, of a valid head.
pub fn path_and_forwarded(head: &[u8]) -> (String, HeaderMap) {
    let mut lines = head.split(|byte| *byte == b'\n');
    let line = lines.next().unwrap_or_default();
    let target = line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    let uri = Uri::try_from(target).unwrap_or_default();
    let forwarded = lines.filter_map(|line| {
        let (name, value) = field(line.trim_ascii_end()).ok()?;
        let value = HeaderValue::from_bytes(value).ok()?;
        name.eq_ignore_ascii_case(X_FORWARDED_FOR.as_str().as_bytes())
            .then_some((X_FORWARDED_FOR, value))
    });
    let mut headers = HeaderMap::new();
    for (name, value) in forwarded {
        headers.append(name, value);
    }
    (uri.path().to_owned(), headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        line: 100,
        fields: 5,
        field: 60,
    };

    /// The number of requests in `bytes`, received in pieces of `piece` bytes.
    fn count(bytes: &[u8], piece: usize) -> Result<usize, Fault> {
        let (mut framing, mut requests, mut waiting) = (Framing::new(LIMITS), 0, Vec::new());
        for piece in bytes.chunks(piece) {
            waiting.extend_from_slice(piece);
            while let Parsed::Bytes(count) | Parsed::Skipped(count) = framing.parse(&waiting)? {
                drop(waiting.drain(..count));
                if framing.is_at_end() {
                    requests += 1;
                    framing.next_request();
                }
            }
        }
        Ok(requests)
    }

    #[test]
    fn requests_are_framed_at_any_read_size() {
        let one = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let length = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /";
        let chunks = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                      5;x=y\r\nGET /\r\n007\r\n\r\n0\r\n\r\n\r\n0\r\nA: b\r\n\r\n";
        let old = "GET / HTTP/1.0\r\n\r\n";
        let many = [one, length, chunks, old, length, "\r\n", one].concat();
        for piece in 1..many.len() {
            assert_eq!(count(many.as_bytes(), piece), Ok(6), "in pieces of {piece}");
        }
    }

    #[test]
    fn ambiguous_requests_are_rejected() {
        let head = "POST / HTTP/1.1\r\nHost: a\r\n";
        let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
        for bad in [
            "GET / HTTP/1.1\nHost: a\n\n".to_owned(),
            "GET / HTTP/1.1\r\nHost: a\r\nX: y\n\r\n".to_owned(),
            "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\r\nHost: a\r\nX: y\rZ: w\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\r\n\r\n".to_owned(),
            "GET /  HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "GET / HTTP/1.2\r\nHost: a\r\n\r\n".to_owned(),
            "GET /\r\n\r\n".to_owned(),
            "GET /#x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "G(T / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            format!("{head}Content-Length : 5\r\n\r\nhello"),
            format!("{head}Content-Length: +5\r\n\r\nhello"),
            format!("{head}Content-Length: 5, 5\r\n\r\nhello"),
            format!("{head}Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
            format!("{head}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
            format!("{head}Content-Length: 99999999999999999999\r\n\r\n"),
            format!("{head}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            format!("{head}Transfer-Encoding: xchunked\r\n\r\n"),
            format!("{head}Transfer-Encoding: gzip, chunked\r\n\r\n"),
            format!("{head}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
            format!("{head}Transfer-Encoding: \x0bchunked\r\n\r\n"),
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
            format!("{chunked}5\nhello\r\n0\r\n\r\n"),
            format!("{chunked}5 \r\nhello\r\n0\r\n\r\n"),
            format!("{chunked}0x5\r\nhello\r\n0\r\n\r\n"),
            format!("{chunked}-5\r\nhello\r\n0\r\n\r\n"),
            format!("{chunked}5\r\nhello!\r\n0\r\n\r\n"),
            format!("{chunked}5\r\nhelloX\n0\r\n\r\n"),
            format!("{chunked}1000000000000000\r\n"),
            format!("{chunked}5;{}\r\n", "x".repeat(300)),
            format!("{chunked}0\r\nno colon\r\n\r\n"),
        ] {
            let found = count(bad.as_bytes(), 4096);
            assert!(
                matches!(found, Err(Fault::Malformed(_))),
                "{bad:?}: {found:?}"
            );
            assert!(count(bad.as_bytes(), 1).is_err(), "{bad:?} byte by byte");
        }
    }

    #[test]
    fn what_is_too_large_is_named() {
        let head = "GET / HTTP/1.1\r\nHost: a\r\n";
        let cases = [
            (
                format!("GET /{} HTTP/1.1\r\n", "x".repeat(100)),
                Fault::LineTooLong,
            ),
            ("x".repeat(200), Fault::LineTooLong),
            (
                format!("{head}A: {}\r\n\r\n", "x".repeat(60)),
                Fault::FieldTooLarge,
            ),
            (
                format!("{head}{}\r\n", "A: b\r\n".repeat(5)),
                Fault::TooManyFields,
            ),
            (
                format!("{head}A: {}", "x".repeat(MAX_HEAD)),
                Fault::HeadTooLarge,
            ),
        ];
        for (bad, fault) in cases {
            assert_eq!(count(bad.as_bytes(), 4096), Err(fault), "{bad:?}");
        }
    }
}
