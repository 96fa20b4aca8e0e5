//! Who tries too many passwords has to wait. The counts are rows, so that all replicas share them; each try is counted
//! before its hash is computed, so that tries at the same time cannot slip through together.

use std::net::IpAddr;

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DbErr, Statement};

use super::hashers::hex;
use crate::{
    db::{Database, Transaction},
    signing::Keys,
};

/// How long failed tries are held against somebody, from the first of them.
pub const WINDOW: TimeDelta = TimeDelta::minutes(15);
/// Failed tries for one user from one address.
const PER_USER: i32 = 5;
/// Failed tries from one address, whoever the user: many people may share an address.
const PER_ADDRESS: i32 = 100;

/// A try that was let through, and is counted as failed until it is forgiven.
#[derive(Debug)]
pub struct Try {
    user: String,
    address: String,
}

/// What became of the wish to try.
#[derive(Debug)]
pub enum Admission {
    /// Go on.
    Admitted(Try),
    /// Too many have failed; the time until the next is taken.
    Refused(TimeDelta),
}

/// Counts a try, and says whether it may be made.
///
/// # Errors
/// When the database refuses.
pub async fn admit(
    db: &Database,
    keys: &Keys,
    username: &str,
    address: Option<IpAddr>,
    now: DateTime<Utc>,
) -> Result<Admission, DbErr> {
    let network = network(address);
    let this = Try {
        user: name(keys, &format!("user {username} {network}")),
        address: name(keys, &format!("address {network}")),
    };
    let tx = db.begin().await?;
    // Always in this order: two tries at once wait for each other and do not lock each other out.
    for (row, limit) in [(&this.address, PER_ADDRESS), (&this.user, PER_USER)] {
        let (failures, since) = count(&tx, row, now).await?;
        if failures > limit {
            // The transaction ends here: a try that was not made is not counted.
            return Ok(Admission::Refused(since + WINDOW - now));
        }
    }
    tx.commit().await?;
    Ok(Admission::Admitted(this))
}

/// Takes the count back after the right password, and those of this user before it.
///
/// # Errors
/// When the database refuses.
pub async fn forgive(tx: &Transaction, this: &Try) -> Result<(), DbErr> {
    let sql = "UPDATE polls_login_failures SET failures = failures - 1 WHERE name = $1";
    run(tx, sql, vec![this.address.as_str().into()]).await?;
    let sql = "DELETE FROM polls_login_failures WHERE name = $1";
    run(tx, sql, vec![this.user.as_str().into()]).await
}

/// Takes back the count of a try whose password was not even looked at.
///
/// # Errors
/// When the database refuses.
pub async fn withdraw(db: &Database, this: &Try) -> Result<(), DbErr> {
    let tx = db.begin().await?;
    let sql = "UPDATE polls_login_failures SET failures = failures - 1 WHERE name = $1";
    for row in [&this.address, &this.user] {
        run(&tx, sql, vec![row.as_str().into()]).await?;
    }
    tx.commit().await
}

/// Removes what is no longer held against anybody.
///
/// # Errors
/// When the database refuses.
pub async fn clean(db: &Database, now: DateTime<Utc>) -> Result<(), DbErr> {
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

/// An address as far as it tells one household from another: of IPv6 the first half.
fn network(address: Option<IpAddr>) -> String {
    match address {
        Some(IpAddr::V6(address)) => format!("{:x?}", &address.segments()[..4]),
        Some(address) => address.to_string(),
        None => String::new(),
    }
}

/// A row's name, from which nobody can read who it is about.
fn name(keys: &Keys, text: &str) -> String {
    hex(&keys.salted_hmac("polls.auth.throttle", text))
}
