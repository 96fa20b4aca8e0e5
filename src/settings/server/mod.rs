//! The server's settings: listeners, limits, timeouts, shutdown.

mod bind;
mod options;

use std::{
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    time::Duration,
};

use anyhow::{anyhow, bail};
use serde::{Serialize, Serializer};

pub use self::{
    bind::{Bind, Mode},
    options::ServerOptions,
};
use super::AccessLogFormat;

const DEFAULT_BIND: &str = "127.0.0.1:8000";
/// More threads than any machine has cores.
const MAX_THREADS: usize = 1024;
const MAX_PLACES: usize = 1_000_000;
/// The library sets aside room for as many with each request.
const MAX_FIELD_COUNT: usize = 1000;
/// The longest head of a request that is read, in bytes, whatever the limits of its parts add up to.
pub const MAX_HEAD: usize = 64 * 1024;

/// The server's settings, as they are in force. Written out, they are options under the same names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServerSettings {
    /// Where to listen; one address at least.
    pub bind: Vec<Bind>,
    /// The mode of a Unix socket.
    pub socket_mode: Mode,
    /// Whether other servers may listen at the same addresses.
    pub reuse_port: bool,
    /// Connections that wait to be accepted, at most.
    pub backlog: u32,
    /// Threads that work.
    pub threads: usize,
    /// Time until an answer has to be there.
    #[serde(serialize_with = "seconds")]
    pub timeout: Duration,
    /// Time for the head of a request, and for TLS to begin.
    #[serde(serialize_with = "seconds")]
    pub header_timeout: Duration,
    /// Time for the body of a request.
    #[serde(serialize_with = "seconds")]
    pub body_timeout: Duration,
    /// Time to wait for the next request on an open connection.
    #[serde(serialize_with = "seconds")]
    pub keepalive: Duration,
    /// Time in which the server still takes connections after it was told to stop.
    #[serde(serialize_with = "seconds")]
    pub shutdown_delay: Duration,
    /// Time for what is in flight after that.
    #[serde(serialize_with = "seconds")]
    pub graceful_timeout: Duration,
    /// Connections at once, at most.
    pub max_connections: usize,
    /// Connections at once from one address, at most.
    pub max_connections_per_address: usize,
    /// Requests that are being answered at once, at most.
    pub max_requests_in_flight: usize,
    /// The longest request line, in bytes.
    pub limit_request_line: usize,
    /// Fields in a head, at most.
    pub limit_request_fields: usize,
    /// The largest field, in bytes.
    pub limit_request_field_size: usize,
    /// The files with certificate and key, if the server speaks TLS.
    #[serde(flatten)]
    pub tls: Option<TlsFiles>,
    /// Whether trusted proxies speak the PROXY protocol.
    pub proxy_protocol: bool,
    /// What a line of the access log holds.
    pub access_log_format: AccessLogFormat,
    /// The address of the metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics_bind: Option<Bind>,
}

/// Where certificate and key are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TlsFiles {
    /// The certificate, with those that vouch for it.
    #[serde(rename = "certfile")]
    pub certificate: PathBuf,
    /// Its key.
    #[serde(rename = "keyfile")]
    pub key: PathBuf,
}

impl ServerSettings {
    /// Options with the defaults for what they leave open.
    ///
    /// # Errors
    /// When they contradict each other.
    pub fn new(options: &ServerOptions) -> anyhow::Result<Self> {
        let above_0 = |given: Option<NonZeroU32>, default| {
            Duration::from_secs(given.map_or(default, |seconds| seconds.get().into()))
        };
        let from_0 =
            |given: Option<u32>, default| Duration::from_secs(given.unwrap_or(default).into());
        let count = |name, given: Option<NonZeroU32>, default, most| {
            let count = given.map_or(default, |count| count.get() as usize);
            if count > most {
                bail!("{name} must be {most} at most, not {count}.");
            }
            anyhow::Ok(count)
        };
        let tls = match (options.certfile.clone(), options.keyfile.clone()) {
            (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
            (None, None) => None,
            (Some(_), None) => bail!("CERTFILE is set and KEYFILE is not: TLS needs both."),
            (None, Some(_)) => bail!("KEYFILE is set and CERTFILE is not: TLS needs both."),
        };
        let mut bind = options.bind.clone();
        if bind.is_empty() {
            bind.push(DEFAULT_BIND.parse().expect("is an address"));
        }
        if let Some(metrics) = options
            .metrics_bind
            .as_ref()
            .filter(|metrics| bind.contains(metrics) && !metrics.is_any_port())
        {
            bail!("METRICS_BIND is {metrics}, an address of BIND: it needs another one.");
        }
        let format = options
            .access_log_format
            .as_deref()
            .map(str::parse)
            .transpose();
        let format =
            format.map_err(|error| anyhow!("ACCESS_LOG_FORMAT cannot be read: {error}."))?;
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Ok(Self {
            bind,
            socket_mode: options.socket_mode.unwrap_or(Mode(0o660)),
            reuse_port: options.reuse_port.unwrap_or_default(),
            backlog: options.backlog.map_or(2048, NonZeroU32::get),
            threads: count("WEB_CONCURRENCY", options.threads, cores, MAX_THREADS)?,
            timeout: above_0(options.timeout, 30),
            header_timeout: above_0(options.header_timeout, 10),
            body_timeout: above_0(options.body_timeout, 30),
            keepalive: above_0(options.keepalive, 75),
            shutdown_delay: from_0(options.shutdown_delay, 0),
            graceful_timeout: from_0(options.graceful_timeout, 30),
            max_connections: count(
                "MAX_CONNECTIONS",
                options.max_connections,
                16_384,
                MAX_PLACES,
            )?,
            max_connections_per_address: count(
                "MAX_CONNECTIONS_PER_ADDRESS",
                options.max_connections_per_address,
                512,
                MAX_PLACES,
            )?,
            max_requests_in_flight: count(
                "MAX_REQUESTS_IN_FLIGHT",
                options.max_requests_in_flight,
                256,
                MAX_PLACES,
            )?,
            limit_request_line: count(
                "LIMIT_REQUEST_LINE",
                options.limit_request_line,
                4094,
                MAX_HEAD,
            )?,
            limit_request_fields: count(
                "LIMIT_REQUEST_FIELDS",
                options.limit_request_fields,
                100,
                MAX_FIELD_COUNT,
            )?,
            limit_request_field_size: count(
                "LIMIT_REQUEST_FIELD_SIZE",
                options.limit_request_field_size,
                8190,
                MAX_HEAD,
            )?,
            tls,
            proxy_protocol: options.proxy_protocol.unwrap_or_default(),
            access_log_format: format.unwrap_or_default(),
            metrics_bind: options.metrics_bind.clone(),
        })
    }
}

fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(time.as_secs())
}
