//! The page that sets a user's password.

use std::sync::Arc;

use minijinja::{context, value::Serde};
use poem::{
    Request, Response, handler,
    http::{Method, StatusCode},
    web::Data,
};
use sea_orm::EntityTrait;

use crate::{
    admin::{Action, AdminPage, AdminState, ChangeMessage, Crumb, Log},
    auth::{
        hashers,
        login::update_session_auth_hash,
        users,
        validators::{help_texts, new_password_errors},
    },
    db::Connection,
    entities::user,
    error::{AppError, Result},
    web::{
        csrf,
        form::{Form, REQUIRED},
        messages::Level,
        request_info::RequestInfo,
        routing::redirect,
    },
};

/// Sets the password of a user, or makes it unusable (Django's `user_change_password`).
#[handler]
pub async fn change_password(
    page: AdminPage,
    Data(state): Data<&Arc<AdminState>>,
    request: &Request,
    form: Form,
) -> Result<Response> {
    let model = state.site.find("auth", "user").ok_or(AppError::NotFound)?;
    let id: i32 = request
        .raw_path_param("id")
        .and_then(|id| id.parse().ok())
        .ok_or(AppError::NotFound)?;
    let staff = page.staff.user();
    page.staff.require(page.staff.may("change", model))?;
    let db = Connection::Database(state.core.db.write());
    let target = user::Entity::find_by_id(id)
        .one(state.core.db.write())
        .await?
        .ok_or(AppError::NotFound)?;
    page.staff
        .require(model.may_change(db, staff, &[id]).await?)?;
    let has_password = hashers::is_usable(&target.password);
    let mut errors: [Vec<String>; 2] = Default::default();
    if *request.method() == Method::POST {
        let text = |name| form.get(name).unwrap_or_default().to_owned();
        let (new, again) = (text("password1"), text("password2"));
        let disables_password = has_password && form.has("unset-password");
        if !disables_password {
            for (text, errors) in [&new, &again].into_iter().zip(&mut errors) {
                if text.is_empty() {
                    errors.push(REQUIRED.to_owned());
                }
            }
            if !new.is_empty() && !again.is_empty() {
                errors[1] = new_password_errors(&new, &again, &(&target).into());
            }
        }
        if errors.iter().all(Vec::is_empty) {
            let encoded = if disables_password {
                hashers::unusable_password()
            } else {
                let address = RequestInfo::client_address(request);
                state.auth.hashing.make_password(new, address).await?
            };
            let tx = state.core.db.write().begin().await?;
            // The user may have got further permissions while the hash was computed.
            page.staff.require(
                model
                    .may_change(Connection::Transaction(&tx), staff, &[id])
                    .await?,
            )?;
            users::set_password(&tx, id, encoded.clone()).await?;
            let mut message = ChangeMessage::default();
            message.changed(&["Password".to_owned()]);
            let log = Log {
                user_id: staff.row.id,
                model,
                now: state.core.now(),
            };
            log.write(
                &tx,
                Action::Change,
                &[(id, &target.username)],
                &message.stored(),
            )
            .await?;
            tx.commit().await?;
            let success_message = if disables_password {
                "Password-based authentication was disabled."
            } else {
                "Password changed successfully."
            };
            page.messages.add(Level::Success, success_message);
            let mut response = redirect(StatusCode::FOUND, &model.object_url(id, "change"));
            if staff.row.id == id {
                update_session_auth_hash(&state.core, &page.session, &encoded);
                csrf::rotate(&mut response, request);
            }
            return Ok(response);
        }
    }
    let mut breadcrumbs = Crumb::to_changelist(model);
    breadcrumbs.push(Crumb::link(
        target.username.clone(),
        model.object_url(id, "change"),
    ));
    breadcrumbs.push(Crumb::current(if has_password {
        "Change password"
    } else {
        "Set password"
    }));
    let has_errors = errors.iter().any(|errors| !errors.is_empty());
    let [new_errors, again_errors] = errors;
    let title = format!(
        "{} password: {}",
        if has_password { "Change" } else { "Set" },
        target.username
    );
    page.render(
        "admin/auth/user/change_password.html",
        &title,
        breadcrumbs,
        context! {
            username => target.username,
            has_password,
            new_errors => Serde(new_errors),
            again_errors => Serde(again_errors),
            has_errors,
            rules => help_texts(),
        },
    )
}
