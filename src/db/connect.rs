//! Opening connections, each with the settings of its purpose.

use std::{borrow::Cow, time::Duration};

use futures_util::future::BoxFuture;
use sea_orm::{ConnectOptions, DatabaseConnection, DbErr, RuntimeErr};
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{
    PgPool,
    pool::PoolConnectionMetadata,
    sqlite::{SqliteJournalMode, SqliteSynchronous},
};

use super::{
    health::Health,
    server::{Identity, Newest, Role, find, without_brackets},
    sqlite,
};
use crate::settings::DatabaseSettings;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Serving requests: many connections, short statements.
    Requests,
    /// A management command: one connection, statements of any length.
    Command,
    /// Changing the schema: as a command, and on SQLite with foreign keys unchecked until the end, since tables are
    /// dropped and created again.
    Migrations,
}

/// How long a request waits for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// The settings of PostgreSQL for a connection that serves requests, besides its timeouts.
const SESSION: [(&str, &str); 7] = [
    // How long a statement waits for a row that another transaction has locked.
    ("lock_timeout", "1s"),
    // The connections of a process whose machine or network has failed must not stay until the system's own timeout, which
    // takes hours.
    ("tcp_keepalives_idle", "30"),
    ("tcp_keepalives_interval", "10"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "60s"),
    // Statements are short: compiling one takes longer than it saves.
    ("jit", "off"),
    // A ROLLBACK outside a transaction is no reason for a warning.
    ("client_min_messages", "error"),
];
/// The name of the connections in `pg_stat_activity`.
const APPLICATION_NAME: &str = "polls";
/// How long SQLite waits for another process to finish writing.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that were idle for longer are pinged before they are used.
const TEST_IF_IDLE_FOR: Duration = Duration::from_secs(30);
/// How long a suspect connection has to answer a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(1);

fn options(url: &SecretString, purpose: Purpose, connections: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new(url.expose_secret());
    // The statements of commands may take any time.
    let slow_level = match purpose {
        Purpose::Requests => log::LevelFilter::Warn,
        Purpose::Command | Purpose::Migrations => log::LevelFilter::Debug,
    };
    options
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire_if_idle_for(TEST_IF_IDLE_FOR)
        .sqlx_logging_level(log::LevelFilter::Debug)
        .sqlx_slow_statements_logging_settings(slow_level, Duration::from_secs(1));
    if purpose != Purpose::Requests {
        // A command may take long between two statements; its connection must stay the same.
        options
            .max_lifetime(None::<Duration>)
            .idle_timeout(None::<Duration>);
    }
    options
}

/// Connections that only read.
pub(super) async fn sqlite_reader(
    settings: &DatabaseSettings,
    purpose: Purpose,
    connections: u32,
) -> Result<DatabaseConnection, DbErr> {
    let options = options(settings.url(), purpose, connections);
    sqlite_with(options, purpose).await
}

/// The one connection that writes.
pub(super) async fn sqlite_writer(
    settings: &DatabaseSettings,
    purpose: Purpose,
    health: &Health,
) -> Result<DatabaseConnection, DbErr> {
    let mut options = options(settings.url(), purpose, 1);
    sqlite::discard_unfinished(&mut options, health);
    sqlite_with(options, purpose).await
}

async fn sqlite_with(
    mut options: ConnectOptions,
    purpose: Purpose,
) -> Result<DatabaseConnection, DbErr> {
    options.map_sqlx_sqlite_opts(move |options| {
        let options = options
            // A committed vote survives a power failure.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(purpose != Purpose::Migrations);
        match purpose {
            // The journal mode is stored in the file, which a command that only reads must not change.
            Purpose::Requests | Purpose::Migrations => options.journal_mode(SqliteJournalMode::Wal),
            Purpose::Command => options,
        }
    });
    sea_orm::Database::connect(options).await
}

/// A pool of connections to a server of PostgreSQL, for requests. The first statement connects.
///
/// # Errors
/// When the settings are invalid.
pub(super) async fn requests(
    url: &SecretString,
    settings: &DatabaseSettings,
    health: &Health,
) -> Result<DatabaseConnection, DbErr> {
    let mut options = options(url, Purpose::Requests, settings.pool_size);
    // A process whose machine or network has failed must not keep rows locked either.
    let idle = format!("{}ms", settings.statement_timeout.as_millis());
    let idle = [("idle_in_transaction_session_timeout", idle)];
    options
        .set_application_name(Cow::Borrowed(APPLICATION_NAME))
        .statement_timeout(settings.statement_timeout)
        .map_sqlx_postgres_opts(move |options| {
            without_brackets(options)
                .options(SESSION)
                .options(idle.clone())
        })
        .connect_lazy(true);
    check_suspect(&mut options, health);
    sea_orm::Database::connect(options).await
}

