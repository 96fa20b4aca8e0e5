//! `auth_permission`.

use sea_orm::entity::prelude::*;

/// The permission for one action on the objects of one model.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "auth_permission")]
pub struct Model {
    /// The primary key.
    #[sea_orm(primary_key)]
    pub id: i32,
    /// The name for people: `Can add question`.
    #[sea_orm(column_type = "String(StringLen::N(255))")]
    pub name: String,
    /// The key of the model's content type.
    #[sea_orm(unique_key = "pair")]
    pub content_type_id: i32,
    /// The name in code, unique per content type: `add_question`.
    #[sea_orm(column_type = "String(StringLen::N(100))", unique_key = "pair")]
    pub codename: String,
    /// The related content type.
    #[sea_orm(belongs_to, from = "content_type_id", to = "id")]
    pub content_type: BelongsTo<super::content_type::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}
