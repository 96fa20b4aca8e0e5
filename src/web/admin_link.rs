//! The link to the admin on public pages: shown to browsers in which staff have been logged in. It is a link only, and
//! gives no right. Kept in a cookie, so that a public page needs neither a session nor the database for it.

use poem::{Request, Response};

use super::cookies::{self, Jar};
use crate::settings::CookieSettings;

const COOKIE: &str = "polls_staff";

/// Whether the pages for this client have the link.
pub fn is_shown(request: &Request) -> bool {
    cookies::get(request, COOKIE).is_some()
}

/// Shows it from now on, for `age` seconds.
pub fn show(response: &mut Response, jar: Jar, age: i64) {
    jar.set(response, &CookieSettings::new(COOKIE, age), "1", Some(age));
}

/// Shows it no longer.
pub fn hide(response: &mut Response, request: &Request) {
    if is_shown(request) {
        Jar::of(request).delete(response, &CookieSettings::new(COOKIE, 0));
    }
}
