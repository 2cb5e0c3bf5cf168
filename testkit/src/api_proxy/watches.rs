//! A watch on its way through: late, incomplete, or cut short. Touches the clock.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::{Stream, StreamExt, stream};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// How the watches of a kind fare.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Weather {
    /// Events arrive this much later, in their order.
    pub lag: Duration,
    /// Events stay where they are until this is no more.
    pub withheld: bool,
    /// Events that never arrive, while what follows them does: worse than what an API server does.
    pub lost: Lost,
    /// A watch ends after so long.
    pub lifetime: Option<Duration>,
    /// A watch ends after so many events.
    pub events: Option<usize>,
}

/// Which events never arrive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Lost {
    /// None.
    #[default]
    None,
    /// Each n-th of a watch.
    Each(usize),
    /// Those of objects of these names.
    Of(BTreeSet<String>),
}

/// The weather everywhere, and what befalls all watches at once.
#[derive(Debug, Clone, Default)]
pub(super) struct Sky {
    pub(super) elsewhere: Weather,
    pub(super) kinds: BTreeMap<String, Weather>,
    /// How often all watches were closed.
    pub(super) closings: u64,
    /// How often the past was forgotten.
    pub(super) expiries: u64,
}

impl Sky {
    fn over(&self, kind: &str) -> &Weather {
        self.kinds.get(kind).unwrap_or(&self.elsewhere)
    }
}

/// The body of a watch that runs under the sky, and was asked for when it was as it was `then`.
pub(super) fn body(
    upstream: kube::client::Body,
    kind: &str,
    then: &Sky,
    sky: watch::Receiver<Sky>,
) -> Body {
    let (arrivals, events) = mpsc::unbounded_channel();
    tokio::spawn(receive(upstream, arrivals));
    let passing = Passing {
        kind: kind.to_owned(),
        events,
        next: None,
        arrived: 0,
        delivered: 0,
        born: Instant::now(),
        closings: then.closings,
        expiries: then.expiries,
        over: false,
        sky,
    };
    Body::from_stream(passing.stream())
}

/// Takes events as they come, one a line, so that a late delivery does not make the API server wait.
async fn receive(upstream: kube::client::Body, arrivals: mpsc::UnboundedSender<(Instant, Bytes)>) {
    let mut frames = Body::new(upstream).into_data_stream();
    let mut rest = Vec::new();
    loop {
        let frame = tokio::select! {
            frame = frames.next() => frame,
            () = arrivals.closed() => return,
        };
        // An error ends the watch as an orderly end does: the reader asks anew.
        let Some(Ok(frame)) = frame else { return };
        rest.extend_from_slice(&frame);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            if arrivals.send((Instant::now(), line.into())).is_err() {
                return;
            }
        }
    }
}

struct Passing {
    kind: String,
    events: mpsc::UnboundedReceiver<(Instant, Bytes)>,
    next: Option<(Instant, Bytes)>,
    arrived: usize,
    delivered: usize,
    born: Instant,
    closings: u64,
    expiries: u64,
    over: bool,
    sky: watch::Receiver<Sky>,
}

impl Passing {
    fn stream(self) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
        stream::unfold(self, |mut passing| async move {
            let line = passing.next_line().await?;
            Some((Ok(line), passing))
        })
    }

    async fn next_line(&mut self) -> Option<Bytes> {
        loop {
            if self.over {
                return None;
            }
            let (weather, closings, expiries) = {
                let sky = self.sky.borrow_and_update();
                (sky.over(&self.kind).clone(), sky.closings, sky.expiries)
            };
            if expiries > self.expiries {
                self.over = true;
                return Some(gone_event());
            }
            let full = weather.events.is_some_and(|most| self.delivered >= most);
            let end = weather.lifetime.map(|lifetime| self.born + lifetime);
            if closings > self.closings || full || end.is_some_and(|end| Instant::now() >= end) {
                return None;
            }
            if let Some((arrived, line)) = &self.next
                && !weather.withheld
                && Instant::now() >= *arrived + weather.lag
            {
                let line = line.clone();
                self.next = None;
                self.delivered += 1;
                return Some(line);
            }
            let due = self.next.as_ref().filter(|_| !weather.withheld);
            let due = due.map(|(arrived, _)| *arrived + weather.lag);
            tokio::select! {
                changed = self.sky.changed() => changed.ok()?,
                () = until(due) => {}
                () = until(end) => {}
                event = self.events.recv(), if self.next.is_none() => {
                    let (arrived, line) = event?;
                    self.arrived += 1;
                    if !self.is_lost(&weather.lost, &line) {
                        self.next = Some((arrived, line));
                    }
                }
            }
        }
    }

    fn is_lost(&self, lost: &Lost, line: &[u8]) -> bool {
        match lost {
            Lost::None => false,
            Lost::Each(nth) => self.arrived.is_multiple_of((*nth).max(1)),
            Lost::Of(names) => {
                let event: Value = serde_json::from_slice(line).unwrap_or_default();
                let name = event
                    .pointer("/object/metadata/name")
                    .and_then(Value::as_str);
                name.is_some_and(|name| names.contains(name))
            }
        }
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// What the API server says, in place of an event, when it no longer has what a watch is to go on from.
pub(super) fn gone_event() -> Bytes {
    let event =
        json!({"type": "ERROR", "object": status(410, "Expired", "too old resource version")});
    format!("{event}\n").into()
}

/// A `Status` as the API server answers it.
pub(super) fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {},
        "status": "Failure", "code": code, "reason": reason, "message": message,
    })
}
