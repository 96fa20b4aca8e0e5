//! `auth_permission`.

use sea_orm::entity::prelude::*;

/// The right to do one thing with one kind of object.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "auth_permission")]
pub struct Model {
    /// Key.
    #[sea_orm(primary_key)]
    pub id: i32,
    /// `Can add question`.
    #[sea_orm(column_type = "String(StringLen::N(255))")]
    pub name: String,
    /// The kind of object.
    #[sea_orm(unique_key = "pair")]
    pub content_type_id: i32,
    /// `add_question`.
    #[sea_orm(column_type = "String(StringLen::N(100))", unique_key = "pair")]
    pub codename: String,
    /// The row itself.
    #[sea_orm(belongs_to, from = "content_type_id", to = "id")]
    pub content_type: BelongsTo<super::content_type::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}
