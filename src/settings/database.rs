//! Which database to use.

use std::{path::PathBuf, time::Duration};

use anyhow::{anyhow, bail};
use sea_orm::DbBackend;
use secrecy::{ExposeSecret, SecretString};

use super::{
    environment::{Environment, SecretSource},
    postgres_url::{display_postgres, postgres_urls, service_url, with_password},
    variable::{
        DefaultValue::{Described, Value},
        Variable, variables,
    },
};

variables! {
    VARIABLES:
    /// `sqlite://PATH`, or `postgres://user:password@host:port/name?sslmode=…`; of a primary and its standbys all, as `host1:port1,host2:port2`: the primary is found among them
    DATABASE_URL = Value("sqlite://db.sqlite3?mode=rwc");
    /// A standby of that PostgreSQL server, for the public pages that are not in memory: up to 5 s old, and not for a client that has just sent a form; of several hosts one that is a standby
    DATABASE_REPLICA_URL = Described("none");
    /// The password, if it is not in the addresses; or `DATABASE_PASSWORD_FILE`, a file with it, which is read again for new connections
    DATABASE_PASSWORD = Described("none");
    /// Another password, for when that one is refused, so that no request fails while it is changed; or `DATABASE_PASSWORD_PREVIOUS_FILE`, which may be empty or missing
    DATABASE_PASSWORD_PREVIOUS = Described("none");
    /// Connections for requests at most, from 1 to 1000; a server on PostgreSQL has two more, for health checks and for notifications of changes
    DATABASE_POOL_SIZE = Described("4 per core, 4 to 32");
    /// Seconds, from 0 to 3600, for which `/readyz` still answers 200 when PostgreSQL does not answer any more, so that visitors get pages from memory and the site's own page for errors
    DATABASE_OUTAGE_TOLERANCE = Value("15");
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

const MAX_POOL_SIZE: u32 = 1000;
const POOL_SIZES: &str = "a number from 1 to 1000";
/// A day: PostgreSQL takes up to 24 of them.
const MAX_STATEMENT_TIMEOUT: u64 = 86_400;
const STATEMENT_TIMEOUTS: &str = "a number of seconds from 1 to 86400";
const MAX_OUTAGE_TOLERANCE: u64 = 3600;
const OUTAGE_TOLERANCES: &str = "a number of seconds from 0 to 3600";

/// The database and its replica.
#[derive(Debug, Clone)]
pub struct DatabaseSettings {
    /// The kind of database.
    pub backend: DbBackend,
    /// The addresses, password included: that of SQLite's file, or those of one or several servers of PostgreSQL.
    pub urls: Vec<SecretString>,
    /// The addresses of replicas, password included; empty without one.
    pub replica_urls: Vec<SecretString>,
    /// Where the password is, unless in the addresses.
    password: Option<SecretSource>,
    /// Where the password is for when that one is refused.
    previous_password: Option<SecretSource>,
    /// Connections at most.
    pub pool_size: u32,
    /// For a statement of a request on PostgreSQL.
    pub statement_timeout: Duration,
    /// How long the server stays ready without an answer of PostgreSQL.
    pub outage_tolerance: Duration,
}

impl DatabaseSettings {
    /// Reads the variables above.
    ///
    /// # Errors
    /// A sentence that names the invalid variable and never the password.
    pub fn read(environment: &Environment) -> anyhow::Result<Self> {
        let mut password = environment.secret(DATABASE_PASSWORD.name)?;
        let mut source = environment.secret_source(DATABASE_PASSWORD.name)?;
        let service = environment.get(POLLS_BACKEND_SERVICE_HOST.name)?;
        let (variable, url) = match (environment.get(DATABASE_URL.name)?, service) {
            (None, Some(host)) => {
                if password.is_none() {
                    password = environment.secret(POSTGRES_PASSWORD.name)?;
                    source = environment.secret_source(POSTGRES_PASSWORD.name)?;
                }
                let port = POLLS_BACKEND_SERVICE_PORT.parsed(environment, "a port number")?;
                let user = POSTGRES_USER.text(environment)?;
                let url = service_url(host, port, user, POSTGRES_DB.text(environment)?)?;
                (POLLS_BACKEND_SERVICE_HOST, url)
            }
            _ => (DATABASE_URL, DATABASE_URL.text(environment)?.to_owned()),
        };
        let from_url =
            |variable: Variable, url: &str| Self::from_url(variable.name, url, password.as_ref());
        let mut settings = from_url(variable, &url)?;
        if let Some(url) = environment.get(DATABASE_REPLICA_URL.name)? {
            let replica = from_url(DATABASE_REPLICA_URL, url)?;
            if (settings.backend, replica.backend) != (DbBackend::Postgres, DbBackend::Postgres) {
                bail!("DATABASE_REPLICA_URL is for PostgreSQL: SQLite has no copies.");
            }
            settings.replica_urls = replica.urls;
        }
        settings.password = source;
        settings.previous_password = environment.secret_source(DATABASE_PASSWORD_PREVIOUS.name)?;
        settings.statement_timeout = statement_timeout(environment)?;
        settings.outage_tolerance = outage_tolerance(environment)?;
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
        let (backend, urls) = match scheme {
            "sqlite" => (DbBackend::Sqlite, vec![sqlite_url(variable, url)?.into()]),
            "postgres" | "postgresql" => {
                (DbBackend::Postgres, postgres_urls(variable, url, password)?)
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
            urls,
            replica_urls: Vec::new(),
            password: None,
            previous_password: None,
            pool_size: (4 * cores).clamp(4, 32),
            statement_timeout: statement_timeout(&Environment::default())?,
            outage_tolerance: outage_tolerance(&Environment::default())?,
        })
    }

    /// The settings of the replica, if there is one.
    pub fn replica(&self) -> Option<Self> {
        (!self.replica_urls.is_empty()).then(|| Self {
            urls: self.replica_urls.clone(),
            replica_urls: Vec::new(),
            ..self.clone()
        })
    }

    /// The address of SQLite's file, or of the first server of PostgreSQL.
    pub fn url(&self) -> &SecretString {
        &self.urls[0]
    }

    /// The addresses of each server of PostgreSQL: one with the password, then one with the previous password, if there is one. Files
    /// with passwords are read again; one that cannot be read, or is empty, has none.
    pub fn candidates(&self) -> Vec<Vec<SecretString>> {
        let read = |source: &Option<SecretSource>| {
            let secret = source.as_ref()?.read().ok()?;
            (!secret.expose_secret().is_empty()).then_some(secret)
        };
        let (password, previous) = (read(&self.password), read(&self.previous_password));
        let of_server = |url: &SecretString| {
            let with = |password: &SecretString| with_password(url, password);
            let first = password.as_ref().map_or_else(|| url.clone(), with);
            std::iter::once(first)
                .chain(previous.as_ref().map(with))
                .collect()
        };
        self.urls.iter().map(of_server).collect()
    }

    /// The file of an SQLite database, if it does not exist.
    pub fn missing_file(&self) -> Option<PathBuf> {
        self.sqlite_file()
            .filter(|file| matches!(file.try_exists(), Ok(false)))
    }

    /// An empty database of SQLite in memory, in place of a file that does not exist.
    pub fn in_memory(&self) -> Self {
        Self {
            urls: vec!["sqlite::memory:".into()],
            ..self.clone()
        }
    }

    /// The file of an SQLite database.
    pub fn sqlite_file(&self) -> Option<PathBuf> {
        let options = self
            .url()
            .expose_secret()
            .parse::<sqlx::sqlite::SqliteConnectOptions>();
        options
            .ok()
            .filter(|_| self.backend == DbBackend::Sqlite)
            .map(|options| options.get_filename().to_owned())
    }

    /// The address without password and parameters, for logs and messages.
    pub fn display(&self) -> String {
        if self.backend == DbBackend::Postgres {
            return display_postgres(&self.urls);
        }
        let url = self.url().expose_secret();
        url.split('?').next().unwrap_or(url).to_owned()
    }
}

fn statement_timeout(environment: &Environment) -> anyhow::Result<Duration> {
    let seconds = DATABASE_STATEMENT_TIMEOUT.parsed(environment, STATEMENT_TIMEOUTS)?;
    if !(1..=MAX_STATEMENT_TIMEOUT).contains(&seconds) {
        bail!("DATABASE_STATEMENT_TIMEOUT must be {STATEMENT_TIMEOUTS}, not {seconds}.");
    }
    Ok(Duration::from_secs(seconds))
}

fn outage_tolerance(environment: &Environment) -> anyhow::Result<Duration> {
    let seconds = DATABASE_OUTAGE_TOLERANCE.parsed(environment, OUTAGE_TOLERANCES)?;
    if seconds > MAX_OUTAGE_TOLERANCE {
        bail!("DATABASE_OUTAGE_TOLERANCE must be {OUTAGE_TOLERANCES}, not {seconds}.");
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
