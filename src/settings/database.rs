//! Which database to use.

use std::{num::NonZeroU16, path::PathBuf, time::Duration};

use anyhow::{anyhow, bail};
use sea_orm::DbBackend;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{
    environment::Environment,
    variable::{
        DefaultValue::{Described, Value},
        Variable, variables,
    },
};

variables! {
    VARIABLES:
    /// `sqlite://PATH`, or `postgres://user:password@host:port/name?sslmode=…`
    DATABASE_URL = Value("sqlite://db.sqlite3?mode=rwc");
    /// A standby of that PostgreSQL server, for the public pages that are not in memory: up to 5 s old, and not for a client that has just sent a form
    DATABASE_REPLICA_URL = Described("none");
    /// The password, if it is not in the addresses; or `DATABASE_PASSWORD_FILE`, a file with it
    DATABASE_PASSWORD = Described("none");
    /// Connections for requests at most, from 1 to 1000; a server on PostgreSQL has two more, for health checks and for notifications of changes
    DATABASE_POOL_SIZE = Described("4 per core, 4 to 32");
    /// Seconds for a statement of a request on PostgreSQL, from 1 to 86400; without a response the server is given up 2 s later
    DATABASE_STATEMENT_TIMEOUT = Value("10");
    /// Set by Kubernetes for a Service named `polls-backend`: without `DATABASE_URL`, PostgreSQL is at that address
    POLLS_BACKEND_SERVICE_HOST = Described("none");
    /// The port of that Service
    POLLS_BACKEND_SERVICE_PORT = Value("5432");
    /// The user at that Service
    POSTGRES_USER = Value("polls");
    /// The password at that Service; or `POSTGRES_PASSWORD_FILE`, a file with it
    POSTGRES_PASSWORD = Described("none");
    /// The database at that Service
    POSTGRES_DB = Value("polls");
}

const POSTGRES_PARAMETERS: [&str; 7] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "application_name",
    "options",
];
const MAX_POOL_SIZE: u32 = 1000;
const POOL_SIZES: &str = "a number from 1 to 1000";
/// A day: PostgreSQL takes up to 24 of them.
const MAX_STATEMENT_TIMEOUT: u64 = 86_400;
const STATEMENT_TIMEOUTS: &str = "a number of seconds from 1 to 86400";

/// The database and its replica.
#[derive(Debug, Clone)]
pub struct DatabaseSettings {
    /// The kind of database.
    pub backend: DbBackend,
    /// The address, password included.
    pub url: SecretString,
    /// The address of a read replica, password included.
    pub replica_url: Option<SecretString>,
    /// Connections at most.
    pub pool_size: u32,
    /// For a statement of a request on PostgreSQL.
    pub statement_timeout: Duration,
}

impl DatabaseSettings {
    /// Reads the variables above.
    ///
    /// # Errors
    /// A sentence that names the invalid variable and never the password.
    pub fn read(environment: &Environment) -> anyhow::Result<Self> {
        let password = environment.secret(DATABASE_PASSWORD.name)?;
        let from_url =
            |variable: Variable, url: &str| Self::from_url(variable.name, url, password.as_ref());
        let service = environment.get(POLLS_BACKEND_SERVICE_HOST.name)?;
        let mut settings = match (environment.get(DATABASE_URL.name)?, service) {
            (None, Some(host)) => {
                from_url(POLLS_BACKEND_SERVICE_HOST, &service_url(host, environment)?)?
            }
            _ => from_url(DATABASE_URL, DATABASE_URL.text(environment)?)?,
        };
        if let Some(url) = environment.get(DATABASE_REPLICA_URL.name)? {
            let replica = from_url(DATABASE_REPLICA_URL, url)?;
            if (settings.backend, replica.backend) != (DbBackend::Postgres, DbBackend::Postgres) {
                bail!("DATABASE_REPLICA_URL is for PostgreSQL: SQLite has no copies.");
            }
            settings.replica_url = Some(replica.url);
        }
        settings.statement_timeout = statement_timeout(environment)?;
        if let Some(size) = environment.parsed(DATABASE_POOL_SIZE.name, POOL_SIZES)? {
            if !(1..=MAX_POOL_SIZE).contains(&size) {
                bail!("DATABASE_POOL_SIZE must be {POOL_SIZES}, not {size}.");
            }
            settings.pool_size = size;
        }
        Ok(settings)
    }

    /// The database at `url`, which is the value of `variable`; `password` replaces the one in the address.
    ///
    /// # Errors
    /// When the address is invalid; the sentence does not contain it, since it may hold a password.
    pub fn from_url(
        variable: &str,
        url: &str,
        password: Option<&SecretString>,
    ) -> anyhow::Result<Self> {
        let scheme = url.split(':').next().unwrap_or_default();
        let (backend, url) = match scheme {
            "sqlite" => (DbBackend::Sqlite, sqlite_url(variable, url)?),
            "postgres" | "postgresql" => {
                (DbBackend::Postgres, postgres_url(variable, url, password)?)
            }
            _ if url.contains("://") => {
                bail!("{variable} has the unknown scheme {scheme:?}: use sqlite:// or postgres://.")
            }
            _ => bail!(
                "{variable} is not an address: use sqlite://PATH or postgres://user:password@host:port/name."
            ),
        };
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        Ok(Self {
            backend,
            url: url.into(),
            replica_url: None,
            pool_size: (4 * cores).clamp(4, 32),
            statement_timeout: statement_timeout(&Environment::default())?,
        })
    }

