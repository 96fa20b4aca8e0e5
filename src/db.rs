//! The databases: the one place that connects, and the one way in for every statement.
//!
//! What reads takes any [`ConnectionTrait`]; what writes takes a [`Transaction`], and a [`Database`] itself refuses to
//! write. On SQLite that is more than order: a row inserted outside a transaction with RETURNING is reported as stored
//! even when a deferred foreign key takes it back at once.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use chrono::{DateTime, Datelike, SubsecRound, Timelike, Utc};
use futures_util::future::BoxFuture;
use migration::SchemaManager;
use prometheus_client::metrics::counter::Counter;
use sea_orm::{
    ConnectOptions, ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr,
    ExecResult, QueryResult, RuntimeErr, SqliteTransactionMode, Statement, TransactionOptions,
    TransactionTrait, Value,
};
use secrecy::ExposeSecret;
use sqlx::{
    pool::PoolConnectionMetadata,
    sqlite::{SqliteJournalMode, SqliteSynchronous},
};
use tracing::Instrument;

use crate::settings::DatabaseSettings;

/// How long a request waits for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long PostgreSQL works on a statement of a request.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a statement of a request may be without an answer, whatever has become of PostgreSQL: longer than it works.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(12);
/// How long a connection of which nobody knows whether it still leads anywhere has for a sign of life.
const PING_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a doubt about connections is remembered: longer than any of them can have been without an answer.
const DOUBT: Duration = Duration::from_secs(30);
/// How long it takes at most until a connection that was left in the middle of something is given back.
const LEFT: Duration = Duration::from_secs(2);
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
    health: Health,
}

/// What makes connections doubtful.
#[derive(Debug, Default)]
struct Doubts {
    /// When one was last lost: others may be, too.
    lost: Option<Instant>,
    /// When one was last left in the middle of something, by a visitor who went away, say: that one only.
    left: Option<Instant>,
}

/// How it goes with the connections to a database.
#[derive(Debug, Clone, Default)]
pub struct Health {
    /// Statements that were tried once more after a lost connection.
    pub retries: Counter,
    /// Statements that were not answered in time.
    pub timeouts: Counter,
    doubts: Arc<Mutex<Doubts>>,
    /// The kind of database, as OpenTelemetry calls it.
    system: &'static str,
    /// Whether statements have a time limit of ours: those of commands have none.
    is_limited: bool,
}

impl Health {
    fn doubts(&self) -> MutexGuard<'_, Doubts> {
        self.doubts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that connections as old as this moment may lead nowhere.
    fn doubt(&self) {
        self.doubts().lost = Some(Instant::now());
    }

    /// Whether a connection of this age has to show that it lives; `is_given_back` if somebody has just used it.
    fn is_doubtful(&self, age: Duration, is_given_back: bool) -> bool {
        let doubts = self.doubts();
        let is_within = |moment: Option<Instant>, time| {
            moment.is_some_and(|moment| moment.elapsed() < time && age >= moment.elapsed())
        };
        is_within(doubts.lost, DOUBT) || is_given_back && is_within(doubts.left, LEFT)
    }

    /// Waits for an answer, but not for ever. Whoever stops waiting before it is there leaves a connection behind that
    /// nobody knows about.
    async fn watch<T>(&self, answer: impl Future<Output = Result<T, DbErr>>) -> Result<T, DbErr> {
        let answer = answer.instrument(tracing::debug_span!(
            "statement",
            otel.kind = "client",
            db.system.name = self.system
        ));
        if !self.is_limited {
            return answer.await;
        }
        let answer = std::pin::pin!(answer);
        // Dropped before the answer is.
        let mut unanswered = Unanswered(Some(self));
        let result = tokio::time::timeout(ANSWER_TIMEOUT, answer).await;
        let Ok(result) = result else {
            self.timeouts.inc();
            self.doubt();
            let seconds = ANSWER_TIMEOUT.as_secs();
            let text = format!("no answer in {seconds} s");
            return Err(DbErr::Conn(RuntimeErr::Internal(text)));
        };
        unanswered.0 = None;
        if result.as_ref().is_err_and(is_lost) {
            self.doubt();
        }
        result
    }
}

