//! The app `contenttypes`: one row per model.

use migration::Model;
use sea_orm::{ActiveValue::Set, DbErr, EntityTrait};

use crate::{
    db::Transaction,
    entities::content_type::{ActiveModel, Entity},
};

/// Creates the rows that are missing for these models, in their order.
///
/// # Errors
/// When the database refuses.
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
