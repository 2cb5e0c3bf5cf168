//! A collector of traces: takes what OTLP over HTTP brings, as protobuf, until it is told to behave otherwise. Touches a port
//! of 127.0.0.1.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header::CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    common::v1::{KeyValue, any_value::Value},
};
use prost::Message;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// How the collector behaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Manner {
    /// It takes what comes.
    #[default]
    Well,
    /// It fails, each time.
    Failing,
    /// It never answers.
    Silent,
    /// It sends somewhere else.
    Elsewhere,
    /// It answers without end, with words that would be another's log line.
    Endless,
}

/// A span as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct CollectedSpan {
    /// Whose it is, by the resource that it came with.
    pub resource: BTreeMap<String, String>,
    /// In lower-case digits.
    pub trace: String,
    /// In lower-case digits.
    pub span: String,
    /// In lower-case digits; empty of a root.
    pub parent: String,
    /// What it is called.
    pub name: String,
    /// What is said of it.
    pub attributes: BTreeMap<String, String>,
    /// When it began, in nanoseconds since 1970.
    pub began: u64,
    /// When it ended, likewise.
    pub ended: u64,
}

/// A running collector. It ends with this value.
#[derive(Debug)]
pub struct Collector {
    shared: Arc<Shared>,
    url: String,
    _serving: AbortOnDropHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    manner: Mutex<Manner>,
    spans: Mutex<Vec<CollectedSpan>>,
    calls: Mutex<Vec<String>>,
}

impl Collector {
    /// Starts one.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let shared = Arc::new(Shared::default());
        let router = Router::new()
            .route("/v1/traces", post(take))
            .with_state(Arc::clone(&shared));
        let serving = tokio::spawn(async move {
            // It ends when it is aborted.
            drop(axum::serve(listener, router).await);
        });
        Ok(Self {
            shared,
            url,
            _serving: AbortOnDropHandle::new(serving),
        })
    }

    /// Where it is, without a path.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on it behaves like this.
    pub fn behave(&self, manner: Manner) {
        *lock(&self.shared.manner) = manner;
    }

    /// What came, in the order in which it did.
    pub fn spans(&self) -> Vec<CollectedSpan> {
        lock(&self.shared.spans).clone()
    }

    /// How often it was called, however it behaved; each time what headers there were.
    pub fn calls(&self) -> Vec<String> {
        lock(&self.shared.calls).clone()
    }
}

async fn take(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    lock(&shared.calls).push(format!("{headers:?}"));
    let manner = *lock(&shared.manner);
    match manner {
        Manner::Well => {}
        Manner::Failing => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Manner::Silent => return pending().await,
        Manner::Elsewhere => {
            let elsewhere = [("location", "http://127.0.0.1:1/v1/traces")];
            return (StatusCode::TEMPORARY_REDIRECT, elsewhere).into_response();
        }
        Manner::Endless => {
            let word = Bytes::from("\u{1b}[2J\n{\"level\":\"ERROR\"}\n".repeat(4096));
            let endless =
                futures::stream::repeat_with(move || Ok::<_, std::io::Error>(word.clone()));
            return axum::body::Body::from_stream(endless).into_response();
        }
    }
    let Ok(request) = ExportTraceServiceRequest::decode(body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let mut spans = lock(&shared.spans);
    for group in request.resource_spans {
        let resource = group.resource.map(|resource| said(resource.attributes));
        let resource = resource.unwrap_or_default();
        for span in group.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            spans.push(CollectedSpan {
                resource: resource.clone(),
                trace: digits(&span.trace_id),
                span: digits(&span.span_id),
                parent: digits(&span.parent_span_id),
                name: span.name,
                attributes: said(span.attributes),
                began: span.start_time_unix_nano,
                ended: span.end_time_unix_nano,
            });
        }
    }
    let answer = ExportTraceServiceResponse::default().encode_to_vec();
    ([(CONTENT_TYPE, "application/x-protobuf")], answer).into_response()
}

fn said(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Option<Value>| match value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes
        .into_iter()
        .map(|pair| (pair.key, text(pair.value.and_then(|value| value.value))))
        .collect()
}

fn digits(id: &[u8]) -> String {
    use std::fmt::Write;
    id.iter().fold(String::new(), |mut digits, byte| {
        // Writing to a String can't fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
