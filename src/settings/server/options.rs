//! The server's options as they are given: as flags, as variables, or in a file.

use std::{
    fmt::Display,
    num::NonZeroU32,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use anyhow::{Context, anyhow};
use clap::Args as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::bind::{Bind, Mode};
use crate::settings::{
    environment::Environment,
    security::Network,
    variable::{
        DefaultValue::{Described, Value},
        Variable, variables,
    },
};

variables! {
    VARIABLES:
    /// A TOML file with the server's options; also `-c FILE`
    POLLS_CONFIG = Described("none");
}

/// The declaration of an option, for its documentation.
struct Declaration {
    /// The name in a file.
    name: &'static str,
    variable: Variable,
}

/// A number above 0; of seconds, for a timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Positive(pub NonZeroU32);

impl FromStr for Positive {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse()
            .map(Self)
            .map_err(|_| format!("not a number from 1 to {}", u32::MAX))
    }
}

impl From<Positive> for Duration {
    fn from(seconds: Positive) -> Self {
        Self::from_secs(seconds.0.get().into())
    }
}

/// The type of an option.
trait OptionValue: Sized {
    /// Reads a variable.
    fn read(environment: &Environment, variable: &str) -> anyhow::Result<Self>;
}

impl<T: FromStr<Err: Display>> OptionValue for Vec<T> {
    fn read(environment: &Environment, variable: &str) -> anyhow::Result<Self> {
        Ok(environment.list(variable)?.unwrap_or_default())
    }
}

impl OptionValue for Option<bool> {
    fn read(environment: &Environment, variable: &str) -> anyhow::Result<Self> {
        environment.flag(variable)
    }
}

impl OptionValue for Option<PathBuf> {
    fn read(environment: &Environment, variable: &str) -> anyhow::Result<Self> {
        Ok(environment.get(variable)?.map(PathBuf::from))
    }
}

impl OptionValue for Option<String> {
    fn read(environment: &Environment, variable: &str) -> anyhow::Result<Self> {
        Ok(environment.get(variable)?.map(str::to_owned))
    }
}

/// Implements [`OptionValue`] for types that are parsed, with the description of a valid value for errors.
macro_rules! parsed {
    ($($type:ty: $expected:literal),* $(,)?) => {
        $(impl OptionValue for Option<$type> {
            fn read(environment: &Environment, variable: &str) -> anyhow::Result<Self> {
                environment.parsed(variable, $expected)
            }
        })*
    };
}

parsed! {
    Positive: "a number above 0",
    u32: "a number of seconds",
    Mode: "a mode as 660",
    Bind: "ADDR:PORT, PORT or unix:PATH",
}

