//! Traces for an OpenTelemetry collector: one span per request and one per database statement, within the trace of the request's
//! `traceparent` header (<https://www.w3.org/TR/trace-context/>).

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

/// The timeout of a request to the collector.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The exporter of traces.
#[derive(Debug, Clone)]
pub struct Traces {
    provider: SdkTracerProvider,
    runtime: Arc<OnceLock<Handle>>,
}

impl Traces {
    /// Creates the exporter, which sends nothing before [`Traces::start`].
    ///
    /// # Errors
    /// When the collector's address is not a valid URL.
    pub fn new(settings: &TraceSettings) -> anyhow::Result<Self> {
        let runtime = Arc::new(OnceLock::new());
        // The specification appends this to the path of the configured address.
        let base = settings.endpoint.as_str().trim_end_matches('/');
        let endpoint = format!("{base}/v1/traces");
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(CollectorClient(runtime.clone()))
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

    /// The tracer for the `tracing` layer that exports spans.
    pub fn tracer(&self) -> SdkTracer {
        self.provider.tracer("polls")
    }

    /// Starts the export. Must be called on a tokio runtime.
    pub fn start(&self) {
        self.runtime.get_or_init(Handle::current);
    }

    /// Sends the remaining spans. Blocks until they are sent, or have failed.
    pub fn shutdown(&self) {
        if let Err(error) = self.provider.shutdown() {
            tracing::warn!(%error, "the remaining traces could not be sent");
        }
    }
}

/// The HTTP client of the exporter. The exporter calls it on its own thread; the request runs on the server's tokio runtime.
#[derive(Clone)]
struct CollectorClient(Arc<OnceLock<Handle>>);

impl fmt::Debug for CollectorClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CollectorClient(…)")
    }
}

#[async_trait]
impl HttpClient for CollectorClient {
    async fn send_bytes(
        &self,
        request: hyper::Request<Bytes>,
    ) -> Result<hyper::Response<Bytes>, HttpError> {
        let runtime = self.0.get().ok_or("the server has not started")?;
        let sending = async {
            let response = tokio::time::timeout(TIMEOUT, send(request)).await;
            response.map_err(|_| HttpError::from("the collector did not respond in time"))?
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

/// Makes the span in the `traceparent` header the parent of a request's span.
pub fn continue_trace(span: &tracing::Span, headers: &HeaderMap) {
    let context = TraceContextPropagator::new().extract(&Headers(headers));
    if context.span().span_context().is_valid() {
        // Fails when traces are off.
        let _ = span.set_parent(context);
    }
}

/// The trace id in a request's `traceparent` header, in hexadecimal (<https://www.w3.org/TR/trace-context/>).
pub fn incoming_trace_id(headers: &HeaderMap) -> Option<String> {
    valid_trace_id(&TraceContextPropagator::new().extract(&Headers(headers)))
}

/// The trace id of a span, in hexadecimal; `None` when traces are off.
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
