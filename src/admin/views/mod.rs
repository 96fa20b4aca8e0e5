//! The pages, one file each.

pub mod change;
pub mod changelist;
pub mod delete;
pub mod history;
pub mod index;
pub mod login;
pub mod password;

use poem::{Request, Response};

use super::{
    form::Surroundings,
    model::{Model, Object},
    page::AdminPage,
    staff::INDEX,
};
use crate::{
    admin::state::AdminState,
    error::{AppError, Result},
    templates::escape,
    web::{messages::Level, routing::redirect},
};

/// The parameter in which the pages behind a changelist carry its parameters along.
const FILTERS: &str = "_changelist_filters";

/// The model that an address names.
///
/// # Errors
/// When it names none.
fn model_of<'a>(state: &'a AdminState, request: &Request) -> Result<&'a Model> {
    let part = |name| request.raw_path_param(name).unwrap_or_default();
    state
        .site
        .find(part("app"), part("model"))
        .ok_or(AppError::NotFound)
}

/// The model and the key that an address names; `None` for a key that no object can have.
///
/// # Errors
/// When it names no model.
fn model_and_id<'a>(state: &'a AdminState, request: &Request) -> Result<(&'a Model, Option<i32>)> {
    let id = request.raw_path_param("id").and_then(|id| id.parse().ok());
    Ok((model_of(state, request)?, id))
}

fn surroundings<'a>(state: &'a AdminState, page: &'a AdminPage) -> Surroundings<'a> {
    Surroundings {
        site: &state.site,
        zone: state.core.settings.time_zone,
        now: state.core.now(),
        user: page.staff.user(),
    }
}

/// Django answers a missing object with a warning on the index, not with 404.
fn missing(page: &AdminPage, model: &Model, request: &Request) -> Response {
    let id = request.raw_path_param("id").unwrap_or_default();
    let id: String = id.chars().take(50).collect();
    page.messages.add(
        Level::Warning,
        &format!(
            "{} with ID “{id}” doesn’t exist. Perhaps it was deleted?",
            model.verbose_name
        ),
    );
    redirect(poem::http::StatusCode::FOUND, INDEX)
}

/// The parameters of the changelist that one came from, as a query string for the next address.
fn preserved(request: &Request) -> String {
    let query = crate::web::form::Form::of_query(request);
    query
        .get(FILTERS)
        .map(|filters| with_filters("", filters))
        .unwrap_or_default()
}

/// An address with the parameters of a changelist.
fn with_filters(url: &str, filters: &str) -> String {
    if filters.is_empty() {
        return url.to_owned();
    }
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair(FILTERS, filters)
        .finish();
    format!("{url}?{query}")
}

/// The address of the changelist that one came from.
fn back_to_list(model: &Model, request: &Request) -> String {
    let query = crate::web::form::Form::of_query(request);
    match query
        .get(FILTERS)
        .filter(|filters| !filters.contains(['\r', '\n']))
    {
        None | Some("") => model.url(),
        Some(filters) => {
            let pairs = form_urlencoded::parse(filters.as_bytes());
            let filters = form_urlencoded::Serializer::new(String::new())
                .extend_pairs(pairs)
                .finish();
            format!("{}?{filters}", model.url())
        }
    }
}

/// A message about an object, as HTML: Django keeps such texts as they are shown. A link, if the user may follow it.
fn changed_html(model: &Model, object: &Object, what: &str, with_link: bool) -> String {
    let label = escape(&object.label);
    let name = escape(model.verbose_name);
    if with_link {
        let url = model.object_url(object.id, "change");
        format!("The {name} “<a href=\"{url}\">{label}</a>” {what}")
    } else {
        format!("The {name} “{label}” {what}")
    }
}

/// The database that a page of the admin reads: the one that is written, so that who has just saved sees it.
fn database(state: &AdminState) -> crate::db::Connection<'_> {
    crate::db::Connection::Database(state.core.db.write())
}
