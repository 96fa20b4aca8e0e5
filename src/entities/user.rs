//! `auth_user`.

use sea_orm::entity::prelude::*;

/// A user account.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "auth_user")]
pub struct Model {
    /// The primary key.
    #[sea_orm(primary_key)]
    pub id: i32,
    /// The password's hash in Django's format: `algorithm$…`.
    #[sea_orm(column_type = "String(StringLen::N(128))")]
    pub password: String,
    /// The time of the last login; `None` before the first.
    pub last_login: Option<DateTimeUtc>,
    /// Whether the user has all permissions.
    pub is_superuser: bool,
    /// The name to log in with.
    #[sea_orm(column_type = "String(StringLen::N(150))", unique)]
    pub username: String,
    /// The first name; may be empty.
    #[sea_orm(column_type = "String(StringLen::N(150))")]
    pub first_name: String,
    /// The last name; may be empty.
    #[sea_orm(column_type = "String(StringLen::N(150))")]
    pub last_name: String,
    /// The email address; may be empty.
    #[sea_orm(column_type = "String(StringLen::N(254))")]
    pub email: String,
    /// Whether the user may log in to the admin.
    pub is_staff: bool,
    /// Whether the user may log in.
    pub is_active: bool,
    /// The time when the user was created.
    pub date_joined: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}