/// Declares the options, each once: its meaning, its flag, its name in a file, its type, its variable and its default.
macro_rules! options {
    ($(
        #[doc = $help:literal]
        $(#[$attribute:meta])*
        $name:ident: $type:ty = $variable:ident, $default:expr;
    )*) => {
        $(
            #[doc = $help]
            pub const $variable: Variable = Variable {
                name: stringify!($variable),
                default: $default,
                help: $help,
            };
        )*

        /// The server's options as they are given: as flags of `runserver`, as variables, or in a file. Names and meanings
        /// are gunicorn's where it has the option. What is not given has its default.
        #[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct ServerOptions {
            $(
                #[doc = $help]
                $(#[$attribute])*
                #[arg(help = format!("{} [{}; {}]", $variable.help.trim(), $variable.name, $variable.default.text()))]
                pub $name: $type,
            )*
        }

        impl ServerOptions {
            /// All options, in the order of the documentation.
            const DECLARED: &[Declaration] = &[$(Declaration {
                name: stringify!($name),
                variable: $variable,
            }),*];

            /// The options that the variables give.
            ///
            /// # Errors
            /// A sentence that names the invalid variable.
            pub fn from_env(environment: &Environment) -> anyhow::Result<Self> {
                Ok(Self {
                    $($name: OptionValue::read(environment, $variable.name)?,)*
                })
            }
        }
    };
}

options! {
    /// Where to listen: ADDR:PORT, PORT or unix:PATH; may be given several times
    #[arg(short, long, value_name = "ADDRESS")]
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    bind: Vec<Bind> = BIND, Value("127.0.0.1:8000");
    /// The mode of a Unix socket, octal
    #[arg(long, value_name = "MODE")]
    socket_mode: Option<Mode> = SOCKET_MODE, Value("660");
    /// Let several servers listen at one address, between which the system distributes the connections
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    reuse_port: Option<bool> = REUSE_PORT, Value("false");
    /// The listen backlog: connections that wait to be accepted, at most
    #[arg(long, value_name = "COUNT")]
    backlog: Option<Positive> = BACKLOG, Value("2048");
    /// Worker threads, in place of gunicorn's workers
    #[arg(short = 'w', long, visible_alias = "workers", value_name = "COUNT")]
    #[serde(alias = "workers")]
    threads: Option<Positive> = WEB_CONCURRENCY, Described("one per core");
    /// Seconds from when a request is handled until its response begins; the time in which its body is received does not count
    #[arg(short, long, value_name = "SECONDS")]
    timeout: Option<Positive> = REQUEST_TIMEOUT, Value("30");
    /// Seconds for the head of a request, and for the TLS handshake
    #[arg(long, value_name = "SECONDS")]
    header_timeout: Option<Positive> = HEADER_TIMEOUT, Value("10");
    /// Seconds for the body of a request
    #[arg(long, value_name = "SECONDS")]
    body_timeout: Option<Positive> = BODY_TIMEOUT, Value("30");
    /// Seconds in which a client may read nothing of a response
    #[arg(long, value_name = "SECONDS")]
    write_timeout: Option<Positive> = WRITE_TIMEOUT, Value("30");
    /// Seconds to wait for the next request on an open connection; longer than a proxy in front waits
    #[arg(long = "keep-alive", value_name = "SECONDS")]
    #[serde(alias = "keep_alive")]
    keepalive: Option<Positive> = KEEPALIVE, Value("75");
    /// Seconds after SIGTERM in which connections are still accepted, while /readyz says 503; in Kubernetes about 5
    #[arg(long, value_name = "SECONDS")]
    shutdown_delay: Option<u32> = SHUTDOWN_DELAY, Value("0");
    /// Seconds for the requests in flight after that
    #[arg(long, value_name = "SECONDS")]
    graceful_timeout: Option<u32> = GRACEFUL_TIMEOUT, Value("30");
    /// Open connections, at most; fewer where the system's limit of open files is lower
    #[arg(long, value_name = "COUNT")]
    max_connections: Option<Positive> = MAX_CONNECTIONS, Value("16384");
    /// Open connections from one address (IPv6: a network of 56 bits), at most; trusted proxies may have any number
    #[arg(long, value_name = "COUNT")]
    max_connections_per_address: Option<Positive> = MAX_CONNECTIONS_PER_ADDRESS, Value("512");
    /// Requests that are handled concurrently, at most; others wait for up to 5 s. Read at the start only
    #[arg(long, value_name = "COUNT")]
    max_requests_in_flight: Option<Positive> = MAX_REQUESTS_IN_FLIGHT, Value("256");
    /// The longest request line, in bytes
    #[arg(long, value_name = "BYTES")]
    limit_request_line: Option<Positive> = LIMIT_REQUEST_LINE, Value("4094");
    /// Fields in the head of a request, at most
    #[arg(long, value_name = "COUNT")]
    limit_request_fields: Option<Positive> = LIMIT_REQUEST_FIELDS, Value("100");
    /// The largest field, in bytes
    #[arg(long, value_name = "BYTES")]
    limit_request_field_size: Option<Positive> = LIMIT_REQUEST_FIELD_SIZE, Value("8190");
    /// The file with the certificate chain, as PEM; with it the server speaks TLS
    #[arg(long, value_name = "FILE")]
    certfile: Option<PathBuf> = CERTFILE, Described("none");
    /// The file with the certificate's key, as PEM
    #[arg(long, value_name = "FILE")]
    keyfile: Option<PathBuf> = KEYFILE, Described("none");
    /// Trusted proxies begin each connection with a header of the PROXY protocol, version 1 or 2
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    proxy_protocol: Option<bool> = PROXY_PROTOCOL, Value("false");
    /// Addresses or networks of the proxies whose X-Forwarded-*, X-Request-ID and traceparent are trusted, as they always are on a Unix socket; may be given several times
    #[arg(long, value_name = "NETWORK", value_delimiter = ',')]
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    forwarded_allow_ips: Vec<Network> = TRUSTED_PROXIES, Described("loopback");
    /// The format of the access log, in gunicorn's notation
    #[arg(long = "access-logformat", value_name = "FORMAT")]
    #[serde(alias = "access_logformat")]
    access_log_format: Option<String> = ACCESS_LOG_FORMAT, Described("gunicorn's, with time taken and request id");
    /// The address of the metrics, never a public one
    #[arg(long, value_name = "ADDRESS")]
    metrics_bind: Option<Bind> = METRICS_BIND, Described("none");
    /// What to log, for every command: debug, or warn,access=info (the syntax of `tracing_subscriber::EnvFilter`)
    #[arg(long, alias = "log-level", value_name = "FILTER")]
    #[serde(alias = "log_level")]
    loglevel: Option<String> = RUST_LOG, Value("info");
}

impl ServerOptions {
    /// The defaults that can be written as a value.
    ///
    /// # Panics
    /// When a declared default is invalid.
    pub fn defaults() -> Self {
        let values = Self::DECLARED
            .iter()
            .filter_map(|declared| match declared.variable.default {
                Value(text) => Some((declared.name.to_owned(), typed(text))),
                Described(_) => None,
            });
        let table: toml::Table = values.collect();
        table.try_into().expect("the defaults are valid")
    }

    /// All options as a table in Markdown, for `docs/settings.md`.
    pub fn reference() -> String {
        let command = Self::augment_args(clap::Command::new("runserver"));
        let mut table =
            "| variable | flag | name in a file | default | meaning |\n|---|---|---|---|---|\n"
                .to_owned();
        for declared in Self::DECLARED {
            let argument = command
                .get_arguments()
                .find(|argument| argument.get_id() == declared.name);
            let argument = argument.expect("each option is a flag");
            let flags = argument.get_long_and_visible_aliases().unwrap_or_default();
            let flags: Vec<_> = flags.iter().map(|flag| format!("`--{flag}`")).collect();
            let flags = flags.join(", ");
            let Declaration { name, variable } = declared;
            let (default, help) = (variable.default.markdown(), variable.help.trim());
            let variable = variable.name;
            table += &format!("| `{variable}` | {flags} | `{name}` | {default} | {help} |\n");
        }
        table
    }

    /// The variables of the options, with their values from variables and the options' file; `None` if neither has one.
    ///
    /// # Errors
    /// When a variable or the file is invalid.
    pub fn values(environment: &Environment) -> anyhow::Result<Vec<(Variable, Option<String>)>> {
        let given = Self::default().given(environment, None)?;
        let given = toml::Table::try_from(given).expect("options are a table");
        let text = |value: &toml::Value| match value {
            toml::Value::String(text) => text.clone(),
            toml::Value::Array(values) => {
                let texts = values
                    .iter()
                    .map(|value| value.as_str().unwrap_or_default());
                texts.collect::<Vec<_>>().join(",")
            }
            other => other.to_string(),
        };
        let declared = Self::DECLARED.iter();
        Ok(declared
            .map(|declared| (declared.variable, given.get(declared.name).map(text)))
            .collect())
    }

    /// The options of a file, in TOML, under the names above.
    ///
    /// # Errors
    /// When it cannot be read, or has a mistake, with the line.
    pub fn from_file(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("{} cannot be read", path.display()))?;
        toml::from_str(&text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start));
            let place = before.map(|before| {
                let number = before.matches('\n').count();
                let line = text.lines().nth(number).unwrap_or_default();
                format!(" in line {}, {line:?}", number + 1)
            });
            anyhow!(
                "{} has a mistake{}: {}",
                path.display(),
                place.unwrap_or_default(),
                error.message()
            )
        })
    }

    /// These, completed by the variables, the file at `path` or else at `POLLS_CONFIG`, and the defaults.
    ///
    /// # Errors
    /// As [`ServerOptions::from_env`] and [`ServerOptions::from_file`].
    pub fn resolve(self, environment: &Environment, path: Option<&Path>) -> anyhow::Result<Self> {
        Ok(self.given(environment, path)?.or(Self::defaults()))
    }

    /// These, completed by the variables and the file.
    fn given(self, environment: &Environment, path: Option<&Path>) -> anyhow::Result<Self> {
        let named = environment.get(POLLS_CONFIG.name)?.map(Path::new);
        let options = self.or(Self::from_env(environment)?);
        let options = match (path, named) {
            (Some(path), _) => options.or(Self::from_file(path)?),
            (None, Some(path)) => options.or(Self::from_file(path).context(POLLS_CONFIG.name)?),
            (None, None) => options,
        };
        Ok(options)
    }

    /// These, completed by `other`.
    fn or(self, other: Self) -> Self {
        let table = |options| toml::Table::try_from(options).expect("options are a table");
        let mut all = table(other);
        all.extend(table(self));
        all.try_into().expect("both were options")
    }
}

/// A default as a TOML value.
fn typed(text: &str) -> toml::Value {
    match (text.parse::<i64>(), text.parse::<bool>()) {
        (Ok(number), _) => number.into(),
        (_, Ok(flag)) => flag.into(),
        _ => text.into(),
    }
}

/// A list, or its only entry.
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
