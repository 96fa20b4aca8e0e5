//! The counts in the table `polls_login_failures`.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DbErr, Statement};

use super::{PER_ADDRESS, PER_USER, Try, WINDOW};
use crate::db::{Database, Transaction};

/// Counts a try, unless too many have failed: then the time to wait is more than zero.
pub(super) async fn admit(
    db: &Database,
    this: &Try,
    now: DateTime<Utc>,
) -> Result<TimeDelta, DbErr> {
    let tx = db.begin().await?;
    // Always in this order: two tries at once wait for each other and do not lock each other out.
    for (row, limit) in [(&this.address, PER_ADDRESS), (&this.user, PER_USER)] {
        let (failures, since) = count(&tx, row, now).await?;
        if failures > limit {
            // The transaction ends here: a try that was not made is not counted.
            return Ok((since + WINDOW - now).max(TimeDelta::milliseconds(1)));
        }
    }
    tx.commit().await?;
    Ok(TimeDelta::zero())
}

/// Takes the count back, and those of this user before it.
pub(super) async fn forgive(tx: &Transaction, this: &Try) -> Result<(), DbErr> {
    let sql = "UPDATE polls_login_failures SET failures = failures - 1 WHERE name = $1";
    run(tx, sql, vec![this.address.as_str().into()]).await?;
    let sql = "DELETE FROM polls_login_failures WHERE name = $1";
    run(tx, sql, vec![this.user.as_str().into()]).await
}

/// Takes the count back.
pub(super) async fn withdraw(db: &Database, this: &Try) -> Result<(), DbErr> {
    let tx = db.begin().await?;
    let sql = "UPDATE polls_login_failures SET failures = failures - 1 WHERE name = $1";
    for row in [&this.address, &this.user] {
        run(&tx, sql, vec![row.as_str().into()]).await?;
    }
    tx.commit().await
}

/// Removes what is no longer held against anybody.
pub(super) async fn clean(db: &Database, now: DateTime<Utc>) -> Result<(), DbErr> {
    let tx = db.begin().await?;
    let sql = "DELETE FROM polls_login_failures WHERE since <= $1";
    run(&tx, sql, vec![(now - WINDOW).timestamp().into()]).await?;
    tx.commit().await
}

async fn count(
    tx: &Transaction,
    row: &str,
    now: DateTime<Utc>,
) -> Result<(i32, DateTime<Utc>), DbErr> {
    let sql = "INSERT INTO polls_login_failures (name, failures, since) VALUES ($1, 1, $2) \
               ON CONFLICT (name) DO UPDATE SET \
               failures = CASE WHEN polls_login_failures.since <= $3 THEN 1 ELSE polls_login_failures.failures + 1 END, \
               since = CASE WHEN polls_login_failures.since <= $3 THEN $2 ELSE polls_login_failures.since END \
               RETURNING failures, since";
    let over = (now - WINDOW).timestamp();
    let values: [sea_orm::Value; 3] = [row.into(), now.timestamp().into(), over.into()];
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
