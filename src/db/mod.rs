//! The databases: connections, transactions, and errors.
//!
//! What reads takes any [`sea_orm::ConnectionTrait`]; what writes takes a [`Transaction`], and a [`Database`] itself refuses to
//! write. On SQLite that prevents a loss of data: a row inserted outside a transaction with RETURNING is reported as stored
//! even when a deferred foreign key rolls it back at once.

mod changes;
mod connect;
mod connection;
mod database;
mod failure;
mod health;
mod lookups;
mod pool;
mod related;
mod replica;
mod server;
mod servers;
mod sqlite;
mod times;
mod transaction;

use std::time::Duration;

use sea_orm::DbErr;

use self::replica::Replica;
pub use self::{
    changes::{Change, ChangeFeed, has_triggers as has_change_triggers},
    connect::Purpose,
    connection::Connection,
    database::Database,
    failure::{
        is_locked, is_lost, is_missing_table, is_refusal, is_standby, is_storage, is_transient,
        message, reported,
    },
    health::Health,
    lookups::{LOOKUPS, escape_like, text_lookup},
    related::{add_related, related_keys, remove_related, set_related},
    replica::{MAX_LAG, Reader, ReplicaCounters},
    servers::ServerCounters,
    times::{is_storable, microseconds, sqlite_time},
    transaction::Transaction,
};
use crate::settings::DatabaseSettings;

/// The statement timeout of the readiness probe and of the replica's checks. The setting for requests may be up to a day.
const PROBE_STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// The databases by purpose.
#[derive(Debug, Clone)]
pub struct Databases {
    primary: Database,
    probe: Database,
    replica: Option<Replica>,
}

impl Databases {
    /// Connects for serving requests. PostgreSQL is connected to with the first query, so that a server can start
    /// before its database.
    ///
    /// # Errors
    /// When the SQLite file cannot be opened.
    pub async fn connect(settings: &DatabaseSettings) -> Result<Self, DbErr> {
        let primary = Database::connect(settings, Purpose::Requests).await?;
        let mut single = settings.clone();
        single.pool_size = 1;
        single.statement_timeout = settings.statement_timeout.min(PROBE_STATEMENT_TIMEOUT);
        let one_more = || async {
            match primary.servers() {
                Some(servers) => Database::of_servers(servers.clone(), &single).await,
                None => Database::connect(&single, Purpose::Requests).await,
            }
        };
        let probe = one_more().await?;
        let replica = match settings.replica() {
            Some(replica) => Some(Replica::connect(&replica, one_more().await?).await?),
            None => None,
        };
        Ok(Self {
            primary,
            probe,
            replica,
        })
    }

    /// For reads that may be stale, by [`MAX_LAG`] at most.
    pub fn read(&self) -> Reader<'_> {
        Reader {
            primary: &self.primary,
            replica: self.replica.as_ref(),
        }
    }

    /// As [`Databases::read`], for a client that has to see what it has just changed.
    pub fn read_latest(&self) -> Reader<'_> {
        Reader {
            primary: &self.primary,
            replica: None,
        }
    }

    /// For writes, and for reading one's own writes.
    pub fn write(&self) -> &Database {
        &self.primary
    }

    /// The primary on one connection of its own, for health checks: requests that wait for a connection do not delay them.
    pub fn probe(&self) -> &Database {
        &self.probe
    }

    /// The state of the replica, if there is one.
    pub fn replica(&self) -> Option<&ReplicaCounters> {
        self.replica.as_ref().map(Replica::counters)
    }
}
