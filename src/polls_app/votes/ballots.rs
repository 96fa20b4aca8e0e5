//! Ballots: votes on questions whose options limit who may vote how often, or allow several choices.
//!
//! The row of the options is locked while ballots for the question are counted, so that two servers count them one after the other, and
//! a change of the options waits for them. The voter's row is stored in the transaction that counts the votes.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, FromQueryResult, Statement, Value, sea_query::ArrayType,
};
use serde_json::json;

use super::{
    counts::{Ballot, Counts, VoterKey},
    receipts::Receipt,
    statement::{Batch, KeyResult, Locks, VoteResult, Votes, Written},
};
use crate::{
    db::Transaction,
    entities::{Count, question_options::Policy},
};

/// The maximum of the column `votes`.
const MAX_VOTES: i64 = i32::MAX as i64;

/// The ballots of questions, by the key of the question.
#[derive(Debug)]
pub struct Ballots;

impl Votes for Ballots {
    type Key = i32;
    type Ballot = Ballot;

    async fn write(
        tx: &Transaction,
        batch: &Batch<Self>,
        now: DateTime<Utc>,
        locks: Locks,
        receipt: Receipt,
    ) -> Result<Written<Self>, DbErr> {
        let questions = find_and_lock(tx, batch.keys(), now, locks, receipt).await?;
        let mut additions = Additions {
            voters: stored_voters(tx, batch).await?,
            day: now.timestamp().div_euclid(86_400),
            ..Additions::default()
        };
        let missing = Question::default();
        let checked: Vec<_> = batch
            .iter()
            .map(|(&id, queued)| {
                let question = questions.get(&id).unwrap_or(&missing);
                let votes = queued.iter();
                let votes = votes.map(|vote| additions.check(id, question, &vote.ballot));
                let results = (!question.is_locked).then(|| votes.collect::<Vec<_>>());
                (id, queued, results)
            })
            .collect();
        let inserted = additions.store_voters(tx).await?;
        let mut counts = Counts::default();
        let results = checked.into_iter().map(|(id, queued, results)| {
            let Some(results) = results else {
                return (id, KeyResult::Locked);
            };
            let votes = queued.iter().zip(results);
            let votes = votes.map(|(vote, result)| match &vote.ballot.voter {
                // Another server has stored the voter.
                Some(voter)
                    if result == VoteResult::Counted && !inserted.contains(&voter.current) =>
                {
                    VoteResult::AlreadyVoted
                }
                _ => {
                    if result == VoteResult::Counted {
                        counts.add(id, &vote.ballot);
                    }
                    result
                }
            });
            (id, KeyResult::Results(votes.collect()))
        });
        let results = results.collect();
        counts.store(tx).await?;
        Ok(results)
    }
}

/// A question as ballots need it.
#[derive(Debug, Default)]
struct Question {
    is_published: bool,
    is_closed: bool,
    policy: Option<Policy>,
    max_choices: i32,
    /// The votes of its choices, by their keys.
    choices: BTreeMap<i32, i64>,
    /// Whether another transaction has locked a row of it.
    is_locked: bool,
}

/// A row of a question, with one of its choices.
#[derive(Debug, FromQueryResult)]
struct Row {
    question_id: i32,
    is_published: bool,
    is_closed: Option<bool>,
    policy: Option<Policy>,
    max_choices: Option<i32>,
    choice_id: Option<i32>,
    votes: Option<Count>,
    choices: i64,
}

