//! A finished page in memory, and the responses made of it.

use std::io::Write;

use chrono::{DateTime, Utc};
use flate2::{Compression, Crc, write::DeflateEncoder};
use hyper::body::Bytes;
use poem::{
    Body, Response,
    http::{HeaderMap, HeaderValue, header},
    web::headers::{ETag, HeaderMapExt},
};

use super::client::{Client, ClientHeaders};
use crate::web::{compression::MIN_LENGTH, csrf::TOKEN_LENGTH, etag, request_info::REQUEST_ID};

/// The level of compression, which is done once per change of the page.
const LEVEL: u32 = 6;
/// The encoding of compressed variants.
const GZIP: Option<HeaderValue> = Some(HeaderValue::from_static("gzip"));
/// The length of what is around the compressed parts, in bytes: the header, the block of the token, and the trailer.
const GZIP_OVERHEAD: usize = GZIP_HEADER.len() + 5 + TOKEN_LENGTH + 8;
/// The header of a gzip member without name and time (RFC 1952, 2.3).
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// The header of a deflate block that is stored as it is and not the last one (RFC 1951, 3.2.4), without the length.
const STORED_BLOCK: u8 = 0;

/// A finished page. All parts are ready, except for the CSRF token, which differs in each response.
#[derive(Debug)]
pub struct CachedPage {
    /// When it may be served, and to whom.
    pub validity: Validity,
    content: Content,
}

/// When a page may be served, and to whom.
#[derive(Debug, Clone, Copy)]
pub struct Validity {
    /// The number of the last change ([`super::changes::Changes`]) before its data was read.
    pub change: u64,
    /// When its data was read: for a clock that was set back, its texts may not be true yet.
    pub since: DateTime<Utc>,
    /// Up to when its texts are true.
    pub until: DateTime<Utc>,
    /// Whether some visitors get another page.
    pub varies: Option<VariesByVoter>,
}

/// Response data: the page of a question that may differ for visitors who have voted on it, or who are logged in.
#[derive(Debug, Clone, Copy)]
pub struct VariesByVoter {
    /// Whether the browser needs the cookie that identifies it.
    pub needs_cookie: bool,
}

#[derive(Debug)]
enum Content {
    /// The same for all visitors.
    Whole(Variants<Bytes>),
    /// The parts around the token.
    Parts {
        variants: Variants<[Vec<u8>; 2]>,
        /// The check sums of the plain parts.
        sums: [Crc; 2],
    },
}

#[derive(Debug)]
struct Variants<B> {
    plain: Variant<B>,
    /// None for a short page.
    gzip: Option<Variant<B>>,
}

/// A body in one encoding.
#[derive(Debug)]
struct Variant<B> {
    /// All header fields, so that a response has only values to replace.
    headers: HeaderMap,
    /// The entity tag, which a page with a token has not.
    etag: Option<ETag>,
    body: B,
}

impl CachedPage {
    /// The page of a response: its header fields, and its body with `placeholder` for the token, if it has one.
    pub fn new(validity: Validity, mut headers: HeaderMap, body: &[u8], placeholder: &str) -> Self {
        headers.insert(REQUEST_ID, HeaderValue::from_static(""));
        let is_compressed = body.len() >= MIN_LENGTH;
        let content = match find(body, placeholder) {
            None => {
                let variant = |encoding, sent: Vec<u8>, suffix| {
                    let etag = Some(etag::of(body, suffix));
                    Variant::new(&headers, encoding, etag, sent.len(), sent.into())
                };
                Content::Whole(Variants {
                    plain: variant(None, body.to_vec(), ""),
                    gzip: is_compressed.then(|| variant(GZIP, gzip(body), "-gzip")),
                })
            }
            Some(start) => {
                let parts = [&body[..start], &body[start + placeholder.len()..]];
                debug_assert_eq!(find(parts[1], placeholder), None, "a second token");
                let plain = parts.map(<[u8]>::to_vec);
                let length = plain[0].len() + TOKEN_LENGTH + plain[1].len();
                Content::Parts {
                    variants: Variants {
                        plain: Variant::new(&headers, None, None, length, plain),
                        gzip: is_compressed.then(|| {
                            let body = [deflate(parts[0], false), deflate(parts[1], true)];
                            let length = body[0].len() + body[1].len() + GZIP_OVERHEAD;
                            Variant::new(&headers, GZIP, None, length, body)
                        }),
                    },
                    sums: parts.map(sum),
                }
            }
        };
        Self { validity, content }
    }

