//! The model and the object of a URL.

use poem::{Request, Response, http::StatusCode};

use crate::{
    admin::{model::Model, page::AdminPage, state::AdminState, urls::INDEX},
    error::{AppError, Result},
    web::{messages::Level, routing::redirect},
};

/// The model of a URL.
///
/// # Errors
/// [`AppError::NotFound`] for an unknown model.
pub fn model_of<'a>(state: &'a AdminState, request: &Request) -> Result<&'a Model> {
    let part = |name| request.raw_path_param(name).unwrap_or_default();
    state
        .site
        .find(part("app"), part("model"))
        .ok_or(AppError::NotFound)
}

/// The model and the key of a URL; `None` for a key that does not fit `i32`.
///
/// # Errors
/// [`AppError::NotFound`] for an unknown model.
pub fn model_and_id<'a>(
    state: &'a AdminState,
    request: &Request,
) -> Result<(&'a Model, Option<i32>)> {
    let id = request.raw_path_param("id").and_then(|id| id.parse().ok());
    Ok((model_of(state, request)?, id))
}

/// The response for a missing object: as in Django a redirect to the index with a warning, not a 404.
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