/// Doubts a connection when it is dropped, unless the answer has come.
struct Unanswered<'a>(Option<&'a Health>);

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(health) = self.0 {
            health.doubts().left = Some(Instant::now());
        }
    }
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
                Ok(Self {
                    reader,
                    writer,
                    health: Health {
                        system: "sqlite",
                        ..Health::default()
                    },
                })
            }
            _ => {
                let health = Health {
                    system: "postgresql",
                    is_limited: purpose == Purpose::Requests,
                    ..Health::default()
                };
                let pool = connect_postgres(settings, purpose, &health).await?;
                Ok(Self {
                    reader: pool.clone(),
                    writer: pool,
                    health,
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
        let begin = || self.health.watch(self.writer.begin_with_options(options));
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

    /// How it goes with the connections.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// How many connections are open, and how many of them are not in use.
    pub fn pool_size(&self) -> (usize, usize) {
        if self.get_database_backend() == DbBackend::Postgres {
            let pool = self.reader.get_postgres_connection_pool();
            (pool.size() as usize, pool.num_idle())
        } else {
            let (reader, writer) = (
                self.reader.get_sqlite_connection_pool(),
                self.writer.get_sqlite_connection_pool(),
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
        let statement = self.query(statement)?;
        self.once_more(|| {
            self.health
                .watch(self.reader.query_one_raw(statement.clone()))
        })
        .await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let statement = self.query(statement)?;
        self.once_more(|| {
            self.health
                .watch(self.reader.query_all_raw(statement.clone()))
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
    /// When they break a deferred constraint, or the connection is gone, in which case nobody can tell whether they
    /// were made.
    pub async fn commit(self) -> Result<(), DbErr> {
        let Self {
            transaction,
            health,
        } = self;
        health.watch(transaction.commit()).await
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
    health: &Health,
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
            check_doubtful(&mut options, health);
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
                    return Err(DbErr::Conn(RuntimeErr::SqlxError(error.into())));
                }
            };
            match connection {
                Ok(Ok(connection)) => drop(connection.close().await),
                Ok(Err(error)) => {
                    return Err(DbErr::Conn(RuntimeErr::SqlxError(error.into())));
                }
                Err(_) => {
                    return Err(DbErr::Conn(RuntimeErr::Internal(
                        "no answer in time".to_owned(),
                    )));
                }
            }
        }
    }
    sea_orm::Database::connect(options).await
}

/// Lets the pool give out, and take back, connections that are in doubt only if they show that they live.
fn check_doubtful(options: &mut ConnectOptions, health: &Health) {
    let after = sign_of_life(health.clone(), true);
    options
        .map_sqlx_postgres_before_acquire(sign_of_life(health.clone(), false))
        .map_sqlx_postgres_pool_opts(move |pool| pool.after_release(after.clone()));
}

/// Asks a connection that is in doubt for a sign of life, and no other.
fn sign_of_life(
    health: Health,
    is_given_back: bool,
) -> impl for<'c> Fn(
    &'c mut sqlx::PgConnection,
    PoolConnectionMetadata,
) -> BoxFuture<'c, Result<bool, sqlx::Error>>
+ Clone
+ Send
+ Sync
+ 'static {
    use sqlx::Connection as _;
    move |connection, metadata| {
        if !health.is_doubtful(metadata.age, is_given_back) {
            return Box::pin(std::future::ready(Ok(true)));
        }
        Box::pin(async move {
            let sign = tokio::time::timeout(PING_TIMEOUT, connection.ping()).await;
            let late = || Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into());
            sign.unwrap_or_else(|_| late()).map(|()| true)
        })
    }
}

/// Whether an error says that the connection is gone, or was never there.
pub fn is_lost(error: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(cause))
    | DbErr::Query(RuntimeErr::SqlxError(cause))
    | DbErr::Conn(RuntimeErr::SqlxError(cause))) = error
    else {
        return false;
    };
    match &**cause {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => true,
        // PostgreSQL: class 08, and an administrator's or a crash's end of the session.
        sqlx::Error::Database(error) => error
            .code()
            .is_some_and(|code| code.starts_with("08") || ["57P01", "57P02"].contains(&&*code)),
        _ => false,
    }
}
