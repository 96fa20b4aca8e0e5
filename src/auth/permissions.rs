//! Permissions: who may do what with which kind of object.

use migration::Model;
use sea_orm::{ActiveValue::Set, DbErr, EntityTrait, QueryFilter};

use crate::{
    db::Transaction,
    entities::{content_type, permission},
};

/// What can be done with any kind of object, in Django's order.
const ACTIONS: [&str; 4] = ["add", "change", "delete", "view"];

/// Creates the four permissions of each of these models where they are missing. Models without a content type get
/// none.
///
/// # Errors
/// When the database refuses.
pub async fn create_missing(
    tx: &Transaction,
    models: impl Iterator<Item = &Model>,
) -> Result<(), DbErr> {
    for model in models {
        let content_type = content_type::Entity::find()
            .filter(content_type::COLUMN.app_label.eq(model.app))
            .filter(content_type::COLUMN.model.eq(model.model_name()));
        let Some(content_type) = content_type.one(tx).await? else {
            continue;
        };
        let of_type = permission::COLUMN.content_type_id.eq(content_type.id);
        let present = permission::Entity::find().filter(of_type).all(tx).await?;
        for action in ACTIONS {
            let codename = format!("{action}_{}", model.model_name());
            if present
                .iter()
                .any(|permission| permission.codename == codename)
            {
                continue;
            }
            let row = permission::ActiveModel {
                name: Set(format!("Can {action} {}", model.verbose_name)),
                content_type_id: Set(content_type.id),
                codename: Set(codename),
                ..permission::ActiveModel::default()
            };
            permission::Entity::insert(row)
                .exec_without_returning(tx)
                .await?;
        }
    }
    Ok(())
}
