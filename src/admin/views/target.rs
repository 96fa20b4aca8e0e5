//! The model and the object that an address names.

use poem::{Request, Response, http::StatusCode};

use crate::{
    admin::{model::Model, page::AdminPage, state::AdminState, urls::INDEX},
    error::{AppError, Result},
    web::{messages::Level, routing::redirect},
};

/// The model that an address names.
///
/// # Errors
/// When it names none.
pub fn model_of<'a>(state: &'a AdminState, request: &Request) -> Result<&'a Model> {
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
pub fn model_and_id<'a>(
    state: &'a AdminState,
    request: &Request,
) -> Result<(&'a Model, Option<i32>)> {
    let id = request.raw_path_param("id").and_then(|id| id.parse().ok());
    Ok((model_of(state, request)?, id))
}

/// Django answers a missing object with a warning on the index, not with 404.
pub fn missing(page: &AdminPage, model: &Model, request: &Request) -> Response {
    let id = request.raw_path_param("id").unwrap_or_default();
    let id: String = id.chars().take(50).collect();
    page.messages.add(
        Level::Warning,
        &format!(
            "{} with ID “{id}” doesn’t exist. Perhaps it was deleted?",
            model.options.verbose_name
        ),
    );
    redirect(StatusCode::FOUND, INDEX)
}
