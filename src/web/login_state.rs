//! Whether the browser's user is logged in, for the links in the bar of public pages. The links grant no permission. The state is a
//! cookie, so that a public page needs neither the session nor the database for it.

use poem::{Request, Response};

use super::cookies::{self, Jar};
use crate::settings::{CookieSettings, SecuritySettings};

const COOKIE: &str = "polls_user";

/// The state of a browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LoginState {
    /// No user is logged in.
    Anonymous,
    /// A user is logged in.
    User,
    /// A member of staff is logged in, who may visit the admin.
    Staff,
}

impl LoginState {
    /// The state of a logged-in user.
    pub fn of_user(is_staff: bool) -> Self {
        if is_staff { Self::Staff } else { Self::User }
    }

    /// The state that the client's cookie says.
    pub fn of(request: &Request) -> Self {
        match cookies::get(request, COOKIE) {
            Some("staff") => Self::Staff,
            Some(_) => Self::User,
            None => Self::Anonymous,
        }
    }

    /// Its name in templates and in the cookie.
    pub fn name(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::User => "user",
            Self::Staff => "staff",
        }
    }

    /// Sets the cookie, unless the client has it already; it lasts as long as a session.
    pub fn set(self, response: &mut Response, known: Self, jar: Jar, security: &SecuritySettings) {
        if self == known {
            return;
        }
        if self == Self::Anonymous {
            return jar.delete(response, &CookieSettings::new(COOKIE, 0));
        }
        let age = Some(security.session_cookie.age);
        let age = age.filter(|_| !security.session_expire_at_browser_close);
        let cookie = CookieSettings::new(COOKIE, age.unwrap_or_default());
        jar.set(response, &cookie, self.name(), age);
    }
}
