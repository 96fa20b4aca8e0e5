//! The light or dark theme: the client's choice, else that of its system. A cookie stores the choice, so that the server renders
//! the page in it, without a script.

use poem::{Request, Response, handler, http::StatusCode};

use super::{
    cookies::{self, Jar},
    form::Form,
    hosts::{Origin, is_allowed_redirect},
    routing::redirect,
};
use crate::settings::CookieSettings;

const COOKIE: &str = "theme";
/// The lifetime of the cookie, in seconds.
const COOKIE_AGE: i64 = 31_536_000;

/// The color theme of the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Theme {
    /// The theme of the client's system.
    Auto,
    /// Dark text on a light background.
    Light,
    /// Light text on a dark background.
    Dark,
}

impl Theme {
    /// The theme in the request's cookie; [`Self::Auto`] without one.
    pub fn of(request: &Request) -> Self {
        Self::parse(cookies::get(request, COOKIE).unwrap_or_default())
    }

    /// Its name in templates, forms and the cookie.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    fn parse(name: &str) -> Self {
        match name {
            "light" => Self::Light,
            "dark" => Self::Dark,
            _ => Self::Auto,
        }
    }
}

/// Sets the theme from the form field `theme`, and redirects to the URL in `next` if it is on this site, else to `/`.
#[handler]
pub fn choose(request: &Request, form: Form) -> Response {
    let theme = Theme::parse(form.get("theme").unwrap_or_default());
    let origin = Origin::of(request);
    let next = form
        .get("next")
        .filter(|next| is_allowed_redirect(next, origin))
        .unwrap_or("/");
    let mut response = redirect(StatusCode::FOUND, next);
    let cookie = CookieSettings::new(COOKIE, COOKIE_AGE);
    Jar::of(request).set(&mut response, &cookie, theme.name(), Some(COOKIE_AGE));
    response
}
