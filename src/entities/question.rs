//! `polls_app_question`.

use sea_orm::entity::prelude::*;

use super::Timestamp;

/// A question of a poll.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "polls_app_question")]
pub struct Model {
    /// The primary key.
    #[sea_orm(primary_key)]
    pub id: i32,
    /// The text of the question.
    #[sea_orm(column_type = "String(StringLen::N(200))")]
    pub question_text: String,
    /// The publication time; the question is public from then on.
    pub pub_date: Timestamp,
}

impl ActiveModelBehavior for ActiveModel {}
