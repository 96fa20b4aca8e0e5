//! The link to the admin on public pages: shown to browsers in which staff have logged in. It is a link only, and
//! gives no right. Kept in a cookie, so that a public page needs neither a session nor the database for it.

use poem::{Request, Response};

use super::cookies::{self, Jar};
use crate::settings::CookieSettings;

const COOKIE: &str = "polls_staff";

/// Whether public pages for this client have the link.
pub fn is_shown(request: &Request) -> bool {
    cookies::get(request, COOKIE).is_some()
}

/// Makes public pages have the link, for `age` seconds or until the browser is closed.
pub fn show(response: &mut Response, jar: Jar, age: Option<i64>) {
    let cookie = CookieSettings::new(COOKIE, age.unwrap_or_default());
    jar.set(response, &cookie, "1", age);
}

/// Makes public pages have no link any more.
pub fn hide(response: &mut Response, request: &Request) {
    if is_shown(request) {
        Jar::of(request).delete(response, &CookieSettings::new(COOKIE, 0));
    }
}
