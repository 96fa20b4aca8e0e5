//! The statements of the polls pages. Each page is one query, so that all its data is from one snapshot.

use chrono::{DateTime, Utc};
use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, EntityTrait, ExprTrait, FromQueryResult, QueryFilter,
    QueryOrder,
    sea_query::{Alias, Expr, Func, LockType, Order, Query},
};

use crate::{
    db::Transaction,
    entities::{Timestamp, choice, question},
};

/// The number of questions on the index page.
const LATEST: u64 = 5;

/// A question with the totals of its choices.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct QuestionSummary {
    /// The question's key.
    pub id: i32,
    /// The text of the question.
    pub question_text: String,
    /// The date of publication.
    pub pub_date: Timestamp,
    /// The number of its choices.
    pub choices: i64,
    /// The sum of their votes.
    pub votes: i64,
}

/// The latest published questions that have choices, newest first.
///
/// # Errors
/// When the database cannot be reached or the query fails.
pub async fn latest(
    db: &impl ConnectionTrait,
    now: DateTime<Utc>,
) -> Result<Vec<QuestionSummary>, DbErr> {
    use choice::Column::{Id as ChoiceId, QuestionId, Votes};
    use question::Column::{Id, PubDate, QuestionText};
    let has_choices = Query::select()
        .expr(Expr::val(1))
        .from(choice::Entity)
        .and_where(Expr::col((choice::Entity, QuestionId)).equals((question::Entity, Id)))
        .take();
    // The questions are selected first, so that only their choices are summed up.
    let latest = Query::select()
        .columns([Id, QuestionText, PubDate])
        .from(question::Entity)
        .and_where(Expr::col(PubDate).lte(now))
        .and_where(Expr::exists(has_choices))
        .order_by(PubDate, Order::Desc)
        .order_by(Id, Order::Desc)
        .limit(LATEST)
        .take();
    let chosen = Alias::new("latest");
    let of_latest = |column: question::Column| (chosen.clone(), column);
    let query = Query::select()
        .columns([of_latest(Id), of_latest(QuestionText), of_latest(PubDate)])
        .expr_as(
            Func::count(Expr::col((choice::Entity, ChoiceId))),
            Alias::new("choices"),
        )
        .expr_as(
            Func::sum(Expr::col((choice::Entity, Votes))),
            Alias::new("votes"),
        )
        .from_subquery(latest, chosen.clone())
        .inner_join(
            choice::Entity,
            Expr::col((choice::Entity, QuestionId)).equals(of_latest(Id)),
        )
        .group_by_columns([of_latest(Id), of_latest(QuestionText), of_latest(PubDate)])
        .order_by(of_latest(PubDate), Order::Desc)
        .order_by(of_latest(Id), Order::Desc)
        .take();
    let rows = db.query_all(&query).await?;
    rows.iter()
        .map(|row| QuestionSummary::from_query_result(row, ""))
        .collect()
}

/// The question with that id, if it is published.
///
/// # Errors
/// When the database cannot be reached or the query fails.
pub async fn published(
    db: &impl ConnectionTrait,
    id: i32,
    now: DateTime<Utc>,
) -> Result<Option<question::Model>, DbErr> {
    question::Entity::find_by_id(id)
        .filter(Expr::col(question::Column::PubDate).lte(now))
        .one(db)
        .await
}

/// The question with that id, published or not, and its choices in the order of their ids.
///
/// # Errors
/// When the database cannot be reached or the query fails.
pub async fn with_choices(
    db: &impl ConnectionTrait,
    id: i32,
) -> Result<Option<(question::Model, Vec<choice::Model>)>, DbErr> {
    let with_choices = question::Entity::find_by_id(id)
        .find_with_related(choice::Entity)
        .order_by_asc(choice::Column::Id);
    Ok(with_choices.all(db).await?.pop())
}

/// Adds votes to a choice in a single statement, so that none are lost. Returns the number of votes that were added: none when
/// the question has no such choice, and fewer than `votes` at the column's maximum.
///
/// # Errors
/// When the row is locked for longer than the transaction's `lock_timeout`, the database cannot be reached, or the query fails.
pub async fn add_votes(
    tx: &Transaction,
    question_id: i32,
    choice_id: i32,
    votes: i32,
) -> Result<usize, DbErr> {
    use choice::Column::{Id, QuestionId, Votes};
    let update = |votes: i32| {
        Query::update()
            .table(choice::Entity)
            .value(Votes, Expr::col(Votes).add(votes))
            .and_where(Expr::col(Id).eq(choice_id))
            .and_where(Expr::col(Votes).lte(i32::MAX - votes))
            .and_where(Expr::col(QuestionId).eq(question_id))
            .take()
    };
    if tx.execute(&update(votes)).await?.rows_affected() > 0 {
        return Ok(votes.unsigned_abs() as usize);
    }
    let mut current = Query::select();
    current
        .column(Votes)
        .from(choice::Entity)
        .and_where(Expr::col(Id).eq(choice_id))
        .and_where(Expr::col(QuestionId).eq(question_id));
    if tx.get_database_backend() == DbBackend::Postgres {
        current.lock(LockType::Update);
    }
    let addable = match tx.query_one(&current).await? {
        Some(row) => std::cmp::min(votes, i32::MAX - row.try_get::<i32>("", "votes")?),
        None => 0,
    };
    if addable > 0 {
        tx.execute(&update(addable)).await?;
    }
    Ok(addable.unsigned_abs() as usize)
}
