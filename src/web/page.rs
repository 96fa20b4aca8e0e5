//! A page as a view makes it.

use std::sync::Arc;

use minijinja::{Value, context};
use poem::{FromRequest, Request, RequestBody, Response, Result, http::header};

use super::{app_of, cookies, csrf::Token, theme::Theme};
use crate::{app::App, error};

/// Renders templates with what all of them may need: the CSRF token, the theme.
#[derive(Debug)]
pub struct Page {
    app: Arc<App>,
    token: Arc<Token>,
    theme: Theme,
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
            app: app_of(request).clone(),
            token,
            theme: Theme::of(request),
        }
    }

    /// The page that a template makes of `context`.
    ///
    /// # Errors
    /// When the template is at fault.
    pub fn render(&self, template: &str, context: Value) -> error::Result<Response> {
        let csrf_token = Value::from_dyn_object(self.token.clone());
        let common = context! { csrf_token, theme => self.theme.name() };
        let context = context! { ..context, ..common };
        let html = self.app.templates.render(template, context)?;
        let mut response = html_response(html);
        // The theme is in a cookie.
        cookies::vary(&mut response);
        self.token
            .attach(&mut response, &self.app.settings.security.csrf_cookie);
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
