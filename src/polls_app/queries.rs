//! The statements of the polls pages. All that a page shows is from one query, and so from one snapshot.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbErr, EntityTrait, FromQueryResult, QueryOrder, Statement, Value};

use crate::{
    db::{escape_like, is_missing_table, is_storable},
    entities::{
        Timestamp, choice, question,
        question_options::{self, ResultsShown},
    },
};

/// The number of questions on the first page.
const LATEST: usize = 5;
/// The number of questions on a page of the list of all.
pub const PAGE_SIZE: usize = 20;
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
    /// When the results are shown, if the question has options.
    pub results: Option<ResultsShown>,
    /// When voting ends.
    pub closes_at: Option<Timestamp>,
}

impl QuestionSummary {
    /// Its position in the list, as a text for [`Position::parse`].
    pub fn position(&self) -> String {
        format!("{}-{}", self.pub_date.timestamp_micros(), self.id)
    }

    /// Whether the results are not shown to all visitors at `now`.
    pub fn hides_votes(&self, now: DateTime<Utc>) -> bool {
        let is_closed = self.closes_at.is_some_and(|closes_at| *closes_at <= now);
        match self.results {
            None | Some(ResultsShown::Always) => false,
            Some(ResultsShown::AfterVoting | ResultsShown::AfterClosing) => !is_closed,
            Some(ResultsShown::StaffOnly) => true,
        }
    }
}

/// The five latest published questions that have choices, newest first.
///
/// # Errors
/// When the database cannot be reached or the query fails.
pub async fn latest(
    db: &impl ConnectionTrait,
    now: DateTime<Utc>,
) -> Result<Vec<QuestionSummary>, DbErr> {
    let with_options = summaries(db, "", LATEST, false, vec![now.into()], WITH_OPTIONS);
    match with_options.await {
        // The migrations of the app `polls` are not applied.
        Err(error) if is_missing_table(&error) => {
            summaries(db, "", LATEST, false, vec![now.into()], WITHOUT_OPTIONS).await
        }
        found => found,
    }
}

/// Columns and the join of the options of a question `q`.
const WITH_OPTIONS: [&str; 2] = [
    "o.results, o.closes_at",
    "LEFT JOIN polls_question_options AS o ON o.question_id = q.id",
];
/// The same without the table.
const WITHOUT_OPTIONS: [&str; 2] = [
    "o.results, o.closes_at",
    "CROSS JOIN (SELECT CAST(NULL AS varchar(10)) AS results, CAST(NULL AS timestamp with time zone) AS closes_at) AS o",
];

/// The length of a search at most, in characters.
const MAX_SEARCH: usize = 200;

/// What a page of the list of all questions has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPage {
    /// Whether it lists those on which voting has ended, or the others.
    pub is_closed: bool,
    /// A part of their texts, without regard to case; may be empty.
    pub search: String,
    /// Where it begins; without it, with the newest.
    pub position: Option<Position>,
}

impl ListPage {
    /// The first page of a search, without what no text in the database has.
    pub fn first(is_closed: bool, search: &str) -> Self {
        let search = search.chars().filter(|letter| *letter != '\0');
        let search: String = search.take(MAX_SEARCH).collect();
        Self {
            is_closed,
            search: search.trim().to_owned(),
            position: None,
        }
    }
}

/// A place in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The publication time and the key of the question before the page or, if `is_before`, after it.
    pub key: (DateTime<Utc>, i32),
    /// Whether the page is of newer questions.
    pub is_before: bool,
}

impl Position {
    /// The position of a text as [`QuestionSummary::position`] gives it; none if it is invalid.
    pub fn parse(text: &str, is_before: bool) -> Option<Self> {
        let (micros, id) = text.rsplit_once('-')?;
        let time = DateTime::from_timestamp_micros(micros.parse().ok()?)?;
        let id = id.parse().ok()?;
        is_storable(time).then_some(Self {
            key: (time, id),
            is_before,
        })
    }
}

