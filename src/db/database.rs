//! One database: its connections for reading and for writing, and transactions.

use async_trait::async_trait;
use sea_orm::{
    AccessMode, ConnectionTrait, DbBackend, DbErr, ExecResult, IsolationLevel, QueryResult,
    SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait,
};

use super::{
    connect::{self, Purpose},
    failure::{is_lost, outside_transaction},
    health::Health,
    pool::Pool,
    sqlite::DatabaseFile,
    times::prepare,
    transaction::Transaction,
};
use crate::settings::DatabaseSettings;

/// One database. Queries go to it directly, changes through [`Database::begin`].
#[derive(Debug, Clone)]
pub struct Database {
    backend: DbBackend,
    reader: Pool,
    /// On SQLite a pool of one, so that the writers of this process queue instead of retrying.
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
        let health = Health::new(
            settings.backend,
            is_limited.then_some(settings.statement_timeout),
        );
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

    /// Begins a transaction. On SQLite it takes the write lock at once (`BEGIN IMMEDIATE`), so that it cannot fail
    /// later because of another writer.
    ///
    /// # Errors
    /// When there is no free connection in time, the database is locked by another process for too long, or the file of an
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
        // Nothing has been written that could be written twice.
        let transaction = self.retry_once(begin).await?;
        Ok(Transaction::new(transaction, self.health.clone()))
    }

    /// Begins a transaction that reads one state of the database, whatever others commit meanwhile. It blocks no other transaction, and on
    /// PostgreSQL it cannot write.
    ///
    /// # Errors
    /// When there is no free connection in time, or the connection is lost.
    pub async fn begin_snapshot(&self) -> Result<Transaction, DbErr> {
        let is_postgres = self.backend == DbBackend::Postgres;
        let options = TransactionOptions {
            isolation_level: is_postgres.then_some(IsolationLevel::RepeatableRead),
            access_mode: is_postgres.then_some(AccessMode::ReadOnly),
            sqlite_transaction_mode: Some(SqliteTransactionMode::Deferred),
        };
        let transaction = self.reader.get().begin_with_options(options).await?;
        Ok(Transaction::new(transaction, self.health.clone()))
    }

    /// Executes a read or a `BEGIN`, and retries it once if the connection was lost: the pool then pings the next connection first.
    async fn retry_once<T, F: Future<Output = Result<T, DbErr>>>(
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
    ///
    /// # Errors
    /// When it has been deleted or replaced.
    pub(super) fn check_file(&self) -> Result<(), DbErr> {
        self.file.as_ref().map_or(Ok(()), DatabaseFile::check)
    }

    /// Connects to PostgreSQL once, to get the error.
    ///
    /// # Errors
    /// [`DbErr::Conn`]: the server refuses the connection or the credentials, has no such database, or does not respond within 3 s.
    pub async fn try_connect(settings: &DatabaseSettings) -> Result<(), DbErr> {
        match settings.backend {
            DbBackend::Postgres => connect::try_postgres(settings).await,
            _ => Ok(()),
        }
    }

    /// The state of the connections.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// The number of open connections, and of the idle ones among them.
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

    /// Closes the connections; SQLite then checkpoints its WAL into the file.
    pub async fn close(self) {
        for pool in [self.reader, self.writer] {
            // A connection that cannot be closed is closed already.
            let _ = pool.get().close_by_ref().await;
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
        self.retry_once(|| {
            let statement = statement.clone();
            self.health
                .watch(async { self.reader.get().query_one_raw(statement).await })
        })
        .await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let statement = self.query(statement)?;
        self.check_file()?;
        self.retry_once(|| {
            let statement = statement.clone();
            self.health
                .watch(async { self.reader.get().query_all_raw(statement).await })
        })
        .await
    }
}
