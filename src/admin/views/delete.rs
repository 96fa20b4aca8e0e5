//! The page that deletes one object, after a confirmation.

use std::sync::Arc;

use minijinja::{context, value::Serde};
use poem::{
    Request, Response, handler,
    http::{Method, StatusCode},
    web::Data,
};

use super::{
    filters::{back_to_list, preserved},
    target::{missing, model_and_id},
};
use crate::{
    admin::{
        AdminPage, AdminState, Crumb, Log,
        delete::{Plan, delete as delete_objects, still_referenced},
        model::{Model, Object},
        urls::INDEX,
    },
    db::{Connection, Transaction},
    error::Result,
    web::{messages::Level, routing::redirect},
};

/// Shows the confirmation, and deletes the object.
#[handler]
pub async fn delete(
    page: AdminPage,
    Data(state): Data<&Arc<AdminState>>,
    request: &Request,
) -> Result<Response> {
    let (model, id) = model_and_id(state, request)?;
    page.staff.require(page.staff.may("delete", model))?;
    let user = page.staff.user();
    let object = match id {
        Some(id) => model.find(state.db(), id, state.core.now()).await?,
        None => None,
    };
    let Some(object) = object else {
        return Ok(missing(&page, model, request));
    };
    page.staff
        .require(model.may_change(state.db(), user, &[object.id]).await?)?;
    if *request.method() != Method::POST {
        let plan = Plan::new(
            &state.site,
            model,
            std::slice::from_ref(&object),
            state.db(),
            user,
        )
        .await?;
        let mut breadcrumbs = Crumb::to_changelist(model);
        let back = format!(
            "{}{}",
            model.object_url(object.id, "change"),
            preserved(request)
        );
        breadcrumbs.push(Crumb::link(object.label.clone(), back.clone()));
        breadcrumbs.push(Crumb::current("Delete"));
        let title = if plan.is_possible() {
            "Delete"
        } else {
            "Cannot delete"
        };
        return page.render(
            "admin/delete_confirmation.html",
            &format!("{title} {}", model.options.verbose_name),
            breadcrumbs,
            context! {
                plan => Serde(plan),
                question => format!("the {} “{}”", model.options.verbose_name, object.label),
                hidden => Serde(Vec::<(String, String)>::new()),
                back,
            },
        );
    }
    let tx = state.core.db.write().begin().await?;
    // Since it was read, another user may have deleted it, or have granted it permissions that the user does not have.
    let objects = model
        .select_for_update(&tx, &[object.id], state.core.now())
        .await?;
    if objects.is_empty() {
        return Ok(missing(&page, model, request));
    }
    if !delete_locked(&page, state, model, tx, &objects).await? {
        let name = format!("the {} “{}”", model.options.verbose_name, objects[0].label);
        page.messages.add(Level::Warning, &still_referenced(&name));
        let url = model.object_url(object.id, "change");
        return Ok(redirect(
            StatusCode::FOUND,
            &format!("{url}{}", preserved(request)),
        ));
    }
    page.messages.add(
        Level::Success,
        &format!(
            "The {} “{}” was deleted successfully.",
            model.options.verbose_name, objects[0].label
        ),
    );
    let back = if page.staff.may_view(model) {
        back_to_list(model, request)
    } else {
        INDEX.to_owned()
    };
    Ok(redirect(StatusCode::FOUND, &back))
}

/// Deletes objects that `tx` has locked, with their dependent objects, and commits. Returns false, and deletes nothing, when rows
/// of an unknown table refer to one of them.
///
/// # Errors
/// [`AppError::PermissionDenied`] when the user may not delete all of them; others when the database cannot be reached or
/// written to.
///
/// [`AppError::PermissionDenied`]: crate::error::AppError::PermissionDenied
pub async fn delete_locked(
    page: &AdminPage,
    state: &AdminState,
    model: &Model,
    tx: Transaction,
    objects: &[Object],
) -> Result<bool> {
    let (db, user) = (Connection::Transaction(&tx), page.staff.user());
    let keys: Vec<i32> = objects.iter().map(|object| object.id).collect();
    page.staff
        .require(model.may_change(db, user, &keys).await?)?;
    let plan = Plan::new(&state.site, model, objects, db, user).await?;
    page.staff.require(plan.forbidden.is_empty())?;
    if !plan.blockers.is_empty() {
        return Ok(false);
    }
    let log = Log {
        user_id: user.row.id,
        model,
        now: state.core.now(),
    };
    let is_deleted = delete_objects(tx, model, objects, log).await?;
    if is_deleted {
        state.page_maps.invalidate(model.table());
    }
    Ok(is_deleted)
}
