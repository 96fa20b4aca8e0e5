//! The counts in the table `polls_login_failures`, and the known networks in `polls_login_networks`.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DbErr, Statement};

use super::counter::{Counter, WINDOW};
use crate::db::{Database, Transaction};

/// How long a network is known from which a user has logged in.
const KNOWN_FOR: TimeDelta = TimeDelta::days(90);

/// Counts an attempt, unless too many have failed: then the time to wait is more than zero.
pub(super) async fn admit(
    db: &Database,
    counters: &[Counter],
    now: DateTime<Utc>,
) -> Result<TimeDelta, DbErr> {
    let tx = db.begin().await?;
    for counter in counters {
        let (failures, since) = count(&tx, &counter.name, now).await?;
        if failures > counter.limit {
            // The transaction is rolled back: an attempt that was not made is not counted.
            return Ok((since + WINDOW - now).max(TimeDelta::milliseconds(1)));
        }
    }
    tx.commit().await?;
    Ok(TimeDelta::zero())
}

/// Takes the count back, and all of the last counter.
pub(super) async fn forgive(tx: &Transaction, counters: &[Counter]) -> Result<(), DbErr> {
    let Some((last, others)) = counters.split_last() else {
        return Ok(());
    };
    take_back(tx, others).await?;
    let sql = "DELETE FROM polls_login_failures WHERE name = $1";
    run(tx, sql, vec![last.name.as_str().into()]).await
}

/// Takes the count back.
pub(super) async fn withdraw(db: &Database, counters: &[Counter]) -> Result<(), DbErr> {
    let tx = db.begin().await?;
    take_back(&tx, counters).await?;
    tx.commit().await
}

async fn take_back(tx: &Transaction, counters: &[Counter]) -> Result<(), DbErr> {
    let sql = "UPDATE polls_login_failures SET failures = failures - 1 WHERE name = $1";
    for counter in counters {
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

/// Notes that a user has logged in from a network.
pub(super) async fn remember(
    tx: &Transaction,
    network: &str,
    now: DateTime<Utc>,
) -> Result<(), DbErr> {
    let sql = "INSERT INTO polls_login_networks (name, seen) VALUES ($1, $2) \
               ON CONFLICT (name) DO UPDATE SET seen = excluded.seen";
    run(tx, sql, vec![network.into(), now.timestamp().into()]).await
}

/// Removes the counts and networks that are too old to matter.
pub(super) async fn clean(db: &Database, now: DateTime<Utc>) -> Result<(), DbErr> {
    let tx = db.begin().await?;
    let sql = "DELETE FROM polls_login_failures WHERE since <= $1";
    run(&tx, sql, vec![(now - WINDOW).timestamp().into()]).await?;
    let sql = "DELETE FROM polls_login_networks WHERE seen <= $1";
    run(&tx, sql, vec![(now - KNOWN_FOR).timestamp().into()]).await?;
    tx.commit().await
}

async fn count(
    tx: &Transaction,
    row: &str,
    now: DateTime<Utc>,
) -> Result<(i32, DateTime<Utc>), DbErr> {
    // A count begins anew when its window is over, or lies in the future by more than clocks of replicas differ: this
    // server's clock has been set back.
    let sql = "INSERT INTO polls_login_failures (name, failures, since) VALUES ($1, 1, $2) \
               ON CONFLICT (name) DO UPDATE SET \
               failures = CASE WHEN polls_login_failures.since BETWEEN $3 AND $4 \
                          THEN polls_login_failures.failures + 1 ELSE 1 END, \
               since = CASE WHEN polls_login_failures.since BETWEEN $3 AND $4 THEN polls_login_failures.since ELSE $2 END \
               RETURNING failures, since";
    let seconds = now.timestamp();
    let window = WINDOW.num_seconds();
    let values: [sea_orm::Value; 4] = [
        row.into(),
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
