//! The grammar of single lines of HTTP/1.1 (RFC 9112), and nothing that is not in it.

use hyper::Uri;

use crate::server::fault::Fault;

/// The first line with its end; `None` while it is incomplete.
///
/// # Errors
/// When the line is longer than `max` bytes.
pub fn whole_line(bytes: &[u8], max: usize) -> Result<Option<&[u8]>, Fault> {
    let seen = &bytes[..bytes.len().min(max)];
    match seen.iter().position(|byte| *byte == b'\n') {
        Some(end) => Ok(Some(&bytes[..=end])),
        None if bytes.len() >= max => Err(Fault::Malformed("a line of the body is too long")),
        None => Ok(None),
    }
}

/// A line without its end, which has to be CR LF.
///
/// # Errors
/// When it ends without CR, or has a control character other than a tab.
pub fn content(line: &[u8]) -> Result<&[u8], Fault> {
    let content = line
        .strip_suffix(b"\r\n")
        .ok_or(Fault::Malformed("a line ends without CR"))?;
    let is_bad = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
    if content.iter().any(is_bad) {
        return Err(Fault::Malformed("a control character in the head"));
    }
    Ok(content)
}

/// Whether a request line is HTTP/1.0's, and not HTTP/1.1's.
///
/// # Errors
/// When it is not a request line of either version.
pub fn is_http_1_0(line: &[u8]) -> Result<bool, Fault> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (method, target) = (parts.next().unwrap_or_default(), parts.next());
    let is_valid = is_token(method) && target.is_some_and(is_target);
    match (is_valid, parts.next(), parts.next()) {
        (true, Some(b"HTTP/1.1"), None) => Ok(false),
        (true, Some(b"HTTP/1.0"), None) => Ok(true),
        _ => Err(Fault::Malformed("the request line is invalid")),
    }
}

/// The length of the longest usual target, in bytes.
const MAX_USUAL: usize = 1024;

/// Whether a text is the target of a request. A fragment is not part of one (RFC 9112, 3.2); the parser would cut it off.
fn is_target(text: &[u8]) -> bool {
    let is_usual = |byte: &u8| byte.is_ascii_alphanumeric() || b"/-._~?=&%".contains(byte);
    // Without the parser, which copies it.
    let is_usual_path =
        text.starts_with(b"/") && text.len() < MAX_USUAL && text.iter().all(is_usual);
    is_usual_path || !text.contains(&b'#') && Uri::try_from(text).is_ok()
}

/// Name and value of a field. A folded line (obs-fold) is not a field.
///
/// # Errors
/// When it has no colon, or the name is not a token.
pub fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    let colon = line.iter().position(|byte| *byte == b':');
    let (name, value) = line.split_at(colon.ok_or(Fault::Malformed("a field has no colon"))?);
    if !is_token(name) {
        return Err(Fault::Malformed("a field name is not a token"));
    }
    Ok((name, value[1..].trim_ascii()))
}

/// The value of `Content-Length`: decimal digits and nothing else (RFC 9110, 8.6).
///
/// # Errors
/// When it is anything else, or exceeds `u64`.
pub fn content_length(value: &[u8]) -> Result<u64, Fault> {
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value)
        .ok()
        .filter(|_| is_number)
        .and_then(|digits| digits.parse().ok())
        .ok_or(Fault::Malformed("Content-Length is not a number"))
}

/// Whether the last two bytes of a chunk, as far as they have been received, are CR LF.
///
/// # Errors
/// When other bytes are there.
pub fn check_chunk_end(bytes: &[u8], left: u64) -> Result<(), Fault> {
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
