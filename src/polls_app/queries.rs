//! What the polls pages read.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, ExprTrait, FromQueryResult, QueryFilter,
    QueryOrder, QuerySelect,
    sea_query::{Expr, Query},
};

use crate::entities::{choice, question};

/// How many questions the index lists.
const LATEST: u64 = 5;

/// A question with the sums of its choices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The question.
    pub question: question::Model,
    /// How many choices it has.
    pub choices: i64,
    /// How many votes they have together.
    pub votes: i64,
}

/// The latest published questions that have choices, newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn latest(db: &impl ConnectionTrait, now: DateTime<Utc>) -> Result<Vec<Listed>, DbErr> {
    let has_choices = Query::select()
        .expr(Expr::val(1))
        .from(choice::Entity)
        .and_where(
            choice::Column::QuestionId
                .into_expr()
                .equals((question::Entity, question::Column::Id)),
        )
        .take();
    let questions = question::Entity::find()
        .filter(question::COLUMN.pub_date.lte(now))
        .filter(Expr::exists(has_choices))
        .order_by_desc(question::Column::PubDate)
        .order_by_desc(question::Column::Id)
        .limit(LATEST)
        .all(db)
        .await?;
    let ids = questions.iter().map(|question| question.id);
    let sums = choice::Entity::find()
        .select_only()
        .column(choice::Column::QuestionId)
        .column_as(choice::Column::Id.count(), "choices")
        .column_as(choice::Column::Votes.sum(), "votes")
        .filter(choice::Column::QuestionId.is_in(ids))
        .group_by(choice::Column::QuestionId)
        .into_model::<Sums>()
        .all(db)
        .await?;
    let sums: HashMap<i32, Sums> = sums
        .into_iter()
        .map(|sums| (sums.question_id, sums))
        .collect();
    let listed = questions.into_iter().filter_map(|question| {
        // Without sums, the last choice went between the two queries.
        let &Sums { choices, votes, .. } = sums.get(&question.id)?;
        Some(Listed {
            question,
            choices,
            votes,
        })
    });
    Ok(listed.collect())
}

#[derive(Debug, FromQueryResult)]
struct Sums {
    question_id: i32,
    choices: i64,
    votes: i64,
}

/// The question of that id, if it has been published.
///
/// # Errors
/// When the database does not answer.
pub async fn published(
    db: &impl ConnectionTrait,
    id: i32,
    now: DateTime<Utc>,
) -> Result<Option<question::Model>, DbErr> {
    question::Entity::find_by_id(id)
        .filter(question::COLUMN.pub_date.lte(now))
        .one(db)
        .await
}

/// The choices of a question, in the order in which they were added.
///
/// # Errors
/// When the database does not answer.
pub async fn choices(
    db: &impl ConnectionTrait,
    question_id: i32,
) -> Result<Vec<choice::Model>, DbErr> {
    let of_question = choice::Entity::find().filter(choice::COLUMN.question_id.eq(question_id));
    of_question.order_by_asc(choice::Column::Id).all(db).await
}
