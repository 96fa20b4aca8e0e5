//! `django_content_type`.

use sea_orm::entity::prelude::*;

/// A kind of object: one row per model.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "django_content_type")]
pub struct Model {
    /// Key.
    #[sea_orm(primary_key)]
    pub id: i32,
    /// Its app.
    #[sea_orm(column_type = "String(StringLen::N(100))", unique_key = "pair")]
    pub app_label: String,
    /// The model's name in small letters.
    #[sea_orm(column_type = "String(StringLen::N(100))", unique_key = "pair")]
    pub model: String,
}

impl ActiveModelBehavior for ActiveModel {}