    /// The settings of the replica, if there is one.
    pub fn replica(&self) -> Option<Self> {
        let url = self.replica_url.clone()?;
        Some(Self {
            url,
            replica_url: None,
            ..self.clone()
        })
    }

    /// The file of an SQLite database, if it does not exist.
    pub fn missing_file(&self) -> Option<PathBuf> {
        self.sqlite_file()
            .filter(|file| matches!(file.try_exists(), Ok(false)))
    }

    /// An empty database of SQLite in memory, in place of a file that does not exist.
    pub fn in_memory(&self) -> Self {
        Self {
            url: "sqlite::memory:".into(),
            ..self.clone()
        }
    }

    /// The file of an SQLite database.
    pub fn sqlite_file(&self) -> Option<PathBuf> {
        let options = self
            .url
            .expose_secret()
            .parse::<sqlx::sqlite::SqliteConnectOptions>();
        options
            .ok()
            .filter(|_| self.backend == DbBackend::Sqlite)
            .map(|options| options.get_filename().to_owned())
    }

    /// The address without password and parameters, for logs and messages.
    pub fn display(&self) -> String {
        let url = self.url.expose_secret();
        let plain = url.split('?').next().unwrap_or(url);
        match Url::parse(plain) {
            Ok(url) if self.backend == DbBackend::Postgres => {
                let port = url
                    .port()
                    .map(|port| format!(":{port}"))
                    .unwrap_or_default();
                format!(
                    "postgres://{}@{}{port}{}",
                    url.username(),
                    url.host_str().unwrap_or_default(),
                    url.path()
                )
            }
            _ => plain.to_owned(),
        }
    }
}

fn statement_timeout(environment: &Environment) -> anyhow::Result<Duration> {
    let seconds = DATABASE_STATEMENT_TIMEOUT.parsed(environment, STATEMENT_TIMEOUTS)?;
    if !(1..=MAX_STATEMENT_TIMEOUT).contains(&seconds) {
        bail!("DATABASE_STATEMENT_TIMEOUT must be {STATEMENT_TIMEOUTS}, not {seconds}.");
    }
    Ok(Duration::from_secs(seconds))
}

fn sqlite_url(variable: &str, url: &str) -> anyhow::Result<String> {
    let path = url.trim_start_matches("sqlite:").trim_start_matches("//");
    let (file, parameters) = path.split_once('?').unwrap_or((path, ""));
    let mode = parameters
        .split('&')
        .find_map(|parameter| parameter.strip_prefix("mode="));
    if file.is_empty() || file == ":memory:" || mode == Some("memory") {
        bail!(
            "{variable} names no file: use sqlite://PATH, a database in memory would not outlive a connection."
        );
    }
    let url = match (mode, parameters) {
        (Some(_), _) => url.to_owned(),
        (None, "") => format!("sqlite://{file}?mode=rwc"),
        (None, parameters) => format!("sqlite://{file}?{parameters}&mode=rwc"),
    };
    url.parse::<sqlx::sqlite::SqliteConnectOptions>()
        .map_err(|_| anyhow!("{variable} has a parameter that SQLite does not know."))?;
    Ok(url)
}

fn postgres_url(
    variable: &str,
    url: &str,
    password: Option<&SecretString>,
) -> anyhow::Result<String> {
    let mut parsed = Url::parse(url).map_err(|error| {
        anyhow!("{variable} cannot be read: {error} (in a password, write / as %2F, @ as %40, # as %23, ? as %3F).")
    })?;
    if parsed.host_str().is_none_or(str::is_empty) && !url.contains("host=") {
        bail!("{variable} names no host.");
    }
    // A slash in a password ends what is read as the host, and the password would be taken for a path.
    if parsed.path().contains('@') {
        bail!(
            "{variable} has a password with a special character: write / as %2F, @ as %40, # as %23, ? as %3F."
        );
    }
    if parsed.path().trim_start_matches('/').is_empty() {
        bail!(
            "{variable} names no database: add it behind the host, as in postgres://user@host/name."
        );
    }
    // The library would name an unknown parameter in the log, value included.
    if let Some((name, _)) = parsed
        .query_pairs()
        .find(|(name, _)| !POSTGRES_PARAMETERS.contains(&&**name))
    {
        bail!("{variable} has the parameter {name:?}, which is not known.");
    }
    if let Some(password) = password {
        parsed
            .set_password(Some(password.expose_secret()))
            .map_err(|()| anyhow!("{variable} cannot take a password."))?;
    }
    parsed
        .as_str()
        .parse::<sqlx::postgres::PgConnectOptions>()
        .map_err(|_| anyhow!("{variable} has a parameter that PostgreSQL does not know."))?;
    Ok(parsed.into())
}

/// The address of the Service `polls-backend`.
fn service_url(host: &str, environment: &Environment) -> anyhow::Result<String> {
    let port: NonZeroU16 = POLLS_BACKEND_SERVICE_PORT.parsed(environment, "a port number")?;
    // A bare IPv6 address needs its brackets.
    let host = if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    let mut url = Url::parse(&format!("postgres://{host}:{port}/"))
        .map_err(|error| anyhow!("POLLS_BACKEND_SERVICE_HOST cannot be read: {error}."))?;
    url.set_path(POSTGRES_DB.text(environment)?);
    let password = environment.secret(POSTGRES_PASSWORD.name)?;
    let unusable = |()| anyhow!("POLLS_BACKEND_SERVICE_HOST names no host.");
    url.set_username(POSTGRES_USER.text(environment)?)
        .map_err(unusable)?;
    url.set_password(password.as_ref().map(|password| password.expose_secret()))
        .map_err(unusable)?;
    Ok(url.into())
}
