//! How the log is written, and where traces go.

use anyhow::bail;
use url::Url;

use super::{
    environment::Environment,
    server::options::RUST_LOG,
    variable::{
        DefaultValue::{Described, Value},
        Variable, variables,
    },
};

variables! {
    VARIABLES:
    /// The format of the log: `text` or `json`
    LOG_FORMAT = Value("text");
    /// The OpenTelemetry collector that traces are sent to, as `http://127.0.0.1:4318`
    OTEL_EXPORTER_OTLP_ENDPOINT = Described("none");
    /// The name of the service in the traces
    OTEL_SERVICE_NAME = Value("polls");
}

/// How to write the log. It is read before the other settings, whose errors are logged.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// Whether each line is a JSON object.
    pub json: bool,
    /// What to log, in the syntax of `tracing_subscriber::EnvFilter`.
    pub filter: String,
    /// Where traces are sent, if anywhere.
    pub traces: Option<TraceSettings>,
}

/// Where the server sends its traces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceSettings {
    /// The address of the collector (OTLP over HTTP).
    pub endpoint: Url,
    /// The name of the service in the traces.
    pub service_name: String,
}

impl TraceSettings {
    fn read(environment: &Environment) -> anyhow::Result<Option<Self>> {
        let Some(endpoint) = environment.get(OTEL_EXPORTER_OTLP_ENDPOINT.name)? else {
            return Ok(None);
        };
        let is_address = |url: &Url| url.scheme() == "http" && url.has_host();
        let Some(endpoint) = Url::parse(endpoint).ok().filter(is_address) else {
            bail!(
                "OTEL_EXPORTER_OTLP_ENDPOINT must be the address of a collector on this machine or network, as \
                 http://127.0.0.1:4318, not {endpoint:?}."
            );
        };
        Ok(Some(Self {
            endpoint,
            service_name: OTEL_SERVICE_NAME.text(environment)?.to_owned(),
        }))
    }
}

impl LogSettings {
    /// Reads the variables above, and `RUST_LOG`, which is also an option of the server.
    ///
    /// # Errors
    /// A sentence that names the invalid variable.
    pub fn read(environment: &Environment) -> anyhow::Result<Self> {
        let json = match LOG_FORMAT.text(environment)? {
            "text" => false,
            "json" => true,
            other => bail!("LOG_FORMAT must be text or json, not {other:?}."),
        };
        Ok(Self {
            json,
            filter: RUST_LOG.text(environment)?.to_owned(),
            traces: TraceSettings::read(environment)?,
        })
    }
}
