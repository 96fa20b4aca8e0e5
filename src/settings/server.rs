//! How the server listens, what it bears, and how it stops.

use std::{
    fmt,
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use serde::{Deserialize, Deserializer, Serialize};

use super::{access_log::AccessLogFormat, env, security::Network};
use crate::server::framing::MAX_HEAD;

/// More threads than any machine has cores.
const MAX_THREADS: usize = 1024;
const MAX_PLACES: usize = 1_000_000;
/// The library sets aside room for as many with each request.
const MAX_FIELD_COUNT: usize = 1000;
const DEFAULT_BIND: &str = "127.0.0.1:8000";
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
    /// Let several servers listen at one address, between which the system shares the visitors [REUSE_PORT; false].
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
    /// Seconds, when told to stop, in which the server still takes visitors but says that it is not ready
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
    /// Addresses or networks of proxies that are believed, instead of TRUSTED_PROXIES; may be given several times.
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
    /// Where to listen for those who ask for metrics; never on a public address [METRICS_BIND; nowhere].
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
        let flag = |name| {
            anyhow::Ok(match env::var(name)? {
                Some(_) => Some(env::flag(name)?),
                None => None,
            })
        };
        Ok(Self {
            bind: env::list("BIND")?.unwrap_or_default(),
            socket_mode: env::parsed("SOCKET_MODE", "a mode as 660")?,
            reuse_port: flag("REUSE_PORT")?,
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
            limit_request_line: env::parsed("LIMIT_REQUEST_LINE", COUNT)?,
            limit_request_fields: env::parsed("LIMIT_REQUEST_FIELDS", COUNT)?,
            limit_request_field_size: env::parsed("LIMIT_REQUEST_FIELD_SIZE", COUNT)?,
            certfile: env::var("CERTFILE")?.map(PathBuf::from),
            keyfile: env::var("KEYFILE")?.map(PathBuf::from),
            proxy_protocol: flag("PROXY_PROTOCOL")?,
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
    pub fn settle(self, path: Option<&Path>) -> anyhow::Result<Self> {
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

/// The server's settings, as they are in force.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    pub timeout: Duration,
    /// Time for the head of a request, and for TLS to begin.
    pub header_timeout: Duration,
    /// Time for the body of a request.
    pub body_timeout: Duration,
    /// Time to wait for the next request on an open connection.
    pub keepalive: Duration,
    /// Time in which the server still takes visitors after it was told to stop.
    pub shutdown_delay: Duration,
    /// Time for what is in flight after that.
    pub graceful_timeout: Duration,
    /// Connections at once, at most.
    pub max_connections: usize,
    /// Connections at once from one address, at most.
    pub max_connections_per_address: usize,
    /// The longest request line, in bytes.
    pub limit_request_line: usize,
    /// Fields in a head, at most.
    pub limit_request_fields: usize,
    /// The largest field, in bytes.
    pub limit_request_field_size: usize,
    /// The files with certificate and key, if the server speaks TLS.
    pub tls: Option<TlsFiles>,
    /// Whether trusted proxies speak the PROXY protocol.
    pub proxy_protocol: bool,
    /// What a line of the access log holds.
    pub access_log_format: AccessLogFormat,
    /// Where to listen for those who ask for metrics.
    pub metrics_bind: Option<Bind>,
}

/// Where certificate and key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, with those that vouch for it.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl ServerSettings {
    /// Options with the defaults for what they leave open.
    ///
    /// # Errors
    /// When they contradict each other.
    pub fn new(options: &ServerOptions) -> anyhow::Result<Self> {
        let seconds = |given: Option<NonZeroU32>, default| {
            Duration::from_secs(given.map_or(default, |seconds| seconds.get().into()))
        };
        let seconds_or_0 =
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
            bail!("METRICS_BIND is {metrics}, where visitors come: give it an address of its own.");
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
            timeout: seconds(options.timeout, 30),
            header_timeout: seconds(options.header_timeout, 10),
            body_timeout: seconds(options.body_timeout, 30),
            keepalive: seconds(options.keepalive, 75),
            shutdown_delay: seconds_or_0(options.shutdown_delay, 0),
            graceful_timeout: seconds_or_0(options.graceful_timeout, 30),
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

    /// These as options.
    pub(super) fn to_options(&self) -> ServerOptions {
        let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        let given = |count: usize| NonZeroU32::new(u32::try_from(count).unwrap_or(u32::MAX));
        let above_0 = |time: Duration| NonZeroU32::new(seconds(time));
        let (certfile, keyfile) = match self.tls.clone() {
            Some(files) => (Some(files.certificate), Some(files.key)),
            None => (None, None),
        };
        ServerOptions {
            bind: self.bind.clone(),
            socket_mode: Some(self.socket_mode),
            reuse_port: Some(self.reuse_port),
            backlog: NonZeroU32::new(self.backlog),
            threads: given(self.threads),
            timeout: above_0(self.timeout),
            header_timeout: above_0(self.header_timeout),
            body_timeout: above_0(self.body_timeout),
            keepalive: above_0(self.keepalive),
            shutdown_delay: Some(seconds(self.shutdown_delay)),
            graceful_timeout: Some(seconds(self.graceful_timeout)),
            max_connections: given(self.max_connections),
            max_connections_per_address: given(self.max_connections_per_address),
            limit_request_line: given(self.limit_request_line),
            limit_request_fields: given(self.limit_request_fields),
            limit_request_field_size: given(self.limit_request_field_size),
            certfile,
            keyfile,
            proxy_protocol: Some(self.proxy_protocol),
            // These are kept elsewhere.
            forwarded_allow_ips: Vec::new(),
            loglevel: None,
            access_log_format: Some(self.access_log_format.to_string()),
            metrics_bind: self.metrics_bind.clone(),
        }
    }
}

/// Somewhere to listen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Bind {
    /// An address, or a name, and a port.
    Tcp(String),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl Bind {
    /// Whether the system chooses the port: another one each time.
    fn is_any_port(&self) -> bool {
        matches!(self, Self::Tcp(text) if text.ends_with(":0"))
    }

    /// The addresses that are meant, for [`Bind::Tcp`].
    ///
    /// # Errors
    /// When a name is not known.
    pub async fn resolve(&self) -> anyhow::Result<Vec<SocketAddr>> {
        let Self::Tcp(text) = self else {
            return Ok(Vec::new());
        };
        let unknown = || format!("\"{text}\" is not known here");
        let found: Vec<_> = tokio::net::lookup_host(text)
            .await
            .with_context(unknown)?
            .collect();
        if found.is_empty() {
            bail!(unknown());
        }
        Ok(found)
    }
}

/// In Django's words when it is none.
impl FromStr for Bind {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() {
                bail!("\"{text}\" names no socket: write unix:PATH");
            }
            return Ok(Self::Unix(path.into()));
        }
        let is_port = |port: &str| port.parse::<u16>().is_ok();
        if is_port(text) {
            return Ok(Self::Tcp(format!("127.0.0.1:{text}")));
        }
        let is_pair = text
            .rsplit_once(':')
            .is_some_and(|(name, port)| !name.is_empty() && is_port(port));
        if !is_pair {
            bail!("\"{text}\" is not a valid port number or address:port pair");
        }
        Ok(Self::Tcp(text.to_owned()))
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl TryFrom<String> for Bind {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Bind> for String {
    fn from(bind: Bind) -> Self {
        bind.to_string()
    }
}

/// The mode of a file, as `660`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Digits", into = "String")]
pub struct Mode(pub u32);

impl FromStr for Mode {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mode = u32::from_str_radix(text.trim_start_matches("0o"), 8).ok();
        mode.filter(|mode| *mode <= 0o777)
            .map(Self)
            .ok_or("write three octal digits, as 660")
    }
}

/// In a file its digits may stand without quotes.
#[derive(Deserialize)]
#[serde(untagged)]
enum Digits {
    Text(String),
    Number(u32),
}

impl TryFrom<Digits> for Mode {
    type Error = &'static str;

    fn try_from(digits: Digits) -> Result<Self, Self::Error> {
        match digits {
            Digits::Text(text) => text.parse(),
            Digits::Number(number) => number.to_string().parse(),
        }
    }
}

impl From<Mode> for String {
    fn from(mode: Mode) -> Self {
        format!("{:o}", mode.0)
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
