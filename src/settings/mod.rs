//! What the operator decides, read from the environment once. No other module reads the environment.

mod access_log;
mod cookies;
mod database;
pub mod env;
mod headers;
mod live;
mod security;
mod server;

use std::path::{Path, PathBuf};

use anyhow::bail;
use chrono_tz::Tz;
use url::Url;

pub use self::{
    access_log::{AccessLogFormat, Piece},
    cookies::{CookieSettings, SameSite},
    database::DatabaseSettings,
    headers::HeaderSettings,
    live::Live,
    security::{
        MAX_BODY, MAX_FIELDS, Network, SecuritySettings, csrf_cookie, loopback, session_cookie,
    },
    server::{Bind, Mode, ServerOptions, ServerSettings, TlsFiles},
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
    /// The secret key, and whom to believe.
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
        Self::with_options(&ServerOptions::default().settle(None)?)
    }

    /// Reads the environment except for the server's options, which are given.
    ///
    /// # Errors
    /// A sentence that names the variable at fault.
    pub fn with_options(options: &ServerOptions) -> anyhow::Result<Self> {
        let debug = env::flag("DEBUG")?;
        Ok(Self {
            debug,
            env_file: env::file(),
            time_zone: env::parsed("TIME_ZONE", "the name of a time zone, as Europe/Berlin")?
                .unwrap_or(Tz::UTC),
            database: DatabaseSettings::from_env()?,
            security: SecuritySettings::from_env(debug, &options.forwarded_allow_ips)?,
            server: ServerSettings::new(options)?,
            log: LogSettings {
                filter: match &options.loglevel {
                    Some(filter) => filter.clone(),
                    None => DEFAULT_FILTER.to_owned(),
                },
                ..LogSettings::from_env()?
            },
        })
    }
}

const DEFAULT_FILTER: &str = "info";

impl Settings {
    /// The server's options as they are in force, for people to read.
    pub fn to_options(&self) -> ServerOptions {
        let proxies = self.security.trusted_proxies.iter();
        ServerOptions {
            forwarded_allow_ips: proxies.map(|network| Network(*network)).collect(),
            loglevel: Some(self.log.filter.clone()),
            ..self.server.to_options()
        }
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
        vec![
            ("DEBUG", self.debug.to_string()),
            ("SECRET_KEY", "********************".to_owned()),
            ("ALLOWED_HOSTS", list(&security.allowed_hosts)),
            ("CSRF_TRUSTED_ORIGINS", list(&security.csrf_trusted_origins)),
            ("TRUSTED_PROXIES", list(&proxies)),
            ("DATABASE_URL", self.database.display()),
            ("DATABASE_POOL_SIZE", self.database.pool_size.to_string()),
            ("BIND", list(&binds)),
            ("WEB_CONCURRENCY", server.threads.to_string()),
            ("REQUEST_TIMEOUT", server.timeout.as_secs().to_string()),
            ("TIME_ZONE", self.time_zone.to_string()),
            ("RUST_LOG", self.log.filter.clone()),
        ]
    }
}

/// How to write the log, which begins before there are settings.
///
/// - `LOG_FORMAT`: `text` or `json`; default `text`.
/// - `RUST_LOG`: what to log, in the syntax of `tracing_subscriber::EnvFilter`; default `info`.
/// - `OTEL_EXPORTER_OTLP_ENDPOINT`: the collector that the server sends its traces to, as `http://127.0.0.1:4318`; default
///   none.
/// - `OTEL_SERVICE_NAME`: by what name; default `polls`.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// Whether each line is a JSON object.
    pub json: bool,
    /// What to log.
    pub filter: String,
    /// Where traces go.
    pub traces: Option<TraceSettings>,
}

/// Where the server sends its traces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceSettings {
    /// The collector, which speaks OTLP over HTTP.
    pub endpoint: Url,
    /// What the server is called there.
    pub service_name: String,
}

impl TraceSettings {
    fn from_env() -> anyhow::Result<Option<Self>> {
        let Some(endpoint) = env::var("OTEL_EXPORTER_OTLP_ENDPOINT")? else {
            return Ok(None);
        };
        let Some(endpoint) = Url::parse(&endpoint)
            .ok()
            .filter(|url| url.scheme() == "http" && url.has_host())
        else {
            bail!(
                "OTEL_EXPORTER_OTLP_ENDPOINT must be the address of a collector on this machine or network, as \
                 http://127.0.0.1:4318, not {endpoint:?}."
            );
        };
        Ok(Some(Self {
            endpoint,
            service_name: env::var("OTEL_SERVICE_NAME")?.unwrap_or_else(|| "polls".to_owned()),
        }))
    }
}

impl LogSettings {
    /// Reads the variables above.
    ///
    /// # Errors
    /// A sentence that names the variable at fault.
    pub fn from_env() -> anyhow::Result<Self> {
        let json = match env::var("LOG_FORMAT")?.as_deref() {
            None | Some("text") => false,
            Some("json") => true,
            Some(other) => bail!("LOG_FORMAT must be text or json, not {other:?}."),
        };
        Ok(Self {
            json,
            filter: env::var("RUST_LOG")?.unwrap_or_else(|| DEFAULT_FILTER.to_owned()),
            traces: TraceSettings::from_env()?,
        })
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
