//! The databases: the one place that connects, and the one way in for every statement.
//!
//! What reads takes any [`ConnectionTrait`]; what writes takes a [`Transaction`], and a [`Database`] itself refuses to
//! write. On SQLite that is more than order: a row inserted outside a transaction with RETURNING is reported as stored
//! even when a deferred foreign key takes it back at once.

mod connect;
mod connection;
mod failure;
mod health;
mod pool;
mod replica;
mod sqlite;
mod times;

use async_trait::async_trait;
use migration::SchemaManager;
use sea_orm::{
    ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult,
    SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait, Value,
};

pub use self::{
    connection::Connection,
    failure::{is_locked, is_lost, is_missing_table, is_passing, is_refusal, is_storage},
    health::Health,
    replica::{MAX_LAG, Reader, ReplicaCounters},
    times::{is_storable, microseconds, sqlite_time},
};
use self::{pool::Pool, replica::Replica, sqlite::DatabaseFile};
use crate::settings::DatabaseSettings;

/// The databases by purpose.
#[derive(Debug, Clone)]
pub struct Databases {
    primary: Database,
    probe: Database,
    replica: Option<Replica>,
}

impl Databases {
    /// Connects for serving requests. PostgreSQL is called when the first query comes, so that a server can start
    /// before its database.
    ///
    /// # Errors
    /// When the SQLite file cannot be opened.
    pub async fn connect(settings: &DatabaseSettings) -> Result<Self, DbErr> {
        let primary = Database::connect(settings, Purpose::Requests).await?;
        let probe = DatabaseSettings {
            pool_size: 1,
            ..settings.clone()
        };
        let probe = Database::connect(&probe, Purpose::Requests).await?;
        let replica = match settings.replica() {
            Some(replica) => Some(Replica::connect(&replica, probe.clone()).await?),
            None => None,
        };
        Ok(Self {
            primary,
            probe,
            replica,
        })
    }

    /// For what may be a moment old, [`MAX_LAG`] at most.
    pub fn read(&self) -> Reader<'_> {
        Reader {
            primary: &self.primary,
            replica: self.replica.as_ref(),
        }
    }

    /// As [`Databases::read`], for who has to see what they have just changed.
    pub fn read_latest(&self) -> Reader<'_> {
        Reader {
            primary: &self.primary,
            replica: None,
        }
    }

    /// For changes, and for reading what has just been changed.
    pub fn write(&self) -> &Database {
        &self.primary
    }

    /// The primary on one connection of its own, for health checks: requests that wait for a connection do not delay them.
    pub fn probe(&self) -> &Database {
        &self.probe
    }

    /// How it goes with the copy, if there is one.
    pub fn replica(&self) -> Option<&ReplicaCounters> {
        self.replica.as_ref().map(Replica::counters)
    }
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Serving requests: many connections, short statements.
    Requests,
    /// A management command: one connection, statements of any length.
    Command,
    /// Changing the schema: as a command, and on SQLite with foreign keys unchecked until the end, since tables are
    /// dropped and made anew.
    Migrations,
}

/// One database. Queries go to it directly, changes through [`Database::begin`].
#[derive(Debug, Clone)]
pub struct Database {
    backend: DbBackend,
    reader: Pool,
    /// On SQLite a pool of one, so that writers of this process wait in line instead of trying again and again.
    writer: Pool,
    health: Health,
    /// On SQLite, when serving requests.
    file: Option<DatabaseFile>,
}

impl Database {
    /// Connects.
    ///
    /// # Errors
    /// When the database cannot be reached; not for [`Purpose::Requests`] on PostgreSQL.
    pub async fn connect(settings: &DatabaseSettings, purpose: Purpose) -> Result<Self, DbErr> {
        let is_limited = settings.backend == DbBackend::Postgres && purpose == Purpose::Requests;
        let health = Health::new(settings.backend, is_limited);
        let (reader, writer) = match (settings.backend, purpose) {
            (DbBackend::Sqlite, _) => {
                let writer = connect::sqlite_writer(settings, purpose, &health).await?;
                let writer = Pool::fixed(writer);
                let reader = if purpose == Purpose::Requests {
                    let connections = settings.pool_size;
                    Pool::fixed(connect::sqlite_reader(settings, purpose, connections).await?)
                } else {
                    writer.clone()
                };
                (reader, writer)
            }
            (_, Purpose::Requests) => {
                let pool = Pool::renewable(settings, &health).await?;
                (pool.clone(), pool)
            }
            (_, Purpose::Command | Purpose::Migrations) => {
                let pool = Pool::fixed(connect::postgres(settings, purpose, &health).await?);
                (pool.clone(), pool)
            }
        };
        let file = settings
            .sqlite_file()
            .filter(|_| purpose == Purpose::Requests)
            .and_then(DatabaseFile::opened);
        Ok(Self {
            backend: settings.backend,
            reader,
            writer,
            health,
            file,
        })
    }

    /// Begins a transaction. On SQLite it takes the right to write at once (`BEGIN IMMEDIATE`), so that it cannot fail
    /// half-way because somebody else wrote meanwhile.
    ///
    /// # Errors
    /// When there is no connection to be had, the database is locked by another process for too long, or the file of an
    /// SQLite database has been deleted or replaced.
    pub async fn begin(&self) -> Result<Transaction, DbErr> {
        self.check_file()?;
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let begin = || {
            self.health
                .watch(async { self.writer.get().begin_with_options(options).await })
        };
        // Nothing has been done that could be done twice.
        let transaction = self.once_more(begin).await?;
        Ok(Transaction {
            transaction,
            health: self.health.clone(),
        })
    }

