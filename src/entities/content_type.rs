//! `django_content_type`.

use sea_orm::entity::prelude::*;

/// A content type: one row per model.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "django_content_type")]
pub struct Model {
    /// The primary key.
    #[sea_orm(primary_key)]
    pub id: i32,
    /// The label of the model's app: `polls_app`.
    #[sea_orm(column_type = "String(StringLen::N(100))", unique_key = "pair")]
    pub app_label: String,
    /// The model's name in lower case: `question`.
    #[sea_orm(column_type = "String(StringLen::N(100))", unique_key = "pair")]
    pub model: String,
}

impl ActiveModelBehavior for ActiveModel {}
