//! CSRF protection with the cookies and tokens of Django's `django/middleware/csrf.py`, so that a form rendered by Django may
//! be posted to this server, and the reverse.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use minijinja::value::Object;
use poem::{
    Endpoint, Request, Response, Result,
    http::{Method, header},
};
use rand::RngExt;
use subtle::ConstantTimeEq;

use super::{
    cookies::{self, Jar},
    form::Form,
    hosts::Origin,
};
use crate::{
    core::Core,
    error::{AppError, CsrfError},
    settings::CookieSettings,
};

/// The name of the form field that holds the token.
pub const FIELD: &str = "csrfmiddlewaretoken";
const SECRET_LENGTH: usize = 32;
/// The length of a token in characters.
pub const TOKEN_LENGTH: usize = 2 * SECRET_LENGTH;
const ALPHABET: &[u8; 62] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// The CSRF secret in the cookie: 32 characters of a-z, A-Z and 0-9, stored as their indexes in this alphabet.
#[derive(Clone, Copy)]
pub struct Secret([u8; SECRET_LENGTH]);

impl Secret {
    /// A new random secret.
    pub fn random() -> Self {
        let mut rng = rand::rng();
        Self(std::array::from_fn(|_| {
            rng.random_range(0..ALPHABET.len() as u8)
        }))
    }

    /// Parses a cookie or the token of a form: 32 characters of the secret itself, or 64 of the mask followed by the cipher.
    pub fn parse(text: &str) -> Option<Self> {
        let indexes = text
            .bytes()
            .map(|byte| ALPHABET.iter().position(|&letter| letter == byte));
        let indexes: Vec<u8> = indexes
            .map(|index| index.map(|index| index as u8))
            .collect::<Option<_>>()?;
        match indexes.len() {
            SECRET_LENGTH => Some(Self(std::array::from_fn(|i| indexes[i]))),
            TOKEN_LENGTH => {
                let (mask, cipher) = indexes.split_at(SECRET_LENGTH);
                Some(Self(std::array::from_fn(|i| {
                    (cipher[i] + ALPHABET.len() as u8 - mask[i]) % ALPHABET.len() as u8
                })))
            }
            _ => None,
        }
    }

    /// The token for a form, with a new mask each time: the length of a compressed page reveals nothing about the secret
    /// (BREACH).
    pub fn masked(&self) -> String {
        self.masked_with(&Self::random())
    }

    /// The token with a given mask: the mask followed by the cipher, 64 characters.
    pub fn masked_with(&self, mask: &Self) -> String {
        let cipher = self
            .0
            .iter()
            .zip(&mask.0)
            .map(|(secret, mask)| (secret + mask) % ALPHABET.len() as u8);
        mask.0.iter().copied().chain(cipher).map(letter).collect()
    }

    fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = self.0.map(|index| ALPHABET[usize::from(index)]);
        f.write_str(str::from_utf8(&letters).expect("the alphabet is ASCII"))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

fn letter(index: u8) -> char {
    char::from(ALPHABET[usize::from(index)])
}

/// A page's token. The cookie with the secret is set only if the page's template renders the token.
#[derive(Debug, Clone)]
pub struct Token {
    cookie: Option<Secret>,
    used: OnceLock<Secret>,
    jar: Jar,
}

impl Token {
    /// The token for the response to `request`, from the secret in its cookie or a new one; `jar` sets the cookie.
    pub fn new(request: &Request, jar: Jar, cookie: &CookieSettings) -> Self {
        Self {
            cookie: cookie_secret(request, cookie),
            used: OnceLock::new(),
            jar,
        }
    }

    /// The text for a form, with a new mask each time.
    pub fn text(&self) -> String {
        let secret = self
            .used
            .get_or_init(|| self.cookie.unwrap_or_else(Secret::random));
        secret.masked()
    }

