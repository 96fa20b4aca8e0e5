//! The server's settings: listeners, limits, timeouts, shutdown.

mod bind;
pub(super) mod options;

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use anyhow::{anyhow, bail};
use serde::{Serialize, Serializer};

use self::options::Positive;
pub use self::{
    bind::{Bind, Mode},
    options::ServerOptions,
};
use super::AccessLogFormat;

/// The most worker threads.
const MAX_THREADS: usize = 1024;
/// The most connections or requests that a limit allows.
const MAX_COUNT: usize = 1_000_000;
/// The most fields that a limit allows: hyper allocates room for this number with each request.
const MAX_FIELD_COUNT: usize = 1000;
/// The longest head of a request that is read, in bytes, whatever the limits of its parts add up to.
pub const MAX_HEAD: usize = 64 * 1024;

/// The server's settings in force. They serialise to options of the same names.
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
    /// Worker threads.
    pub threads: usize,
    /// From when a request is handled until its response must begin.
    #[serde(serialize_with = "seconds")]
    pub timeout: Duration,
    /// For the head of a request, and for the TLS handshake.
    #[serde(serialize_with = "seconds")]
    pub header_timeout: Duration,
    /// For the body of a request.
    #[serde(serialize_with = "seconds")]
    pub body_timeout: Duration,
    /// In which a client may read nothing of a response.
    #[serde(serialize_with = "seconds")]
    pub write_timeout: Duration,
    /// For the next request on an open connection.
    #[serde(serialize_with = "seconds")]
    pub keepalive: Duration,
    /// From SIGTERM until connections are not accepted any more.
    #[serde(serialize_with = "seconds")]
    pub shutdown_delay: Duration,
    /// For the requests in flight after that.
    #[serde(serialize_with = "seconds")]
    pub graceful_timeout: Duration,
    /// Open connections, at most.
    pub max_connections: usize,
    /// Open connections from one address, at most.
    pub max_connections_per_address: usize,
    /// Requests that are handled concurrently, at most.
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
    /// The format of the access log.
    pub access_log_format: AccessLogFormat,
    /// The address of the metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics_bind: Option<Bind>,
}

/// The files of the certificate and its key, as PEM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TlsFiles {
    /// The certificate chain.
    #[serde(rename = "certfile")]
    pub certificate: PathBuf,
    /// The certificate's key.
    #[serde(rename = "keyfile")]
    pub key: PathBuf,
}

impl ServerSettings {
    /// The settings of complete options: [`ServerOptions::resolve`].
    ///
    /// # Errors
    /// When a number is too large, an option is invalid, or two contradict each other.
    ///
    /// # Panics
    /// When an option with a default is missing.
    pub fn new(options: &ServerOptions) -> anyhow::Result<Self> {
        const COMPLETE: &str = "the option has a default";
        let above_0 = |seconds: Option<Positive>| Duration::from(seconds.expect(COMPLETE));
        let from_0 = |seconds: Option<u32>| Duration::from_secs(seconds.expect(COMPLETE).into());
        let count = |name, count: Option<Positive>, most| {
            let count = count.expect(COMPLETE).0.get() as usize;
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
        if let Some(metrics) = options
            .metrics_bind
            .as_ref()
            .filter(|metrics| options.bind.contains(metrics) && !metrics.is_any_port())
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
        let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let threads = match options.threads {
            Some(_) => count("WEB_CONCURRENCY", options.threads, MAX_THREADS)?,
            None => cores().min(MAX_THREADS),
        };
        Ok(Self {
            bind: options.bind.clone(),
            socket_mode: options.socket_mode.expect(COMPLETE),
            reuse_port: options.reuse_port.expect(COMPLETE),
            backlog: options.backlog.expect(COMPLETE).0.get(),
            threads,
            timeout: above_0(options.timeout),
            header_timeout: above_0(options.header_timeout),
            body_timeout: above_0(options.body_timeout),
            write_timeout: above_0(options.write_timeout),
            keepalive: above_0(options.keepalive),
            shutdown_delay: from_0(options.shutdown_delay),
            graceful_timeout: from_0(options.graceful_timeout),
            max_connections: count("MAX_CONNECTIONS", options.max_connections, MAX_COUNT)?,
            max_connections_per_address: count(
                "MAX_CONNECTIONS_PER_ADDRESS",
                options.max_connections_per_address,
                MAX_COUNT,
            )?,
            max_requests_in_flight: count(
                "MAX_REQUESTS_IN_FLIGHT",
                options.max_requests_in_flight,
                MAX_COUNT,
            )?,
            limit_request_line: count("LIMIT_REQUEST_LINE", options.limit_request_line, MAX_HEAD)?,
            limit_request_fields: count(
                "LIMIT_REQUEST_FIELDS",
                options.limit_request_fields,
                MAX_FIELD_COUNT,
            )?,
            limit_request_field_size: count(
                "LIMIT_REQUEST_FIELD_SIZE",
                options.limit_request_field_size,
                MAX_HEAD,
            )?,
            tls,
            proxy_protocol: options.proxy_protocol.expect(COMPLETE),
            access_log_format: format.unwrap_or_default(),
            metrics_bind: options.metrics_bind.clone(),
        })
    }
}

fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(time.as_secs())
}
