//! A page as a view makes it.

use std::sync::Arc;

use minijinja::{Value, context};
use poem::{
    FromRequest, Request, RequestBody, Response, Result,
    http::{HeaderValue, header},
};

use super::{app_of, csrf::Token};
use crate::{app::App, error};

/// Renders templates with what all of them may need: the CSRF token.
#[derive(Debug)]
pub struct Page {
    app: Arc<App>,
    token: Arc<Token>,
}

impl<'a> FromRequest<'a> for Page {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> Result<Self> {
        let app = app_of(request).clone();
        Ok(Self {
            app,
            token: Arc::new(Token::for_request(request)),
        })
    }
}

impl Page {
    /// The page that a template makes of `context`.
    ///
    /// # Errors
    /// When the template is at fault.
    pub fn render(&self, template: &str, context: Value) -> error::Result<Response> {
        let common = context! { csrf_token => Value::from_dyn_object(self.token.clone()) };
        let html = self
            .app
            .templates
            .render(template, context! { ..context, ..common })?;
        let mut response = html_response(html);
        if let Some(cookie) = self.token.set_cookie(self.app.now()) {
            let cookie = HeaderValue::from_str(&cookie).expect("a secret is plain ASCII");
            response.headers_mut().append(header::SET_COOKIE, cookie);
            response
                .headers_mut()
                .append(header::VARY, HeaderValue::from_static("Cookie"));
        }
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
