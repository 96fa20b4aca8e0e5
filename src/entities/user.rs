//! `auth_user`.

use sea_orm::entity::prelude::*;

/// A user account.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "auth_user")]
pub struct Model {
    /// Key.
    #[sea_orm(primary_key)]
    pub id: i32,
    /// `algorithm$…`, never the password itself.
    #[sea_orm(column_type = "String(StringLen::N(128))")]
    pub password: String,
    /// When they last logged in.
    pub last_login: Option<DateTimeUtc>,
    /// Has all permissions.
    pub is_superuser: bool,
    /// The name they log in with.
    #[sea_orm(column_type = "String(StringLen::N(150))", unique)]
    pub username: String,
    /// First name, may be empty.
    #[sea_orm(column_type = "String(StringLen::N(150))")]
    pub first_name: String,
    /// Last name, may be empty.
    #[sea_orm(column_type = "String(StringLen::N(150))")]
    pub last_name: String,
    /// Address, may be empty.
    #[sea_orm(column_type = "String(StringLen::N(254))")]
    pub email: String,
    /// May enter the admin.
    pub is_staff: bool,
    /// May log in at all.
    pub is_active: bool,
    /// When they were added.
    pub date_joined: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}
