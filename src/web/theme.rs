//! The light or dark theme: as chosen, else as the client's system has it. Kept in a cookie, so that it is right from the
//! first moment and without script.

use poem::{Request, Response, handler, http::StatusCode};

use super::{
    cookies::{self, Jar},
    form::Form,
    hosts::{Origin, is_own_address},
    routing::redirect,
};
use crate::settings::CookieSettings;

const COOKIE: &str = "theme";
/// How long the choice is kept, in seconds.
const COOKIE_AGE: i64 = 31_536_000;

/// What the pages look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    /// As the client's system has it.
    Auto,
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

impl Theme {
    /// The chosen theme.
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

/// Takes the choice and leads back.
#[handler]
pub fn choose(request: &Request, form: Form) -> Response {
    let theme = Theme::parse(form.get("theme").unwrap_or_default());
    let origin = request
        .data::<Origin>()
        .expect("hosts::validate comes first");
    let next = form
        .get("next")
        .filter(|next| is_own_address(next, origin))
        .unwrap_or("/");
    let mut response = redirect(StatusCode::FOUND, next);
    let cookie = CookieSettings::new(COOKIE, COOKIE_AGE);
    Jar::of(request).set(&mut response, &cookie, theme.name(), Some(COOKIE_AGE));
    response
}
