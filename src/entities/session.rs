//! `django_session`.

use sea_orm::entity::prelude::*;

/// The data of a client's session.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "django_session")]
pub struct Model {
    /// The value of the cookie.
    #[sea_orm(
        primary_key,
        auto_increment = false,
        column_type = "String(StringLen::N(40))"
    )]
    pub session_key: String,
    /// Signed JSON.
    #[sea_orm(column_type = "Text")]
    pub session_data: String,
    /// When it ends.
    #[sea_orm(indexed)]
    pub expire_date: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}
