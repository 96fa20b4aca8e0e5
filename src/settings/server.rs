//! How the server listens and stops.

use std::time::Duration;

use anyhow::{Context, bail};

use super::env;

/// - `BIND`: address and port to listen on; default `127.0.0.1:8000`. The argument of `runserver` wins over it.
/// - `GRACEFUL_TIMEOUT`: seconds for what is in flight when the server is told to stop; default 30.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// `ADDR:PORT`, `NAME:PORT` or `PORT`.
    pub bind: String,
    /// Time for what is in flight when the server is told to stop.
    pub graceful_timeout: Duration,
}

impl ServerSettings {
    /// Reads the variables above.
    ///
    /// # Errors
    /// A sentence that names the variable at fault.
    pub fn from_env() -> anyhow::Result<Self> {
        let seconds = env::parsed("GRACEFUL_TIMEOUT", "a number of seconds")?.unwrap_or(30);
        let bind = env::var("BIND")?.unwrap_or_else(|| "127.0.0.1:8000".to_owned());
        check_bind(&bind).context("BIND cannot be used")?;
        Ok(Self {
            bind,
            graceful_timeout: Duration::from_secs(seconds),
        })
    }
}

/// Checks the form of an address to listen on.
///
/// # Errors
/// In Django's words.
pub fn check_bind(text: &str) -> anyhow::Result<()> {
    let is_port = |port: &str| port.parse::<u16>().is_ok();
    let is_pair = text
        .rsplit_once(':')
        .is_some_and(|(name, port)| !name.is_empty() && is_port(port));
    if !is_port(text) && !is_pair {
        bail!("\"{text}\" is not a valid port number or address:port pair.");
    }
    Ok(())
}
