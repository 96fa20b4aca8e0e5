//! `auth_group`.

use sea_orm::entity::prelude::*;

/// Users who share permissions.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "auth_group")]
pub struct Model {
    /// Key.
    #[sea_orm(primary_key)]
    pub id: i32,
    /// What it is called.
    #[sea_orm(column_type = "String(StringLen::N(150))", unique)]
    pub name: String,
}

impl ActiveModelBehavior for ActiveModel {}
