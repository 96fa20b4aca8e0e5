//! Rendering of HTML pages in views.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use minijinja::{Value, context};
use poem::{
    FromRequest, Request, RequestBody, Response, Result,
    http::{HeaderValue, header},
};
use rand::distr::{Alphanumeric, SampleString};

use super::{
    cookies::{self, Jar},
    csrf::{TOKEN_LENGTH, Token},
    hosts::Origin,
    login_state::LoginState,
    theme::Theme,
};
use crate::{core::Core, error};

/// The values that the base template of every page depends on, all read from cookies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BaseContext {
    theme: Theme,
    login_state: LoginState,
}

impl BaseContext {
    /// The values for the response to `request`.
    pub fn of(request: &Request) -> Self {
        Self {
            theme: Theme::of(request),
            login_state: LoginState::of(request),
        }
    }

    /// The template variables `theme`, `is_logged_in`, `is_staff` and `adds_polls`.
    pub fn context(self) -> Value {
        context! {
            theme => self.theme.name(),
            is_logged_in => self.login_state.is_logged_in(),
            is_staff => self.login_state.is_staff(),
            adds_polls => self.login_state.adds_polls(),
        }
    }
}

/// Request data: the response will be sent to more than one client. [`Page::render_shared`] renders the placeholder in place of the
/// CSRF token, and sets no cookie.
#[derive(Debug, Clone)]
pub struct ForCache {
    placeholder: Arc<str>,
}

impl Default for ForCache {
    /// With a random placeholder, which is in no page by chance.
    fn default() -> Self {
        let placeholder = Alphanumeric.sample_string(&mut rand::rng(), TOKEN_LENGTH);
        Self {
            placeholder: placeholder.into(),
        }
    }
}

impl ForCache {
    /// The text in place of the token.
    pub fn placeholder(&self) -> &str {
        &self.placeholder
    }
}

/// Response data, only for requests with [`ForCache`]: the page is the same for all clients with the same [`BaseContext`] and origin
/// up to that time, except for its token and unless its data changes.
#[derive(Debug, Clone, Copy)]
pub struct ValidUntil(pub DateTime<Utc>);

/// Renders templates with the variables of all pages: `csrf_token`, `origin` and those of [`BaseContext`].
#[derive(Debug)]
pub struct Page {
    core: Arc<Core>,
    token: Arc<Token>,
    base: BaseContext,
    /// The URL of the site, without a slash at its end.
    origin: String,
    for_cache: Option<ForCache>,
}

impl<'a> FromRequest<'a> for Page {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> Result<Self> {
        Ok(Self::new(request))
    }
}

impl Page {
    /// A page for the response to `request`.
    pub fn new(request: &Request) -> Self {
        let core = Core::of(request).clone();
        let cookie = &core.settings.security.csrf_cookie;
        Self {
            token: Arc::new(Token::new(request, Jar::of(request), cookie)),
            core,
            base: BaseContext::of(request),
            origin: request.data().map(Origin::url).unwrap_or_default(),
            for_cache: request.data().cloned(),
        }
    }

    /// Renders a template to a response with `Vary: Cookie`, and sets the CSRF cookie if the template uses the token.
    ///
    /// # Errors
    /// When the template is missing or invalid, or uses an undefined variable.
    pub fn render(&self, template: &str, context: Value) -> error::Result<Response> {
        let csrf_token = Value::from_dyn_object(self.token.clone());
        let mut response = self.render_with(template, context, csrf_token)?;
        self.token
            .attach(&mut response, &self.core.settings.security.csrf_cookie);
        Ok(response)
    }

    /// Renders a page that depends on the client only by its [`BaseContext`], the origin and its token, and whose texts are true until
    /// `until`. Shared caches must not store it.
    ///
    /// # Errors
    /// Those of [`Page::render`].
    pub fn render_shared(
        &self,
        template: &str,
        context: Value,
        until: DateTime<Utc>,
    ) -> error::Result<Response> {
        let mut response = match &self.for_cache {
            Some(for_cache) => {
                let mut response =
                    self.render_with(template, context, for_cache.placeholder().into())?;
                response.set_data(ValidUntil(until));
                response
            }
            None => self.render(template, context)?,
        };
        response.headers_mut().insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static("private, no-cache"),
        );
        Ok(response)
    }

    fn render_with(
        &self,
        template: &str,
        context: Value,
        csrf_token: Value,
    ) -> error::Result<Response> {
        let context = context! { ..context, ..context! { csrf_token, origin => &self.origin }, ..self.base.context() };
        let html = self.core.templates.render(template, context)?;
        let mut response = html_response(html);
        cookies::vary(&mut response);
        Ok(response)
    }
}

/// A 200 response with an HTML body.
pub fn html_response(html: String) -> Response {
    Response::builder()
        .header(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        )
        .header(header::CONTENT_LENGTH, html.len())
        .body(html)
}
