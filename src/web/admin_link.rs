//! The link to the admin site on public pages, for browsers in which a staff user has logged in. The link grants no
//! permission. Its state is a cookie, so that a public page needs neither the session nor the database for it.

use poem::{Request, Response};

use super::cookies::{self, Jar};
use crate::settings::CookieSettings;

const COOKIE: &str = "polls_staff";

/// Whether public pages show the link to this client.
pub fn is_shown(request: &Request) -> bool {
    cookies::get(request, COOKIE).is_some()
}

/// Sets the cookie that shows the link, for `age` seconds; if `None`, until the browser closes.
pub fn show(response: &mut Response, jar: Jar, age: Option<i64>) {
    let cookie = CookieSettings::new(COOKIE, age.unwrap_or_default());
    jar.set(response, &cookie, "1", age);
}

/// Deletes the cookie that shows the link.
pub fn hide(response: &mut Response, request: &Request) {
    if is_shown(request) {
        Jar::of(request).delete(response, &CookieSettings::new(COOKIE, 0));
    }
}
