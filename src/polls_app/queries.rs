//! The statements of the polls pages. All that a page shows is from one query, and so from one snapshot.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbErr, EntityTrait, FromQueryResult, QueryOrder, Statement};

use crate::{
    db::is_missing_table,
    entities::{Timestamp, choice, question, question_options},
};

/// The query of [`latest`]. The questions are selected first, so that only their choices are summed up. The limit is part of the text:
/// with a parameter, PostgreSQL does not know how few rows it reads, and plans the statement anew each time.
const LATEST: &str = "SELECT q.id, q.question_text, q.pub_date, count(c.id) AS choices, \
    sum(CASE WHEN c.votes > 0 THEN c.votes ELSE 0 END) AS votes \
    FROM (\
        SELECT id, question_text, pub_date FROM polls_app_question \
        WHERE pub_date <= $1 AND EXISTS (SELECT 1 FROM polls_app_choice WHERE question_id = polls_app_question.id) \
        ORDER BY pub_date DESC, id DESC LIMIT 5\
    ) AS q JOIN polls_app_choice AS c ON c.question_id = q.id \
    GROUP BY q.id, q.question_text, q.pub_date ORDER BY q.pub_date DESC, q.id DESC";
/// The query of [`next_publication`].
const NEXT_PUBLICATION: &str =
    "SELECT pub_date FROM polls_app_question WHERE pub_date > $1 ORDER BY pub_date LIMIT 1";

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

/// The five latest published questions that have choices, newest first.
///
/// # Errors
/// When the database cannot be reached or the query fails.
pub async fn latest(
    db: &impl ConnectionTrait,
    now: DateTime<Utc>,
) -> Result<Vec<QuestionSummary>, DbErr> {
    let rows = db.query_all_raw(at(db, LATEST, now)).await?;
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
    let row = db.query_one_raw(at(db, NEXT_PUBLICATION, now)).await?;
    let date = row.map(|row| row.try_get_by_index::<Timestamp>(0));
    Ok(date.transpose()?.map(|date| *date))
}

/// The statement of a query with the present time as its parameter.
fn at(db: &impl ConnectionTrait, sql: &'static str, now: DateTime<Utc>) -> Statement {
    Statement::from_sql_and_values(db.get_database_backend(), sql, [now.into()])
}

/// A question with what belongs to it.
#[derive(Debug)]
pub struct FullQuestion {
    /// The question.
    pub question: question::Model,
    /// Its choices, in the order of their ids.
    pub choices: Vec<choice::Model>,
    /// Its options, or the default ones.
    pub options: question_options::Model,
}

/// The question with that id, published or not.
///
/// # Errors
/// When the database cannot be reached or the query fails.
pub async fn find(db: &impl ConnectionTrait, id: i32) -> Result<Option<FullQuestion>, DbErr> {
    let query = question::Entity::find_by_id(id)
        .find_also_related(choice::Entity)
        .order_by_asc(choice::Column::Id);
    let rows = query.clone().find_also_related(question_options::Entity);
    let rows = match rows.all(db).await {
        Ok(rows) => rows,
        // The migrations of the app `polls` are not applied.
        Err(error) if is_missing_table(&error) => {
            let rows = query.all(db).await?.into_iter();
            rows.map(|(question, choice)| (question, choice, None))
                .collect()
        }
        Err(error) => return Err(error),
    };
    let mut found: Option<FullQuestion> = None;
    for (question, choice, options) in rows {
        let found = found.get_or_insert_with(|| FullQuestion {
            question,
            choices: Vec::new(),
            options: options.unwrap_or_default(),
        });
        found.choices.extend(choice);
    }
    Ok(found)
}
