//! The index, and the pages of single apps.

use std::sync::Arc;

use minijinja::{context, value::Serde};
use poem::{Request, Response, handler, http::StatusCode, web::Data};
use sea_orm::{DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde::Serialize;

use crate::{
    admin::{AdminPage, AdminState, Crumb},
    entities::{content_type, log_entry},
    error::{AppError, Result},
    web::{format::FormattedTime, routing::redirect},
};

/// The maximum number of the user's recent actions on the index.
const MAX_RECENT: u64 = 10;

/// Shows all apps with their models.
#[handler]
pub async fn index(page: AdminPage, Data(state): Data<&Arc<AdminState>>) -> Result<Response> {
    let recent = recent_actions(state, &page).await?;
    let user = page.staff.user();
    let apps = state.site.apps(user);
    let (now, zone) = (state.core.now(), state.core.settings.time_zone);
    let dashboard = match &state.site.dashboard {
        Some(dashboard) => {
            let context = dashboard.context(state.db(), user, now, zone).await?;
            context.map(|context| (dashboard.template(), context))
        }
        None => None,
    };
    let (dashboard_template, dashboard) = dashboard.unzip();
    page.render(
        "admin/index.html",
        "Site administration",
        Vec::new(),
        context! { apps => Serde(apps), recent => Serde(recent), has_recent => true, dashboard_template, dashboard },
    )
}

/// Shows the models of one app.
#[handler]
pub async fn app_index(
    page: AdminPage,
    Data(state): Data<&Arc<AdminState>>,
    request: &Request,
) -> Result<Response> {
    let label = request.raw_path_param("app").unwrap_or_default();
    let mut apps = state.site.apps(page.staff.user());
    apps.retain(|entry| entry.label == label);
    let name = apps
        .first()
        .map(|entry| entry.name.clone())
        .ok_or(AppError::NotFound)?;
    let title = format!("{name} administration");
    let context = context! { apps => Serde(apps), recent => Serde(Vec::<RecentAction>::new()), has_recent => false, dashboard => () };
    page.render(
        "admin/index.html",
        &title,
        vec![Crumb::current(name)],
        context,
    )
}

/// Redirects to the public page of an object, given by its content type.
#[handler]
pub async fn view_on_site(
    _: AdminPage,
    Data(state): Data<&Arc<AdminState>>,
    request: &Request,
) -> Result<Response> {
    let number = |name| {
        request
            .raw_path_param(name)
            .and_then(|text| text.parse::<i32>().ok())
    };
    let (Some(type_id), Some(id)) = (number("type"), number("id")) else {
        return Err(AppError::NotFound);
    };
    let row = content_type::Entity::find_by_id(type_id)
        .one(state.core.db.write())
        .await?;
    let model = row.and_then(|row| state.site.find(&row.app_label, &row.model));
    let (model, url) = model
        .and_then(|model| Some((model, model.options.view_on_site?)))
        .ok_or(AppError::NotFound)?;
    let object = model
        .find(state.db(), id, state.core.now())
        .await?
        .ok_or(AppError::NotFound)?;
    Ok(redirect(StatusCode::FOUND, &url(object.id)))
}

/// A recent action of the user.
#[derive(Debug, Serialize)]
struct RecentAction {
    action: &'static str,
    label: String,
    url: Option<String>,
    kind: String,
    time: FormattedTime,
}

async fn recent_actions(state: &AdminState, page: &AdminPage) -> Result<Vec<RecentAction>, DbErr> {
    let entries = log_entry::Entity::find()
        .filter(log_entry::COLUMN.user_id.eq(page.staff.user().row.id))
        .find_also_related(content_type::Entity)
        .order_by_desc(log_entry::Column::ActionTime)
        .order_by_desc(log_entry::Column::Id)
        .limit(MAX_RECENT)
        .all(state.core.db.write())
        .await?;
    let recent = |(entry, kind): (log_entry::Model, Option<content_type::Model>)| {
        let model = kind
            .as_ref()
            .and_then(|kind| state.site.find(&kind.app_label, &kind.model));
        let id = entry
            .object_id
            .as_deref()
            .and_then(|id| id.parse::<i32>().ok());
        let (action, exists) = match entry.action_flag {
            1 => ("Added", true),
            3 => ("Deleted", false),
            _ => ("Changed", true),
        };
        let url = model
            .zip(id)
            .filter(|(model, _)| exists && page.staff.may_view(model));
        RecentAction {
            action,
            label: entry.object_repr,
            url: url.map(|(model, id)| model.object_url(id, "change")),
            kind: match (model, kind) {
                (Some(model), _) => crate::contenttypes::capfirst(model.options.verbose_name),
                (None, Some(kind)) => crate::contenttypes::capfirst(&kind.model),
                (None, None) => "Unknown content".to_owned(),
            },
            time: FormattedTime::new(
                entry.action_time,
                state.core.now(),
                state.core.settings.time_zone,
            ),
        }
    };
    Ok(entries.into_iter().map(recent).collect())
}
