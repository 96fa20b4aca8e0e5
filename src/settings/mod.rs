//! The settings, read from environment variables. No other module reads them.

mod access_log;
mod cache;
mod cookies;
mod database;
mod declared;
mod environment;
mod general;
mod headers;
mod live;
mod log;
mod other_sites;
mod postgres_url;
mod security;
mod server;
mod variable;

use std::path::PathBuf;

use chrono_tz::Tz;

pub use self::{
    access_log::{AccessLogFormat, Piece, is_secret},
    cache::CacheSettings,
    cookies::{CookieSettings, SameSite},
    database::DatabaseSettings,
    declared::DeclaredVariable,
    environment::Environment,
    headers::HeaderSettings,
    live::Live,
    log::{LogSettings, TraceSettings},
    other_sites::OtherSites,
    postgres_url::display_host,
    security::{Network, SecuritySettings, loopback, trusted_proxies},
    server::{Bind, MAX_HEAD, Mode, ServerOptions, ServerSettings, TlsFiles},
};

/// All settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Developer mode.
    pub debug: bool,
    /// The time zone in which times are shown and entered.
    pub time_zone: Tz,
    /// Where pages find the static files, with a slash at its end.
    pub static_url: String,
    /// The folder that `collectstatic` writes to.
    pub static_root: Option<PathBuf>,
    /// The database and its replica.
    pub database: DatabaseSettings,
    /// The cache that replicas share, if any.
    pub cache: Option<CacheSettings>,
    /// The size of the pages in memory at most, in bytes; 0: none are kept.
    pub page_cache_size: u64,
    /// The secret key, the hosts and proxies that are trusted, cookies, and limits on forms.
    pub security: SecuritySettings,
    /// What other sites may do with pages of this one.
    pub other_sites: OtherSites,
    /// Listeners, limits, timeouts, shutdown.
    pub server: ServerSettings,
    /// The format and level of the log.
    pub log: LogSettings,
    /// The file that variables were read from, if any.
    pub env_file: Option<PathBuf>,
}

impl Settings {
    /// Reads an environment.
    ///
    /// # Errors
    /// A sentence that names the invalid variable.
    pub fn read(environment: &Environment) -> anyhow::Result<Self> {
        let options = ServerOptions::default().resolve(environment, None)?;
        Self::with_options(environment, &options)
    }

    /// Reads an environment except for the server's options, which are given.
    ///
    /// # Errors
    /// A sentence that names the invalid variable.
    pub fn with_options(
        environment: &Environment,
        options: &ServerOptions,
    ) -> anyhow::Result<Self> {
        let debug = general::debug(environment)?;
        let mut log = LogSettings::read(environment)?;
        if let Some(filter) = &options.loglevel {
            log.filter.clone_from(filter);
        }
        Ok(Self {
            debug,
            env_file: environment.file().map(ToOwned::to_owned),
            time_zone: general::time_zone(environment)?,
            static_url: general::static_url(environment)?,
            static_root: general::static_root(environment)?,
            database: DatabaseSettings::read(environment)?,
            cache: CacheSettings::read(environment)?,
            page_cache_size: cache::page_cache_size(environment)?,
            security: SecuritySettings::read(environment, debug, &options.forwarded_allow_ips)?,
            other_sites: OtherSites::read(environment)?,
            server: ServerSettings::new(options)?,
            log,
        })
    }

    /// The variables as two tables in Markdown, for `docs/settings.md`: those of this program, and those that are settings
    /// of the same name in Django. The server's options have a table of their own: [`ServerOptions::reference`].
    pub fn reference() -> [String; 2] {
        let table =
            |rows: String| format!("| variable | default | meaning |\n|---|---|---|\n{rows}");
        let own = declared::own().map(|variable| variable.row());
        let django = SecuritySettings::django_variables();
        [
            table(own.collect()),
            table(django.map(|variable| variable.row()).collect()),
        ]
    }

    /// All declared settings with their values; secrets are masked.
    ///
    /// # Errors
    /// When a value is not UTF-8, or an option of the server is invalid.
    pub fn variables(environment: &Environment) -> anyhow::Result<Vec<DeclaredVariable>> {
        declared::variables(environment)
    }

    /// The server's options in force, in the format of a file.
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

    /// The settings without secrets, as names of variables and values.
    pub fn redacted(&self) -> Vec<(&'static str, String)> {
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
            ("PAGE_CACHE_SIZE", (self.page_cache_size >> 20).to_string()),
            ("BIND", list(&binds)),
            ("WEB_CONCURRENCY", server.threads.to_string()),
            ("REQUEST_TIMEOUT", server.timeout.as_secs().to_string()),
            ("TIME_ZONE", self.time_zone.to_string()),
            (
                "EMBED_FRAME_ANCESTORS",
                list(&self.other_sites.embed_frame_ancestors),
            ),
            (
                "API_ALLOWED_ORIGINS",
                list(&self.other_sites.api_allowed_origins),
            ),
            ("RUST_LOG", self.log.filter.clone()),
        ]
    }
}
