//! How the server listens and stops.

use std::time::Duration;

use super::env;

/// - `BIND`: address and port to listen on; default `127.0.0.1:8000`. The argument of `runserver` wins over it.
/// - `GRACEFUL_TIMEOUT`: seconds for what is in flight when the server is told to stop; default 30.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// `ADDR:PORT` or `PORT`, not yet checked.
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
        Ok(Self {
            bind: env::var("BIND")?.unwrap_or_else(|| "127.0.0.1:8000".to_owned()),
            graceful_timeout: Duration::from_secs(seconds),
        })
    }
}
