//! The log: on standard error, as text or JSON, with a filter that may change while the program runs; and the traces.

use std::{
    io::{self, BufWriter, IsTerminal, Stderr, Write},
    thread,
    time::Duration,
};

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

/// The buffer of a server's log, in bytes.
const BUFFER: usize = 64 * 1024;
/// The time between two writes of a server's log.
const PERIOD: Duration = Duration::from_millis(10);

/// The global tracing subscriber.
#[derive(Debug)]
pub struct Log {
    filter: reload::Handle<EnvFilter, Registry>,
    /// The exporter of traces, if they are exported.
    pub traces: Option<Traces>,
    /// Writes the queued lines when dropped.
    _writer: Option<WorkerGuard>,
}

impl Log {
    /// Installs the global subscriber; for a server also the exporter of traces.
    ///
    /// # Errors
    /// When the filter does not parse, or the address of the trace collector is invalid.
    pub fn start(settings: &LogSettings, no_color: bool, is_server: bool) -> anyhow::Result<Self> {
        let (filter, handle) = reload::Layer::new(parse(&settings.filter)?);
        // A server's log is written by a thread of its own, which drops lines when the reader of the pipe is too slow: the
        // server is not blocked. A command writes its log synchronously.
        let (writer, guard) = if is_server {
            let buffer = BufWriter::with_capacity(BUFFER, io::stderr());
            let (writer, guard) = tracing_appender::non_blocking(BatchWriter(buffer));
            (BoxMakeWriter::new(writer), Some(guard))
        } else {
            (BoxMakeWriter::new(io::stderr), None)
        };
        // Otherwise an error of writing the log is printed with `eprintln!`, which panics if standard error is closed.
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

    /// Replaces the filter.
    ///
    /// # Errors
    /// When the new filter does not parse; the old one stays in effect.
    pub fn set_filter(&self, filter: &str) -> anyhow::Result<()> {
        Ok(self.filter.reload(parse(filter)?)?)
    }
}

/// Writes in blocks: the thread of the log flushes whenever no more lines are queued, and sleeps for [`PERIOD`] after that, in which
/// more are queued. Otherwise each line would wake it.
struct BatchWriter(BufWriter<Stderr>);

impl Write for BatchWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.0.flush();
        thread::sleep(PERIOD);
        flushed
    }
}

/// Validates a filter without applying it.
///
/// # Errors
/// When it does not parse.
pub fn check_filter(filter: &str) -> anyhow::Result<()> {
    parse(filter).map(drop)
}

/// Parses a filter, in which a level may have gunicorn's name. A directive of letters only must be a level: `EnvFilter` would
/// take a misspelt one for a target, and log nothing else.
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
