//! A finished page in memory, and the responses made of it.

use std::io::Write;

use chrono::{DateTime, Utc};
use flate2::{Compression, Crc, write::DeflateEncoder};
use hyper::body::Bytes;
use poem::{
    Body, Response,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    web::headers::{ETag, HeaderMapExt, IfNoneMatch},
};
use sha2::{Digest, Sha256};

use crate::{signing::hex, web::compression::MIN_LENGTH};

/// The level of compression, which is done once per change of the page.
const LEVEL: u32 = 6;
/// The header of a gzip member without name and time (RFC 1952, 2.3).
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// The header of a deflate block that is stored as it is and not the last one (RFC 1951, 3.2.4), without the length.
const STORED_BLOCK: u8 = 0;

/// A finished page. All parts are ready, except for the CSRF token, which differs in each response.
#[derive(Debug)]
pub struct CachedPage {
    /// The number of the last change ([`super::changes::Changes`]) before its data was read.
    pub change: u64,
    /// When its data was read: for a clock that was set back, its texts may not be true yet.
    pub since: DateTime<Utc>,
    /// Up to when its texts are true.
    pub until: DateTime<Utc>,
    /// The header fields that all its responses have.
    headers: HeaderMap,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// The same for all visitors. `gzip` is empty for a short page.
    Whole {
        plain: Encoded,
        gzip: Option<Encoded>,
    },
    /// The parts around the token. `gzip` is empty for a short page.
    Parts {
        plain: [Vec<u8>; 2],
        gzip: Option<[Vec<u8>; 2]>,
        /// The check sums of the plain parts.
        sums: [Crc; 2],
    },
}

/// A body in one encoding, with its entity tag.
#[derive(Debug)]
struct Encoded {
    body: Bytes,
    etag: ETag,
}

/// What the client has sent that its response depends on.
#[derive(Debug, Clone, Default)]
pub struct Preconditions {
    /// Whether it accepts gzip.
    pub accepts_gzip: bool,
    /// Its `If-None-Match`.
    pub known: Option<IfNoneMatch>,
}

impl CachedPage {
    /// The page of a response: its header fields, and its body with `placeholder` for the token, if it has one.
    pub fn new(
        change: u64,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
        headers: HeaderMap,
        body: &[u8],
        placeholder: &str,
    ) -> Self {
        let is_compressed = body.len() >= MIN_LENGTH;
        let token = body
            .windows(placeholder.len())
            .position(|part| part == placeholder.as_bytes());
        let content = match token {
            None => {
                let digest = hex(&Sha256::digest(body)[..16]);
                Content::Whole {
                    plain: Encoded::new(Bytes::copy_from_slice(body), &digest),
                    gzip: is_compressed
                        .then(|| Encoded::new(gzip(body).into(), &format!("{digest}-gzip"))),
                }
            }
            Some(start) => {
                let parts = [&body[..start], &body[start + placeholder.len()..]];
                Content::Parts {
                    plain: parts.map(<[u8]>::to_vec),
                    gzip: is_compressed
                        .then(|| [deflate(parts[0], false), deflate(parts[1], true)]),
                    sums: parts.map(sum),
                }
            }
        };
        let mut headers = headers;
        headers.remove(header::CONTENT_LENGTH);
        Self {
            change,
            since,
            until,
            headers,
            content,
        }
    }