    /// Sets the cookie with the secret, if the page rendered the token.
    pub fn attach(&self, response: &mut Response, settings: &CookieSettings) {
        if let Some(secret) = self.used.get() {
            set_cookie(response, self.jar, settings, secret);
        }
    }
}

impl Object for Token {
    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

/// The form of a request whose only CSRF error is a wrong token. A middleware that needs the form sets an empty one as request
/// data.
#[derive(Debug, Clone, Default)]
pub struct RejectedForm(Arc<OnceLock<Form>>);

impl RejectedForm {
    /// The form, if the request was refused for its token.
    pub fn get(&self) -> Option<&Form> {
        self.0.get()
    }
}

/// Refuses requests with an unsafe method that fail the CSRF check. Sets the [`Form`] of the others as request data.
///
/// # Errors
/// [`AppError::Csrf`] when the check fails; those of [`Form::read`] and of `next`.
pub async fn protect<E: Endpoint>(next: Arc<E>, mut request: Request) -> Result<E::Output> {
    if matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE
    ) {
        return next.call(request).await;
    }
    check_source(&request).map_err(AppError::Csrf)?;
    let cookie = &Core::of(&request).settings.security.csrf_cookie;
    let secret = cookie_secret(&request, cookie).ok_or(AppError::Csrf(CsrfError::NoCookie))?;
    let form = Form::read(&mut request).await?;
    let token = form
        .get(FIELD)
        .filter(|token| !token.is_empty())
        .or_else(|| request.header(&*Core::of(&request).settings.security.csrf_header));
    let token = token.ok_or(AppError::Csrf(CsrfError::NoToken))?;
    if !Secret::parse(token).is_some_and(|token| token.matches(&secret)) {
        if let Some(rejected) = request.data::<RejectedForm>() {
            // It is set once per request.
            let _ = rejected.0.set(form);
        }
        return Err(AppError::Csrf(CsrfError::BadToken).into());
    }
    request.set_data(form);
    next.call(request).await
}

/// Refuses requests with an unsafe method that a page of another site may have sent, by their `Origin`. For pages in frames of other
/// sites, where the browser may send no cookie. Sets the [`Form`] of the others as request data.
///
/// # Errors
/// [`AppError::Csrf`] when there is no `Origin`, or another site's; those of [`Form::read`] and of `next`.
pub async fn require_same_origin<E: Endpoint>(
    next: Arc<E>,
    mut request: Request,
) -> Result<E::Output> {
    if !request.method().is_safe() {
        if !request.headers().contains_key(header::ORIGIN) {
            return Err(AppError::Csrf(CsrfError::NoOrigin).into());
        }
        check_source(&request).map_err(AppError::Csrf)?;
        let form = Form::read(&mut request).await?;
        request.set_data(form);
    }
    next.call(request).await
}

fn cookie_secret(request: &Request, cookie: &CookieSettings) -> Option<Secret> {
    cookies::get(request, &cookie.name).and_then(Secret::parse)
}

fn set_cookie(response: &mut Response, jar: Jar, settings: &CookieSettings, secret: &Secret) {
    jar.set(response, settings, &secret.to_string(), Some(settings.age));
    cookies::vary(response);
}

/// Sets a new secret at login (Django's `rotate_token`): tokens of earlier pages become invalid.
pub fn rotate(response: &mut Response, request: &Request) {
    let settings = &Core::of(request).settings.security.csrf_cookie;
    set_cookie(response, Jar::of(request), settings, &Secret::random());
}

/// Checks the `Origin` header, or over HTTPS without one the `Referer` header.
fn check_source(request: &Request) -> Result<(), CsrfError> {
    let own = Origin::of(request);
    let trusted = &Core::of(request).settings.security.csrf_trusted_origins;
    let is_trusted = |origin: &str| {
        trusted
            .iter()
            .any(|trusted| matches_trusted(origin, trusted))
    };
    let origins = request.headers().get_all(header::ORIGIN).iter();
    let origins: Vec<_> = origins
        .map(|origin| String::from_utf8_lossy(origin.as_bytes()))
        .collect();
    if !origins.is_empty() {
        // WSGI servers join repeated headers with commas; the joined value matches no origin.
        let origin = origins.join(",");
        let is_own = origin.eq_ignore_ascii_case(&format!("{}://{}", own.scheme(), own.host));
        return if is_own || is_trusted(&origin) {
            Ok(())
        } else {
            Err(CsrfError::BadOrigin(origin))
        };
    }
    if !own.is_secure {
        return Ok(());
    }
    // Old browsers send no Origin. Without a Referer, a man in the middle could have served the form over plain HTTP.
    let referer = request
        .header(header::REFERER)
        .ok_or(CsrfError::NoReferer)?;
    let referer = url::Url::parse(referer).map_err(|_| CsrfError::MalformedReferer)?;
    if referer.scheme() != "https" {
        return Err(CsrfError::InsecureReferer);
    }
    let origin = referer.origin().ascii_serialization();
    let own_host = own.host.strip_suffix(":443").unwrap_or(&own.host);
    let is_own = origin.eq_ignore_ascii_case(&format!("https://{own_host}"));
    // A cookie with a `Domain` is shared by all subdomains, so their forms are accepted.
    let domain = &Core::of(request).settings.security.csrf_cookie.domain;
    let is_cookie_domain = domain.as_ref().is_some_and(|domain| {
        matches_trusted(
            &origin,
            &format!("https://*.{}", domain.trim_start_matches('.')),
        )
    });
    if is_own || is_cookie_domain || is_trusted(&origin) {
        Ok(())
    } else {
        Err(CsrfError::BadReferer(origin))
    }
}

/// Whether an origin matches `trusted`: another origin, or a pattern such as `https://*.example.com`.
fn matches_trusted(origin: &str, trusted: &str) -> bool {
    let (origin, trusted) = (origin.to_ascii_lowercase(), trusted.to_ascii_lowercase());
    match trusted.split_once("://*") {
        None => origin == trusted,
        Some((scheme, parent)) => {
            let host = origin
                .strip_prefix(scheme)
                .and_then(|rest| rest.strip_prefix("://"));
            host.is_some_and(|host| {
                host.ends_with(parent) || Some(host) == parent.strip_prefix('.')
            })
        }
    }
}
