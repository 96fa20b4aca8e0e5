//! What the operator decides, read from the environment once. No other module reads the environment.

mod access_log;
mod cache;
mod cookies;
mod database;
pub mod env;
mod headers;
mod live;
mod log;
mod security;
mod server;

use std::path::{Path, PathBuf};

use chrono_tz::Tz;

pub use self::{
    access_log::{AccessLogFormat, Piece, is_secret},
    cache::CacheSettings,
    cookies::{CookieSettings, SameSite},
    database::DatabaseSettings,
    headers::HeaderSettings,
    live::Live,
    log::{LogSettings, TraceSettings},
    security::{
        MAX_BODY, MAX_FIELDS, Network, SecuritySettings, csrf_cookie, loopback, session_cookie,
        trusted_proxies,
    },
    server::{Bind, MAX_HEAD, Mode, ServerOptions, ServerSettings, TlsFiles},
};

/// All settings.
///
/// - `DEBUG`: developer mode; default false. Templates and assets come from disk.
/// - `TIME_ZONE`: in which times are shown and typed, as `Europe/Berlin`; default `UTC`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Developer mode.
    pub debug: bool,
    /// In which times are shown and typed.
    pub time_zone: Tz,
    /// Which database.
    pub database: DatabaseSettings,
    /// What replicas share besides.
    pub cache: Option<CacheSettings>,
    /// The secret key, and the proxies and hosts that are trusted.
    pub security: SecuritySettings,
    /// How the server listens.
    pub server: ServerSettings,
    /// How the log is written.
    pub log: LogSettings,
    /// The file that variables were read from, if any.
    pub env_file: Option<PathBuf>,
}

impl Settings {
    /// Reads the environment.
    ///
    /// # Errors
    /// A sentence that names the variable at fault.
    pub fn from_env() -> anyhow::Result<Self> {
        Self::with_options(&ServerOptions::default().resolve(None)?)
    }

    /// Reads the environment except for the server's options, which are given.
    ///
    /// # Errors
    /// A sentence that names the variable at fault.
    pub fn with_options(options: &ServerOptions) -> anyhow::Result<Self> {
        let debug = env::flag("DEBUG")?;
        let mut log = LogSettings::from_env()?;
        if let Some(filter) = &options.loglevel {
            log.filter.clone_from(filter);
        }
        Ok(Self {
            debug,
            env_file: env::file(),
            time_zone: env::parsed("TIME_ZONE", "the name of a time zone, as Europe/Berlin")?
                .unwrap_or(Tz::UTC),
            database: DatabaseSettings::from_env()?,
            cache: CacheSettings::from_env()?,
            security: SecuritySettings::from_env(debug, &options.forwarded_allow_ips)?,
            server: ServerSettings::new(options)?,
            log,
        })
    }

    /// The server's options as they are in force, as a file has them.
    ///
    /// # Panics
    /// When they are no table: a mistake in their declaration.
    pub fn server_options(&self) -> toml::Table {
        let mut options =
            toml::Table::try_from(&self.server).expect("the server's settings are a table");
        let proxies = self.security.trusted_proxies.iter();
        let proxies = proxies.map(ToString::to_string).collect::<Vec<_>>();
        options.insert("forwarded_allow_ips".to_owned(), proxies.into());
        options.insert("loglevel".to_owned(), self.log.filter.clone().into());
        options
    }

    /// The settings for people to read, without secrets: names as the variables have them, and values.
    pub fn shown(&self) -> Vec<(&'static str, String)> {
        let (security, server) = (&self.security, &self.server);
        let list = |texts: &[String]| texts.join(",");
        let proxies: Vec<_> = security
            .trusted_proxies
            .iter()
            .map(ToString::to_string)
            .collect();
        let binds: Vec<_> = server.bind.iter().map(ToString::to_string).collect();
        let replica = self.database.replica();
        let replica = replica.map_or_else(String::new, |replica| replica.display());
        let cache = self
            .cache
            .as_ref()
            .map_or_else(String::new, CacheSettings::display);
        vec![
            ("DEBUG", self.debug.to_string()),
            ("SECRET_KEY", "********************".to_owned()),
            ("ALLOWED_HOSTS", list(&security.allowed_hosts)),
            ("CSRF_TRUSTED_ORIGINS", list(&security.csrf_trusted_origins)),
            ("TRUSTED_PROXIES", list(&proxies)),
            ("DATABASE_URL", self.database.display()),
            ("DATABASE_REPLICA_URL", replica),
            ("DATABASE_POOL_SIZE", self.database.pool_size.to_string()),
            ("CACHE_URL", cache),
            ("BIND", list(&binds)),
            ("WEB_CONCURRENCY", server.threads.to_string()),
            ("REQUEST_TIMEOUT", server.timeout.as_secs().to_string()),
            ("TIME_ZONE", self.time_zone.to_string()),
            ("RUST_LOG", self.log.filter.clone()),
        ]
    }
}

/// Reads the variables of a file, for those that the environment does not have: the file at `path`, which must then
/// exist, or `.env` in the working directory if there is one. May be called again, when the file has changed.
///
/// # Errors
/// When the file cannot be read or a line in it is not `NAME=value`.
pub fn load_env_file(path: Option<&Path>) -> anyhow::Result<()> {
    let file = path.unwrap_or_else(|| Path::new(".env"));
    let cannot_read = |error: dotenvy::Error| match error {
        // The line itself may hold a secret: name the file only.
        dotenvy::Error::LineParse(..) => {
            anyhow::anyhow!("{} has a line that is not NAME=value.", file.display())
        }
        error => anyhow::Error::new(error).context(format!("{} cannot be read", file.display())),
    };
    match dotenvy::from_path_iter(file) {
        Ok(variables) => {
            let variables = variables.collect::<Result<_, _>>().map_err(cannot_read)?;
            env::set_file(file, variables);
            Ok(())
        }
        Err(error) if error.not_found() && path.is_none() => Ok(()),
        Err(error) => Err(cannot_read(error)),
    }
}
