//! The log: on standard error, as text or JSON, with a filter that may change while the program runs; and the traces.

use std::io::{self, IsTerminal};

use anyhow::{anyhow, bail};
use tracing::Level;
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::{
    EnvFilter, Registry,
    filter::Targets,
    fmt::writer::BoxMakeWriter,
    layer::{Layer, SubscriberExt},
    reload,
    util::SubscriberInitExt,
};

use crate::{settings::LogSettings, telemetry::Traces};

/// The log that has been started.
#[derive(Debug)]
pub struct Log {
    filter: reload::Handle<EnvFilter, Registry>,
    /// What sends traces, if they are sent.
    pub traces: Option<Traces>,
    /// Writes what is left when it is dropped.
    _writer: Option<WorkerGuard>,
}

impl Log {
    /// Begins; `is_server` says whether there will be traces to send.
    ///
    /// # Errors
    /// When the filter cannot be read.
    pub fn start(settings: &LogSettings, no_color: bool, is_server: bool) -> anyhow::Result<Self> {
        let (filter, handle) = reload::Layer::new(parse(&settings.filter)?);
        // A reader of a server's log that stops reading must not stop the server: a thread of its own writes it, and
        // drops lines when it cannot keep up. What a command has to say is said before it goes on.
        let (writer, guard) = if is_server {
            let (writer, guard) = tracing_appender::non_blocking(io::stderr());
            (BoxMakeWriter::new(writer), Some(guard))
        } else {
            (BoxMakeWriter::new(io::stderr), None)
        };
        // A log that cannot be written must not stop the work: the subscriber's own complaint about it would panic.
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(writer)
            .log_internal_errors(false);
        let lines = if settings.json {
            lines.json().boxed()
        } else {
            lines
                .with_ansi(!no_color && io::stderr().is_terminal())
                .boxed()
        };
        let traces = settings.traces.as_ref().filter(|_| is_server);
        let traces = traces.map(Traces::new).transpose()?;
        let spans = traces.as_ref().map(|traces| {
            tracing_opentelemetry::layer()
                .with_tracer(traces.tracer())
                .with_filter(Targets::new().with_target("polls", Level::DEBUG))
        });
        tracing_subscriber::registry()
            .with(lines.with_filter(filter))
            .with(spans)
            .init();
        Ok(Self {
            filter: handle,
            traces,
            _writer: guard,
        })
    }

    /// Changes what is logged.
    ///
    /// # Errors
    /// When the filter cannot be read; what was in force remains so.
    pub fn set_filter(&self, filter: &str) -> anyhow::Result<()> {
        Ok(self.filter.reload(parse(filter)?)?)
    }
}

/// Reads a filter without putting it in force.
///
/// # Errors
/// When it cannot be read.
pub fn check_filter(filter: &str) -> anyhow::Result<()> {
    parse(filter).map(drop)
}

/// A filter, in which a level may have gunicorn's name. A word alone has to be a level: a misspelt one would be the name
/// of a part of the program, of which nothing else is logged then.
fn parse(filter: &str) -> anyhow::Result<EnvFilter> {
    let mut directives = Vec::new();
    for directive in filter.split(',').map(str::trim) {
        let is_word = directive.chars().all(|c| c.is_ascii_alphabetic());
        directives.push(match directive.to_ascii_lowercase().as_str() {
            "critical" => "error",
            "warning" => "warn",
            "" | "off" | "error" | "warn" | "info" | "debug" | "trace" => directive,
            _ if is_word => bail!(
                "RUST_LOG (or loglevel) has {directive:?}, which is no level: write off, error, warn, info, debug or \
                 trace, or PART=LEVEL."
            ),
            _ => directive,
        });
    }
    EnvFilter::builder()
        .parse(directives.join(","))
        .map_err(|error| anyhow!("RUST_LOG (or loglevel) cannot be read: {error}."))
}
