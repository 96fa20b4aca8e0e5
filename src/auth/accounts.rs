//! The public login and logout pages (Django's `LoginView` and `LogoutView`).

use std::sync::Arc;

use minijinja::{Value, context};
use poem::{
    EndpointExt, Request, Response, Route, handler,
    http::{Method, StatusCode},
    web::Data,
};

use super::{
    Auth,
    login::{Audience, User, current_user},
    login_form::LoginForm,
};
use crate::{
    core::Core,
    error::Result,
    sessions::SessionStore,
    web::{
        cookies::Jar,
        csrf,
        form::Form,
        headers::never_cache,
        login_state::LoginState,
        page::Page,
        routing::{get_and_post, redirect},
        session::session_of,
    },
};

/// The login page (Django's `LOGIN_URL`).
pub const LOGIN: &str = "/accounts/login/";
/// The logout page.
pub const LOGOUT: &str = "/accounts/logout/";
/// Where a login and a logout lead without `next`.
const HOME: &str = "/";

/// Adds the pages below `/accounts/`.
pub fn routes(route: Route, auth: Arc<Auth>) -> Route {
    let route = get_and_post(route, LOGIN, login.data(auth).map_to_response());
    get_and_post(route, LOGOUT, logout)
}

/// Shows the login form, and logs in.
#[handler]
async fn login(
    page: Page,
    Data(core): Data<&Arc<Core>>,
    Data(auth): Data<&Arc<Auth>>,
    request: &Request,
    form: Form,
) -> Result<Response> {
    let mut login_form = LoginForm::new(request, &form);
    let known = LoginState::of(request);
    let user = if *request.method() != Method::POST {
        current_user(core, session_of(request)).await?
    } else if login_form
        .submit(auth, request, &form, Audience::Active)
        .await?
    {
        // Of the new session.
        let user = current_user(core, session_of(request)).await?;
        let mut response = redirect(StatusCode::FOUND, login_form.redirect_target(request, HOME));
        csrf::rotate(&mut response, request);
        set_state(&mut response, core, request, known, user.as_ref());
        return Ok(response);
    } else {
        None
    };
    if let Some(user) = user {
        let mut response = redirect(StatusCode::FOUND, login_form.redirect_target(request, HOME));
        set_state(&mut response, core, request, known, Some(&user));
        return Ok(response);
    }
    let context = login_form.context(LOGIN);
    let none = Value::from(());
    let context = context! { unsaved => none.clone(), authenticated_as => none, ..context };
    let mut response = page.render("registration/public_login.html", context)?;
    never_cache(&mut response, core.now());
    Ok(response)
}

/// Asks whether to log out, and logs out.
#[handler]
async fn logout(page: Page, Data(core): Data<&Arc<Core>>, request: &Request) -> Result<Response> {
    if *request.method() != Method::POST {
        let mut response = page.render("registration/public_logout.html", context! {})?;
        never_cache(&mut response, core.now());
        return Ok(response);
    }
    let session = session_of(request);
    // A session that is not loaded cannot be deleted.
    session.load(SessionStore::of(core), core.now()).await?;
    session.flush();
    let mut response = redirect(StatusCode::FOUND, HOME);
    set_state(&mut response, core, request, LoginState::of(request), None);
    Ok(response)
}

/// Sets the state that public pages show: of a user, or of none.
fn set_state(
    response: &mut Response,
    core: &Core,
    request: &Request,
    known: LoginState,
    user: Option<&User>,
) {
    let state = user.map_or(LoginState::Anonymous, User::login_state);
    state.set(response, known, Jar::of(request), &core.settings.security);
}