/// The questions with these keys that exist, with their rows locked in the order of the keys.
async fn find_and_lock(
    tx: &Transaction,
    keys: impl Iterator<Item = &i32>,
    now: DateTime<Utc>,
    locks: Locks,
    receipt: Receipt,
) -> Result<BTreeMap<i32, Question>, DbErr> {
    // Where locked rows are left out, the number of choices tells.
    let choices = match locks {
        Locks::Wait(_) => "CAST(0 AS bigint)",
        Locks::Skip(_) => "(SELECT count(*) FROM polls_app_choice a WHERE a.question_id = q.id)",
    };
    let columns = format!("q.pub_date <= $1 AS is_published, {choices} AS choices");
    const OPTIONS: &str = "o.policy, o.max_choices, o.closes_at <= $1 AS is_closed";
    let backend = tx.get_database_backend();
    let keys = integers(backend, keys.copied());
    let statement = if backend == DbBackend::Sqlite {
        let sql = format!(
            "SELECT q.id AS question_id, {columns}, {OPTIONS}, c.id AS choice_id, c.votes \
             FROM polls_app_question q LEFT JOIN polls_question_options o ON o.question_id = q.id \
             LEFT JOIN polls_app_choice c ON c.question_id = q.id \
             WHERE q.id IN (SELECT value FROM json_each($2)) ORDER BY q.id, c.id"
        );
        Statement::from_sql_and_values(backend, sql, [now.into(), keys])
    } else {
        let skip = locks.skip_clause();
        // The locked rows may be newer than the statement's snapshot, and are what counts.
        let sql = format!(
            "WITH requested AS MATERIALIZED (\
               SELECT r.question_id FROM set_config('lock_timeout', $3, true), unnest((SELECT $2::int[])) AS r(question_id)\
             ), locked AS MATERIALIZED (\
               SELECT o.question_id, {OPTIONS}, c.id AS choice_id, c.votes FROM requested r \
               JOIN polls_question_options o ON o.question_id = r.question_id \
               JOIN polls_app_choice c ON c.question_id = o.question_id \
               ORDER BY o.question_id, c.id FOR NO KEY UPDATE OF o, c {skip}\
             ), receipt AS ({}) \
             SELECT q.id AS question_id, {columns}, o.policy, o.max_choices, o.is_closed, o.choice_id, o.votes \
             FROM requested r JOIN polls_app_question q ON q.id = r.question_id \
             LEFT JOIN locked o ON o.question_id = q.id ORDER BY q.id, o.choice_id",
            Receipt::upsert(4),
        );
        let [writer, number] = receipt.values();
        let values = [now.into(), keys, locks.timeout().into(), writer, number];
        Statement::from_sql_and_values(backend, sql, values)
    };
    let mut questions = BTreeMap::<i32, Question>::new();
    let mut total = BTreeMap::new();
    for row in tx.query_all_raw(statement).await? {
        let row = Row::from_query_result(&row, "")?;
        let question = questions.entry(row.question_id).or_default();
        question.is_published = row.is_published;
        question.is_closed = row.is_closed == Some(true);
        question.policy = row.policy;
        question.max_choices = row.max_choices.unwrap_or(1);
        if let Some((id, votes)) = row.choice_id.zip(row.votes) {
            question.choices.insert(id, votes.0);
        }
        total.insert(row.question_id, row.choices);
    }
    if matches!(locks, Locks::Skip(_)) {
        for (id, question) in &mut questions {
            question.is_locked = (question.choices.len() as i64) < total[id];
        }
    }
    Ok(questions)
}

/// The hashes of voters in a batch that are stored already, if any of them has hashes with fallback keys. The others' are found when
/// they are stored.
async fn stored_voters(
    tx: &Transaction,
    batch: &Batch<Ballots>,
) -> Result<BTreeSet<String>, DbErr> {
    let ballots = batch.values().flatten().map(|vote| &vote.ballot);
    let voters = ballots.filter_map(|ballot| ballot.voter.as_ref());
    let voters = voters.filter(|voter| !voter.aliases.is_empty());
    let hashes: Vec<&String> = voters.flat_map(VoterKey::all).collect();
    if hashes.is_empty() {
        return Ok(BTreeSet::new());
    }
    let backend = tx.get_database_backend();
    let sql = match backend {
        DbBackend::Sqlite => {
            "SELECT voter FROM polls_voters WHERE question_id IN (SELECT value FROM json_each($2)) \
             AND voter IN (SELECT value FROM json_each($1))"
        }
        // As arrays, so that the index is used however few rows there were when the statement was planned.
        _ => {
            "SELECT voter FROM polls_voters \
             WHERE question_id = ANY(ARRAY(SELECT json_array_elements_text($2::json)::int)) \
             AND voter = ANY(ARRAY(SELECT json_array_elements_text($1::json)))"
        }
    };
    let questions: Vec<&i32> = batch.keys().collect();
    texts(tx, sql, &[json!(hashes), json!(questions)]).await
}

