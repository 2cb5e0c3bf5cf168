//! Delivers: over a socket or by HTTP, with the deadline, the retries of events and the effect of the answer.
//! Touches the world, the clock and the network.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::super::payloads;
use super::super::shared::Shared;
use super::http::{self, Destination};
use super::{About, Answer, Attempt, Delivery, Failure, Kind, Order};

/// For how long an answer that comes too late is still noted.
const LATE: Duration = Duration::from_mins(1);

/// Starts a delivery in the background.
pub(in crate::slack) fn start(
    shared: &Arc<Shared>,
    kind: Kind,
    payload: Value,
    about: About,
) -> Delivery {
    let delivery = Delivery::new(kind, payload, about);
    shared.deliveries().push(delivery.clone());
    let task = run(Arc::clone(shared), delivery.clone(), 0);
    shared.runtime.spawn(task);
    delivery
}

/// Delivers the same once more, as a delivery of its own.
pub(in crate::slack) fn redeliver(shared: &Arc<Shared>, earlier: &Delivery) -> Delivery {
    let inner = &earlier.inner;
    let delivery = Delivery::new(inner.kind, inner.payload.clone(), inner.about.clone());
    shared.deliveries().push(delivery.clone());
    let first = u32::from(inner.kind == Kind::Event);
    let task = run(Arc::clone(shared), delivery.clone(), first);
    shared.runtime.spawn(task);
    delivery
}

/// Delivers the events that happened in the world.
pub(in crate::slack) fn send_outbox(shared: &Arc<Shared>) -> Vec<Delivery> {
    let payloads: Vec<Value> = {
        let mut world = shared.change();
        let events = std::mem::take(&mut world.outbox);
        events
            .into_iter()
            .map(|event| payloads::event(&mut world, &event))
            .collect()
    };
    payloads
        .into_iter()
        .map(|payload| start(shared, Kind::Event, payload, About::Event))
        .collect()
}

async fn run(shared: Arc<Shared>, delivery: Delivery, first: u32) {
    let mut pauses = match delivery.kind() {
        Kind::Event => shared.world().timing.event_retries.clone(),
        _ => Vec::new(),
    }
    .into_iter();
    let mut retry = first;
    let mut reason = (first > 0).then_some("http_timeout");
    let outcome = loop {
        let tried = attempt(&shared, &delivery, retry, reason).await;
        let failure = match tried {
            Tried::Answered(answer) => break Ok(answer),
            Tried::Failed { failure, last } => {
                if last {
                    break Err(failure);
                }
                failure
            }
        };
        let Some(pause) = pauses.next() else {
            break Err(failure);
        };
        tokio::time::sleep(pause).await;
        retry += 1;
        reason = Some(failure.retry_reason());
    };
    super::effects::apply(
        &shared,
        &delivery.inner.about,
        &delivery.inner.payload,
        &outcome,
    );
    delivery
        .inner
        .progress
        .send_modify(|progress| progress.outcome = Some(outcome));
    // The outcome is part of what people wait for.
    drop(shared.change());
}

enum Tried {
    Answered(Answer),
    Failed {
        failure: Failure,
        /// Nobody wants a retry.
        last: bool,
    },
}

async fn attempt(
    shared: &Arc<Shared>,
    delivery: &Delivery,
    retry: u32,
    reason: Option<&'static str>,
) -> Tried {
    let at = shared.world().now();
    let destination = shared.destination().clone();
    let index = {
        let mut index = 0;
        delivery.inner.progress.send_modify(|progress| {
            index = progress.attempts.len();
            progress.attempts.push(Attempt {
                at,
                socket: None,
                retry,
                result: None,
                late: None,
            });
        });
        index
    };
    let (result, last) = match &destination {
        Destination::Sockets => (
            by_socket(shared, delivery, index, retry, reason).await,
            false,
        ),
        Destination::Http(urls) => {
            let deadline = shared.world().timing.answer_deadline;
            let request = http::Request {
                urls,
                kind: delivery.kind(),
                payload: delivery.payload(),
                retry: reason.map(|reason| (retry, reason)),
            };
            http::post(shared, &request, deadline).await
        }
    };
    note(delivery, index, |attempt| {
        attempt.result = Some(result.clone());
    });
    match result {
        Ok(answer) => Tried::Answered(answer),
        Err(failure) => Tried::Failed { failure, last },
    }
}

