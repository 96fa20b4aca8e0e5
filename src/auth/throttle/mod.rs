//! Limits on failed password checks. The counters are in the cache or, without it, in the database, so that all replicas share
//! them. Each attempt is counted before its hash is computed, so that concurrent attempts cannot exceed the limit.
//!
//! A login has three counters: of the user and the client's network, of the network with all users, and of the user with all
//! networks. The last one limits distributed attacks. It does not apply to networks from which the user has logged in before
//! (table `polls_login_networks`), so that an attacker cannot lock the user out.

mod counter;
mod rows;
mod shared;

use std::net::IpAddr;

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::DbErr;

use self::counter::Counter;
pub use self::counter::WINDOW;
use crate::{
    cache::Cache,
    core::Core,
    db::{Database, Transaction},
    network::client_network,
    signing::{Keys, hex},
};

/// Failed attempts for one user from one network, or to change one user's password.
const PER_USER_AND_NETWORK: i32 = 5;
/// Failed attempts from one network for all users together: many people may share an address.
const PER_NETWORK: i32 = 100;
/// Failed attempts for one user from networks from which they have not logged in before.
const PER_USER: i32 = 50;

/// An admitted attempt, which counts as failed until [`Throttle::succeeded`] or [`Throttle::withdraw`].
#[derive(Debug)]
pub struct Attempt {
    /// From the widest to the narrowest. The order is always the same, so that concurrent attempts lock the rows in one order
    /// and cannot deadlock.
    counters: Vec<Counter>,
    /// The name of user and network, which is recorded as known after a login.
    network: Option<String>,
    /// Whether the counters are in the cache, and not in the database.
    is_in_cache: bool,
}

/// Whether an attempt may be made.
#[derive(Debug)]
pub enum Admission {
    /// The attempt has been counted and may be made.
    Admitted(Attempt),
    /// A limit is exceeded; the time until the next attempt may be made, [`WINDOW`] at most.
    Refused(TimeDelta),
}

/// The counters of failed attempts.
#[derive(Debug, Clone, Copy)]
pub struct Throttle<'a> {
    /// Holds the counters while it responds.
    pub cache: &'a Cache,
    /// Holds the counters otherwise.
    pub db: &'a Database,
    /// The keys of the hashes that are the counters' names.
    pub keys: &'a Keys,
}

impl<'a> Throttle<'a> {
    /// The counters of the site.
    pub fn of(core: &'a Core) -> Self {
        Self {
            cache: &core.cache,
            db: core.db.write(),
            keys: &core.settings.security.keys,
        }
    }

    /// Counts an attempt to log in, unless a limit is exceeded.
    ///
    /// # Errors
    /// When the database cannot be reached or written to.
    pub async fn admit_login(
        self,
        username: &str,
        address: Option<IpAddr>,
        now: DateTime<Utc>,
    ) -> Result<Admission, DbErr> {
        let network = network(address);
        let user_and_network = self.name(&format!("user {username} {network}"));
        let is_known = rows::is_known(self.db, &user_and_network, now).await?;
        let mut counters = vec![self.network_counter(&network)];
        if !is_known {
            counters.push(Counter {
                name: self.name(&format!("user {username}")),
                limit: PER_USER,
            });
        }
        counters.push(Counter {
            name: user_and_network.clone(),
            limit: PER_USER_AND_NETWORK,
        });
        self.admit(counters, Some(user_and_network), now).await
    }

    /// Counts an attempt of a logged-in user to enter their old password. The counter covers all networks, since an attacker with
    /// a stolen session can use many.
    ///
    /// # Errors
    /// When the database cannot be reached or written to.
    pub async fn admit_password_change(
        self,
        user_id: i32,
        address: Option<IpAddr>,
        now: DateTime<Utc>,
    ) -> Result<Admission, DbErr> {
        let counters = vec![
            self.network_counter(&network(address)),
            Counter {
                name: self.name(&format!("password change {user_id}")),
                limit: PER_USER_AND_NETWORK,
            },
        ];
        self.admit(counters, None, now).await
    }

    async fn admit(
        self,
        counters: Vec<Counter>,
        network: Option<String>,
        now: DateTime<Utc>,
    ) -> Result<Admission, DbErr> {
        let (wait, is_in_cache) = match shared::admit(self.cache, &counters).await {
            Some(wait) => (wait, true),
            None => (rows::admit(self.db, &counters, now).await?, false),
        };
        Ok(if wait.is_zero() {
            Admission::Admitted(Attempt {
                counters,
                network,
                is_in_cache,
            })
        } else {
            Admission::Refused(wait.min(WINDOW))
        })
    }

    /// Ends an attempt with the right password: it does not count as failed, the narrowest counter is reset and, after a login,
    /// the network is recorded as known.
    ///
    /// # Errors
    /// When the database cannot be reached or written to.
    pub async fn succeeded(
        self,
        tx: &Transaction,
        attempt: &Attempt,
        now: DateTime<Utc>,
    ) -> Result<(), DbErr> {
        if let Some(network) = &attempt.network {
            rows::add_known(tx, network, now).await?;
        }
        self.decrement(tx, attempt, true).await
    }

    /// Ends an attempt whose password was not compared: it does not count as failed.
    ///
    /// # Errors
    /// When the database cannot be reached or written to.
    pub async fn withdraw(self, attempt: &Attempt) -> Result<(), DbErr> {
        let tx = self.db.begin().await?;
        self.decrement(&tx, attempt, false).await?;
        tx.commit().await
    }

    async fn decrement(
        self,
        tx: &Transaction,
        attempt: &Attempt,
        resets_last: bool,
    ) -> Result<(), DbErr> {
        if attempt.is_in_cache {
            shared::decrement(self.cache, &attempt.counters, resets_last).await;
            return Ok(());
        }
        rows::decrement(tx, &attempt.counters, resets_last).await
    }

    /// Removes expired rows; keys of the cache expire by themselves.
    ///
    /// # Errors
    /// When the database cannot be reached or written to.
    pub async fn clean(self, now: DateTime<Utc>) -> Result<(), DbErr> {
        rows::clean(self.db, now).await
    }

    fn network_counter(self, network: &str) -> Counter {
        Counter {
            name: self.name(&format!("address {network}")),
            limit: PER_NETWORK,
        }
    }

    /// The name of a counter: a keyed hash, which does not reveal the user or the network.
    fn name(self, text: &str) -> String {
        hex(&self.keys.salted_hmac("polls.auth.throttle", text))
    }
}

fn network(address: Option<IpAddr>) -> String {
    address.map_or_else(String::new, |address| client_network(address).to_string())
}
