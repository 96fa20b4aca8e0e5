//! The login and logout pages (Django's `LoginView` and `LogoutView`).

use std::sync::Arc;

use minijinja::{Value, context};
use poem::{
    Request, Response, handler,
    http::{Method, StatusCode},
    web::Data,
};
use unicode_normalization::UnicodeNormalization;

use crate::{
    admin::{
        AdminState,
        staff::CurrentUser,
        unsaved::{self, UnsavedForm},
        urls::{INDEX, LOGIN},
    },
    auth::{
        login::{LoginResult, log_in, user_id},
        validators::{MAX_USERNAME, length_error, unusable_at_login},
    },
    error::{AppError, Result},
    web::{
        admin_link, csrf,
        form::{Form, REQUIRED},
        hosts::{MAX_REDIRECT_LENGTH, Origin, is_allowed_redirect},
        messages::Level,
        page::Page,
        request_info::RequestInfo,
        routing::redirect,
        session::{messages_of, session_of},
    },
};

const INVALID_LOGIN: &str = "Please enter the correct username and password for a staff account. Note that both fields may be \
                     case-sensitive.";

/// Shows the login form, and logs in.
#[handler]
pub async fn login(
    page: Page,
    Data(state): Data<&Arc<AdminState>>,
    Data(current): Data<&CurrentUser>,
    request: &Request,
    form: Form,
) -> Result<Response> {
    let is_staff = current.0.as_ref().is_some_and(|user| user.row.is_staff);
    let query = Form::of_query(request);
    let next = form
        .get("next")
        .or_else(|| query.get("next"))
        .filter(|next| next.len() <= MAX_REDIRECT_LENGTH)
        .unwrap_or_default();
    if *request.method() != Method::POST {
        if is_staff {
            return Ok(redirect(StatusCode::FOUND, INDEX));
        }
        let empty = LoginForm {
            next,
            ..LoginForm::default()
        };
        return render(&page, state, current, request, &empty);
    }
    let (username, password) = (
        form.get("username").unwrap_or_default(),
        form.get("password").unwrap_or_default(),
    );
    let unsaved = form.get(unsaved::FIELD);
    let unsaved = unsaved.and_then(|text| UnsavedForm::read(state, text));
    let mut errors = Errors::default();
    if username.trim().is_empty() {
        errors.username = REQUIRED.to_owned();
    } else if let Some(error) = length_error(username.trim(), MAX_USERNAME) {
        errors.username = error;
    }
    if password.is_empty() {
        errors.password = REQUIRED;
    }
    if errors.username.is_empty() && errors.password.is_empty() {
        let session = session_of(request);
        let address = RequestInfo::client_address(request);
        let username: String = username.trim().nfkc().collect();
        let outcome = if unusable_at_login(password).is_none() && !username.contains('\0') {
            log_in(&state.auth, session, &username, password, address).await?
        } else {
            LoginResult::Refused
        };
        match outcome {
            LoginResult::LoggedIn => {
                let origin = request.data::<Origin>().expect("hosts::validate sets it");
                let next = match &unsaved {
                    Some(unsaved) => store_unsaved(request, unsaved),
                    None if is_allowed_redirect(next, origin) => next,
                    None => INDEX,
                };
                let mut response = redirect(StatusCode::FOUND, next);
                csrf::rotate(&mut response, request);
                return Ok(response);
            }
            LoginResult::Throttled(wait) => {
                return Err(AppError::TooManyAttempts(wait.num_seconds().max(1)));
            }
            LoginResult::Refused => errors.form = INVALID_LOGIN,
        }
    }
    let login_form = LoginForm {
        next,
        username,
        errors,
        unsaved,
    };
    render(&page, state, current, request, &login_form)
}

/// The login page in response to a form whose session has expired.
///
/// # Errors
/// When the template is missing or invalid, or uses an undefined variable.
pub fn show_with_unsaved(
    state: &AdminState,
    request: &Request,
    unsaved: UnsavedForm,
) -> Result<Response> {
    let next = unsaved.target.clone();
    let form = LoginForm {
        next: &next,
        unsaved: Some(unsaved),
        ..LoginForm::default()
    };
    render(
        &Page::new(request),
        state,
        &CurrentUser(None),
        request,
        &form,
    )
}

/// Stores an unsaved form in the session if its user has logged in, else discards it; returns the URL to redirect to.
fn store_unsaved<'a>(request: &Request, unsaved: &'a UnsavedForm) -> &'a str {
    let session = session_of(request);
    if user_id(session) == Some(unsaved.user) {
        unsaved.store(session);
        return &unsaved.target;
    }
    let text = "Unsaved changes of another account were discarded.";
    messages_of(request).add(Level::Warning, text);
    INDEX
}

/// Logs out.
#[handler]
pub async fn logout(page: Page, request: &Request) -> Result<Response> {
    session_of(request).flush();
    let context =
        context! { title => "Logged out", address => INDEX, messages => Vec::<Value>::new() };
    let mut response = page.render("registration/logged_out.html", context)?;
    admin_link::hide(&mut response, request);
    Ok(response)
}

/// The data of the login form.
#[derive(Default)]
struct LoginForm<'a> {
    next: &'a str,
    username: &'a str,
    errors: Errors,
    unsaved: Option<UnsavedForm>,
}

#[derive(Default)]
struct Errors {
    form: &'static str,
    username: String,
    password: &'static str,
}

fn render(
    page: &Page,
    state: &AdminState,
    current: &CurrentUser,
    request: &Request,
    form: &LoginForm<'_>,
) -> Result<Response> {
    let errors = &form.errors;
    let messages: Value = messages_of(request).take(&state.core, session_of(request));
    let has_errors =
        !(errors.form.is_empty() && errors.username.is_empty() && errors.password.is_empty());
    // The username of a logged-in user who is not staff.
    let authenticated_as = current.0.as_ref().map(|user| user.row.username.clone());
    page.render(
        "registration/login.html",
        context! {
            title => if has_errors { "Error: Log in" } else { "Log in" },
            login_url => LOGIN,
            next => form.next,
            unsaved_field => unsaved::FIELD,
            unsaved => form.unsaved.as_ref().map(|unsaved| unsaved.signed(state)),
            // A longer username is truncated to the maximum length of the field.
            username => form.username.chars().take(MAX_USERNAME).collect::<String>(),
            error => errors.form,
            username_error => &errors.username,
            password_error => errors.password,
            authenticated_as,
            messages,
            address => LOGIN,
        },
    )
}
