//! Files that browsers save.

use poem::{
    Body, Response,
    http::{HeaderValue, header},
};

/// A response that a browser saves as a file of this name.
///
/// # Panics
/// When the name or the media type has characters that no header may have.
pub fn attachment(name: &str, media_type: &'static str, content: impl Into<Body>) -> Response {
    let disposition = format!("attachment; filename=\"{name}\"");
    let disposition = HeaderValue::from_str(&disposition).expect("names of files are ASCII");
    Response::builder()
        .header(header::CONTENT_TYPE, HeaderValue::from_static(media_type))
        .header(header::CONTENT_DISPOSITION, disposition)
        .body(content)
}
