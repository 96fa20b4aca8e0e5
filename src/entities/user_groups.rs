//! `auth_user_groups`.

use sea_orm::entity::prelude::*;

/// A group of a user.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "auth_user_groups")]
pub struct Model {
    /// Key.
    #[sea_orm(primary_key)]
    pub id: i32,
    /// The user.
    #[sea_orm(unique_key = "pair")]
    pub user_id: i32,
    /// The group.
    #[sea_orm(unique_key = "pair")]
    pub group_id: i32,
    /// The row itself.
    #[sea_orm(belongs_to, from = "user_id", to = "id")]
    pub user: BelongsTo<super::user::Entity>,
    /// The row itself.
    #[sea_orm(belongs_to, from = "group_id", to = "id")]
    pub group: BelongsTo<super::group::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}
