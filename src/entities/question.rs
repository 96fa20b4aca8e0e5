//! `polls_app_question`.

use sea_orm::entity::prelude::*;

use super::Timestamp;

/// A question with choices to vote for.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "polls_app_question")]
pub struct Model {
    /// Key.
    #[sea_orm(primary_key)]
    pub id: i32,
    /// What is asked.
    #[sea_orm(column_type = "String(StringLen::N(200))")]
    pub question_text: String,
    /// When it appears.
    pub pub_date: Timestamp,
}

impl ActiveModelBehavior for ActiveModel {}
