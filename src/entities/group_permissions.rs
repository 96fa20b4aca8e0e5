//! `auth_group_permissions`.

use sea_orm::entity::prelude::*;

/// A permission of a group.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "auth_group_permissions")]
pub struct Model {
    /// The primary key.
    #[sea_orm(primary_key)]
    pub id: i32,
    /// The key of the group.
    #[sea_orm(unique_key = "pair")]
    pub group_id: i32,
    /// The key of the permission.
    #[sea_orm(unique_key = "pair")]
    pub permission_id: i32,
    /// The related group.
    #[sea_orm(belongs_to, from = "group_id", to = "id")]
    pub group: BelongsTo<super::group::Entity>,
    /// The related permission.
    #[sea_orm(belongs_to, from = "permission_id", to = "id")]
    pub permission: BelongsTo<super::permission::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}
