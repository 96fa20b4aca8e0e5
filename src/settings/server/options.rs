//! The server's options as they are given: as flags, as variables, or in a file.

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::{Deserialize, Deserializer, Serialize};

use super::bind::{Bind, Mode};
use crate::settings::{Network, env};

/// The server's options as they are given: as flags of `runserver`, as variables, or in a file. Names and meanings are
/// gunicorn's where it has the option. What is not given has its default.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    clippy::doc_markdown,
    reason = "these are help texts, where backticks would show"
)]
pub struct ServerOptions {
    /// Where to listen: ADDR:PORT, PORT or unix:PATH; may be given several times [BIND; default 127.0.0.1:8000].
    #[arg(short, long, value_name = "ADDRESS")]
    #[serde(
        default,
        deserialize_with = "one_or_many",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub bind: Vec<Bind>,
    /// The mode of a Unix socket, octal [SOCKET_MODE; 660].
    #[arg(long, value_name = "MODE")]
    pub socket_mode: Option<Mode>,
    /// Let several servers listen at one address, between which the system shares the clients [REUSE_PORT; false].
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    pub reuse_port: Option<bool>,
    /// Connections that wait to be accepted, at most [BACKLOG; 2048].
    #[arg(long, value_name = "COUNT")]
    pub backlog: Option<NonZeroU32>,
    /// Threads that work, in place of gunicorn's workers [WEB_CONCURRENCY; one per core].
    #[arg(short = 'w', long, visible_alias = "workers", value_name = "COUNT")]
    #[serde(alias = "workers")]
    pub threads: Option<NonZeroU32>,
    /// Seconds until an answer has to be there [REQUEST_TIMEOUT; 30].
    #[arg(short, long, value_name = "SECONDS")]
    pub timeout: Option<NonZeroU32>,
    /// Seconds for the head of a request, and for TLS to begin [HEADER_TIMEOUT; 10].
    #[arg(long, value_name = "SECONDS")]
    pub header_timeout: Option<NonZeroU32>,
    /// Seconds for the body of a request [BODY_TIMEOUT; 30].
    #[arg(long, value_name = "SECONDS")]
    pub body_timeout: Option<NonZeroU32>,
    /// Seconds to wait for the next request on an open connection; longer than a proxy in front waits [KEEPALIVE; 75].
    #[arg(long = "keep-alive", value_name = "SECONDS")]
    #[serde(alias = "keep_alive")]
    pub keepalive: Option<NonZeroU32>,
    /// Seconds, when told to stop, in which the server still takes connections but says that it is not ready
    /// [SHUTDOWN_DELAY; 0].
    #[arg(long, value_name = "SECONDS")]
    pub shutdown_delay: Option<u32>,
    /// Seconds for what is in flight after that [GRACEFUL_TIMEOUT; 30].
    #[arg(long, value_name = "SECONDS")]
    pub graceful_timeout: Option<u32>,
    /// Connections at once, at most [MAX_CONNECTIONS; 16384].
    #[arg(long, value_name = "COUNT")]
    pub max_connections: Option<NonZeroU32>,
    /// Connections at once from one address, at most; trusted proxies may have any number
    /// [MAX_CONNECTIONS_PER_ADDRESS; 512].
    #[arg(long, value_name = "COUNT")]
    pub max_connections_per_address: Option<NonZeroU32>,
    /// Requests that are being answered at once, at most; others wait for up to 5 s
    /// [MAX_REQUESTS_IN_FLIGHT; 256].
    #[arg(long, value_name = "COUNT")]
    pub max_requests_in_flight: Option<NonZeroU32>,
    /// The longest request line, in bytes [LIMIT_REQUEST_LINE; 4094].
    #[arg(long, value_name = "BYTES")]
    pub limit_request_line: Option<NonZeroU32>,
    /// Fields in the head of a request, at most [LIMIT_REQUEST_FIELDS; 100].
    #[arg(long, value_name = "COUNT")]
    pub limit_request_fields: Option<NonZeroU32>,
    /// The largest field, in bytes [LIMIT_REQUEST_FIELD_SIZE; 8190].
    #[arg(long, value_name = "BYTES")]
    pub limit_request_field_size: Option<NonZeroU32>,
    /// The file with the certificate and those that vouch for it, as PEM; with it the server speaks TLS [CERTFILE; none].
    #[arg(long, value_name = "FILE")]
    pub certfile: Option<PathBuf>,
    /// The file with the certificate's key, as PEM [KEYFILE; none].
    #[arg(long, value_name = "FILE")]
    pub keyfile: Option<PathBuf>,
    /// Trusted proxies begin each connection with a line of the PROXY protocol [PROXY_PROTOCOL; false].
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    pub proxy_protocol: Option<bool>,
    /// Addresses or networks of trusted proxies, instead of TRUSTED_PROXIES; may be given several times.
    #[arg(long, value_name = "NETWORK", value_delimiter = ',')]
    #[serde(
        default,
        deserialize_with = "one_or_many",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub forwarded_allow_ips: Vec<Network>,
    /// What a line of the access log holds, in gunicorn's notation [ACCESS_LOG_FORMAT; its own].
    #[arg(long = "access-logformat", value_name = "FORMAT")]
    #[serde(alias = "access_logformat")]
    pub access_log_format: Option<String>,
    /// The address of the metrics; never a public one [METRICS_BIND; nowhere].
    #[arg(long, value_name = "ADDRESS")]
    pub metrics_bind: Option<Bind>,
    /// What to log, instead of RUST_LOG.
    #[arg(long, alias = "log-level", value_name = "FILTER")]
    #[serde(alias = "log_level")]
    pub loglevel: Option<String>,
}

