//! The list of a model's objects, and its actions.

use std::sync::Arc;

use poem::{
    Request, Response, handler,
    http::{Method, StatusCode},
    web::Data,
};
use sea_orm::ConnectionTrait;

use super::{
    actions, list_editable,
    list_page::{ListPage, SubmittedValues},
    target::model_of,
};
use crate::{
    admin::{changelist::ChangeList, model::Model, page::AdminPage, state::AdminState},
    error::Result,
    web::{form::Form, routing::redirect},
};

/// Shows the list, and runs actions on it.
#[handler]
pub async fn changelist(
    page: AdminPage,
    Data(state): Data<&Arc<AdminState>>,
    request: &Request,
    form: Form,
) -> Result<Response> {
    let model = model_of(state, request)?;
    page.staff.require(page.staff.may_view(model))?;
    let query = Form::of_query(request);
    let environment = (
        state.core.settings.time_zone,
        state.core.now(),
        state.core.db.write().get_database_backend(),
    );
    let Ok(list) = ChangeList::new(&state.site, model, &query, environment) else {
        return Ok(bad_lookup(model, &query));
    };
    let map = state
        .page_maps
        .get(model, state.core.db.write(), state.core.now())
        .await?;
    let list = ListPage {
        state,
        page: &page,
        list,
        map,
    };
    if *request.method() == Method::POST {
        if form.has("_save") && !model.options.list_editable.is_empty() {
            page.staff.require(page.staff.may("change", model))?;
            return list_editable::save(&list, &form).await;
        }
        return actions::run(&list, &form).await;
    }
    list.show(&SubmittedValues::new(), "").await
}

/// Redirects an invalid query string to `?e=1` (Django's `ERROR_FLAG`) and, if it has that already, to the whole list.
fn bad_lookup(model: &Model, query: &Form) -> Response {
    let target = if query.has("e") {
        model.url()
    } else {
        format!("{}?e=1", model.url())
    };
    redirect(StatusCode::FOUND, &target)
}
