//! `auth_user_groups`.

use sea_orm::entity::prelude::*;

/// A group of a user.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "auth_user_groups")]
pub struct Model {
    /// The primary key.
    #[sea_orm(primary_key)]
    pub id: i32,
    /// The key of the user.
    #[sea_orm(unique_key = "pair")]
    pub user_id: i32,
    /// The key of the group.
    #[sea_orm(unique_key = "pair")]
    pub group_id: i32,
    /// The related user.
    #[sea_orm(belongs_to, from = "user_id", to = "id")]
    pub user: BelongsTo<super::user::Entity>,
    /// The related group.
    #[sea_orm(belongs_to, from = "group_id", to = "id")]
    pub group: BelongsTo<super::group::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}
