//! The middleware of the admin: admits active staff and redirects other clients to the login page.

use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use poem::{
    Endpoint, IntoResponse, Request, Response, Result,
    http::{Method, StatusCode, Uri},
};

use super::{
    page::{path_and_query, set_error_layout},
    staff::CurrentUser,
    state::AdminState,
    unsaved::{self, UnsavedForm},
    urls::{INDEX, LOGIN, LOGOUT},
    views::login as login_page,
};
use crate::{
    auth::login::{self, User},
    error::AppError,
    web::{
        cookies::{self, Jar},
        csrf::{self, RejectedForm},
        form::Form,
        headers::never_cache,
        login_state::LoginState,
        messages::Level,
        read_your_writes::Changed,
        routing::redirect,
        session::{messages_of, session_of},
    },
};

/// The URL of the index without its final slash.
const WITHOUT_SLASH: &str = "/admin";
/// The ASCII characters that are percent-encoded in `next` (Django's `urlencode(safe="/")`).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'_')
    .remove(b'.')
    .remove(b'-')
    .remove(b'~');

/// Loads the user of the session and admits staff. Responses of the admin are never cached.
pub async fn require_staff<E: Endpoint>(next: Arc<E>, mut request: Request) -> Result<Response> {
    let state: Arc<AdminState> = request
        .data::<Arc<AdminState>>()
        .expect("admin::routes sets it")
        .clone();
    let session = session_of(&request).clone();
    let user = login::current_user(&state.core, &session)
        .await
        .map(|user| user.map(Arc::new));
    let staff = user.as_ref().ok().cloned().flatten();
    let staff = staff.filter(|user| user.row.is_staff);
    set_error_layout(&request, &state, staff.clone());
    let user = user.map_err(AppError::from)?;
    let is_staff = staff.is_some();
    let (jar, login_state) = (Jar::of(&request), LoginState::of(&request));
    let path = request.original_uri().path().to_owned();
    let is_safe = request.method().is_safe();
    let mut response = if is_staff || path == LOGIN || path == WITHOUT_SLASH {
        let rejected = RejectedForm::default();
        let uri = request.original_uri().clone();
        request.set_data(CurrentUser(user));
        request.set_data(rejected.clone());
        match next.call(request).await {
            Ok(response) => response.into_response(),
            Err(error) => {
                let form = rejected.get().zip(staff.as_deref());
                let unsaved =
                    form.and_then(|(form, user)| unsaved_from_rejected(&state, &uri, form, user));
                let unsaved = unsaved.ok_or(error)?;
                unsaved.store(&session);
                redirect(StatusCode::FOUND, &unsaved.target)
            }
        }
    } else if path == LOGOUT {
        let mut response = redirect(StatusCode::FOUND, INDEX);
        let security = &state.core.settings.security;
        LoginState::Anonymous.set(&mut response, login_state, jar, security);
        response
    } else if user.is_none()
        && *request.method() == Method::POST
        && unsaved::is_form_url(&state.site, &path)
    {
        let to_login = redirect_to_login(&request);
        let endpoint = poem::endpoint::make(|request| async move { respond_to_expired(&request) });
        match csrf::protect(Arc::new(endpoint), request).await {
            Ok(response) => response,
            Err(error) if matches!(error.downcast_ref(), Some(AppError::Csrf(_))) => to_login,
            Err(error) => return Err(error),
        }
    } else {
        redirect_to_login(&request)
    };
    if is_staff && !is_safe {
        response.set_data(Changed);
    }
    if let Some(user) = staff.filter(|_| path != LOGOUT) {
        user.login_state().set(
            &mut response,
            login_state,
            jar,
            &state.core.settings.security,
        );
    }
    cookies::vary(&mut response);
    never_cache(&mut response, state.core.now());
    Ok(response)
}

/// Redirects to the login page, with the requested URL as `next`.
fn redirect_to_login(request: &Request) -> Response {
    let target = utf8_percent_encode(path_and_query(request), ESCAPED);
    redirect(StatusCode::FOUND, &format!("{LOGIN}?next={target}"))
}

/// The response to a form whose session has expired: the login form with the submitted form in a hidden field or, when that has
/// no signed user or is too large, a redirect to the login page.
fn respond_to_expired(request: &Request) -> Result<Response> {
    let state: &Arc<AdminState> = request.data().expect("admin::routes sets it");
    let form = request.data::<Form>();
    let unsaved = form.and_then(|form| UnsavedForm::new(state, request.original_uri(), form));
    match unsaved {
        Some(unsaved) => Ok(login_page::show_with_unsaved(state, request, unsaved)?),
        None => {
            messages_of(request).add(
                Level::Warning,
                "Your session has ended. What you sent has not been saved.",
            );
            Ok(redirect_to_login(request))
        }
    }
}

/// The form of a request that failed the CSRF check, to be rendered again and not saved: a login in another tab of the same
/// browser has replaced the token. `None` unless the form has the signed id of `user`, so that it is from that user's page.
fn unsaved_from_rejected(
    state: &AdminState,
    uri: &Uri,
    form: &Form,
    user: &User,
) -> Option<UnsavedForm> {
    let unsaved = if uri.path() == LOGIN {
        UnsavedForm::read(state, form.get(unsaved::FIELD)?)
    } else if unsaved::is_form_url(&state.site, uri.path()) {
        UnsavedForm::new(state, uri, form)
    } else {
        None
    };
    unsaved.filter(|unsaved| unsaved.user == user.row.id)
}
