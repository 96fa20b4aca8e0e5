//! Comparing the votes of a question with its voters, where votes are limited: each voter has used up one ballot, and the votes
//! of all ballots, with those from before the limit, are the votes of the choices.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, FromQueryResult, Statement};

use crate::{
    db::{Database, Transaction},
    entities::{Timestamp, question_options::Policy},
    web::format::with_noun,
};

/// The numbers of a question.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct Recount {
    /// The key of the question.
    pub id: i32,
    /// Its text.
    pub question_text: String,
    /// Who may vote, and how often.
    pub policy: Policy,
    /// The votes of its choices.
    pub votes: i64,
    /// The other votes when votes were limited.
    pub votes_before: i64,
    /// The votes of ballots.
    pub ballot_votes: i64,
    /// The ballots.
    pub ballots: i64,
    /// The voters that are stored.
    pub voters: i64,
    /// When the numbers last agreed.
    pub agreed_at: Option<Timestamp>,
}

impl Recount {
    /// The number of votes that are not of a ballot; negative if votes are missing.
    pub fn surplus(&self) -> i64 {
        self.votes - self.votes_before - self.ballot_votes
    }

    /// Whether all numbers agree.
    pub fn agrees(&self) -> bool {
        self.surplus() == 0 && self.voters == self.ballots
    }

    /// What was found, in a sentence; `since` is the formatted time at which the numbers last agreed.
    pub fn text(&self, since: Option<&str>) -> String {
        let since = since.map_or_else(String::new, |since| format!(", since {since}"));
        let votes = match self.surplus() {
            0 => String::new(),
            more @ 1.. => format!("There are {more} more votes than voters cast{since}."),
            fewer => format!("There are {} fewer votes than voters cast{since}.", -fewer),
        };
        let voters = if self.voters == self.ballots {
            String::new()
        } else {
            let ballots = with_noun(self.ballots, "ballot");
            let voters = with_noun(self.voters, "voter");
            format!("There are {ballots} of {voters}{since}.")
        };
        match (votes.as_str(), voters.as_str()) {
            ("", "") => format!(
                "The votes agree: {} of {}, and {} from before votes were limited.",
                with_noun(self.ballot_votes, "vote"),
                with_noun(self.voters, "voter"),
                self.votes_before
            ),
            ("", text) | (text, "") => text.to_owned(),
            (votes, voters) => format!("{votes} {voters}"),
        }
    }
}

/// Counts the votes and voters of a question, or of all questions whose votes are limited, and stores when they agree. The rows are
/// locked, so that no ballot is half counted.
///
/// # Errors
/// When the database cannot be reached or written to.
pub async fn recount(
    db: &Database,
    id: Option<i32>,
    now: DateTime<Utc>,
) -> Result<Vec<Recount>, DbErr> {
    let tx = db.begin().await?;
    let backend = tx.get_database_backend();
    let lock = if backend == DbBackend::Sqlite {
        ""
    } else {
        " FOR NO KEY UPDATE OF o"
    };
    // Locked first: the counts are of a later snapshot.
    let condition = "o.policy <> 'any' AND ($1 IS NULL OR o.question_id = $1)";
    let condition = if backend == DbBackend::Sqlite {
        condition.to_owned()
    } else {
        condition.replace("$1", "$1::int")
    };
    let statement = |sql: String| Statement::from_sql_and_values(backend, sql, [id.into()]);
    let rows = format!(
        "SELECT o.question_id FROM polls_question_options o WHERE {condition} ORDER BY o.question_id{lock}"
    );
    tx.query_all_raw(statement(rows)).await?;
    let counts = format!(
        "SELECT q.id, q.question_text, o.policy, o.votes_before, o.ballot_votes, o.voters AS ballots, o.agreed_at, \
         CAST((SELECT coalesce(sum(c.votes), 0) FROM polls_app_choice c WHERE c.question_id = q.id) AS bigint) AS votes, \
         (SELECT count(*) FROM polls_voters v WHERE v.question_id = q.id AND NOT v.is_alias) AS voters \
         FROM polls_question_options o JOIN polls_app_question q ON q.id = o.question_id WHERE {condition} ORDER BY q.id"
    );
    let rows = tx.query_all_raw(statement(counts)).await?;
    let found = rows
        .iter()
        .map(|row| Recount::from_query_result(row, ""))
        .collect::<Result<Vec<_>, _>>()?;
    for agreed in found.iter().filter(|recount| recount.agrees()) {
        let sql = "UPDATE polls_question_options SET agreed_at = $1 WHERE question_id = $2";
        let values = [now.into(), agreed.id.into()];
        tx.execute_raw(Statement::from_sql_and_values(backend, sql, values))
            .await?;
    }
    tx.commit().await?;
    Ok(found)
}

/// Stores how many votes a question has before they are limited; ballots of before whose voters are not stored count among them. On
/// PostgreSQL no votes are counted until the transaction ends, so that none is missed between.
///
/// # Errors
/// When the database cannot be reached or written to.
pub async fn begin(tx: &Transaction, id: i32, now: DateTime<Utc>) -> Result<(), DbErr> {
    let backend = tx.get_database_backend();
    if backend == DbBackend::Postgres {
        tx.execute_unprepared("LOCK TABLE polls_app_choice IN SHARE ROW EXCLUSIVE MODE")
            .await?;
    }
    let stored =
        "(SELECT count(*) FROM polls_voters v WHERE v.question_id = $2 AND NOT v.is_alias)";
    let ballot_votes = format!("CASE WHEN voters = {stored} THEN ballot_votes ELSE 0 END");
    let sql = format!(
        "UPDATE polls_question_options SET agreed_at = $1, votes_before = \
         (SELECT coalesce(sum(c.votes), 0) FROM polls_app_choice c WHERE c.question_id = $2) - ({ballot_votes}), \
         ballot_votes = {ballot_votes}, voters = {stored} WHERE question_id = $2"
    );
    let statement = Statement::from_sql_and_values(backend, sql, [now.into(), id.into()]);
    tx.execute_raw(statement).await.map(drop)
}
