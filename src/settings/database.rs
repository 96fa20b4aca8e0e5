//! Which database to use.

use std::{num::NonZeroU16, path::PathBuf};

use anyhow::{anyhow, bail};
use sea_orm::DbBackend;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::env;

const DEFAULT_URL: &str = "sqlite://db.sqlite3?mode=rwc";
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

/// - `DATABASE_URL`: `sqlite://PATH` or `postgres://user:password@host:port/name?sslmode=…`; default
///   `sqlite://db.sqlite3?mode=rwc`.
/// - `DATABASE_REPLICA_URL`: a read-only copy of it, on PostgreSQL; default none.
/// - `DATABASE_PASSWORD` or `DATABASE_PASSWORD_FILE`: the password, instead of one in the addresses.
/// - `POLLS_BACKEND_SERVICE_HOST`, `POLLS_BACKEND_SERVICE_PORT`: what Kubernetes injects for a Service named
///   `polls-backend`. With them and without `DATABASE_URL`, PostgreSQL at that address, with
///   `POSTGRES_USER`, `POSTGRES_PASSWORD` or `POSTGRES_PASSWORD_FILE`, and `POSTGRES_DB`; each defaults to `polls`
///   except for the password.
/// - `DATABASE_POOL_SIZE`: connections at most; default four per core, between 4 and 32.
#[derive(Debug, Clone)]
pub struct DatabaseSettings {
    /// The kind of database.
    pub backend: DbBackend,
    /// Where it is, password included.
    pub url: SecretString,
    /// Where a copy of it is, password included.
    pub replica_url: Option<SecretString>,
    /// Connections at most.
    pub pool_size: u32,
}

impl DatabaseSettings {
    /// Reads the variables above.
    ///
    /// # Errors
    /// A sentence that names the variable at fault and never the password.
    pub fn from_env() -> anyhow::Result<Self> {
        let (variable, url) = match (
            env::var("DATABASE_URL")?,
            env::var("POLLS_BACKEND_SERVICE_HOST")?,
        ) {
            (Some(url), _) => ("DATABASE_URL", url),
            (None, Some(host)) => ("POLLS_BACKEND_SERVICE_HOST", service_url(&host)?),
            (None, None) => ("DATABASE_URL", DEFAULT_URL.to_owned()),
        };
        let mut settings = Self::from_url(variable, &url)?;
        if let Some(url) = env::var("DATABASE_REPLICA_URL")? {
            let replica = Self::from_url("DATABASE_REPLICA_URL", &url)?;
            if (settings.backend, replica.backend) != (DbBackend::Postgres, DbBackend::Postgres) {
                bail!("DATABASE_REPLICA_URL is for PostgreSQL: SQLite has no copies.");
            }
            settings.replica_url = Some(replica.url);
        }
        if let Some(size) = env::parsed("DATABASE_POOL_SIZE", POOL_SIZES)? {
            if !(1..=MAX_POOL_SIZE).contains(&size) {
                bail!("DATABASE_POOL_SIZE must be {POOL_SIZES}, not {size}.");
            }
            settings.pool_size = size;
        }
        Ok(settings)
    }

    /// The database at `url`; `variable` is where the address came from.
    ///
    /// # Errors
    /// When the address cannot be read; the sentence does not repeat it, since it may hold a password.
    pub fn from_url(variable: &str, url: &str) -> anyhow::Result<Self> {
        let scheme = url.split(':').next().unwrap_or_default();
        let (backend, url) = match scheme {
            "sqlite" => (DbBackend::Sqlite, sqlite_url(variable, url)?),
            "postgres" | "postgresql" => (DbBackend::Postgres, postgres_url(variable, url)?),
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
        })
    }

    /// The copy's settings, if there is one.
    pub fn replica(&self) -> Option<Self> {
        let url = self.replica_url.clone()?;
        Some(Self {
            url,
            replica_url: None,
            ..self.clone()
        })
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

    /// The address for people to read: without password and parameters.
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

fn postgres_url(variable: &str, url: &str) -> anyhow::Result<String> {
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
    if let Some(password) = env::secret("DATABASE_PASSWORD")? {
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
fn service_url(host: &str) -> anyhow::Result<String> {
    let port: Option<NonZeroU16> = env::parsed("POLLS_BACKEND_SERVICE_PORT", "a port number")?;
    let port = port.map_or(5432, NonZeroU16::get);
    let named = |name: &str| anyhow::Ok(env::var(name)?.unwrap_or_else(|| "polls".to_owned()));
    // A bare IPv6 address needs its brackets.
    let host = if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    let mut url = Url::parse(&format!("postgres://{host}:{port}/"))
        .map_err(|error| anyhow!("POLLS_BACKEND_SERVICE_HOST cannot be read: {error}."))?;
    url.set_path(&named("POSTGRES_DB")?);
    let password = env::secret("POSTGRES_PASSWORD")?;
    let unusable = |()| anyhow!("POLLS_BACKEND_SERVICE_HOST names no host.");
    url.set_username(&named("POSTGRES_USER")?)
        .map_err(unusable)?;
    url.set_password(password.as_ref().map(|password| password.expose_secret()))
        .map_err(unusable)?;
    Ok(url.into())
}
