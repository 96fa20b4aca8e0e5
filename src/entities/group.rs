//! `auth_group`.

use sea_orm::entity::prelude::*;

/// A group of users, with permissions that all of them have.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "auth_group")]
pub struct Model {
    /// The primary key.
    #[sea_orm(primary_key)]
    pub id: i32,
    /// The group's name.
    #[sea_orm(column_type = "String(StringLen::N(150))", unique)]
    pub name: String,
}

impl ActiveModelBehavior for ActiveModel {}
