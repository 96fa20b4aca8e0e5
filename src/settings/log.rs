//! How the log is written, and where traces go.

use anyhow::bail;
use url::Url;

use super::env;

/// The default of `RUST_LOG`.
pub(super) const DEFAULT_FILTER: &str = "info";

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
