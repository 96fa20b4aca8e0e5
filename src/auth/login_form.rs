//! The form of the login pages (Django's `AuthenticationForm`): that of the admin, and that of the public pages.

use minijinja::{Value, context};
use poem::Request;
use unicode_normalization::UnicodeNormalization;

use super::{
    Auth,
    login::{Audience, LoginResult, log_in},
    validators::{MAX_USERNAME, length_error, unusable_at_login},
};
use crate::{
    error::{AppError, Result},
    web::{
        form::{Form, REQUIRED},
        hosts::{MAX_REDIRECT_LENGTH, Origin, is_allowed_redirect},
        request_info::RequestInfo,
        session::session_of,
    },
};

/// The data of a login form, with its errors.
#[derive(Debug, Default)]
pub struct LoginForm {
    /// The URL to redirect to after the login; may be of another site.
    pub next: String,
    username: String,
    error: &'static str,
    username_error: String,
    password_error: &'static str,
}

impl LoginForm {
    /// An empty form; `next` is from the submitted form or the query string.
    pub fn new(request: &Request, form: &Form) -> Self {
        let query = Form::of_query(request);
        let next = form.get("next").or_else(|| query.get("next"));
        let next = next.filter(|next| next.len() <= MAX_REDIRECT_LENGTH);
        Self {
            next: next.unwrap_or_default().to_owned(),
            ..Self::default()
        }
    }

    /// Logs in with the submitted username and password; false if they are refused, and the form has errors.
    ///
    /// # Errors
    /// [`AppError::TooManyAttempts`]; those of [`log_in`].
    pub async fn submit(
        &mut self,
        auth: &Auth,
        request: &Request,
        form: &Form,
        audience: Audience,
    ) -> Result<bool> {
        let password = form.get("password").unwrap_or_default();
        form.get("username")
            .unwrap_or_default()
            .clone_into(&mut self.username);
        let username = self.username.trim();
        if username.is_empty() {
            REQUIRED.clone_into(&mut self.username_error);
        } else if let Some(error) = length_error(username, MAX_USERNAME) {
            self.username_error = error;
        }
        if password.is_empty() {
            self.password_error = REQUIRED;
        }
        if self.has_errors() {
            return Ok(false);
        }
        let session = session_of(request);
        let address = RequestInfo::client_address(request);
        let username: String = username.nfkc().collect();
        let result = if unusable_at_login(password).is_none() && !username.contains('\0') {
            log_in(auth, session, (&username, password), audience, address).await?
        } else {
            LoginResult::Refused
        };
        match result {
            LoginResult::LoggedIn => Ok(true),
            LoginResult::Refused => {
                self.error = audience.refusal();
                Ok(false)
            }
            LoginResult::Throttled(wait) => {
                Err(AppError::TooManyAttempts(wait.num_seconds().max(1)))
            }
        }
    }

    /// The URL in `next` if it is on this site, else `default`.
    pub fn redirect_target<'a>(&'a self, request: &Request, default: &'a str) -> &'a str {
        if is_allowed_redirect(&self.next, Origin::of(request)) {
            &self.next
        } else {
            default
        }
    }

    /// Whether the form has errors.
    pub fn has_errors(&self) -> bool {
        !(self.error.is_empty() && self.username_error.is_empty() && self.password_error.is_empty())
    }

    /// The variables of the template `registration/login_form.html`.
    pub fn context(&self, login_url: &str) -> Value {
        context! {
            title => if self.has_errors() { "Error: Log in" } else { "Log in" },
            login_url,
            next => &self.next,
            // A longer username is truncated to the maximum length of the field.
            username => self.username.chars().take(MAX_USERNAME).collect::<String>(),
            error => self.error,
            username_error => &self.username_error,
            password_error => self.password_error,
        }
    }
}
