//! Who may enter the admin: active staff. Everybody else is led to the login.

use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use poem::{
    Endpoint, FromRequest, IntoResponse, Request, RequestBody, Response, Result,
    http::{Method, StatusCode},
};

use super::{
    model::Model,
    page::{address_of, set_error_layout},
    state::AdminState,
    unsaved::{self, UnsavedForm},
    views::login as login_page,
};
use crate::{
    auth::login::{self, User},
    error::{self, AppError},
    web::{
        admin_link,
        cookies::{self, Jar},
        csrf,
        form::Form,
        headers::never_cache,
        routing::redirect,
        visitor::session_of,
    },
};

/// The index of the admin.
pub const INDEX: &str = "/admin/";
/// The same as people type it, which is no page.
const WITHOUT_SLASH: &str = "/admin";
/// Where one logs in.
pub const LOGIN: &str = "/admin/login/";
/// Where one logs out.
pub const LOGOUT: &str = "/admin/logout/";
/// What stays as it is in the address that one returns to.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'_')
    .remove(b'.')
    .remove(b'-')
    .remove(b'~');

/// Somebody who may be in the admin. A view that takes one cannot be reached by others.
#[derive(Debug, Clone)]
pub struct Staff(Arc<User>);

/// Who asks for a page that all may see.
#[derive(Debug, Clone)]
pub struct Visitor(pub Option<Arc<User>>);

/// Finds out who asks, and lets staff pass. Nothing of the admin is kept by a cache.
pub async fn gate<E: Endpoint>(next: Arc<E>, mut request: Request) -> Result<Response> {
    let state: Arc<AdminState> = request
        .data::<Arc<AdminState>>()
        .expect("the router gives it")
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
    let (jar, has_link) = (Jar::of(&request), admin_link::is_shown(&request));
    let path = request.original_uri().path().to_owned();
    let mut response = if is_staff || path == LOGIN || path == WITHOUT_SLASH {
        request.set_data(Visitor(user));
        next.call(request).await?.into_response()
    } else if path == LOGOUT {
        let mut response = redirect(StatusCode::FOUND, INDEX);
        admin_link::hide(&mut response, &request);
        response
    } else if user.is_none()
        && *request.method() == Method::POST
        && unsaved::can_keep(&state.site, &path)
    {
        let to_login = redirect_to_login(&request);
        let endpoint = poem::endpoint::make(|request| async move { answer_expired(&request) });
        match csrf::protect(Arc::new(endpoint), request).await {
            Ok(response) => response,
            Err(error) if matches!(error.downcast_ref(), Some(AppError::Csrf(_))) => to_login,
            Err(error) => return Err(error),
        }
    } else {
        redirect_to_login(&request)
    };
    if is_staff && !has_link && path != LOGOUT {
        let security = &state.core.settings.security;
        let age = Some(security.session_cookie.age);
        let age = age.filter(|_| !security.session_expire_at_browser_close);
        admin_link::show(&mut response, jar, age);
    }
    cookies::vary(&mut response);
    never_cache(&mut response, state.core.now());
    Ok(response)
}

/// Leads to the login, and from there back to what was asked for.
fn redirect_to_login(request: &Request) -> Response {
    let target = utf8_percent_encode(address_of(request), PLAIN);
    redirect(StatusCode::FOUND, &format!("{LOGIN}?next={target}"))
}

/// Answers a form whose user's session has ended: with a login form that carries it, or by leading to the login when it does
/// not say whose it is or is too long.
fn answer_expired(request: &Request) -> Result<Response> {
    let state: &Arc<AdminState> = request.data().expect("the router gives it");
    let form = request.data::<Form>();
    let unsaved = form.and_then(|form| UnsavedForm::new(state, request.original_uri(), form));
    match unsaved {
        Some(unsaved) => Ok(login_page::show_with_unsaved(state, request, unsaved)?),
        None => Ok(redirect_to_login(request)),
    }
}

impl Staff {
    /// The user.
    pub fn user(&self) -> &User {
        &self.0
    }

    /// Whether they may do something with a model's objects.
    pub fn may(&self, action: &str, model: &Model) -> bool {
        self.0.has_perm(&model.permission(action))
    }

    /// Whether they may look at a model's objects. Who may change them may look.
    pub fn may_view(&self, model: &Model) -> bool {
        self.may("view", model) || self.may("change", model)
    }

    /// Refuses those who have not this permission.
    ///
    /// # Errors
    /// When they have not.
    pub fn require(&self, is_allowed: bool) -> error::Result<()> {
        if is_allowed {
            Ok(())
        } else {
            Err(AppError::PermissionDenied)
        }
    }
}

impl<'a> FromRequest<'a> for Staff {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> Result<Self> {
        let user = request
            .data::<Visitor>()
            .and_then(|visitor| visitor.0.clone());
        let staff = user.filter(|user| user.row.is_staff);
        Ok(Self(staff.ok_or(AppError::PermissionDenied)?))
    }
}
