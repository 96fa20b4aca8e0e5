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
    User {
        /// Whether the user is staff, who may visit the admin.
        is_staff: bool,
        /// Whether the user may add questions.
        adds_polls: bool,
    },
}

impl LoginState {
    /// The state that the client's cookie says.
    pub fn of(request: &Request) -> Self {
        match cookies::get(request, COOKIE) {
            Some(value) => Self::User {
                is_staff: value.starts_with("staff"),
                adds_polls: value.ends_with(".polls"),
            },
            None => Self::Anonymous,
        }
    }

    /// Whether a user is logged in.
    pub fn is_logged_in(self) -> bool {
        self != Self::Anonymous
    }

    /// Whether a member of staff is logged in.
    pub fn is_staff(self) -> bool {
        matches!(self, Self::User { is_staff: true, .. })
    }

    /// Whether the user may add questions.
    pub fn adds_polls(self) -> bool {
        let Self::User { adds_polls, .. } = self else {
            return false;
        };
        adds_polls
    }

    /// The value of the cookie.
    fn value(self) -> &'static str {
        match (self.is_staff(), self.adds_polls()) {
            (true, true) => "staff.polls",
            (true, false) => "staff",
            (false, true) => "user.polls",
            (false, false) => "user",
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
        jar.set(response, &cookie, self.value(), age);
    }
}
