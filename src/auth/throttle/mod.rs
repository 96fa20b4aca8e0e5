//! Limits on failed password checks. The counts are in the cache or else in rows, so that all replicas share them; each
//! attempt is counted before its hash is computed, so that attempts at the same time cannot slip through together.
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

/// An attempt that was let through, and is counted as failed until it is forgiven.
#[derive(Debug)]
pub struct Attempt {
    /// The last is the narrowest. Always in the same order: attempts at once wait for each other and do not deadlock.
    counters: Vec<Counter>,
    /// The user's network, to be known after a login.
    network: Option<String>,
    /// Whether the cache counts it, or rows do.
    is_in_cache: bool,
}

/// Whether an attempt may be made.
#[derive(Debug)]
pub enum Admission {
    /// It has been counted and may be made.
    Admitted(Attempt),
    /// Too many have failed; the time until the next may be made, [`WINDOW`] at most.
    Refused(TimeDelta),
}

/// Where failed attempts are counted.
#[derive(Debug, Clone, Copy)]
pub struct Throttle<'a> {
    /// If there is one and it answers.
    pub cache: &'a Cache,
    /// Otherwise.
    pub db: &'a Database,
    /// With which the names of the counts are made.
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

    /// Counts an attempt to log in, and says whether it may be made.
    ///
    /// # Errors
    /// When the database refuses.
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

    /// Counts an attempt of a logged-in user to enter their old password. The counter covers all networks, since the thief of
    /// a session can use many.
    ///
    /// # Errors
    /// When the database refuses.
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

    /// Takes the count of an attempt back after the right password, and the narrowest of those before it; after a login the
    /// network is known.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn forgive(
        self,
        tx: &Transaction,
        attempt: &Attempt,
        now: DateTime<Utc>,
    ) -> Result<(), DbErr> {
        if let Some(network) = &attempt.network {
            rows::remember(tx, network, now).await?;
        }
        if attempt.is_in_cache {
            shared::forgive(self.cache, &attempt.counters).await;
            return Ok(());
        }
        rows::forgive(tx, &attempt.counters).await
    }

    /// Takes back the count of an attempt whose password was not even compared.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn withdraw(self, attempt: &Attempt) -> Result<(), DbErr> {
        if attempt.is_in_cache {
            shared::withdraw(self.cache, &attempt.counters).await;
            return Ok(());
        }
        rows::withdraw(self.db, &attempt.counters).await
    }

    /// Removes the rows that no longer count; the cache does so by itself.
    ///
    /// # Errors
    /// When the database refuses.
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
