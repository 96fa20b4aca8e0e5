//! `auth_user_user_permissions`.

use sea_orm::entity::prelude::*;

/// A permission of a user.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "auth_user_user_permissions")]
pub struct Model {
    /// The primary key.
    #[sea_orm(primary_key)]
    pub id: i32,
    /// The key of the user.
    #[sea_orm(unique_key = "pair")]
    pub user_id: i32,
    /// The key of the permission.
    #[sea_orm(unique_key = "pair")]
    pub permission_id: i32,
    /// The related user.
    #[sea_orm(belongs_to, from = "user_id", to = "id")]
    pub user: BelongsTo<super::user::Entity>,
    /// The related permission.
    #[sea_orm(belongs_to, from = "permission_id", to = "id")]
    pub permission: BelongsTo<super::permission::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}
