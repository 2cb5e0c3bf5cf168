//! Traces: what was done for a request, as spans in the request's own trace, sent to a collector where one is configured.
//! Touches the collector, the clock and chance.
//!
//! A request's trace id is its uid ([`TraceId`]), and the id of its root span follows from it: whatever a role does is a step
//! below that root, in whatever process and after whatever restart. A step is handed over when it has ended, and only if it
//! did something; spans are never waited for. Made by hand rather than from `tracing`'s spans: those begin before anybody
//! knows that there is something to do, and the SDK takes no trace id without a parent.
//!
//! Names and keys are fixed words. Values are names of Kubernetes objects, fixed words and numbers: neither secrets, nor
//! parameters, nor what somebody wrote.

#[cfg(feature = "traces")]
mod export;
mod settings;

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use kube::{Resource, ResourceExt};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
};
use tokio::{sync::mpsc, task_local};

#[cfg(feature = "traces")]
pub use self::export::Collector;
pub use self::settings::{TraceError, TraceSettings};
use super::{chance, metrics::Metrics};
use crate::api::trace::TraceId;

/// What was said of a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A fixed word.
    Word(&'static str),
    /// A name.
    Name(String),
    /// A number.
    Number(i64),
}

/// For whom a step was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// For us.
    Internal,
    /// A call of somebody else's server.
    Client,
}

/// A span that has ended.
#[derive(Debug)]
#[cfg_attr(
    not(feature = "traces"),
    expect(dead_code, reason = "nobody sends them")
)]
struct Ended {
    trace: u128,
    span: u64,
    parent: u64,
    name: &'static str,
    kind: Kind,
    began: SystemTime,
    until: SystemTime,
    said: Vec<(&'static str, Value)>,
    failed: Option<&'static str>,
}

/// Where spans go.
#[derive(Debug)]
struct Sink {
    spans: mpsc::Sender<Ended>,
    /// Traces are kept whose first 32 bits are at most this.
    kept: u32,
    counts: Counts,
    told: AtomicBool,
}

static SINK: OnceLock<Sink> = OnceLock::new();

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// What became of spans.
#[derive(Debug, Clone, Default)]
struct Counts(Family<Outcome, Counter>);

#[cfg_attr(
    not(feature = "traces"),
    expect(dead_code, reason = "nobody sends them")
)]
impl Counts {
    fn register(metrics: &Metrics) -> Self {
        let own = Self::default();
        metrics.register(|registry| {
            registry.register(
                "trace_spans",
                "Spans of traces, by whether the collector has them",
                own.0.clone(),
            );
        });
        own
    }

    fn add(&self, outcome: &'static str, spans: usize) {
        let spans = u64::try_from(spans).unwrap_or(u64::MAX);
        self.0.get_or_create(&Outcome { outcome }).inc_by(spans);
    }
}

/// Has this role's spans sent to the collector that the flag or the environment names, if any. Once per process.
///
/// # Errors
/// When that can't be done as it is configured.
pub fn of(
    role: &str,
    collector: Option<&str>,
    metrics: &Metrics,
) -> Result<Option<Collector>, TraceError> {
    let settings = TraceSettings::read(collector, |name| std::env::var(name).ok())?;
    settings
        .map(|settings| install(role, &settings, metrics))
        .transpose()
}

#[cfg(feature = "traces")]
use self::export::install;

/// What would send spans, in a build that can't.
#[cfg(not(feature = "traces"))]
#[derive(Debug)]
pub enum Collector {}

#[cfg(not(feature = "traces"))]
impl Collector {
    /// Sends what is left.
    pub async fn leave(self) {
        match self {}
    }
}

#[cfg(not(feature = "traces"))]
fn install(
    _role: &str,
    _settings: &TraceSettings,
    _metrics: &Metrics,
) -> Result<Collector, TraceError> {
    Err(TraceError::NotBuilt)
}

