//! What the operator decides, read from the environment once. No other module reads the environment.

mod database;
pub mod env;
mod security;
mod server;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use chrono_tz::Tz;

pub use self::{
    database::DatabaseSettings,
    security::{SecuritySettings, loopback},
    server::{ServerSettings, check_bind},
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
}

impl Settings {
    /// Reads the environment.
    ///
    /// # Errors
    /// A sentence that names the variable at fault.
    pub fn from_env() -> anyhow::Result<Self> {
        let debug = env::flag("DEBUG")?;
        Ok(Self {
            debug,
            time_zone: env::parsed("TIME_ZONE", "the name of a time zone, as Europe/Berlin")?
                .unwrap_or(Tz::UTC),
            database: DatabaseSettings::from_env()?,
            security: SecuritySettings::from_env(debug)?,
            server: ServerSettings::from_env()?,
        })
    }
}

/// How to write the log, which begins before there are settings.
///
/// - `LOG_FORMAT`: `text` or `json`; default `text`.
/// - `RUST_LOG`: what to log, in the syntax of `tracing_subscriber::EnvFilter`; default `info`.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// Whether each line is a JSON object.
    pub json: bool,
    /// What to log.
    pub filter: String,
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
            filter: env::var("RUST_LOG")?.unwrap_or_else(|| "info".to_owned()),
        })
    }
}

/// Adds to the environment what a file says, for variables that are not set already: the file at `path`, which must
/// then exist, or `.env` in the working directory if there is one. Gives the file that was read.
///
/// # Errors
/// When the file cannot be read or a line in it is not `NAME=value`.
pub fn load_env_file(path: Option<&Path>) -> anyhow::Result<Option<PathBuf>> {
    let file = path.unwrap_or_else(|| Path::new(".env"));
    match dotenvy::from_path(file) {
        Ok(()) => Ok(Some(file.to_owned())),
        Err(error) if error.not_found() && path.is_none() => Ok(None),
        // The line itself may hold a secret: name the file only.
        Err(dotenvy::Error::LineParse(..)) => {
            bail!("{} has a line that is not NAME=value.", file.display())
        }
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", file.display())),
    }
}
