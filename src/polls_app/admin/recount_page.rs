//! The page that compares a question's votes with its voters.

use std::sync::Arc;

use minijinja::context;
use poem::{Request, Response, handler, http::Method, web::Data};

use super::target::question_of;
use crate::{
    admin::{AdminPage, AdminState, Crumb},
    error::Result,
    polls_app::recount::recount,
    web::{form::Form, format::FormattedTime},
};

/// Asks for a recount, and does it.
#[handler]
pub async fn show_recount(
    page: AdminPage,
    Data(state): Data<&Arc<AdminState>>,
    request: &Request,
    _form: Form,
) -> Result<Response> {
    let (model, question) = question_of(state, request).await?;
    page.staff.require(page.staff.may_view(model))?;
    let (id, db) = (question.id, state.core.db.write());
    let is_done = *request.method() == Method::POST;
    let now = state.core.now();
    let found = match is_done {
        true => recount(db, Some(id), now).await?.pop(),
        false => None,
    };
    let since = found.as_ref().and_then(|found| found.agreed_at);
    let since = since.map(|time| FormattedTime::new(*time, now, state.core.settings.time_zone));
    let text = found
        .as_ref()
        .map(|found| found.text(since.as_ref().map(|since| since.exact.as_str())));
    let mut breadcrumbs = Crumb::to_changelist(model);
    let label = question.question_text;
    breadcrumbs.push(Crumb::link(label.clone(), model.object_url(id, "change")));
    breadcrumbs.push(Crumb::current("Recount"));
    page.render(
        "admin/polls_app/question/recount.html",
        &format!("Recount: {label}"),
        breadcrumbs,
        context! {
            question => label,
            is_done,
            agrees => found.as_ref().is_none_or(|found| found.agrees()),
            text,
            history_url => model.object_url(id, "history"),
        },
    )
}
