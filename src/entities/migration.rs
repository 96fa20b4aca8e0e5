//! `django_migrations`.

use sea_orm::entity::prelude::*;

/// A migration that has been applied.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "django_migrations")]
pub struct Model {
    /// Key.
    #[sea_orm(primary_key)]
    pub id: i32,
    /// Its app's label.
    #[sea_orm(column_type = "String(StringLen::N(255))")]
    pub app: String,
    /// Its name.
    #[sea_orm(column_type = "String(StringLen::N(255))")]
    pub name: String,
    /// When.
    pub applied: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}
