//! One database: its connections for reading and for writing, and transactions.

use async_trait::async_trait;
use sea_orm::{
    AccessMode, ConnectionTrait, DbBackend, DbErr, ExecResult, IsolationLevel, QueryResult,
    SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait,
};

use super::{
    connect::{self, Purpose},
    failure::{is_login_refused, is_lost, outside_transaction},
    health::Health,
    pool::Pool,
    server::Role,
    servers::{ServerCounters, Servers},
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
    /// On PostgreSQL, when serving requests.
    servers: Option<Servers>,
    /// On SQLite, when serving requests.
    file: Option<DatabaseFile>,
}

impl Database {
    /// Connects.
    ///
    /// # Errors
    /// When the database cannot be reached; not for [`Purpose::Requests`] on PostgreSQL.
    pub async fn connect(settings: &DatabaseSettings, purpose: Purpose) -> Result<Self, DbErr> {
        match (settings.backend, purpose) {
            (DbBackend::Sqlite, _) => Self::open_sqlite(settings, purpose).await,
            (_, Purpose::Requests) => {
                let servers = Servers::start(settings, Role::Primary).await;
                Self::of_servers(servers, settings).await
            }
            (_, Purpose::Command | Purpose::Migrations) => {
                let pool = Pool::fixed(connect::command(settings, purpose).await?);
                let health = Health::new(settings.backend);
                Ok(Self::new(settings.backend, [pool.clone(), pool], health))
            }
        }
    }

    async fn open_sqlite(settings: &DatabaseSettings, purpose: Purpose) -> Result<Self, DbErr> {
        let health = Health::new(settings.backend);
        let writer = connect::sqlite_writer(settings, purpose, &health).await?;
        let writer = Pool::fixed(writer);
        if purpose != Purpose::Requests {
            return Ok(Self::new(
                settings.backend,
                [writer.clone(), writer],
                health,
            ));
        }
        let connections = settings.pool_size;
        let reader = Pool::fixed(connect::sqlite_reader(settings, purpose, connections).await?);
        Ok(Self {
            file: settings.sqlite_file().and_then(DatabaseFile::opened),
            ..Self::new(settings.backend, [reader, writer], health)
        })
    }

    /// The database of the server in use of these, for serving requests. The first statement connects.
    ///
    /// # Errors
    /// When the settings are invalid.
    pub(super) async fn of_servers(
        servers: Servers,
        settings: &DatabaseSettings,
    ) -> Result<Self, DbErr> {
        let health = Health::of_servers(&servers, settings.statement_timeout);
        let pool = Pool::renewable(settings, &servers, &health).await?;
        Ok(Self {
            servers: Some(servers),
            ..Self::new(settings.backend, [pool.clone(), pool], health)
        })
    }

    fn new(backend: DbBackend, [reader, writer]: [Pool; 2], health: Health) -> Self {
        Self {
            backend,
            reader,
            writer,
            health,
            servers: None,
            file: None,
        }
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

    /// Executes a read or a `BEGIN`, and retries it once if the connection was lost: the pool then pings the next connection first. If
    /// the password was refused, another one may be in its file, and is tried.
    async fn retry_once<T, F: Future<Output = Result<T, DbErr>>>(
        &self,
        action: impl Fn() -> F,
    ) -> Result<T, DbErr> {
        let mut result = action().await;
        if matches!(&result, Err(error) if is_lost(error)) {
            self.health.retries.inc();
            result = action().await;
        }
        let Some(servers) = &self.servers else {
            return result;
        };
        if matches!(&result, Err(error) if is_login_refused(error))
            && servers.compare().await.is_ok()
        {
            self.reader.follow().await;
            self.health.retries.inc();
            result = action().await;
        }
        result
    }

    /// Checks that the file of an SQLite database is still the one that was opened.
    ///
    /// # Errors
    /// When it has been deleted or replaced.
    pub(super) fn check_file(&self) -> Result<(), DbErr> {
        self.file.as_ref().map_or(Ok(()), DatabaseFile::check)
    }

    /// The servers, on PostgreSQL when serving requests.
    pub(super) fn servers(&self) -> Option<&Servers> {
        self.servers.as_ref()
    }

    /// Why the server of PostgreSQL cannot be reached, when serving requests; `None` if it can.
    pub async fn outage(&self) -> Option<&'static str> {
        let compared = self.servers.as_ref()?.compare().await;
        compared.err().map(|no_server| no_server.reason())
    }

    /// Whether no server takes changes and a standby is read, on PostgreSQL when serving requests.
    pub fn is_standby(&self) -> bool {
        self.servers.as_ref().is_some_and(Servers::is_standby)
    }

    /// The metrics of the servers, on PostgreSQL when serving requests.
    pub fn server_counters(&self) -> Option<&ServerCounters> {
        self.servers.as_ref().map(Servers::counters)
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
