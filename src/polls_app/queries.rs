//! The statements of the polls pages. Each page is one query, so that all its data is from one snapshot.

use chrono::{DateTime, Utc};
use sea_orm::{
    ConnectionTrait, DbErr, EntityTrait, ExprTrait, FromQueryResult, QueryOrder,
    sea_query::{Alias, Expr, Func, Order, Query, SelectStatement},
};

use crate::entities::{Timestamp, choice, question};

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
    // The questions are selected first, so that only their choices are summed up.
    let latest = Query::select()
        .columns([Id, QuestionText, PubDate])
        .from(question::Entity)
        .and_where(Expr::col(PubDate).lte(now))
        .and_where(Expr::exists(has_choices()))
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

/// When the next question will be published, after `now`, whether it has choices or not: one row of the index.
///
/// # Errors
/// When the database cannot be reached or the query fails.
pub async fn next_publication(
    db: &impl ConnectionTrait,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, DbErr> {
    let query = Query::select()
        .column(question::Column::PubDate)
        .from(question::Entity)
        .and_where(Expr::col(question::Column::PubDate).gt(now))
        .order_by(question::Column::PubDate, Order::Asc)
        .limit(1)
        .take();
    let row = db.query_one(&query).await?;
    let date = row.map(|row| row.try_get_by_index::<Timestamp>(0));
    Ok(date.transpose()?.map(|date| *date))
}

/// A query for any choice of the question of the outer query.
fn has_choices() -> SelectStatement {
    Query::select()
        .expr(Expr::val(1))
        .from(choice::Entity)
        .and_where(
            Expr::col((choice::Entity, choice::Column::QuestionId))
                .equals((question::Entity, question::Column::Id)),
        )
        .take()
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
