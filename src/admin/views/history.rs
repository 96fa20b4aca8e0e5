//! The history of one object.

use std::sync::Arc;

use minijinja::{context, value::Serde};
use poem::{Request, Response, handler, web::Data};
use sea_orm::{EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};
use serde::Serialize;

use super::{
    filters::preserved,
    target::{missing, model_and_id},
};
use crate::{
    admin::{AdminPage, AdminState, Crumb, log},
    entities::{log_entry, user},
    error::{AppError, Result},
    web::{form::Form, format::FormattedTime},
};

/// The number of log entries on a page.
const PER_PAGE: u64 = 100;

#[derive(Debug, Serialize)]
struct Entry {
    time: FormattedTime,
    user: String,
    action: &'static str,
    text: String,
}

/// Shows the log entries of an object, newest first.
#[handler]
pub async fn history(
    page: AdminPage,
    Data(state): Data<&Arc<AdminState>>,
    request: &Request,
) -> Result<Response> {
    let (model, id) = model_and_id(state, request)?;
    page.staff.require(page.staff.may_view(model))?;
    let object = match id {
        Some(id) => model.find(state.db(), id, state.core.now()).await?,
        None => None,
    };
    let Some(object) = object else {
        return Ok(missing(&page, model, request));
    };
    let type_id = log::find_content_type(state.db(), model).await?;
    let entries = log_entry::Entity::find()
        .filter(log_entry::COLUMN.object_id.eq(object.id.to_string()))
        .filter(
            log_entry::COLUMN
                .content_type_id
                .eq(type_id.unwrap_or_default()),
        );
    let count = entries.clone().count(state.core.db.write()).await?;
    let pages = count.div_ceil(PER_PAGE).max(1);
    let query = Form::of_query(request);
    let number = query.get("p").map_or(Ok(1), str::parse::<u64>);
    let number = number
        .ok()
        .filter(|number| (1..=pages).contains(number))
        .ok_or(AppError::NotFound)?;
    let rows = entries
        .find_also_related(user::Entity)
        .order_by_desc(log_entry::Column::ActionTime)
        .order_by_desc(log_entry::Column::Id)
        .offset((number - 1) * PER_PAGE)
        .limit(PER_PAGE)
        .all(state.core.db.write())
        .await?;
    let entry = |(row, user): (log_entry::Model, Option<user::Model>)| Entry {
        time: FormattedTime::new(
            row.action_time,
            state.core.now(),
            state.core.settings.time_zone,
        ),
        user: user.map(|user| full_name(&user)).unwrap_or_default(),
        action: match row.action_flag {
            1 => "added",
            3 => "deleted",
            _ => "changed",
        },
        text: log::get_change_message(&row.change_message),
    };
    let entries: Vec<Entry> = rows.into_iter().map(entry).collect();
    let mut breadcrumbs = Crumb::to_changelist(model);
    breadcrumbs.push(Crumb::link(
        object.label.clone(),
        format!(
            "{}{}",
            model.object_url(object.id, "change"),
            preserved(request)
        ),
    ));
    breadcrumbs.push(Crumb::current("History"));
    page.render(
        "admin/object_history.html",
        &format!("Change history: {}", object.label),
        breadcrumbs,
        context! { entries => Serde(entries), count, number, pages, kind => model.options.verbose_name },
    )
}

/// The username, with the full name if there is one, as in Django's template.
pub fn full_name(user: &user::Model) -> String {
    match format!("{} {}", user.first_name, user.last_name).trim() {
        "" => user.username.clone(),
        name => format!("{} ({name})", user.username),
    }
}
