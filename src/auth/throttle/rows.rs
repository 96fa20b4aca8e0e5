//! The counters in the table `polls_login_failures`, and the known networks in `polls_login_networks`.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DbErr, Statement};

use super::counter::{Counter, WINDOW};
use crate::db::{Database, Transaction};

/// How long a network stays known after a login from it.
const KNOWN_FOR: TimeDelta = TimeDelta::days(90);

/// Counts an attempt and returns zero; or, beyond a limit, returns the time to wait.
pub(super) async fn admit(
    db: &Database,
    counters: &[Counter],
    now: DateTime<Utc>,
) -> Result<TimeDelta, DbErr> {
    let tx = db.begin().await?;
    for counter in counters {
        let (failures, since) = increment(&tx, &counter.name, now).await?;
        if failures > counter.limit {
            // The transaction is rolled back: a refused attempt is not counted.
            return Ok((since + WINDOW - now).max(TimeDelta::milliseconds(1)));
        }
    }
    tx.commit().await?;
    Ok(TimeDelta::zero())
}

/// Decrements the counters; with `resets_last`, removes the last one.
pub(super) async fn decrement(
    tx: &Transaction,
    counters: &[Counter],
    resets_last: bool,
) -> Result<(), DbErr> {
    for (index, counter) in counters.iter().enumerate() {
        let sql = if resets_last && index + 1 == counters.len() {
            "DELETE FROM polls_login_failures WHERE name = $1"
        } else {
            "UPDATE polls_login_failures SET failures = failures - 1 WHERE name = $1"
        };
        run(tx, sql, vec![counter.name.as_str().into()]).await?;
    }
    Ok(())
}

/// Whether a user has logged in from a network before.
pub(super) async fn is_known(
    db: &Database,
    network: &str,
    now: DateTime<Utc>,
) -> Result<bool, DbErr> {
    let sql = "SELECT 1 FROM polls_login_networks WHERE name = $1 AND seen > $2";
    let values: [sea_orm::Value; 2] = [network.into(), (now - KNOWN_FOR).timestamp().into()];
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    Ok(db.query_one_raw(statement).await?.is_some())
}

/// Records a login from a network.
pub(super) async fn add_known(
    tx: &Transaction,
    network: &str,
    now: DateTime<Utc>,
) -> Result<(), DbErr> {
    let sql = "INSERT INTO polls_login_networks (name, seen) VALUES ($1, $2) \
               ON CONFLICT (name) DO UPDATE SET seen = excluded.seen";
    run(tx, sql, vec![network.into(), now.timestamp().into()]).await
}

/// Removes expired counters and networks.
pub(super) async fn clean(db: &Database, now: DateTime<Utc>) -> Result<(), DbErr> {
    let tx = db.begin().await?;
    let sql = "DELETE FROM polls_login_failures WHERE since <= $1";
    run(&tx, sql, vec![(now - WINDOW).timestamp().into()]).await?;
    let sql = "DELETE FROM polls_login_networks WHERE seen <= $1";
    run(&tx, sql, vec![(now - KNOWN_FOR).timestamp().into()]).await?;
    tx.commit().await
}

/// Increments a counter: the count and the time of its first attempt.
async fn increment(
    tx: &Transaction,
    name: &str,
    now: DateTime<Utc>,
) -> Result<(i32, DateTime<Utc>), DbErr> {
    // A counter is reset when its window is over, or begins in the future by more than the clocks of replicas differ: the
    // clock of the server that wrote it was wrong.
    let sql = "INSERT INTO polls_login_failures (name, failures, since) VALUES ($1, 1, $2) \
               ON CONFLICT (name) DO UPDATE SET \
               failures = CASE WHEN polls_login_failures.since BETWEEN $3 AND $4 \
                          THEN polls_login_failures.failures + 1 ELSE 1 END, \
               since = CASE WHEN polls_login_failures.since BETWEEN $3 AND $4 THEN polls_login_failures.since ELSE $2 END \
               RETURNING failures, since";
    let seconds = now.timestamp();
    let window = WINDOW.num_seconds();
    let values: [sea_orm::Value; 4] = [
        name.into(),
        seconds.into(),
        (seconds - window + 1).into(),
        (seconds + window).into(),
    ];
    let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, values);
    let counted = tx.query_one_raw(statement).await?;
    let counted = counted.ok_or_else(|| DbErr::Custom("RETURNING gave no row".to_owned()))?;
    let since: i64 = counted.try_get("", "since")?;
    Ok((
        counted.try_get("", "failures")?,
        DateTime::from_timestamp(since, 0).unwrap_or(now),
    ))
}

async fn run(tx: &Transaction, sql: &str, values: Vec<sea_orm::Value>) -> Result<(), DbErr> {
    let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, values);
    tx.execute_raw(statement).await.map(drop)
}
