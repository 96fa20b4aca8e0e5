//! Traces for an OpenTelemetry collector: one span per request, one per statement to the database, with the ids that
//! came with the request (<https://www.w3.org/TR/trace-context/>).

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use http_body_util::{BodyExt, Full};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use opentelemetry::{
    propagation::{Extractor, TextMapPropagator},
    trace::{TraceContextExt, TracerProvider},
};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{SdkTracer, SdkTracerProvider},
};
use poem::http::HeaderMap;
use tokio::{net::TcpStream, runtime::Handle};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::settings::TraceSettings;

/// How long the collector may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What sends traces.
#[derive(Debug, Clone)]
pub struct Traces {
    provider: SdkTracerProvider,
    runtime: Arc<OnceLock<Handle>>,
}

impl Traces {
    /// Prepares it; nothing is sent before [`Traces::start`].
    ///
    /// # Errors
    /// When the address is of no use.
    pub fn new(settings: &TraceSettings) -> anyhow::Result<Self> {
        let runtime = Arc::new(OnceLock::new());
        // The specification adds to the path that is there.
        let base = settings.endpoint.as_str().trim_end_matches('/');
        let endpoint = format!("{base}/v1/traces");
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Collector(runtime.clone()))
            .with_endpoint(endpoint)
            .build()?;
        let resource = Resource::builder()
            .with_service_name(settings.service_name.clone())
            .build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource)
            .build();
        Ok(Self { provider, runtime })
    }

    /// What makes spans into traces.
    pub fn tracer(&self) -> SdkTracer {
        self.provider.tracer("polls")
    }

    /// Lets them go out. Has to be called on a tokio runtime.
    pub fn start(&self) {
        self.runtime.get_or_init(Handle::current);
    }

    /// Sends what is left, and waits for it; blocks.
    pub fn finish(&self) {
        if let Err(error) = self.provider.shutdown() {
            tracing::warn!(%error, "the last traces could not be sent");
        }
    }
}

/// Sends requests to the collector. The exporter calls from a thread of its own, the work is done where the sockets are.
#[derive(Clone)]
struct Collector(Arc<OnceLock<Handle>>);

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Collector(…)")
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(
        &self,
        request: hyper::Request<Bytes>,
    ) -> Result<hyper::Response<Bytes>, HttpError> {
        let runtime = self.0.get().ok_or("the server has not started")?;
        let sending = async {
            let answer = tokio::time::timeout(TIMEOUT, send(request)).await;
            answer.map_err(|_| HttpError::from("the collector gave no answer in time"))?
        };
        runtime.spawn(sending).await?
    }
}

async fn send(mut request: hyper::Request<Bytes>) -> Result<hyper::Response<Bytes>, HttpError> {
    let uri = request.uri().clone();
    let host = uri.host().ok_or("the collector's address has no host")?;
    let port = uri.port_u16().unwrap_or(80);
    let stream = TcpStream::connect((host, port)).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let authority = format!("{host}:{port}").parse()?;
    request.headers_mut().insert(hyper::header::HOST, authority);
    *request.uri_mut() = uri.path().parse()?;
    let response = sender.send_request(request.map(Full::new)).await?;
    let (parts, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(hyper::Response::from_parts(parts, body))
}

/// Makes a request's span a part of the trace that its headers name.
pub fn continue_trace(span: &tracing::Span, headers: &HeaderMap) {
    let context = TraceContextPropagator::new().extract(&Headers(headers));
    if context.span().span_context().is_valid() {
        // Where no traces are made there is nothing to continue.
        let _ = span.set_parent(context);
    }
}

/// The trace that a request's headers name (<https://www.w3.org/TR/trace-context/>).
pub fn sent_trace_id(headers: &HeaderMap) -> Option<String> {
    valid_trace_id(&TraceContextPropagator::new().extract(&Headers(headers)))
}

/// The trace that a span belongs to, if traces are made.
pub fn trace_id(span: &tracing::Span) -> Option<String> {
    valid_trace_id(&span.context())
}

fn valid_trace_id(context: &opentelemetry::Context) -> Option<String> {
    let span = context.span();
    let context = span.span_context();
    context.is_valid().then(|| context.trace_id().to_string())
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(|name| name.as_str()).collect()
    }
}
