//! `polls_app_choice`.

use sea_orm::entity::prelude::*;

use super::Count;

/// A choice of a question.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "polls_app_choice")]
pub struct Model {
    /// The primary key.
    #[sea_orm(primary_key)]
    pub id: i32,
    /// The text of the choice.
    #[sea_orm(column_type = "String(StringLen::N(200))")]
    pub choice_text: String,
    /// The number of votes.
    pub votes: Count,
    /// The key of its question.
    pub question_id: i32,
    /// The related question.
    #[sea_orm(belongs_to, from = "question_id", to = "id")]
    pub question: BelongsTo<super::question::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}

/// The relation from a question to its choices. It is declared here so that `question.rs` does not depend on this file.
impl Related<Entity> for super::question::Entity {
    fn to() -> RelationDef {
        Relation::Question.def().rev()
    }
}