fn note(delivery: &Delivery, index: usize, change: impl FnOnce(&mut Attempt)) {
    delivery.inner.progress.send_modify(|progress| {
        if let Some(attempt) = progress.attempts.get_mut(index) {
            change(attempt);
        }
    });
}

async fn by_socket(
    shared: &Arc<Shared>,
    delivery: &Delivery,
    index: usize,
    retry: u32,
    reason: Option<&'static str>,
) -> Result<Answer, Failure> {
    let (envelope, accepts) = envelope(delivery, retry, reason);
    let (sender, mut acked) = oneshot::channel();
    let text = http::as_slack_writes(&envelope);
    let socket = {
        let mut sockets = shared.sockets();
        let socket = sockets.pick().ok_or(Failure::DispatchFailed)?;
        let id = envelope["envelope_id"].as_str().unwrap_or_default();
        sockets.expect(id, socket, sender);
        sockets.order(socket, Order::Send(text));
        socket
    };
    note(delivery, index, |attempt| attempt.socket = Some(socket));
    let sent = Instant::now();
    let deadline = shared.world().timing.answer_deadline;
    let answer = |ack: Value| {
        let body = ack.get("payload").filter(|body| !body.is_null()).cloned();
        let after = sent.elapsed();
        Answer {
            after,
            status: None,
            body,
        }
    };
    match timeout(deadline, &mut acked).await {
        Ok(Ok(ack)) => {
            let mut answer = answer(ack);
            if !accepts && answer.body.is_some() {
                let kind = delivery.payload()["type"].as_str().unwrap_or("delivery");
                shared.change().violation(format!(
                    "an ack of {kind} carries a payload, which nobody reads"
                ));
                answer.body = None;
            }
            Ok(answer)
        }
        Ok(Err(_)) => Err(Failure::DispatchFailed),
        Err(_) => {
            let delivery = delivery.clone();
            let shared_later = Arc::clone(shared);
            shared.runtime.spawn(async move {
                let ack = timeout(LATE, acked).await;
                let id = envelope["envelope_id"].as_str().unwrap_or_default();
                shared_later.sockets().forget(id);
                if let Ok(Ok(ack)) = ack {
                    let body = ack.get("payload").cloned();
                    let late = Answer {
                        after: sent.elapsed(),
                        status: None,
                        body,
                    };
                    note(&delivery, index, |attempt| attempt.late = Some(late));
                }
            });
            Err(Failure::OperationTimeout)
        }
    }
}

/// The envelope, and whether an ack may carry an answer.
fn envelope(delivery: &Delivery, retry: u32, reason: Option<&'static str>) -> (Value, bool) {
    let payload = delivery.payload();
    let (kind, accepts) = match delivery.kind() {
        Kind::Event | Kind::UrlVerification => ("events_api", false),
        Kind::Command => ("slash_commands", true),
        Kind::Options => ("interactive", true),
        Kind::Interaction => ("interactive", payload["type"] == "view_submission"),
    };
    let id = ulid::Ulid::new().0;
    let hex = format!("{id:032x}");
    let parts = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)];
    let uuid: Vec<&str> = parts.iter().map(|(from, to)| &hex[*from..*to]).collect();
    let mut envelope = json!({
        "envelope_id": uuid.join("-"), "payload": payload, "type": kind,
        "accepts_response_payload": accepts,
    });
    if kind == "events_api" {
        envelope["retry_attempt"] = json!(retry);
        envelope["retry_reason"] = json!(match reason {
            Some("http_timeout") => "timeout",
            Some(reason) => reason,
            None => "",
        });
    }
    (envelope, accepts)
}
