//! Reading and writing cookies.

use std::fmt::{self, Write as _};

use chrono::{DateTime, TimeDelta, Utc};
use poem::{
    Request, Response,
    http::{HeaderValue, header},
};

use super::{format::http_date, hosts::Origin};
use crate::{
    core::Core,
    settings::{CookieSettings, SameSite},
};

/// The usual length of a `Set-Cookie` header, in bytes.
const USUAL_LENGTH: usize = 192;

/// The value of a cookie; of several with the same name, the last. Other cookies may hold any bytes.
pub fn get<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    let headers = request.headers().get_all(header::COOKIE).iter();
    let mut values = headers.filter_map(|value| find(value.as_bytes(), name));
    values.next_back()
}

/// The value of a cookie in a `Cookie` header; of several with the same name, the last.
pub fn find<'a>(header: &'a [u8], name: &str) -> Option<&'a str> {
    let cookies = header.split(|byte| *byte == b';');
    let texts = cookies.filter_map(|cookie| std::str::from_utf8(cookie).ok());
    let pairs = texts.filter_map(|cookie| cookie.trim().split_once('='));
    let mut values = pairs.filter(|(found, _)| *found == name);
    values.next_back().map(|(_, value)| value.trim_matches('"'))
}

/// Writes cookies into the response to one request.
#[derive(Debug, Clone, Copy)]
pub struct Jar {
    is_secure: bool,
    now: DateTime<Utc>,
}

impl Jar {
    /// A jar for a response at `now`, over HTTPS or not.
    pub fn new(is_secure: bool, now: DateTime<Utc>) -> Self {
        Self { is_secure, now }
    }

    /// A jar for the response to `request`: `Secure` by its scheme, `expires` by the current time.
    pub fn of(request: &Request) -> Self {
        Self {
            is_secure: request
                .data::<Origin>()
                .is_some_and(|origin| origin.is_secure),
            now: Core::of(request).now(),
        }
    }

    /// The same for a response at `now`.
    #[must_use]
    pub fn at(self, now: DateTime<Utc>) -> Self {
        Self { now, ..self }
    }

    /// Sets a cookie that expires after `age` seconds; if `None`, when the browser closes.
    ///
    /// # Panics
    /// When the name or the value has characters that no header may have.
    pub fn set(
        &self,
        response: &mut Response,
        settings: &CookieSettings,
        value: &str,
        age: Option<i64>,
    ) {
        let age = age.map(|seconds| (self.now + TimeDelta::seconds(seconds), seconds));
        let is_secure = settings.secure.unwrap_or(self.is_secure);
        append(response, settings, value, age, is_secure);
    }

    /// Deletes a cookie in the browser (Django's `HttpResponse.delete_cookie`).
    pub fn delete(&self, response: &mut Response, settings: &CookieSettings) {
        // Browsers ignore such cookies without `Secure`.
        let is_secure = ["__Secure-", "__Host-"]
            .iter()
            .any(|prefix| settings.name.starts_with(prefix))
            || settings.same_site == Some(SameSite::None);
        let settings = CookieSettings {
            http_only: false,
            ..settings.clone()
        };
        append(
            response,
            &settings,
            "\"\"",
            Some((DateTime::UNIX_EPOCH, 0)),
            is_secure,
        );
    }
}

/// Appends a `Set-Cookie` header, with the attributes in the order of Python's `http.cookies`.
fn append(
    response: &mut Response,
    settings: &CookieSettings,
    value: &str,
    age: Option<(DateTime<Utc>, i64)>,
    is_secure: bool,
) {
    let mut cookie = String::with_capacity(USUAL_LENGTH);
    write(&mut cookie, settings, value, age, is_secure).expect("a string takes all");
    let cookie = HeaderValue::try_from(cookie).expect("this site's cookies are plain ASCII");
    response.headers_mut().append(header::SET_COOKIE, cookie);
}

fn write(
    cookie: &mut String,
    settings: &CookieSettings,
    value: &str,
    age: Option<(DateTime<Utc>, i64)>,
    is_secure: bool,
) -> fmt::Result {
    write!(cookie, "{}={value}", settings.name)?;
    if let Some(domain) = &settings.domain {
        write!(cookie, "; Domain={domain}")?;
    }
    if let Some((expires, _)) = age {
        write!(cookie, "; expires={}", http_date(expires))?;
    }
    if settings.http_only {
        cookie.push_str("; HttpOnly");
    }
    if let Some((_, seconds)) = age {
        write!(cookie, "; Max-Age={seconds}")?;
    }
    write!(cookie, "; Path={}", settings.path)?;
    if let Some(same_site) = settings.same_site {
        write!(cookie, "; SameSite={same_site}")?;
    }
    if is_secure {
        cookie.push_str("; Secure");
    }
    if settings.partitioned {
        cookie.push_str("; Partitioned");
    }
    Ok(())
}

/// Adds `Cookie` to the `Vary` header.
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
