//! Sends spans to a collector by OTLP, in batches, beside the work. Touches the collector, and the environment where
//! OpenTelemetry's own exporter and resource look.
//!
//! Nobody waits for a collector: what doesn't fit into the queue, and what it doesn't take in time, is dropped and counted.

use std::{
    env,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use opentelemetry::{
    InstrumentationScope, KeyValue, SpanId, TraceFlags, TraceId,
    trace::{SpanContext, SpanKind, Status, TraceState},
};
use opentelemetry_otlp::{Protocol, SpanExporter as Exporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{SpanData, SpanEvents, SpanExporter, SpanLinks},
};
use tokio::{sync::mpsc, time};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{Counts, Ended, Kind, SINK, Sink, TraceError, TraceSettings, Value};
use crate::runtime::{http, metrics::Metrics};

/// Spans that wait to be sent. One is about a kilobyte.
const QUEUE: usize = 4096;
/// Spans that are sent at once.
const BATCH: usize = 512;
/// How long one batch may take, with whatever is tried again.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long a collector is dialled.
const CONNECT: Duration = Duration::from_secs(3);
/// How long the end of a process waits for what is left.
const LEAVE: Duration = Duration::from_secs(2);

/// What sends spans. Whoever has it ends it.
#[must_use]
#[derive(Debug)]
pub struct Collector {
    ending: CancellationToken,
    sending: AbortOnDropHandle<()>,
}

impl Collector {
    /// Sends what is left, for at most two seconds.
    pub async fn leave(self) {
        self.ending.cancel();
        // What isn't sent by then is lost.
        let _ = time::timeout(LEAVE, self.sending).await;
    }
}

/// Has spans sent from here on, as those of the role of that name. Once per process, on its runtime.
///
/// # Errors
/// When the exporter can't be made by what the environment says.
pub(super) fn install(
    role: &str,
    settings: &TraceSettings,
    metrics: &Metrics,
) -> Result<Collector, TraceError> {
    let refused = |error: &dyn std::error::Error| TraceError::Exporter(error.to_string());
    let client = http::client()
        // A collector is near: what the environment says of proxies is for what is outside.
        .no_proxy()
        .connect_timeout(CONNECT)
        .timeout(DEADLINE)
        .pool_max_idle_per_host(1)
        .build()
        .map_err(|error| refused(&error))?;
    let mut exporter = Exporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(settings.endpoint.as_str())
        .build()
        .map_err(|error| refused(&error))?;
    exporter.set_resource(&resource(role));
    let (spans, queue) = mpsc::channel(QUEUE);
    let counts = Counts::register(metrics);
    let sink = Sink {
        spans,
        kept: settings.kept,
        counts: counts.clone(),
        told: AtomicBool::new(false),
    };
    SINK.set(sink).map_err(|_| TraceError::Installed)?;
    let ending = CancellationToken::new();
    let sending = send_all(exporter, queue, settings.gather, counts, ending.clone());
    tracing::info!("traces are sent");
    Ok(Collector {
        ending,
        sending: AbortOnDropHandle::new(tokio::spawn(sending)),
    })
}

/// Who we are, as `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` say, and what they leave out.
fn resource(role: &str) -> Resource {
    let said = env::var("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    let says = |key: &str| {
        said.split(',')
            .any(|pair| pair.split('=').next().is_some_and(|one| one.trim() == key))
    };
    let mut resource = Resource::builder();
    if env::var_os("OTEL_SERVICE_NAME").is_none_or(|name| name.is_empty()) && !says("service.name")
    {
        resource = resource.with_service_name(format!("foredeck-{role}"));
    }
    if !says("service.version") {
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        resource = resource.with_attribute(version);
    }
    if !says("service.instance.id")
        && let Ok(host) = hostname::get()
    {
        let host = host.to_string_lossy().into_owned();
        resource = resource.with_attribute(KeyValue::new("service.instance.id", host));
    }
    resource.build()
}

async fn send_all(
    exporter: Exporter,
    mut queue: mpsc::Receiver<Ended>,
    gather: Duration,
    counts: Counts,
    ending: CancellationToken,
) {
    let failing = AtomicBool::new(false);
    loop {
        let first = tokio::select! {
            first = queue.recv() => first,
            () = ending.cancelled(), if !queue.is_closed() => {
                queue.close();
                continue;
            }
        };
        let Some(first) = first else { return };
        let mut batch = vec![span(first)];
        let enough = time::sleep(gather);
        tokio::pin!(enough);
        while batch.len() < BATCH {
            tokio::select! {
                biased;
                next = queue.recv() => match next {
                    Some(next) => batch.push(span(next)),
                    None => break,
                },
                () = ending.cancelled(), if !queue.is_closed() => queue.close(),
                () = &mut enough => break,
            }
        }
        let spans = batch.len();
        let sent = time::timeout(DEADLINE, exporter.export(batch)).await;
        let arrived = matches!(sent, Ok(Ok(())));
        counts.add(if arrived { "sent" } else { "dropped" }, spans);
        if arrived {
            if failing.swap(false, Ordering::Relaxed) {
                tracing::info!("the collector takes spans of traces again");
            }
        } else if !failing.swap(true, Ordering::Relaxed) {
            // What a collector answers is nobody's business but its own.
            let why = if sent.is_err() { "late" } else { "failed" };
            tracing::warn!(
                why,
                "the collector doesn't take spans of traces; they are dropped until it does, which nothing else waits for"
            );
        }
    }
}

fn span(ended: Ended) -> SpanData {
    let attribute = |(key, value): (&'static str, Value)| match value {
        Value::Word(word) => KeyValue::new(key, word),
        Value::Name(name) => KeyValue::new(key, name),
        Value::Number(number) => KeyValue::new(key, number),
    };
    let mut attributes: Vec<_> = ended.said.into_iter().map(attribute).collect();
    let status = match ended.failed {
        None => Status::Unset,
        Some(word) => {
            attributes.push(KeyValue::new("error.type", word));
            Status::error(word)
        }
    };
    SpanData {
        span_context: SpanContext::new(
            TraceId::from(ended.trace),
            SpanId::from(ended.span),
            TraceFlags::SAMPLED,
            false,
            TraceState::NONE,
        ),
        parent_span_id: SpanId::from(ended.parent),
        parent_span_is_remote: ended.kind == Kind::Internal && ended.parent != 0,
        span_kind: match ended.kind {
            Kind::Internal => SpanKind::Internal,
            Kind::Client => SpanKind::Client,
        },
        name: ended.name.into(),
        start_time: ended.began,
        end_time: ended.until.max(ended.began),
        attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status,
        instrumentation_scope: InstrumentationScope::builder("foredeck")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build(),
    }
}
