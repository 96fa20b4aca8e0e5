//! Entity tags (RFC 9110, 8.8.3).

use poem::{
    Response,
    http::{StatusCode, header},
    web::headers::{ETag, HeaderMapExt, IfNoneMatch},
};
use sha2::{Digest, Sha256};

use crate::signing::hex;

/// The response with a body and its entity tag, a digest of the body; 304 without the body if the client knows it.
pub fn with_body(mut response: Response, body: Vec<u8>, known: Option<&IfNoneMatch>) -> Response {
    let tag = format!("\"{}\"", hex(&Sha256::digest(&body)[..16]));
    let tag: ETag = tag.parse().expect("digits are a valid entity tag");
    let is_known = known.is_some_and(|known| !known.precondition_passes(&tag));
    let headers = response.headers_mut();
    headers.typed_insert(tag);
    if is_known {
        headers.remove(header::CONTENT_TYPE);
        headers.remove(header::CONTENT_LENGTH);
        response.set_status(StatusCode::NOT_MODIFIED);
    } else {
        headers.insert(header::CONTENT_LENGTH, body.len().into());
        response.set_body(body);
    }
    response
}
