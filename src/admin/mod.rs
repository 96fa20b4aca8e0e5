//! The admin site: pages to view, add, change and delete the objects of registered models. It depends on no app: each app's
//! `admin.rs` declares its models ([`ModelAdmin`]).

mod changelist;
mod changes;
mod check;
mod choices;
mod dates;
mod delete;
mod entity;
mod field;
mod form;
mod gate;
mod log;
mod model;
mod objects;
mod options;
mod page;
mod rules;
mod site;
mod staff;
mod state;
mod unsaved;
mod urls;
mod views;

use std::sync::Arc;

use poem::{EndpointExt, Response, Route, endpoint::BoxEndpoint};

pub use self::{
    changelist::paging::PageMaps,
    changes::Changes,
    check::check_models,
    entity::side_fields,
    log::{Action, ChangeMessage, Log},
    model::{Inline, Model, ModelAdmin},
    options::{
        Cell, Choices, Computed, Dependent, FieldOptions, Fieldset, ListFilter, ManyToMany,
        ObjectAction, Source, Tone, VirtualKind,
    },
    page::{AdminPage, Crumb},
    rules::{Dashboard, Description, Download, Rules, Values},
    site::AdminSite,
    staff::Staff,
    state::AdminState,
};
use crate::web::routing::{get, get_and_post, post};

/// The routes below `/admin/`; `app_routes` are those that apps add for their models.
pub fn routes(state: Arc<AdminState>, app_routes: Route) -> BoxEndpoint<'static, Response> {
    let route = get(app_routes, urls::INDEX, views::index::index);
    let route = get_and_post(route, urls::LOGIN, views::login::login);
    let route = post(route, urls::LOGOUT, views::login::logout);
    let route = get_and_post(route, "/admin/password_change/", views::password::change);
    let route = get(route, "/admin/password_change/done/", views::password::done);
    let route = get(
        route,
        "/admin/r/:type<[0-9]+>/:id<[0-9]+>/",
        views::index::view_on_site,
    );
    let route = get(route, "/admin/:app/", views::index::app_index);
    let route = get_and_post(route, "/admin/:app/:model/", views::changelist::changelist);
    let route = get_and_post(route, "/admin/:app/:model/add/", views::change::add);
    let route = get(
        route,
        "/admin/:app/:model/:id/",
        views::change::redirect_to_change,
    );
    let route = get_and_post(
        route,
        "/admin/:app/:model/:id/change/",
        views::change::change,
    );
    let route = get_and_post(
        route,
        "/admin/:app/:model/:id/delete/",
        views::delete::delete,
    );
    let route = get(
        route,
        "/admin/:app/:model/:id/history/",
        views::history::history,
    );
    route
        .around(gate::require_staff)
        .data(state)
        .map_to_response()
        .boxed()
}
