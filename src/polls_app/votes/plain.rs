//! Votes as Django counts them: any number per visitor, for one choice each.

use chrono::{DateTime, Utc};
use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, QueryResult, Statement, Value, sea_query::ArrayType,
};

use super::{
    receipts::Receipt,
    statement::{Batch, KeyResult, Locks, VoteResult, Votes, Written},
};
use crate::{db::Transaction, entities::question_options::Policy};

/// A choice. The question's id is included so that a choice of another question is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChoiceKey {
    /// The key of the choice.
    pub choice_id: i32,
    /// The key of its question.
    pub question_id: i32,
}

/// The choices for which votes are requested, with the number of votes.
type Requested = [(ChoiceKey, i32)];

/// The votes for questions without options, or with options that do not concern them.
#[derive(Debug)]
pub struct PlainVotes;

impl Votes for PlainVotes {
    type Key = ChoiceKey;
    type Ballot = ();

    /// Adds votes to choices of questions that are published and open at `now`, and on PostgreSQL stores the transaction's receipt, in
    /// one statement (two on SQLite, which answers in this process). The rows are locked in the order of their ids, so that two
    /// transactions cannot deadlock.
    async fn write(
        tx: &Transaction,
        batch: &Batch<Self>,
        now: DateTime<Utc>,
        locks: Locks,
        receipt: Receipt,
    ) -> Result<Written<Self>, DbErr> {
        let votes = |queued: &Vec<_>| i32::try_from(queued.len()).expect("as many as requests");
        let requested: Vec<_> = batch
            .iter()
            .map(|(&key, queued)| (key, votes(queued)))
            .collect();
        let rows = if tx.get_database_backend() == DbBackend::Sqlite {
            on_sqlite(tx, &requested, now).await?
        } else {
            on_postgres(tx, &requested, now, locks, receipt).await?
        };
        rows.iter().map(|row| result(row, batch, locks)).collect()
    }
}

/// The condition that the votes of a question `q` are counted as in Django.
const IS_PLAIN: &str = "NOT EXISTS (SELECT 1 FROM polls_question_options o WHERE o.question_id = q.id \
    AND (o.policy <> 'any' OR o.max_choices > 1 OR o.closes_at <= $1))";
/// The columns of a result: the choice, the question, the votes that are added, or NULL where none can be; then, if that is NULL, whether
/// the question and the choice exist, and the options of the question. `$1` is the present time.
fn columns(added: &str, has_question: &str, has_choice: &str) -> String {
    let unless_added = |sql: &str| format!("CASE WHEN {added} IS NULL THEN {sql} END");
    let option = |sql: &str| {
        let from = "FROM polls_question_options o WHERE o.question_id = r.question_id";
        unless_added(&format!("(SELECT {sql} {from})"))
    };
    let columns = [
        "r.choice_id".to_owned(),
        "r.question_id".to_owned(),
        added.to_owned(),
        unless_added(has_question),
        unless_added(has_choice),
        option("o.policy"),
        option("o.max_choices"),
        option("o.closes_at <= $1"),
    ];
    columns.join(", ")
}

async fn on_postgres(
    tx: &Transaction,
    requested: &Requested,
    now: DateTime<Utc>,
    locks: Locks,
    receipt: Receipt,
) -> Result<Vec<QueryResult>, DbErr> {
    let skip = locks.skip_clause();
    // `requested` is read before a row is locked, and so is the timeout set. The votes are computed from the locked row, which
    // may be newer than the statement's snapshot. The arrays are in subqueries, so that the planner does not see their lengths: after
    // five executions it uses one plan for all batches, where planning would take longer than the rest.
    let sql = format!(
        "WITH requested AS MATERIALIZED (\
           SELECT r.choice_id, r.question_id, r.votes \
           FROM set_config('lock_timeout', $5, true), \
             unnest((SELECT $2::int[]), (SELECT $3::int[]), (SELECT $4::int[])) AS r(choice_id, question_id, votes)\
         ), locked AS (\
           SELECT c.id, c.question_id, LEAST(r.votes, 2147483647 - c.votes::bigint) AS added FROM requested r \
           JOIN polls_app_question q ON q.id = r.question_id AND q.pub_date <= $1 AND {IS_PLAIN} \
           JOIN polls_app_choice c ON c.id = r.choice_id AND c.question_id = r.question_id \
           ORDER BY c.id FOR NO KEY UPDATE OF c {skip}\
         ), updated AS (\
           UPDATE polls_app_choice c SET votes = c.votes + l.added::int FROM locked l WHERE c.id = l.id AND l.added > 0\
         ), receipt AS ({}) \
         SELECT {} FROM requested r LEFT JOIN locked l ON l.id = r.choice_id AND l.question_id = r.question_id",
        Receipt::upsert(6),
        columns(
            "l.added",
            "EXISTS (SELECT 1 FROM polls_app_question q WHERE q.id = r.question_id AND q.pub_date <= $1)",
            "EXISTS (SELECT 1 FROM polls_app_choice c WHERE c.id = r.choice_id AND c.question_id = r.question_id)",
        ),
    );
    let array = |value: fn(&(ChoiceKey, i32)) -> i32| {
        let values = requested.iter().map(|choice| Value::from(value(choice)));
        Value::Array(ArrayType::Int, Some(Box::new(values.collect())))
    };
    let [writer, batch] = receipt.values();
    let values = [
        now.into(),
        array(|(key, _)| key.choice_id),
        array(|(key, _)| key.question_id),
        array(|(_, votes)| *votes),
        locks.timeout().into(),
        writer,
        batch,
    ];
    tx.query_all_raw(Statement::from_sql_and_values(
        DbBackend::Postgres,
        sql,
        values,
    ))
    .await
}

