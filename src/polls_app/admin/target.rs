//! The question of a page of the admin that this app adds.

use poem::Request;
use sea_orm::EntityTrait;

use crate::{
    admin::{AdminState, Model},
    entities::question,
    error::{AppError, Result},
};

/// The registered model, and the question with the id in the path.
///
/// # Errors
/// [`AppError::NotFound`] if there is no such question; others when the database cannot be reached.
pub async fn question_of<'a>(
    state: &'a AdminState,
    request: &Request,
) -> Result<(&'a Model, question::Model)> {
    let model = state.site.find("polls_app", "question");
    let model = model.ok_or(AppError::NotFound)?;
    let id = request.raw_path_param("id").and_then(|id| id.parse().ok());
    let id: i32 = id.ok_or(AppError::NotFound)?;
    let found = question::Entity::find_by_id(id);
    let found = found.one(state.core.db.write()).await?;
    Ok((model, found.ok_or(AppError::NotFound)?))
}