    /// Does something that changes nothing, and once more if it failed because the connection was lost: the pool gives
    /// another one then, and makes sure of it first.
    async fn once_more<T, F: Future<Output = Result<T, DbErr>>>(
        &self,
        action: impl Fn() -> F,
    ) -> Result<T, DbErr> {
        match action().await {
            Err(error) if is_lost(&error) => {
                self.health.retries.inc();
                action().await
            }
            result => result,
        }
    }

    /// Checks that the file of an SQLite database is still the one that was opened.
    fn check_file(&self) -> Result<(), DbErr> {
        self.file.as_ref().map_or(Ok(()), DatabaseFile::check)
    }

    /// Connects to PostgreSQL once, for the reason why that is not possible.
    ///
    /// # Errors
    /// The reason.
    pub async fn try_connect(settings: &DatabaseSettings) -> Result<(), DbErr> {
        match settings.backend {
            DbBackend::Postgres => connect::try_postgres(settings).await,
            _ => Ok(()),
        }
    }

    /// How it goes with the connections.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// How many connections are open, and how many of them are not in use.
    pub fn pool_size(&self) -> (usize, usize) {
        if self.get_database_backend() == DbBackend::Postgres {
            let pool = self.reader.get();
            let pool = pool.get_postgres_connection_pool();
            (pool.size() as usize, pool.num_idle())
        } else {
            let (reader, writer) = (self.reader.get(), self.writer.get());
            let (reader, writer) = (
                reader.get_sqlite_connection_pool(),
                writer.get_sqlite_connection_pool(),
            );
            (
                (reader.size() + writer.size()) as usize,
                reader.num_idle() + writer.num_idle(),
            )
        }
    }

    /// Ends the connections; SQLite then writes its journal into its file.
    pub async fn close(self) {
        for pool in [self.reader, self.writer] {
            // A connection that cannot be closed is gone already.
            let _ = pool.get().close().await;
        }
    }

    /// The statement, if it only reads.
    fn query(&self, statement: Statement) -> Result<Statement, DbErr> {
        let verb = statement
            .sql
            .trim_start()
            .split(char::is_whitespace)
            .next()
            .unwrap_or_default();
        if ["SELECT", "PRAGMA"]
            .iter()
            .any(|word| verb.eq_ignore_ascii_case(word))
        {
            prepare(statement)
        } else {
            Err(outside_transaction())
        }
    }
}

#[async_trait]
impl ConnectionTrait for Database {
    fn get_database_backend(&self) -> DbBackend {
        self.backend
    }

    async fn execute_raw(&self, _: Statement) -> Result<ExecResult, DbErr> {
        Err(outside_transaction())
    }

    async fn execute_unprepared(&self, _: &str) -> Result<ExecResult, DbErr> {
        Err(outside_transaction())
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let statement = self.query(statement)?;
        self.check_file()?;
        self.once_more(|| {
            let statement = statement.clone();
            self.health
                .watch(async { self.reader.get().query_one_raw(statement).await })
        })
        .await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let statement = self.query(statement)?;
        self.check_file()?;
        self.once_more(|| {
            let statement = statement.clone();
            self.health
                .watch(async { self.reader.get().query_all_raw(statement).await })
        })
        .await
    }
}

/// An open transaction. Dropped without a commit, it is undone.
#[derive(Debug)]
pub struct Transaction {
    transaction: DatabaseTransaction,
    health: Health,
}

impl Transaction {
    /// Makes the changes last.
    ///
    /// # Errors
    /// When they break a deferred constraint, or the connection is gone, in which case they may have been made.
    pub async fn commit(self) -> Result<(), DbErr> {
        let Self {
            transaction,
            health,
        } = self;
        let committed = health.watch(transaction.commit()).await;
        match committed {
            Ok(()) => health.storage_recovered(),
            // Not used again, unless it has been given back already and found to be in order.
            Err(_) => health.discard_next_released(),
        }
        committed
    }

    /// For running migrations inside the transaction.
    pub fn schema_manager(&self) -> SchemaManager<'_> {
        SchemaManager::new(&self.transaction)
    }
}

#[async_trait]
impl ConnectionTrait for Transaction {
    fn get_database_backend(&self) -> DbBackend {
        self.transaction.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.health
            .watch(self.transaction.execute_raw(prepare(statement)?))
            .await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.health
            .watch(self.transaction.execute_unprepared(sql))
            .await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.health
            .watch(self.transaction.query_one_raw(prepare(statement)?))
            .await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.health
            .watch(self.transaction.query_all_raw(prepare(statement)?))
            .await
    }
}

/// Gives the statement's times the form that Django stores: whole microseconds, and on SQLite its text.
fn prepare(mut statement: Statement) -> Result<Statement, DbErr> {
    let is_sqlite = statement.db_backend == DbBackend::Sqlite;
    for value in statement.values.iter_mut().flat_map(|values| &mut values.0) {
        if let Value::ChronoDateTimeUtc(Some(time)) = value {
            if !is_storable(*time) {
                return Err(DbErr::Custom(format!(
                    "the time {time} is not within the years 1 to 9999"
                )));
            }
            if is_sqlite {
                *value = Value::from(sqlite_time(*time));
            } else {
                *time = microseconds(*time);
            }
        }
    }
    Ok(statement)
}

fn outside_transaction() -> DbErr {
    DbErr::Custom("a change was attempted outside a transaction".to_owned())
}
