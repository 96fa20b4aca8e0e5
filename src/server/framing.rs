//! Where an HTTP/1.1 request ends, read strictly (RFC 9112): what two servers could read in two ways is refused, so that
//! no request can be smuggled past a proxy inside another one. The parser behind this one is more forgiving.

use hyper::Uri;

use super::fault::Fault;
use crate::settings::MAX_HEAD;

/// The longest line before a chunk, with its extensions, in bytes.
const MAX_CHUNK_LINE: usize = 256;
/// Digits of a chunk's size: what is larger fits no limit.
const MAX_CHUNK_DIGITS: usize = 12;

/// How large the parts of a head may be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Of the request line, in bytes.
    pub line: usize,
    /// Fields in a head.
    pub fields: usize,
    /// Of one field, in bytes.
    pub field: usize,
}

/// Follows a connection from request to request.
#[derive(Debug)]
pub struct Framing {
    limits: Limits,
    place: Place,
}

/// Where in a request the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the head, of which so many bytes have been seen to hold no end.
    Head { searched: usize },
    /// In a body of a known length, of which so much is left.
    Body { left: u64 },
    /// In the line before a chunk.
    ChunkLine,
    /// In a chunk; its line end is counted in.
    Chunk { left: u64 },
    /// In the lines behind the last chunk, of which so many bytes have been passed on.
    Trailers { passed: usize },
    /// Behind the end.
    End,
}

/// What a look at the bytes gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// So many bytes are sound and belong to the request.
    Bytes(usize),
    /// So many bytes at the beginning belong to nothing.
    Nothing(usize),
    /// More has to come before anything can be said.
    More,
}

impl Framing {
    /// At the start of the first request.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            place: Place::Head { searched: 0 },
        }
    }

    /// Whether the request has been seen to its end.
    pub fn is_at_end(&self) -> bool {
        self.place == Place::End
    }

    /// Whether the next byte belongs to a head.
    pub fn is_in_head(&self) -> bool {
        matches!(self.place, Place::Head { .. })
    }

    /// Goes on to the next request.
    pub fn next_request(&mut self) {
        self.place = Place::Head { searched: 0 };
    }

    /// Looks at `bytes`, all that have come and have not been passed on. A head is passed on whole.
    ///
    /// # Errors
    /// What is wrong with the request; the connection cannot go on.
    pub fn look(&mut self, bytes: &[u8]) -> Result<Found, Fault> {
        match self.place {
            Place::Head { searched } => self.look_at_head(bytes, searched),
            Place::Body { left } => Ok(self.pass(bytes, left, |left| {
                if left == 0 {
                    Place::End
                } else {
                    Place::Body { left }
                }
            })),
            Place::ChunkLine => self.look_at_chunk_line(bytes),
            Place::Chunk { left } => {
                check_chunk_end(bytes, left)?;
                Ok(self.pass(bytes, left, |left| {
                    if left == 0 {
                        Place::ChunkLine
                    } else {
                        Place::Chunk { left }
                    }
                }))
            }
            Place::Trailers { passed } => self.look_at_trailer(bytes, passed),
            Place::End => Ok(Found::More),
        }
    }

    fn pass(&mut self, bytes: &[u8], left: u64, next: impl Fn(u64) -> Place) -> Found {
        let passed = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        if passed == 0 {
            return Found::More;
        }
        self.place = next(left - passed as u64);
        Found::Bytes(passed)
    }

    fn look_at_head(&mut self, bytes: &[u8], searched: usize) -> Result<Found, Fault> {
        // Some clients send a line end behind the body of the request before (RFC 9112, 2.2).
        if bytes.starts_with(b"\r\n") {
            return Ok(Found::Nothing(2));
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
            self.place = Place::Head {
                searched: bytes.len(),
            };
            // Without looking at all of it again with each byte that comes: a line that is too long, or ends badly.
            self.check_open_head(head, searched)?;
            return Ok(Found::More);
        };
        self.place = self.read_head(&head[..end - 2])?;
        Ok(Found::Bytes(end))
    }

    /// What can be said of a head whose end has not come.
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

    /// Reads the lines of a head, each with its end, and says what comes behind it.
    fn read_head(&self, head: &[u8]) -> Result<Place, Fault> {
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
                    return Err(Fault::Malformed("Transfer-Encoding is not chunked alone"));
                }
                is_chunked = true;
            }
        }
        if hosts > 1 || hosts == 0 && !is_http_1_0 {
            return Err(Fault::Malformed("there is not one Host"));
        }
        match (length, is_chunked) {
            (Some(_), true) => Err(Fault::Malformed(
                "both Content-Length and Transfer-Encoding",
            )),
            (None, true) => Ok(Place::ChunkLine),
            (None | Some(0), false) => Ok(Place::End),
            (Some(left), false) => Ok(Place::Body { left }),
        }
    }

    fn look_at_chunk_line(&mut self, bytes: &[u8]) -> Result<Found, Fault> {
        let Some(line) = whole_line(bytes, MAX_CHUNK_LINE)? else {
            return Ok(Found::More);
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
            return Err(Fault::Malformed("a chunk's size is none"));
        }
        let size = text[..digits].iter().fold(0, |size: u64, digit| {
            let value = char::from(*digit).to_digit(16).expect("it was looked at");
            size << 4 | u64::from(value)
        });
        self.place = match size {
            0 => Place::Trailers { passed: 0 },
            size => Place::Chunk { left: size + 2 },
        };
        Ok(Found::Bytes(line.len()))
    }

    fn look_at_trailer(&mut self, bytes: &[u8], passed: usize) -> Result<Found, Fault> {
        let Some(line) = whole_line(bytes, self.limits.field + 2)? else {
            return Ok(Found::More);
        };
        let text = content(line)?;
        if passed + line.len() > MAX_HEAD {
            return Err(Fault::HeadTooLarge);
        }
        self.place = if text.is_empty() {
            Place::End
        } else {
            field(text)?;
            Place::Trailers {
                passed: passed + line.len(),
            }
        };
        Ok(Found::Bytes(line.len()))
    }
}

