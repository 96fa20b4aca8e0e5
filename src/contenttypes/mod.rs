//! The app `contenttypes`: one row per model.

use migration::Model;
use sea_orm::{ActiveValue::Set, DbErr, EntityTrait};

use crate::{
    db::Transaction,
    entities::content_type::{ActiveModel, Entity},
};

/// The verbose name of an app (Django's `AppConfig.verbose_name`).
pub fn app_verbose_name(label: &str) -> String {
    let name = match label {
        "admin" => "Administration",
        "auth" => "Authentication and Authorization",
        "contenttypes" => "Content Types",
        // Python's `str.title`: `Polls_App`.
        other => {
            return other.split('_').map(capfirst).collect::<Vec<_>>().join("_");
        }
    };
    name.to_owned()
}

/// A text with its first letter in upper case (Django's `capfirst`).
pub fn capfirst(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect());
    first.unwrap_or_default()
}

/// Creates the missing rows of these models, in their order.
///
/// # Errors
/// When the database cannot be reached or written to.
pub async fn create_missing(
    tx: &Transaction,
    models: impl Iterator<Item = &Model>,
) -> Result<(), DbErr> {
    let present = Entity::find().all(tx).await?;
    let is_present = |model: &Model| {
        present
            .iter()
            .any(|row| row.app_label == model.app && row.model == model.model_name())
    };
    for model in models.filter(|model| !is_present(model)) {
        let row = ActiveModel {
            app_label: Set(model.app.to_owned()),
            model: Set(model.model_name()),
            ..ActiveModel::default()
        };
        Entity::insert(row).exec_without_returning(tx).await?;
    }
    Ok(())
}
