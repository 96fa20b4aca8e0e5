//! `polls_voters`.

use sea_orm::entity::prelude::*;

/// A voter of a question that limits votes. What they have chosen is not stored.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "polls_voters")]
pub struct Model {
    /// The key of the question.
    #[sea_orm(primary_key, auto_increment = false)]
    pub question_id: i32,
    /// A keyed hash of the question and the voter.
    #[sea_orm(
        primary_key,
        auto_increment = false,
        column_type = "String(StringLen::N(32))"
    )]
    pub voter: String,
    /// When it was stored, in days since 1970. A time could be compared with those of the votes.
    pub day: i32,
    /// Whether it is a hash under another key of a voter who has a row already.
    pub is_alias: bool,
}

impl ActiveModelBehavior for ActiveModel {}
