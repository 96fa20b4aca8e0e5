//! The databases: the one place that connects, and the one way in for every statement.
//!
//! What reads takes any [`ConnectionTrait`]; what writes takes a [`Transaction`], and a [`Database`] itself refuses to
//! write. On SQLite that is more than order: a row inserted outside a transaction with RETURNING is reported as stored
//! even when a deferred foreign key takes it back at once.

use std::{borrow::Cow, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Datelike, SubsecRound, Timelike, Utc};
use migration::SchemaManager;
use sea_orm::{
    ConnectOptions, ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr,
    ExecResult, QueryResult, SqliteTransactionMode, Statement, TransactionOptions,
    TransactionTrait, Value,
};
use secrecy::ExposeSecret;
use sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};

use crate::settings::DatabaseSettings;

/// How long a request waits for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long PostgreSQL works on a statement of a request.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a statement of a request waits for a row that another transaction has locked, on PostgreSQL.
const LOCK_TIMEOUT: &str = "1s";
/// How long SQLite waits for another process to finish writing.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that rested longer are tried before they are used.
const TEST_IF_IDLE_FOR: Duration = Duration::from_secs(30);

/// The databases by purpose.
#[derive(Debug, Clone)]
pub struct Databases {
    primary: Database,
}

impl Databases {
    /// Connects for serving requests. PostgreSQL is called when the first query comes, so that a server can start
    /// before its database.
    ///
    /// # Errors
    /// When the SQLite file cannot be opened.
    pub async fn connect(settings: &DatabaseSettings) -> Result<Self, DbErr> {
        Ok(Self {
            primary: Database::connect(settings, Purpose::Requests).await?,
        })
    }

    /// For what may be a moment old.
    pub fn read(&self) -> &Database {
        &self.primary
    }

    /// For changes, and for reading what has just been changed.
    pub fn write(&self) -> &Database {
        &self.primary
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
    reader: DatabaseConnection,
    /// On SQLite a pool of one, so that writers of this process wait in line instead of trying again and again.
    writer: DatabaseConnection,
}

impl Database {
    /// Connects.
    ///
    /// # Errors
    /// When the database cannot be reached; not for [`Purpose::Requests`] on PostgreSQL.
    pub async fn connect(settings: &DatabaseSettings, purpose: Purpose) -> Result<Self, DbErr> {
        match settings.backend {
            DbBackend::Sqlite => {
                let writer = connect_sqlite(settings, purpose, 1).await?;
                let reader = match purpose {
                    Purpose::Requests => {
                        connect_sqlite(settings, purpose, settings.pool_size).await?
                    }
                    Purpose::Command | Purpose::Migrations => writer.clone(),
                };
                Ok(Self { reader, writer })
            }
            _ => {
                let pool = connect_postgres(settings, purpose).await?;
                Ok(Self {
                    reader: pool.clone(),
                    writer: pool,
                })
            }
        }
    }

    /// Begins a transaction. On SQLite it takes the right to write at once (`BEGIN IMMEDIATE`), so that it cannot fail
    /// half-way because somebody else wrote meanwhile.
    ///
    /// # Errors
    /// When there is no connection to be had, or the database is locked by another process for too long.
    pub async fn begin(&self) -> Result<Transaction, DbErr> {
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        Ok(Transaction(self.writer.begin_with_options(options).await?))
    }

    /// Ends the connections; SQLite then writes its journal into its file.
    pub async fn close(self) {
        for pool in [self.reader, self.writer] {
            // A connection that cannot be closed is gone already.
            let _ = pool.close().await;
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
        self.reader.get_database_backend()
    }

    async fn execute_raw(&self, _: Statement) -> Result<ExecResult, DbErr> {
        Err(outside_transaction())
    }

    async fn execute_unprepared(&self, _: &str) -> Result<ExecResult, DbErr> {
        Err(outside_transaction())
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.reader.query_one_raw(self.query(statement)?).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.reader.query_all_raw(self.query(statement)?).await
    }
}

/// An open transaction. Dropped without a commit, it is undone.
#[derive(Debug)]
pub struct Transaction(DatabaseTransaction);

impl Transaction {
    /// Makes the changes last.
    ///
    /// # Errors
    /// When they break a deferred constraint, or the connection is gone, in which case nobody can tell whether they
    /// were made.
    pub async fn commit(self) -> Result<(), DbErr> {
        self.0.commit().await
    }