impl ServerOptions {
    /// What the variables say that are named above.
    ///
    /// # Errors
    /// A sentence that names the variable at fault.
    pub fn from_env() -> anyhow::Result<Self> {
        const SECONDS: &str = "a number of seconds above 0";
        const COUNT: &str = "a number above 0";
        Ok(Self {
            bind: env::list("BIND")?.unwrap_or_default(),
            socket_mode: env::parsed("SOCKET_MODE", "a mode as 660")?,
            reuse_port: env::optional_flag("REUSE_PORT")?,
            backlog: env::parsed("BACKLOG", COUNT)?,
            threads: env::parsed("WEB_CONCURRENCY", COUNT)?,
            timeout: env::parsed("REQUEST_TIMEOUT", SECONDS)?,
            header_timeout: env::parsed("HEADER_TIMEOUT", SECONDS)?,
            body_timeout: env::parsed("BODY_TIMEOUT", SECONDS)?,
            keepalive: env::parsed("KEEPALIVE", SECONDS)?,
            shutdown_delay: env::parsed("SHUTDOWN_DELAY", "a number of seconds")?,
            graceful_timeout: env::parsed("GRACEFUL_TIMEOUT", "a number of seconds")?,
            max_connections: env::parsed("MAX_CONNECTIONS", COUNT)?,
            max_connections_per_address: env::parsed("MAX_CONNECTIONS_PER_ADDRESS", COUNT)?,
            max_requests_in_flight: env::parsed("MAX_REQUESTS_IN_FLIGHT", COUNT)?,
            limit_request_line: env::parsed("LIMIT_REQUEST_LINE", COUNT)?,
            limit_request_fields: env::parsed("LIMIT_REQUEST_FIELDS", COUNT)?,
            limit_request_field_size: env::parsed("LIMIT_REQUEST_FIELD_SIZE", COUNT)?,
            certfile: env::var("CERTFILE")?.map(PathBuf::from),
            keyfile: env::var("KEYFILE")?.map(PathBuf::from),
            proxy_protocol: env::optional_flag("PROXY_PROTOCOL")?,
            forwarded_allow_ips: env::list("TRUSTED_PROXIES")?.unwrap_or_default(),
            access_log_format: env::var("ACCESS_LOG_FORMAT")?,
            metrics_bind: env::parsed("METRICS_BIND", "ADDR:PORT, PORT or unix:PATH")?,
            loglevel: env::var("RUST_LOG")?,
        })
    }

    /// What a file says, in TOML, under the names above.
    ///
    /// # Errors
    /// When it cannot be read, or has a mistake, with the line.
    pub fn from_file(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("{} cannot be read", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} has a mistake", path.display()))
    }

    /// These, and what they leave open as the environment has it, and then as the file at `path` or else at
    /// `POLLS_CONFIG` has it.
    ///
    /// # Errors
    /// As [`ServerOptions::from_env`] and [`ServerOptions::from_file`].
    pub fn resolve(self, path: Option<&Path>) -> anyhow::Result<Self> {
        let named = env::var("POLLS_CONFIG")?.map(PathBuf::from);
        let options = self.or(Self::from_env()?);
        Ok(match path.or(named.as_deref()) {
            Some(path) => options.or(Self::from_file(path)?),
            None => options,
        })
    }

    /// These, and what they leave open as `other` has it.
    fn or(self, other: Self) -> Self {
        let table = |options| toml::Table::try_from(options).expect("options are a table");
        let mut all = table(other);
        all.extend(table(self));
        all.try_into().expect("both were options")
    }
}

/// A list, or what would be its only entry.
fn one_or_many<'de, D: Deserializer<'de>, T: serde::de::DeserializeOwned>(
    source: D,
) -> Result<Vec<T>, D::Error> {
    let value = toml::Value::deserialize(source)?;
    let list = match value {
        toml::Value::Array(list) => list,
        one => vec![one],
    };
    list.into_iter()
        .map(|entry| entry.try_into().map_err(serde::de::Error::custom))
        .collect()
}
