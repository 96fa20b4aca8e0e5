//! A ballot, and the numbers that a batch of them adds to a question and its choices.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use serde_json::json;

use crate::{db::Transaction, entities::question_options::Policy};

/// The votes of one voter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ballot {
    /// The keys of the choices, without duplicates.
    pub choices: BTreeSet<i32>,
    /// The policy under which it is cast; it is not counted if the question has another.
    pub policy: Policy,
    /// The voter; `None` for [`Policy::Any`].
    pub voter: Option<VoterKey>,
}

/// The keys of a voter of one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoterKey {
    /// The hash with the current key.
    pub current: String,
    /// The hashes with the fallback keys. Servers that have not been restarted with a new key still store these.
    pub aliases: Vec<String>,
}

impl VoterKey {
    /// All hashes, the current one first.
    pub fn all(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.current).chain(&self.aliases)
    }
}

/// What the ballots of a batch add to the numbers.
#[derive(Debug, Default)]
pub struct Counts {
    /// The votes for each choice.
    votes: BTreeMap<i32, i64>,
    /// The ballots for each question, and their votes.
    ballots: BTreeMap<i32, (i64, i64)>,
}

impl Counts {
    /// Adds a ballot that is counted, for the question `id`.
    pub fn add(&mut self, id: i32, ballot: &Ballot) {
        for choice in &ballot.choices {
            *self.votes.entry(*choice).or_default() += 1;
        }
        let (ballots, ballot_votes) = self.ballots.entry(id).or_default();
        *ballots += 1;
        *ballot_votes += ballot.choices.len() as i64;
    }

    /// Adds the numbers to the rows, which are locked.
    ///
    /// # Errors
    /// When a statement fails.
    pub async fn store(self, tx: &Transaction) -> Result<(), DbErr> {
        if self.votes.is_empty() {
            return Ok(());
        }
        let backend = tx.get_database_backend();
        let ballots = self.ballots.into_iter();
        let ballots =
            ballots.map(|(id, (added, votes))| json!({"id": id, "added": added, "votes": votes}));
        let votes = self.votes.into_iter();
        let votes = votes.map(|(id, added)| json!({"id": id, "added": added}));
        let rows = [ballots.collect(), votes.collect()].map(serde_json::Value::Array);
        let rows = rows.map(|rows| rows.to_string());
        let statements = |ballots: &str, votes: &str| {
            [
                format!(
                    "UPDATE polls_question_options SET voters = voters + r.added, ballot_votes = ballot_votes + r.votes \
                     FROM {ballots} WHERE question_id = r.id"
                ),
                format!(
                    "UPDATE polls_app_choice SET votes = polls_app_choice.votes + r.added \
                     FROM {votes} WHERE polls_app_choice.id = r.id"
                ),
            ]
        };
        let statement = |sql: String, values: &[String]| {
            let values = values.iter().map(|text| text.clone().into());
            Statement::from_sql_and_values(backend, sql, values)
        };
        if backend == DbBackend::Sqlite {
            let source = "(SELECT value->>'id' AS id, value->>'added' AS added, value->>'votes' AS votes \
                          FROM json_each($1)) AS r";
            for (sql, rows) in statements(source, source).into_iter().zip(rows) {
                tx.execute_raw(statement(sql, &[rows])).await?;
            }
        } else {
            let [ballots, votes] = statements(
                "json_to_recordset($1::json) AS r(id int, added int, votes int)",
                "json_to_recordset($2::json) AS r(id int, added int)",
            );
            let sql = format!("WITH ballots AS ({ballots}) {votes}");
            tx.execute_raw(statement(sql, &rows)).await?;
        }
        Ok(())
    }
}