/// The first column of the rows of a statement with JSON as its parameters.
async fn texts(
    tx: &Transaction,
    sql: &str,
    parameters: &[serde_json::Value],
) -> Result<BTreeSet<String>, DbErr> {
    let values = parameters.iter().map(|json| json.to_string().into());
    let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, values);
    let rows = tx.query_all_raw(statement).await?;
    rows.iter().map(|row| row.try_get_by_index(0)).collect()
}

/// What the ballots of a batch add to the voters.
#[derive(Debug, Default)]
struct Additions {
    /// The hashes of voters that are known to be stored, those of this batch included.
    voters: BTreeSet<String>,
    /// The new rows of voters.
    rows: Vec<serde_json::Value>,
    /// The votes of the ballots that were checked, for each choice.
    votes: BTreeMap<i32, i64>,
    /// The present day, in days since 1970.
    day: i64,
}

impl Additions {
    /// Checks a ballot: it is to be counted if its voter can be stored.
    fn check(&mut self, id: i32, question: &Question, ballot: &Ballot) -> VoteResult {
        let policy = question.policy.unwrap_or(Policy::Any);
        if !question.is_published {
            return VoteResult::NoQuestion;
        }
        if question.is_closed {
            return VoteResult::Closed;
        }
        if ballot.policy != policy || policy == Policy::Any && question.max_choices == 1 {
            return VoteResult::WrongPolicy(policy);
        }
        if let Some(voter) = &ballot.voter
            && voter.all().any(|hash| self.voters.contains(hash))
        {
            // Under a fallback key: the row of the current key is for the time when the fallback is removed.
            if !self.voters.contains(&voter.current) {
                self.add_voter(id, &voter.current, true);
            }
            return VoteResult::AlreadyVoted;
        }
        if ballot.choices.len() as i64 > i64::from(question.max_choices) {
            return VoteResult::TooManyChoices(question.max_choices);
        }
        let mut votes = ballot.choices.iter().map(|id| question.choices.get(id));
        if ballot.choices.is_empty() || votes.any(|votes| votes.is_none()) {
            return VoteResult::NoChoice;
        }
        let sum = |id: &i32| question.choices[id] + self.votes.get(id).copied().unwrap_or(0);
        if ballot.choices.iter().any(|id| sum(id) >= MAX_VOTES) {
            return VoteResult::Full;
        }
        if let Some(voter) = &ballot.voter {
            self.add_voter(id, &voter.current, false);
            for alias in &voter.aliases {
                self.add_voter(id, alias, true);
            }
        }
        for choice in &ballot.choices {
            *self.votes.entry(*choice).or_default() += 1;
        }
        VoteResult::Counted
    }

    fn add_voter(&mut self, id: i32, hash: &str, is_alias: bool) {
        self.voters.insert(hash.to_owned());
        let row = json!({"voter": hash, "question": id, "day": self.day, "is_alias": is_alias});
        self.rows.push(row);
    }

    /// Stores the voters; returns the hashes of those that were not stored before.
    async fn store_voters(self, tx: &Transaction) -> Result<BTreeSet<String>, DbErr> {
        if self.rows.is_empty() {
            return Ok(BTreeSet::new());
        }
        let backend = tx.get_database_backend();
        let source = if backend == DbBackend::Sqlite {
            "SELECT value->>'voter', value->>'question', value->>'day', value->>'is_alias' FROM json_each($1) WHERE true"
        } else {
            "SELECT * FROM json_to_recordset($1::json) AS r(voter text, question int, day int, is_alias bool)"
        };
        let sql = format!(
            "INSERT INTO polls_voters (voter, question_id, day, is_alias) {source} \
             ON CONFLICT (question_id, voter) DO NOTHING RETURNING voter"
        );
        texts(tx, &sql, &[serde_json::Value::Array(self.rows)]).await
    }
}

/// Keys as the parameter `$2` of [`find_and_lock`].
fn integers(backend: DbBackend, keys: impl Iterator<Item = i32>) -> Value {
    if backend == DbBackend::Sqlite {
        let keys: Vec<i32> = keys.collect();
        return json!(keys).to_string().into();
    }
    Value::Array(
        ArrayType::Int,
        Some(Box::new(keys.map(Value::from).collect())),
    )
}
