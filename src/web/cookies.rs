//! Reading and writing cookies.

use chrono::{DateTime, TimeDelta, Utc};
use poem::{
    Request, Response,
    http::{HeaderValue, header},
};

/// The value of a cookie; of several of the same name, the last. What other cookies hold does not matter.
pub fn get<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    let headers = request.headers().get_all(header::COOKIE).iter();
    let texts = headers
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b';'))
        .filter_map(|cookie| std::str::from_utf8(cookie).ok());
    let pairs = texts.filter_map(|cookie| cookie.trim().split_once('='));
    let mut values = pairs.filter(|(found, _)| *found == name);
    values.next_back().map(|(_, value)| value.trim_matches('"'))
}

/// The end of a `Set-Cookie` header for a cookie that is kept so many seconds.
pub fn max_age(seconds: i64, now: DateTime<Utc>) -> String {
    let expires = now + TimeDelta::seconds(seconds);
    format!(
        "; expires={}; Max-Age={seconds}",
        expires.format("%a, %d %b %Y %H:%M:%S GMT")
    )
}

/// Tells the browser to keep, or to drop, what `cookie` says.
///
/// # Panics
/// When it has characters that no cookie of ours has.
pub fn set(response: &mut Response, cookie: &str) {
    let cookie = HeaderValue::from_str(cookie).expect("our cookies are plain ASCII");
    response.headers_mut().append(header::SET_COOKIE, cookie);
}

/// Tells the browser to forget a cookie, in Django's words.
pub fn delete(response: &mut Response, name: &str) {
    set(
        response,
        &format!(
            "{name}=\"\"; expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/; SameSite=Lax"
        ),
    );
}

/// Says that the answer differs with the visitor's cookies.
pub fn vary(response: &mut Response) {
    let headers = response.headers_mut();
    if !headers
        .get_all(header::VARY)
        .iter()
        .any(|value| value == "Cookie")
    {
        headers.append(header::VARY, HeaderValue::from_static("Cookie"));
    }
}
