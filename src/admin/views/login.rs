//! The login and logout pages (Django's `LoginView` and `LogoutView`).

use std::sync::Arc;

use minijinja::{Value, context};
use poem::{
    Request, Response, handler,
    http::{Method, StatusCode},
    web::Data,
};

use crate::{
    admin::{
        AdminState,
        staff::CurrentUser,
        unsaved::{self, UnsavedForm},
        urls::{INDEX, LOGIN},
    },
    auth::{
        login::{Audience, user_id},
        login_form::LoginForm,
    },
    core::Core,
    error::Result,
    web::{
        cookies::Jar,
        csrf,
        form::Form,
        login_state::LoginState,
        messages::Level,
        page::Page,
        routing::redirect,
        session::{messages_of, session_of},
    },
};

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
    let mut login_form = LoginForm::new(request, &form);
    if *request.method() != Method::POST {
        if is_staff {
            return Ok(redirect(StatusCode::FOUND, INDEX));
        }
        return render(&page, state, current, request, &login_form, None);
    }
    let unsaved = form.get(unsaved::FIELD);
    let unsaved = unsaved.and_then(|text| UnsavedForm::read(state, text));
    let auth = &state.auth;
    if login_form
        .submit(auth, request, &form, Audience::Staff)
        .await?
    {
        let next = match &unsaved {
            Some(unsaved) => store_unsaved(request, unsaved),
            None => login_form.redirect_target(request, INDEX),
        };
        let mut response = redirect(StatusCode::FOUND, next);
        csrf::rotate(&mut response, request);
        return Ok(response);
    }
    render(&page, state, current, request, &login_form, unsaved)
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
    let mut form = LoginForm::default();
    form.next.clone_from(&unsaved.target);
    let page = Page::new(request);
    render(
        &page,
        state,
        &CurrentUser(None),
        request,
        &form,
        Some(unsaved),
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
    let (jar, known) = (Jar::of(request), LoginState::of(request));
    let security = &Core::of(request).settings.security;
    LoginState::Anonymous.set(&mut response, known, jar, security);
    Ok(response)
}

fn render(
    page: &Page,
    state: &AdminState,
    current: &CurrentUser,
    request: &Request,
    form: &LoginForm,
    unsaved: Option<UnsavedForm>,
) -> Result<Response> {
    let messages: Value = messages_of(request).take(&state.core, session_of(request));
    // The username of a logged-in user who is not staff.
    let authenticated_as = current.0.as_ref().map(|user| user.row.username.clone());
    page.render(
        "registration/login.html",
        context! {
            unsaved_field => unsaved::FIELD,
            unsaved => unsaved.map(|unsaved| unsaved.signed(state)),
            authenticated_as,
            messages,
            address => LOGIN,
            ..form.context(LOGIN),
        },
    )
}
