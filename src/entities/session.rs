//! `django_session`.

use sea_orm::entity::prelude::*;

use super::Timestamp;

/// A client's session.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "django_session")]
pub struct Model {
    /// The primary key: the value of the session cookie.
    #[sea_orm(
        primary_key,
        auto_increment = false,
        column_type = "String(StringLen::N(40))"
    )]
    pub session_key: String,
    /// The session's data: signed JSON, as Django's `signing.dumps` encodes it.
    #[sea_orm(column_type = "Text")]
    pub session_data: String,
    /// The time when the session expires.
    #[sea_orm(indexed)]
    pub expire_date: Timestamp,
}

impl ActiveModelBehavior for ActiveModel {}
