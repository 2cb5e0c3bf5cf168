//! What befalls single calls: refused, answered into the void, held until the test has done something. Touches nothing.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::http::Method;
use serde_json::Value;
use tokio::sync::oneshot;

use super::call::Call;

/// How long [`Held::arrived`] waits for its call.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is done to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiEffect {
    /// It is done, and the connection is reset in place of the answer.
    LoseAnswer,
    /// Nothing is done; the answer is this status.
    Refuse(u16),
}

/// An effect, the calls it befalls and how often. Every matching call, unless told otherwise.
#[derive(Debug, Clone)]
pub struct ApiFault {
    method: Method,
    resource: String,
    name: Option<String>,
    text: Option<String>,
    each: usize,
    left: Option<usize>,
    effect: ApiEffect,
    counts: HashMap<String, usize>,
}

impl ApiFault {
    /// An effect on the calls of a method to a resource, such as `PATCH` to `deployrequests/status`.
    pub fn new(method: Method, resource: &str, effect: ApiEffect) -> Self {
        Self {
            method,
            resource: resource.to_owned(),
            name: None,
            text: None,
            each: 1,
            left: None,
            effect,
            counts: HashMap::new(),
        }
    }

    /// Only on the object of this name.
    #[must_use]
    pub fn of(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Only where the body holds this text.
    #[must_use]
    pub fn containing(mut self, text: &str) -> Self {
        self.text = Some(text.to_owned());
        self
    }

    /// Only on each n-th matching call to one object. With which it begins differs from object to object, so that every
    /// kind of write is met somewhere.
    #[must_use]
    pub fn each(mut self, nth: usize) -> Self {
        self.each = nth.max(1);
        self
    }

    /// Befalls this many calls, then no more.
    #[must_use]
    pub fn times(mut self, calls: usize) -> Self {
        self.left = Some(calls);
        self
    }

    fn matches(&self, call: &Call, body: &str) -> bool {
        self.left != Some(0)
            && self.method == call.method
            && self.resource == call.resource
            && (self.name.is_none() || self.name == call.name)
            && self.text.as_ref().is_none_or(|text| body.contains(text))
    }

    /// Whether it befalls this call.
    fn befalls(&mut self, call: &Call, body: &str) -> bool {
        if !self.matches(call, body) {
            return false;
        }
        let count = self.counts.entry(call.path.clone()).or_default();
        *count += 1;
        let mut hasher = DefaultHasher::new();
        call.path.hash(&mut hasher);
        let each = self.each as u64;
        let due = (*count as u64 + hasher.finish() % each).is_multiple_of(each);
        if due && let Some(left) = &mut self.left {
            *left -= 1;
        }
        due
    }
}

/// The faults and the calls to be held, in the order they were put in.
#[derive(Debug, Default)]
pub(super) struct FaultBook {
    faults: Vec<ApiFault>,
    holds: Vec<Hold>,
}

#[derive(Debug)]
struct Hold {
    which: ApiFault,
    arrived: oneshot::Sender<Value>,
    released: oneshot::Receiver<()>,
}

impl FaultBook {
    pub(super) fn add(&mut self, fault: ApiFault) {
        self.faults.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.faults.clear();
    }

    pub(super) fn take(&mut self, call: &Call, body: &str) -> Option<ApiEffect> {
        let mut faults = self.faults.iter_mut();
        let fault = faults.find_map(|fault| fault.befalls(call, body).then_some(fault.effect));
        self.faults.retain(|fault| fault.left != Some(0));
        fault
    }

    pub(super) fn hold(&mut self, which: ApiFault) -> Held {
        let (arrived, seen) = oneshot::channel();
        let (release, released) = oneshot::channel();
        self.holds.push(Hold {
            which,
            arrived,
            released,
        });
        Held {
            seen: Some(seen),
            _release: release,
        }
    }

    /// What this call has to wait for, if somebody holds it. A hold is for one call.
    pub(super) fn held(
        &mut self,
        call: &Call,
        body: &str,
    ) -> Option<impl Future<Output = ()> + use<>> {
        let mut holds = self.holds.iter();
        let position = holds.position(|hold| hold.which.matches(call, body))?;
        let hold = self.holds.remove(position);
        let body = serde_json::from_str(body).unwrap_or_default();
        // Nobody waits for it any more: it passes.
        let _ = hold.arrived.send(body);
        Some(async move {
            let _ = hold.released.await;
        })
    }
}

/// A call that waits in the proxy, before the API server has heard of it. Dropping this lets it go on.
#[derive(Debug)]
#[must_use = "a call is held only as long as this lives"]
pub struct Held {
    seen: Option<oneshot::Receiver<Value>>,
    _release: oneshot::Sender<()>,
}

impl Held {
    /// Waits until the call has come, and gives its body.
    pub async fn arrived(&mut self) -> Result<Value> {
        let seen = self.seen.take().context("it has arrived already")?;
        let body = tokio::time::timeout(PATIENCE, seen)
            .await
            .with_context(|| format!("the call to be held did not come within {PATIENCE:?}"))?;
        body.context("the proxy is gone")
    }

    /// Lets it go on.
    pub fn release(self) {
        drop(self);
    }
}