/// In a transaction of SQLite no other connection writes: what the first statement reads is what the second one changes.
async fn on_sqlite(
    tx: &Transaction,
    requested: &Requested,
    now: DateTime<Utc>,
) -> Result<Vec<QueryResult>, DbErr> {
    const REQUESTED: &str = "WITH requested AS (\
        SELECT value->>0 AS choice_id, value->>1 AS question_id, value->>2 AS votes FROM json_each($2))";
    // Django's column on SQLite may hold more than its own maximum.
    const ADDED: &str = "MAX(MIN(r.votes, 2147483647 - c.votes), 0)";
    let rows: Vec<_> = requested
        .iter()
        .map(|(key, votes)| format!("[{},{},{votes}]", key.choice_id, key.question_id))
        .collect();
    let rows = format!("[{}]", rows.join(","));
    let statement = |sql: String| {
        let values = [now.into(), rows.clone().into()];
        Statement::from_sql_and_values(DbBackend::Sqlite, sql, values)
    };
    let results = format!(
        "{REQUESTED}, checked AS (\
           SELECT r.*, q.id AS found_question, c.id AS found_choice, \
             CASE WHEN q.id IS NOT NULL AND c.id IS NOT NULL AND {IS_PLAIN} THEN {ADDED} END AS added \
           FROM requested r \
           LEFT JOIN polls_app_question q ON q.id = r.question_id AND q.pub_date <= $1 \
           LEFT JOIN polls_app_choice c ON c.id = r.choice_id AND c.question_id = r.question_id\
         ) SELECT {} FROM checked r",
        columns(
            "r.added",
            "r.found_question IS NOT NULL",
            "r.found_choice IS NOT NULL"
        ),
    );
    let results = tx.query_all_raw(statement(results)).await?;
    let update = format!(
        "{REQUESTED} UPDATE polls_app_choice AS c SET votes = c.votes + {ADDED} \
         FROM requested r JOIN polls_app_question q ON q.id = r.question_id AND q.pub_date <= $1 AND {IS_PLAIN} \
         WHERE c.id = r.choice_id AND c.question_id = r.question_id"
    );
    tx.execute_raw(statement(update)).await?;
    Ok(results)
}

fn result(
    row: &QueryResult,
    batch: &Batch<PlainVotes>,
    locks: Locks,
) -> Result<(ChoiceKey, KeyResult), DbErr> {
    // By position, which takes less time than by name.
    let key = ChoiceKey {
        choice_id: row.try_get_by_index(0)?,
        question_id: row.try_get_by_index(1)?,
    };
    let votes = batch.get(&key).map_or(0, Vec::len);
    if let Some(added) = row.try_get_by_index::<Option<i64>>(2)? {
        let added = usize::try_from(added).unwrap_or_default().min(votes);
        let mut results = vec![VoteResult::Counted; added];
        results.resize(votes, VoteResult::Full);
        return Ok((key, KeyResult::Results(results)));
    }
    let all = |result| KeyResult::Results(vec![result; votes]);
    let policy = row.try_get_by_index::<Option<Policy>>(5)?;
    let max_choices = row.try_get_by_index::<Option<i32>>(6)?;
    let has_plain_votes = |policy| policy == Policy::Any && max_choices == Some(1);
    let result = if !row.try_get_by_index::<bool>(3)? {
        all(VoteResult::NoQuestion)
    } else if row.try_get_by_index::<Option<bool>>(7)? == Some(true) {
        all(VoteResult::Closed)
    } else if let Some(policy) = policy.filter(|policy| !has_plain_votes(*policy)) {
        all(VoteResult::WrongPolicy(policy))
    } else if row.try_get_by_index::<bool>(4)? && matches!(locks, Locks::Skip(_)) {
        KeyResult::Locked
    } else {
        // It does not exist, or the row was deleted while its lock was waited for.
        all(VoteResult::NoChoice)
    };
    Ok((key, result))
}