/// The questions of a page, newest first, and whether there are others before and after them.
#[derive(Debug)]
pub struct Listed {
    /// Up to [`PAGE_SIZE`] questions.
    pub questions: Vec<QuestionSummary>,
    /// Whether there are newer questions.
    pub has_newer: bool,
    /// Whether there are older questions.
    pub has_older: bool,
}

/// A page of published questions that have choices.
///
/// # Errors
/// When the database cannot be reached or the query fails.
pub async fn list(
    db: &impl ConnectionTrait,
    page: &ListPage,
    now: DateTime<Utc>,
) -> Result<Listed, DbErr> {
    let mut values: Vec<Value> = vec![now.into()];
    let not = if page.is_closed { "" } else { "NOT " };
    let mut condition = format!(
        " AND {not}EXISTS (SELECT 1 FROM polls_question_options o WHERE o.question_id = polls_app_question.id AND o.closes_at <= $1)"
    );
    let mut parameter = |value: Value| {
        values.push(value);
        format!("${}", values.len())
    };
    if !page.search.is_empty() {
        let pattern = parameter(format!("%{}%", escape_like(&page.search)).into());
        condition += &format!(" AND upper(question_text) LIKE upper({pattern}) ESCAPE '\\'");
    }
    if let Some(position) = page.position {
        let comparison = if position.is_before { ">" } else { "<" };
        let (time, id) = (
            parameter(position.key.0.into()),
            parameter(position.key.1.into()),
        );
        condition += &format!(" AND (pub_date, id) {comparison} ({time}, {id})");
    }
    let is_ascending = page.position.is_some_and(|position| position.is_before);
    // One more shows whether there are others in the direction of the page; in the other direction is the page that led here.
    let limit = PAGE_SIZE + 1;
    let mut questions =
        summaries(db, &condition, limit, is_ascending, values, WITH_OPTIONS).await?;
    let has_more = questions.len() > PAGE_SIZE;
    if has_more {
        questions.remove(if is_ascending { 0 } else { PAGE_SIZE });
    }
    let (has_newer, has_older) = match page.position {
        Some(position) if position.is_before => (has_more, true),
        Some(_) => (true, has_more),
        None => (false, has_more),
    };
    Ok(Listed {
        questions,
        has_newer,
        has_older,
    })
}

/// Published questions that have choices and for which a condition holds, newest first; `$1` is the present time. The questions are
/// selected first, so that only their choices are summed up. The limit is part of the text: with a parameter, PostgreSQL does not know
/// how few rows it reads, and plans the statement anew each time. `is_ascending`: of all questions, the oldest are selected.
async fn summaries(
    db: &impl ConnectionTrait,
    condition: &str,
    limit: usize,
    is_ascending: bool,
    values: Vec<Value>,
    [columns, join]: [&str; 2],
) -> Result<Vec<QuestionSummary>, DbErr> {
    let direction = if is_ascending { "ASC" } else { "DESC" };
    let sql = format!(
        "SELECT q.id, q.question_text, q.pub_date, count(c.id) AS choices, \
         sum(CASE WHEN c.votes > 0 THEN c.votes ELSE 0 END) AS votes, {columns} \
         FROM (\
             SELECT id, question_text, pub_date FROM polls_app_question \
             WHERE pub_date <= $1 AND EXISTS (SELECT 1 FROM polls_app_choice WHERE question_id = polls_app_question.id){condition} \
             ORDER BY pub_date {direction}, id {direction} LIMIT {limit}\
         ) AS q JOIN polls_app_choice AS c ON c.question_id = q.id {join} \
         GROUP BY q.id, q.question_text, q.pub_date, {columns} ORDER BY q.pub_date DESC, q.id DESC"
    );
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    let rows = db.query_all_raw(statement).await?;
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
    let backend = db.get_database_backend();
    let statement = Statement::from_sql_and_values(backend, NEXT_PUBLICATION, [now.into()]);
    let row = db.query_one_raw(statement).await?;
    let date = row.map(|row| row.try_get_by_index::<Timestamp>(0));
    Ok(date.transpose()?.map(|date| *date))
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