/// A connection to the primary, for a command, as a pool of one.
///
/// # Errors
/// [`DbErr::Conn`]: for migrations there is only a standby; no server takes the connection and the credentials, has such a database, and responds within 3 s.
pub(super) async fn command(
    settings: &DatabaseSettings,
    purpose: Purpose,
) -> Result<DatabaseConnection, DbErr> {
    // The pool would retry until its timeout, and then report only the timeout.
    let found = find(settings, Role::Primary, &Newest::default(), ACQUIRE_TIMEOUT).await?;
    let server = found.server;
    if purpose == Purpose::Migrations && server.identity.is_standby {
        let text = format!(
            "no server takes changes: {} is a standby",
            server.identity.name
        );
        return Err(DbErr::Conn(RuntimeErr::Internal(text)));
    }
    // Neither that `DROP … IF EXISTS` has nothing to drop nor that a ROLLBACK follows a COMMIT that has failed is a line
    // of a command's output.
    let level = match purpose {
        Purpose::Migrations => "warning",
        _ => "error",
    };
    let messages = [("client_min_messages", level)];
    let mut options = options(&server.url, purpose, 1);
    options
        .set_application_name(Cow::Borrowed(APPLICATION_NAME))
        .map_sqlx_postgres_opts(move |options| without_brackets(options).options(messages));
    sea_orm::Database::connect(options).await
}

/// A connection to a server of PostgreSQL that stays the same, to listen on for notifications, as a pool of one.
///
/// # Errors
/// When the address is invalid.
pub(super) async fn listener(url: &SecretString) -> Result<PgPool, DbErr> {
    let mut options = options(url, Purpose::Command, 1);
    options
        .set_application_name(Cow::Borrowed(APPLICATION_NAME))
        .map_sqlx_postgres_opts(|options| without_brackets(options).options(SESSION))
        .connect_lazy(true);
    let connection = sea_orm::Database::connect(options).await?;
    Ok(connection.get_postgres_connection_pool().clone())
}

/// Makes the pool ping suspect connections before it uses them, and when they are released.
fn check_suspect(options: &mut ConnectOptions, health: &Health) {
    let after = check_alive(health.clone(), true);
    let health_of_new = health.clone();
    options
        .map_sqlx_postgres_before_acquire(check_alive(health.clone(), false))
        .map_sqlx_postgres_pool_opts(move |pool| {
            let health = health_of_new.clone();
            pool.after_release(after.clone())
                .after_connect(move |connection, _| check_new(connection, health.clone()))
        });
}

/// Refuses a new connection to a former primary; otherwise records its backend process, so that another connection can query whether
/// it is active.
fn check_new(
    connection: &mut sqlx::PgConnection,
    health: Health,
) -> BoxFuture<'_, Result<(), sqlx::Error>> {
    Box::pin(async move {
        health.newest.check(&Identity::of(connection).await?)?;
        let process = sqlx::query_scalar("SELECT pg_backend_pid()")
            .fetch_one(connection)
            .await?;
        health.note_process(process);
        Ok(())
    })
}

/// Pings a connection that is suspect, and no other. A released one may have been dropped during
/// a `BEGIN`, of which sqlx then has no record: it gets a ROLLBACK.
fn check_alive(
    health: Health,
    is_released: bool,
) -> impl for<'c> Fn(
    &'c mut sqlx::PgConnection,
    PoolConnectionMetadata,
) -> BoxFuture<'c, Result<bool, sqlx::Error>>
+ Clone
+ Send
+ Sync
+ 'static {
    use sqlx::{Connection as _, Executor as _};
    move |connection, metadata| {
        if !health.is_suspect(metadata.age, is_released) {
            return Box::pin(std::future::ready(Ok(true)));
        }
        Box::pin(async move {
            let response = async {
                if is_released {
                    connection.execute("ROLLBACK").await.map(drop)
                } else {
                    connection.ping().await
                }
            };
            let timed_out = || Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into());
            let response = tokio::time::timeout(PING_TIMEOUT, response).await;
            response.unwrap_or_else(|_| timed_out()).map(|()| true)
        })
    }
}