/// What is said of a step while it is made.
type Notes = Arc<Mutex<Vec<(&'static str, Value)>>>;

#[derive(Debug, Clone)]
struct Within {
    trace: u128,
    span: u64,
    notes: Notes,
}

task_local! {
    static WITHIN: Option<Within>;
}

/// A step under way. It is sent when it is said to have ended; one that is dropped never was.
#[derive(Debug)]
pub struct Span {
    sink: &'static Sink,
    trace: u128,
    id: u64,
    parent: u64,
    name: &'static str,
    kind: Kind,
    began: SystemTime,
    notes: Notes,
}

/// A step of what is done for a request; `None` where nobody wants to know.
pub fn step<K: Resource<DynamicType = ()>>(name: &'static str, request: &K) -> Option<Span> {
    step_since(name, request, SystemTime::now())
}

/// As [`step`], of one that began then.
pub fn step_since<K: Resource<DynamicType = ()>>(
    name: &'static str,
    request: &K,
    began: SystemTime,
) -> Option<Span> {
    let sink = SINK.get()?;
    let trace = TraceId::of(request.meta().uid.as_deref()?)?.number();
    if !is_kept(trace, sink.kept) {
        return None;
    }
    let mut span = Span {
        sink,
        trace,
        id: fresh(),
        parent: root(trace),
        name,
        kind: Kind::Internal,
        began,
        notes: Notes::default(),
    };
    span.say("foredeck.request.name", Value::Name(request.name_any()));
    let namespace = request.namespace().unwrap_or_default();
    span.say("foredeck.request.namespace", Value::Name(namespace));
    let uid = request.uid().unwrap_or_default();
    span.say("foredeck.request.uid", Value::Name(uid));
    Some(span)
}

/// The request itself, from its creation until now, of which all steps are part: said once, when it has ended.
pub fn whole<K: Resource<DynamicType = ()>>(request: &K) -> Option<Span> {
    let created = request.meta().creation_timestamp.as_ref()?.0;
    let mut span = step_since("request", request, SystemTime::from(created))?;
    span.id = span.parent;
    span.parent = 0;
    Some(span)
}

/// A call of somebody else's server, as part of the step under way; `None` outside of one.
pub fn call(name: &'static str) -> Option<Span> {
    let sink = SINK.get()?;
    let within = WITHIN.try_with(Clone::clone).ok().flatten()?;
    Some(Span {
        sink,
        trace: within.trace,
        id: fresh(),
        parent: within.span,
        name,
        kind: Kind::Client,
        began: SystemTime::now(),
        notes: Notes::default(),
    })
}

/// Does it as part of a step.
pub async fn within<T>(span: Option<&Span>, work: impl Future<Output = T>) -> T {
    let within = span.map(|span| Within {
        trace: span.trace,
        span: span.id,
        notes: Arc::clone(&span.notes),
    });
    WITHIN.scope(within, work).await
}

/// Says something of the step under way, if there is one.
pub fn note(key: &'static str, word: &'static str) {
    // Outside of a step there is nobody to tell.
    let _ = WITHIN.try_with(|within| {
        if let Some(within) = within {
            push(&within.notes, key, Value::Word(word));
        }
    });
}

impl Span {
    /// Says something of it.
    pub fn say(&mut self, key: &'static str, value: Value) {
        push(&self.notes, key, value);
    }

    /// It has ended; badly, where there is a word for why.
    pub fn ended(self, failed: Option<&'static str>) {
        let said = std::mem::take(&mut *self.notes.lock().unwrap_or_else(PoisonError::into_inner));
        let ended = Ended {
            trace: self.trace,
            span: self.id,
            parent: self.parent,
            name: self.name,
            kind: self.kind,
            began: self.began,
            until: SystemTime::now(),
            said,
            failed,
        };
        if self.sink.spans.try_send(ended).is_err() {
            self.sink.counts.add("dropped", 1);
            if !self.sink.told.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    "spans of traces are made faster than the collector takes them, and are dropped"
                );
            }
        }
    }
}

fn push(notes: &Notes, key: &'static str, value: Value) {
    notes
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push((key, value));
}

/// By the trace's random beginning, so that all roles keep the same ones. The SDK's own rule looks at the end, which in a uid
/// begins with fixed bits.
fn is_kept(trace: u128, kept: u32) -> bool {
    u32::try_from(trace >> 96).is_ok_and(|first| first <= kept)
}

/// The id of a trace's root span.
fn root(trace: u128) -> u64 {
    let low = u64::try_from(trace & u128::from(u64::MAX)).unwrap_or(1);
    low.max(1)
}

fn fresh() -> u64 {
    chance::bits().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_traces_is_kept_by_their_beginning() {
        let of = |uid: &str| TraceId::of(uid).unwrap().number();
        let (early, late) = (
            of("00000001-0000-4000-8000-000000000000"),
            of("ffffffff-ffff-4fff-bfff-ffffffffffff"),
        );
        assert!(is_kept(early, u32::MAX) && is_kept(late, u32::MAX));
        assert!(is_kept(early, u32::MAX / 2) && !is_kept(late, u32::MAX / 2));
        assert_eq!(root(early), 0x8000_0000_0000_0000);
        assert_eq!(root(1 << 64), 1);
    }

    #[tokio::test]
    async fn without_a_collector_there_are_no_spans() {
        let request = crate::api::DeployRequest {
            metadata: kube::api::ObjectMeta {
                uid: Some("0f3b1c00-1111-4222-8333-0123456789ab".to_owned()),
                ..kube::api::ObjectMeta::default()
            },
            ..serde_json::from_value(serde_json::json!({"apiVersion": "foredeck.dev/v1alpha1", "kind": "DeployRequest", "metadata": {}, "spec": {"application": "a", "environment": "b"}})).unwrap()
        };
        let span = step("step", &request);
        assert!(span.is_none());
        assert!(
            within(span.as_ref(), async { call("call") })
                .await
                .is_none()
        );
    }
}
