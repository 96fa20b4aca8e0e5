//! Rendering of HTML pages in views.

use std::sync::Arc;

use minijinja::{Value, context};
use poem::{FromRequest, Request, RequestBody, Response, Result, http::header};

use super::{admin_link, cookies, csrf::Token, theme::Theme};
use crate::{core::Core, error};

/// The values that the base template of every page depends on, all read from cookies.
#[derive(Debug, Clone, Copy)]
pub struct BaseContext {
    theme: Theme,
    has_admin_link: bool,
}

impl BaseContext {
    /// The values for the response to `request`.
    pub fn of(request: &Request) -> Self {
        Self {
            theme: Theme::of(request),
            has_admin_link: admin_link::is_shown(request),
        }
    }

    /// The template variables `theme` and `has_admin_link`.
    pub fn context(self) -> Value {
        context! { theme => self.theme.name(), has_admin_link => self.has_admin_link }
    }
}

/// Renders templates with the variables of all pages: `csrf_token` and those of [`BaseContext`].
#[derive(Debug)]
pub struct Page {
    core: Arc<Core>,
    token: Arc<Token>,
    base: BaseContext,
}

impl<'a> FromRequest<'a> for Page {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> Result<Self> {
        Ok(Self::new(request))
    }
}

impl Page {
    /// A page for the response to `request`.
    pub fn new(request: &Request) -> Self {
        let token = Arc::new(Token::for_request(request));
        Self {
            core: Core::of(request).clone(),
            token,
            base: BaseContext::of(request),
        }
    }

    /// Renders a template to a response with `Vary: Cookie`, and sets the CSRF cookie if the template uses the token.
    ///
    /// # Errors
    /// When the template is missing or invalid, or uses an undefined variable.
    pub fn render(&self, template: &str, context: Value) -> error::Result<Response> {
        let csrf_token = Value::from_dyn_object(self.token.clone());
        let context = context! { ..context, ..context! { csrf_token }, ..self.base.context() };
        let html = self.core.templates.render(template, context)?;
        let mut response = html_response(html);
        cookies::vary(&mut response);
        self.token
            .attach(&mut response, &self.core.settings.security.csrf_cookie);
        Ok(response)
    }
}

/// A 200 response with an HTML body.
pub fn html_response(html: String) -> Response {
    Response::builder()
        .content_type("text/html; charset=utf-8")
        .header(header::CONTENT_LENGTH, html.len())
        .body(html)
}
