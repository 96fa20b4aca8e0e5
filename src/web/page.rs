//! A page as a view makes it.

use std::sync::Arc;

use minijinja::{Value, context};
use poem::{FromRequest, Request, RequestBody, Response, Result, http::header};

use super::{admin_link, cookies, csrf::Token, theme::Theme};
use crate::{core::Core, error};

/// What the frame around every page depends on; all of it is in cookies.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    theme: Theme,
    has_admin_link: bool,
}

impl Frame {
    /// The frame of a page that answers `request`.
    pub fn of(request: &Request) -> Self {
        Self {
            theme: Theme::of(request),
            has_admin_link: admin_link::is_shown(request),
        }
    }

    /// As templates get it.
    pub fn context(self) -> Value {
        context! { theme => self.theme.name(), has_admin_link => self.has_admin_link }
    }
}

/// Renders templates with what all of them may need: the CSRF token, the theme.
#[derive(Debug)]
pub struct Page {
    core: Arc<Core>,
    token: Arc<Token>,
    frame: Frame,
}

impl<'a> FromRequest<'a> for Page {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> Result<Self> {
        Ok(Self::new(request))
    }
}

impl Page {
    /// A page that answers `request`.
    pub fn new(request: &Request) -> Self {
        let token = Arc::new(Token::for_request(request));
        Self {
            core: Core::of(request).clone(),
            token,
            frame: Frame::of(request),
        }
    }

    /// The page that a template makes of `context`.
    ///
    /// # Errors
    /// When the template is at fault.
    pub fn render(&self, template: &str, context: Value) -> error::Result<Response> {
        let csrf_token = Value::from_dyn_object(self.token.clone());
        let context = context! { ..context, ..context! { csrf_token }, ..self.frame.context() };
        let html = self.core.templates.render(template, context)?;
        let mut response = html_response(html);
        // The frame depends on cookies.
        cookies::vary(&mut response);
        self.token
            .attach(&mut response, &self.core.settings.security.csrf_cookie);
        Ok(response)
    }
}

/// An answer with a page in it.
pub fn html_response(html: String) -> Response {
    Response::builder()
        .content_type("text/html; charset=utf-8")
        .header(header::CONTENT_LENGTH, html.len())
        .body(html)
}
