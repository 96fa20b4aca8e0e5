//! Entity tags (RFC 9110, 8.8.3).

use poem::{
    Response,
    http::{StatusCode, header},
    web::headers::{ETag, HeaderMapExt, IfNoneMatch},
};
use sha2::{Digest, Sha256};

use crate::signing::hex;

/// The entity tag of a body: a digest of it, with a suffix for the encoding in which it is sent.
pub fn of(body: &[u8], suffix: &str) -> ETag {
    let tag = format!("\"{}{suffix}\"", hex(&Sha256::digest(body)[..16]));
    tag.parse().expect("digits are a valid entity tag")
}

/// Turns a response into one of status 304, without a body, if its client has the body with this tag; whether it has.
pub fn not_modified(response: &mut Response, tag: &ETag, known: Option<&IfNoneMatch>) -> bool {
    let is_known = known.is_some_and(|known| !known.precondition_passes(tag));
    if is_known {
        for name in [
            header::CONTENT_TYPE,
            header::CONTENT_LENGTH,
            header::CONTENT_ENCODING,
        ] {
            response.headers_mut().remove(name);
        }
        response.set_status(StatusCode::NOT_MODIFIED);
    }
    is_known
}

/// The response with a body and its entity tag, or without the body if the client has it.
pub fn with_body(mut response: Response, body: Vec<u8>, known: Option<&IfNoneMatch>) -> Response {
    let tag = of(&body, "");
    response.headers_mut().typed_insert(tag.clone());
    if !not_modified(&mut response, &tag, known) {
        let length = body.len();
        response
            .headers_mut()
            .insert(header::CONTENT_LENGTH, length.into());
        response.set_body(body);
    }
    response
}