/// The first line with its end, if it has come.
fn whole_line(bytes: &[u8], most: usize) -> Result<Option<&[u8]>, Fault> {
    let seen = &bytes[..bytes.len().min(most)];
    match seen.iter().position(|byte| *byte == b'\n') {
        Some(end) => Ok(Some(&bytes[..=end])),
        None if bytes.len() >= most => Err(Fault::Malformed("a line of the body is too long")),
        None => Ok(None),
    }
}

/// A line without its end, which has to be CR LF. No other control character may stand in it.
fn content(line: &[u8]) -> Result<&[u8], Fault> {
    let content = line
        .strip_suffix(b"\r\n")
        .ok_or(Fault::Malformed("a line ends without CR"))?;
    let is_bad = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
    if content.iter().any(is_bad) {
        return Err(Fault::Malformed("a control character in the head"));
    }
    Ok(content)
}

/// Whether a request line is HTTP/1.0's; an error if it is neither that nor HTTP/1.1's.
fn is_http_1_0(line: &[u8]) -> Result<bool, Fault> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (method, target) = (parts.next().unwrap_or_default(), parts.next());
    let is_sound = is_token(method) && target.is_some_and(|target| Uri::try_from(target).is_ok());
    match (is_sound, parts.next(), parts.next()) {
        (true, Some(b"HTTP/1.1"), None) => Ok(false),
        (true, Some(b"HTTP/1.0"), None) => Ok(true),
        _ => Err(Fault::Malformed("the request line is none")),
    }
}

/// Name and value of a field. A line that goes on from the one before it (obs-fold) is none.
fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    let colon = line.iter().position(|byte| *byte == b':');
    let (name, value) = line.split_at(colon.ok_or(Fault::Malformed("a field has no colon"))?);
    if !is_token(name) {
        return Err(Fault::Malformed("a field has no sound name"));
    }
    Ok((name, value[1..].trim_ascii()))
}

fn content_length(value: &[u8]) -> Result<u64, Fault> {
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value)
        .ok()
        .filter(|_| is_number)
        .and_then(|digits| digits.parse().ok())
        .ok_or(Fault::Malformed("Content-Length is no number"))
}

/// Whether the last two bytes of a chunk, as far as they have come, are its line end.
fn check_chunk_end(bytes: &[u8], left: u64) -> Result<(), Fault> {
    let expected = |end: u64, byte: u8| {
        let position = left
            .checked_sub(end)
            .and_then(|at| usize::try_from(at).ok());
        position.is_none_or(|at| bytes.get(at).is_none_or(|found| *found == byte))
    };
    if expected(2, b'\r') && expected(1, b'\n') {
        Ok(())
    } else {
        Err(Fault::Malformed("a chunk has another length than it says"))
    }
}

/// Whether a text is a token (RFC 9110, 5.6.2).
fn is_token(text: &[u8]) -> bool {
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(is_letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        line: 100,
        fields: 5,
        field: 60,
    };

    /// How many requests the bytes hold, sent in pieces of so many bytes.
    fn count(bytes: &[u8], piece: usize) -> Result<usize, Fault> {
        let (mut framing, mut requests, mut waiting) = (Framing::new(LIMITS), 0, Vec::new());
        for piece in bytes.chunks(piece) {
            waiting.extend_from_slice(piece);
            while let Found::Bytes(count) | Found::Nothing(count) = framing.look(&waiting)? {
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
    fn requests_are_told_apart_however_they_come() {
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
    fn what_can_be_read_in_two_ways_is_refused() {
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
