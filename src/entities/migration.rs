//! `django_migrations`.

use sea_orm::entity::prelude::*;

/// An applied migration.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "django_migrations")]
pub struct Model {
    /// The primary key.
    #[sea_orm(primary_key)]
    pub id: i32,
    /// The label of its app.
    #[sea_orm(column_type = "String(StringLen::N(255))")]
    pub app: String,
    /// Its name: `0001_initial`.
    #[sea_orm(column_type = "String(StringLen::N(255))")]
    pub name: String,
    /// The time when it was applied.
    pub applied: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}
