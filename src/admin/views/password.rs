//! The page on which users change their own password.

use std::{net::IpAddr, sync::Arc};

use minijinja::context;
use poem::{
    Request, Response, handler,
    http::{Method, StatusCode},
    web::Data,
};

use crate::{
    admin::{AdminPage, AdminState, Crumb},
    auth::{
        hashers::{self, PasswordCheck},
        login::update_session_auth_hash,
        throttle::{Admission, Throttle},
        users,
        validators::{help_texts, new_password_errors},
    },
    entities::user,
    error::{AppError, Result},
    web::{
        csrf,
        form::{Form, REQUIRED},
        request_info::RequestInfo,
        routing::redirect,
    },
};

/// Shows the form, and changes the password.
#[handler]
pub async fn change(
    page: AdminPage,
    Data(state): Data<&Arc<AdminState>>,
    request: &Request,
    form: Form,
) -> Result<Response> {
    let user = &page.staff.user().row;
    if !hashers::is_usable(&user.password) {
        return Err(AppError::NotFound);
    }
    let address = RequestInfo::client_address(request);
    let mut errors: [Vec<String>; 3] = Default::default();
    if *request.method() == Method::POST {
        let text = |name| form.get(name).unwrap_or_default().to_owned();
        let (old, new, confirmation) = (
            text("old_password"),
            text("new_password1"),
            text("new_password2"),
        );
        for (text, errors) in [&old, &new, &confirmation].into_iter().zip(&mut errors) {
            if text.is_empty() {
                errors.push(REQUIRED.to_owned());
            }
        }
        if !new.is_empty() && !confirmation.is_empty() {
            errors[2] = new_password_errors(&new, &confirmation, &user.into());
        }
        if errors[0].is_empty()
            && check_old_password(state, user, old, address).await? == PasswordCheck::Wrong
        {
            errors[0].push(
                "Your old password was entered incorrectly. Please enter it again.".to_owned(),
            );
        }
        if errors.iter().all(Vec::is_empty) {
            let encoded = state.auth.hashing.make_password(new, address).await?;
            let tx = state.core.db.write().begin().await?;
            let is_replaced =
                users::replace_password(&tx, user.id, &user.password, &encoded).await?;
            if !is_replaced {
                return Err(AppError::BadRequest(
                    "a concurrent request has changed the password".into(),
                ));
            }
            tx.commit().await?;
            update_session_auth_hash(&state.core, &page.session, &encoded);
            let mut response = redirect(StatusCode::FOUND, "/admin/password_change/done/");
            csrf::rotate(&mut response, request);
            return Ok(response);
        }
    }
    let has_errors = errors.iter().any(|errors| !errors.is_empty());
    let [old_errors, new_errors, again_errors] = errors;
    page.render(
        "registration/password_change_form.html",
        "Password change",
        vec![Crumb::current("Password change")],
        context! { old_errors, new_errors, again_errors, has_errors, rules => help_texts() },
    )
}

/// Checks the old password.
///
/// # Errors
/// [`AppError::TooManyAttempts`] when the throttle refuses the attempt; others when the database cannot be reached, or when no
/// slot for hashing is free.
async fn check_old_password(
    state: &AdminState,
    user: &user::Model,
    password: String,
    address: Option<IpAddr>,
) -> Result<PasswordCheck> {
    let throttle = Throttle::of(&state.core);
    let admission = throttle.admit_password_change(user.id, address, state.core.now());
    let attempt = match admission.await? {
        Admission::Admitted(attempt) => attempt,
        Admission::Refused(wait) => {
            state.auth.counters.throttled.inc();
            return Err(AppError::TooManyAttempts(wait.num_seconds().max(1)));
        }
    };
    let check = state
        .auth
        .hashing
        .check_password(password, user.password.clone(), address);
    match check.await {
        Ok(PasswordCheck::Wrong) => {
            state.auth.counters.failed.inc();
            Ok(PasswordCheck::Wrong)
        }
        Ok(verdict) => {
            let tx = state.core.db.write().begin().await?;
            throttle.succeeded(&tx, &attempt, state.core.now()).await?;
            tx.commit().await?;
            Ok(verdict)
        }
        Err(error) => {
            throttle.withdraw(&attempt).await?;
            Err(error)
        }
    }
}

/// Shows that the password was changed.
#[handler]
pub async fn done(page: AdminPage) -> Result<Response> {
    let breadcrumbs = vec![Crumb::current("Password change")];
    page.render(
        "registration/password_change_done.html",
        "Password change successful",
        breadcrumbs,
        context! {},
    )
}
