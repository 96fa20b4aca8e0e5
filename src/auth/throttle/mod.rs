//! Who tries too many passwords has to wait. The counts are in the cache or else in rows, so that all replicas share them;
//! each try is counted before its hash is computed, so that tries at the same time cannot slip through together.

mod rows;
mod shared;

use std::net::IpAddr;

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::DbErr;

use crate::{
    cache::Cache,
    db::{Database, Transaction},
    signing::{Keys, hex},
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
    /// Whether the cache counts it, or rows do.
    is_in_cache: bool,
}

/// What became of the wish to try.
#[derive(Debug)]
pub enum Admission {
    /// Go on.
    Admitted(Try),
    /// Too many have failed; the time until the next is taken.
    Refused(TimeDelta),
}

/// Where failed tries are counted.
#[derive(Debug, Clone, Copy)]
pub struct Counts<'a> {
    /// If there is one and it answers.
    pub cache: &'a Cache,
    /// Otherwise.
    pub db: &'a Database,
}

impl Counts<'_> {
    /// Counts a try, and says whether it may be made.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn admit(
        self,
        keys: &Keys,
        username: &str,
        address: Option<IpAddr>,
        now: DateTime<Utc>,
    ) -> Result<Admission, DbErr> {
        let network = network(address);
        let mut this = Try {
            user: name(keys, &format!("user {username} {network}")),
            address: name(keys, &format!("address {network}")),
            is_in_cache: true,
        };
        let wait = match shared::admit(self.cache, &this).await {
            Some(wait) => wait,
            None => {
                this.is_in_cache = false;
                rows::admit(self.db, &this, now).await?
            }
        };
        Ok(if wait.is_zero() {
            Admission::Admitted(this)
        } else {
            Admission::Refused(wait)
        })
    }

    /// Takes the count back after the right password, and those of this user before it.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn forgive(self, tx: &Transaction, this: &Try) -> Result<(), DbErr> {
        if this.is_in_cache {
            shared::forgive(self.cache, this).await;
            return Ok(());
        }
        rows::forgive(tx, this).await
    }

    /// Takes back the count of a try whose password was not even looked at.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn withdraw(self, this: &Try) -> Result<(), DbErr> {
        if this.is_in_cache {
            shared::withdraw(self.cache, this).await;
            return Ok(());
        }
        rows::withdraw(self.db, this).await
    }

    /// Removes what is no longer held against anybody; the cache does so by itself.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn clean(self, now: DateTime<Utc>) -> Result<(), DbErr> {
        rows::clean(self.db, now).await
    }
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