    /// Whether it is for a client, who gets no other page than others.
    pub fn is_for(&self, client: &Client) -> bool {
        !client.is_identified || self.validity.varies.is_none()
    }

    /// The number of bytes that it takes in memory, approximately.
    pub fn size(&self) -> usize {
        let content = match &self.content {
            Content::Whole(variants) => variants.size(Bytes::len),
            Content::Parts { variants, .. } => {
                variants.size(|parts| parts.iter().map(Vec::len).sum())
            }
        };
        size_of::<Self>() + content
    }

    /// The response to a request; `token` gives the CSRF token if the page has one.
    pub fn response(&self, client: &ClientHeaders, token: impl FnOnce() -> String) -> Response {
        let mut response = Response::default();
        match &self.content {
            Content::Whole(variants) => {
                let variant = variants.select(client);
                *response.headers_mut() = variant.headers.clone();
                let known = client.known.as_ref();
                let is_known = variant
                    .etag
                    .as_ref()
                    .is_some_and(|tag| etag::not_modified(&mut response, tag, known));
                if !is_known {
                    response.set_body(Body::from_bytes(variant.body.clone()));
                }
            }
            Content::Parts { variants, sums } => {
                let variant = variants.select(client);
                *response.headers_mut() = variant.headers.clone();
                let token = token();
                let body = if variant.headers.contains_key(header::CONTENT_ENCODING) {
                    compressed(&variant.body, sums, token.as_bytes())
                } else {
                    [&variant.body[0], token.as_bytes(), &variant.body[1]].concat()
                };
                response.set_body(Body::from_vec(body));
            }
        }
        response
    }
}

impl<B> Variants<B> {
    fn select(&self, client: &ClientHeaders) -> &Variant<B> {
        let gzip = self.gzip.as_ref().filter(|_| client.accepts_gzip);
        gzip.unwrap_or(&self.plain)
    }

    fn size(&self, of_body: impl Fn(&B) -> usize) -> usize {
        let variants = [Some(&self.plain), self.gzip.as_ref()];
        let size = |variant: &Variant<B>| {
            let headers = variant.headers.iter();
            let headers = headers.map(|(name, value)| 64 + name.as_str().len() + value.len());
            of_body(&variant.body) + headers.sum::<usize>()
        };
        variants.into_iter().flatten().map(size).sum()
    }
}

impl<B> Variant<B> {
    /// A body of `length` bytes, with the `headers` that all variants have.
    fn new(
        headers: &HeaderMap,
        encoding: Option<HeaderValue>,
        etag: Option<ETag>,
        length: usize,
        body: B,
    ) -> Self {
        let mut headers = headers.clone();
        headers.insert(header::CONTENT_LENGTH, length.into());
        if let Some(etag) = &etag {
            headers.typed_insert(etag.clone());
        }
        if let Some(encoding) = encoding {
            headers.insert(header::CONTENT_ENCODING, encoding);
        }
        Self {
            headers,
            etag,
            body,
        }
    }
}

/// The gzip member of the compressed parts with the token between them, which is stored: its length says nothing about it.
fn compressed(parts: &[Vec<u8>; 2], sums: &[Crc; 2], token: &[u8]) -> Vec<u8> {
    let length = TOKEN_LENGTH as u16;
    let mut all = Crc::new();
    for part in [&sums[0], &sum(token), &sums[1]] {
        all.combine(part);
    }
    let mut member = Vec::with_capacity(parts[0].len() + parts[1].len() + GZIP_OVERHEAD);
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

fn find(text: &[u8], part: &str) -> Option<usize> {
    let mut parts = text.windows(part.len());
    parts.position(|found| found == part.as_bytes())
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
