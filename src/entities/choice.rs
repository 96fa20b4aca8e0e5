//! `polls_app_choice`.

use sea_orm::entity::prelude::*;

/// An answer that can be voted for.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "polls_app_choice")]
pub struct Model {
    /// Key.
    #[sea_orm(primary_key)]
    pub id: i32,
    /// The answer.
    #[sea_orm(column_type = "String(StringLen::N(200))")]
    pub choice_text: String,
    /// How many chose it.
    pub votes: i32,
    /// Its question.
    pub question_id: i32,
    /// The row itself.
    #[sea_orm(belongs_to, from = "question_id", to = "id")]
    pub question: BelongsTo<super::question::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}

/// The way from a question to its choices. It stands here so that only this file knows both tables.
impl Related<Entity> for super::question::Entity {
    fn to() -> RelationDef {
        Relation::Question.def().rev()
    }
}