    /// For running migrations inside the transaction.
    pub fn schema_manager(&self) -> SchemaManager<'_> {
        SchemaManager::new(&self.0)
    }
}

#[async_trait]
impl ConnectionTrait for Transaction {
    fn get_database_backend(&self) -> DbBackend {
        self.0.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.0.execute_raw(prepare(statement)?).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.0.execute_unprepared(sql).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.0.query_one_raw(prepare(statement)?).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.0.query_all_raw(prepare(statement)?).await
    }
}

/// Either way to read, for those who do not care which.
#[derive(Debug, Clone, Copy)]
pub enum Connection<'a> {
    /// As things stand.
    Database(&'a Database),
    /// As this transaction sees them.
    Transaction(&'a Transaction),
}

#[async_trait]
impl ConnectionTrait for Connection<'_> {
    fn get_database_backend(&self) -> DbBackend {
        match self {
            Self::Database(db) => db.get_database_backend(),
            Self::Transaction(tx) => tx.get_database_backend(),
        }
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        match self {
            Self::Database(db) => db.execute_raw(statement).await,
            Self::Transaction(tx) => tx.execute_raw(statement).await,
        }
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        match self {
            Self::Database(db) => db.execute_unprepared(sql).await,
            Self::Transaction(tx) => tx.execute_unprepared(sql).await,
        }
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        match self {
            Self::Database(db) => db.query_one_raw(statement).await,
            Self::Transaction(tx) => tx.query_one_raw(statement).await,
        }
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        match self {
            Self::Database(db) => db.query_all_raw(statement).await,
            Self::Transaction(tx) => tx.query_all_raw(statement).await,
        }
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

/// Whether a time is one that Django can read: Python's years have four digits, and so have those of the text form.
pub fn is_storable(time: DateTime<Utc>) -> bool {
    (1..=9999).contains(&time.year())
}

/// A time cut (not rounded) to the microseconds that both databases keep.
pub fn microseconds(time: DateTime<Utc>) -> DateTime<Utc> {
    time.trunc_subsecs(6)
}

/// A time as Django stores it on SQLite: `YYYY-MM-DD HH:MM:SS`, with six more digits unless they are zero. All rows
/// have this form, and so comparing texts compares times.
pub fn sqlite_time(time: DateTime<Utc>) -> String {
    let is_whole = time.nanosecond() < 1000;
    time.format(if is_whole {
        "%Y-%m-%d %H:%M:%S"
    } else {
        "%Y-%m-%d %H:%M:%S%.6f"
    })
    .to_string()
}

fn outside_transaction() -> DbErr {
    DbErr::Custom("a change was attempted outside a transaction".to_owned())
}

fn options(settings: &DatabaseSettings, purpose: Purpose, connections: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new(settings.url.expose_secret());
    options
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire_if_idle_for(TEST_IF_IDLE_FOR)
        .sqlx_logging_level(log::LevelFilter::Debug)
        .sqlx_slow_statements_logging_settings(log::LevelFilter::Warn, Duration::from_secs(1));
    if purpose != Purpose::Requests {
        // A command may think for long between two statements; its one connection must stay the same.
        options
            .max_lifetime(None::<Duration>)
            .idle_timeout(None::<Duration>);
    }
    options
}

async fn connect_sqlite(
    settings: &DatabaseSettings,
    purpose: Purpose,
    connections: u32,
) -> Result<DatabaseConnection, DbErr> {
    let mut options = options(settings, purpose, connections);
    options.map_sqlx_sqlite_opts(move |options| {
        let options = options
            // An acknowledged vote survives a power cut.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(purpose != Purpose::Migrations);
        match purpose {
            // Lasts beyond the connection. A command that only looks must not change the file.
            Purpose::Requests | Purpose::Migrations => options.journal_mode(SqliteJournalMode::Wal),
            Purpose::Command => options,
        }
    });
    sea_orm::Database::connect(options).await
}

async fn connect_postgres(
    settings: &DatabaseSettings,
    purpose: Purpose,
) -> Result<DatabaseConnection, DbErr> {
    let connections = if purpose == Purpose::Requests {
        settings.pool_size
    } else {
        1
    };
    let mut options = options(settings, purpose, connections);
    options.set_application_name(Cow::Borrowed("polls"));
    match purpose {
        Purpose::Requests => {
            options
                .statement_timeout(STATEMENT_TIMEOUT)
                .map_sqlx_postgres_opts(|options| options.options([("lock_timeout", LOCK_TIMEOUT)]))
                .connect_lazy(true);
        }
        Purpose::Command | Purpose::Migrations => {
            // The pool would try until its time is up and then tell of the time only: ask once for the real reason.
            use sqlx::{ConnectOptions as _, Connection as _};
            let url = settings
                .url
                .expose_secret()
                .parse::<sqlx::postgres::PgConnectOptions>();
            let connection = match url {
                Ok(options) => tokio::time::timeout(ACQUIRE_TIMEOUT, options.connect()).await,
                Err(error) => {
                    return Err(DbErr::Conn(sea_orm::RuntimeErr::SqlxError(error.into())));
                }
            };
            match connection {
                Ok(Ok(connection)) => drop(connection.close().await),
                Ok(Err(error)) => {
                    return Err(DbErr::Conn(sea_orm::RuntimeErr::SqlxError(error.into())));
                }
                Err(_) => {
                    return Err(DbErr::Conn(sea_orm::RuntimeErr::Internal(
                        "no answer in time".to_owned(),
                    )));
                }
            }
        }
    }
    sea_orm::Database::connect(options).await
}