    /// The number of bytes that it takes in memory, approximately.
    pub fn size(&self) -> usize {
        let content = match &self.content {
            Content::Whole { plain, gzip } => {
                plain.body.len() + gzip.as_ref().map_or(0, |gzip| gzip.body.len())
            }
            Content::Parts { plain, gzip, .. } => {
                let parts = plain.iter().chain(gzip.iter().flatten());
                parts.map(Vec::len).sum()
            }
        };
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| 64 + name.as_str().len() + value.len());
        size_of::<Self>() + content + headers.sum::<usize>()
    }

    /// The response to a request; `token` gives the CSRF token if the page has one.
    pub fn response(&self, client: &Preconditions, token: impl FnOnce() -> String) -> Response {
        let mut response = Response::default();
        *response.headers_mut() = self.headers.clone();
        let headers = response.headers_mut();
        let (body, is_compressed) = match &self.content {
            Content::Whole { plain, gzip } => {
                let compressed = gzip.as_ref().filter(|_| client.accepts_gzip);
                let encoded = compressed.unwrap_or(plain);
                headers.typed_insert(encoded.etag.clone());
                let is_known = client
                    .known
                    .as_ref()
                    .is_some_and(|known| !known.precondition_passes(&encoded.etag));
                if is_known {
                    headers.remove(header::CONTENT_TYPE);
                    response.set_status(StatusCode::NOT_MODIFIED);
                    return response;
                }
                (encoded.body.clone(), compressed.is_some())
            }
            Content::Parts { plain, gzip, sums } => match gzip {
                Some(gzip) if client.accepts_gzip => {
                    (compressed(gzip, sums, token().as_bytes()).into(), true)
                }
                _ => {
                    let body = [&plain[0], token().as_bytes(), &plain[1]].concat();
                    (body.into(), false)
                }
            },
        };
        if is_compressed {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        headers.insert(header::CONTENT_LENGTH, body.len().into());
        response.set_body(Body::from_bytes(body));
        response
    }
}

impl Encoded {
    fn new(body: Bytes, digest: &str) -> Self {
        let etag = format!("\"{digest}\"").parse();
        Self {
            body,
            etag: etag.expect("hexadecimal digits are a valid entity tag"),
        }
    }
}

/// The gzip member of the compressed parts with the token between them, which is stored: its length says nothing about it.
fn compressed(parts: &[Vec<u8>; 2], sums: &[Crc; 2], token: &[u8]) -> Vec<u8> {
    let length = u16::try_from(token.len()).expect("a token has 64 characters");
    let mut all = Crc::new();
    for part in [&sums[0], &sum(token), &sums[1]] {
        all.combine(part);
    }
    let mut member = Vec::with_capacity(parts[0].len() + parts[1].len() + 100);
    member.extend(GZIP_HEADER);
    member.extend(&parts[0]);
    member.push(STORED_BLOCK);
    member.extend(length.to_le_bytes());
    member.extend((!length).to_le_bytes());
    member.extend(token);
    member.extend(&parts[1]);
    finish(&mut member, &all);
    member
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut member = GZIP_HEADER.to_vec();
    member.extend(deflate(body, true));
    finish(&mut member, &sum(body));
    member
}

/// Appends the trailer of a gzip member.
fn finish(member: &mut Vec<u8>, sum: &Crc) {
    member.extend(sum.sum().to_le_bytes());
    member.extend(sum.amount().to_le_bytes());
}

/// The text as deflate blocks that refer to nothing before them. They end at a byte; `is_last` marks the end of the stream.
fn deflate(text: &[u8], is_last: bool) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(LEVEL));
    let written = encoder.write_all(text);
    let compressed = if is_last {
        written.and_then(|()| encoder.finish())
    } else {
        let flushed = written.and_then(|()| encoder.flush());
        flushed.map(|()| std::mem::take(encoder.get_mut()))
    };
    compressed.expect("writing to a Vec does not fail")
}

fn sum(text: &[u8]) -> Crc {
    let mut sum = Crc::new();
    sum.update(text);
    sum
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn the_compressed_parts_are_one_gzip_member_with_the_token_between_them() {
        let token = "t".repeat(64);
        for (before, after) in [
            ("<p>before</p>".repeat(300), "<p>after</p>".repeat(300)),
            (String::new(), "x".repeat(2000)),
            ("x".repeat(2000), String::new()),
        ] {
            let parts = [before.as_bytes(), after.as_bytes()];
            let gzip = [deflate(parts[0], false), deflate(parts[1], true)];
            let member = compressed(&gzip, &parts.map(sum), token.as_bytes());
            let mut text = String::new();
            GzDecoder::new(&*member).read_to_string(&mut text).unwrap();
            assert_eq!(text, format!("{before}{token}{after}"));
        }
    }
}
