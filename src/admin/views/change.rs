//! The pages that add and change an object.

use std::sync::Arc;

use poem::{
    Request, Response, handler,
    http::{Method, StatusCode},
    web::Data,
};

use super::{
    change_view::{ChangeView, SAVED_AS_NEW},
    target::{missing, model_and_id, model_of},
};
use crate::{
    admin::{
        form::{Editor, version::FormVersion},
        page::AdminPage,
        state::AdminState,
        unsaved::UnsavedForm,
    },
    error::{AppError, Result},
    web::{form::Form, routing::redirect},
};

/// Redirects `…/7/` to `…/7/change/`.
#[handler]
pub async fn redirect_to_change(
    page: AdminPage,
    Data(state): Data<&Arc<AdminState>>,
    request: &Request,
) -> Result<Response> {
    let (model, id) = model_and_id(state, request)?;
    Ok(match id {
        Some(id) => redirect(StatusCode::FOUND, &model.object_url(id, "change")),
        None => missing(&page, model, request),
    })
}

/// Shows and saves the form for a new object.
#[handler]
pub async fn add(
    page: AdminPage,
    Data(state): Data<&Arc<AdminState>>,
    request: &Request,
    form: Form,
) -> Result<Response> {
    let model = model_of(state, request)?;
    page.staff.require(page.staff.may("add", model))?;
    page.staff
        .require(model.options.rules.may_add(page.staff.user()))?;
    let mut view = ChangeView::new(state, &page, model, request);
    if *request.method() == Method::POST {
        return view.save_new(&form).await;
    }
    let mut editor = Editor::load(model, None, state.db(), view.form_context).await?;
    if let Some(unsaved) = UnsavedForm::take(&page.session, request) {
        if editor.bind(&unsaved.form(), view.form_context).is_ok() {
            view.resumed = Some(unsaved);
            return view.show(editor, state.db(), None, None, false).await;
        }
        // Rendered by another version of the program, with other inlines.
        editor = Editor::load(model, None, state.db(), view.form_context).await?;
    }
    // Initial values in the query string (Django's `get_changeform_initial_data`).
    let query = Form::of_query(request);
    for bound in &mut editor.main.fields {
        let names = [
            bound.field.name.to_owned(),
            format!("{}_0", bound.field.name),
        ];
        if names.iter().any(|name| query.has(name)) {
            bound.raw = bound.field.posted(&query, "");
        }
    }
    view.show(editor, state.db(), None, None, false).await
}

/// Shows and saves the form of an object, without inputs for a user who may only view it.
#[handler]
pub async fn change(
    page: AdminPage,
    Data(state): Data<&Arc<AdminState>>,
    request: &Request,
    form: Form,
) -> Result<Response> {
    let (model, id) = model_and_id(state, request)?;
    page.staff.require(page.staff.may_view(model))?;
    let mut view = ChangeView::new(state, &page, model, request);
    let Some(id) = id else {
        return Ok(missing(&page, model, request));
    };
    let db = state.db();
    let may_change =
        page.staff.may("change", model) && model.may_change(db, page.staff.user(), &[id]).await?;
    if *request.method() == Method::POST {
        page.staff.require(may_change)?;
        let saves_as_new = model.options.save_as && form.has(SAVED_AS_NEW);
        page.staff
            .require(!saves_as_new || page.staff.may("add", model))?;
        return if saves_as_new {
            view.save_new(&form).await
        } else {
            view.save(id, &form).await
        };
    }
    let unsaved = UnsavedForm::take(&page.session, request).filter(|_| may_change);
    let form = unsaved.as_ref().map(UnsavedForm::form);
    let mut version = form.as_ref().and_then(|form| FormVersion::read(form).ok()?);
    view.resumed = unsaved;
    let Some(object) = model.find(db, id, state.core.now()).await? else {
        return match &form {
            Some(form) => match view.show_deleted(id, version.as_ref(), form).await {
                Err(AppError::BadRequest(_)) => Ok(missing(&page, model, request)),
                result => result,
            },
            None => Ok(missing(&page, model, request)),
        };
    };
    let mut editor = Editor::load(model, Some(object), db, view.form_context).await?;
    // Of the same data as the form: what is committed after it must not count as known to the user.
    let mut stored = FormVersion::new(&editor, view.form_context.now);
    if let Some(form) = &form
        && editor.bind(form, view.form_context).is_err()
    {
        // Rendered by another version of the program, with other inlines.
        let object = editor.main.object;
        editor = Editor::load(model, object, db, view.form_context).await?;
        stored = FormVersion::new(&editor, view.form_context.now);
        (view.resumed, version) = (None, None);
    }
    view.show(editor, db, version.or(Some(stored)), None, !may_change)
        .await
}
