//! Deliveries over HTTP, for those who can't or won't use Socket Mode. Touches the network.
//!
//! The signature comes first: nothing of a body is read before it is verified, `ssl_check` and `url_verification`
//! included.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::post,
};
use jiff::Timestamp;
use serde_json::Value;
use tokio::{
    sync::{Mutex, Semaphore},
    time::{Instant, timeout},
};

use super::{
    inbound::{Handler, Inbound, Intake, Reply, Retry, Taken},
    signature::{SigningSecrets, Unsigned},
    text::clean,
};

/// Clicks in large modals reach hundreds of kilobytes.
const MOST_BODY: usize = 1 << 20;
/// A body that takes longer comes too late anyway.
const READ_WITHIN: Duration = Duration::from_secs(3);
const TRANSPORT: &str = "http";

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// How long a request that no secret signed waits for their source: Slack waits three seconds.
const SOURCE_PATIENCE: Duration = Duration::from_millis(1500);
/// Between two askings of it on their account: whoever floods us with them doesn't have it asked without end.
const SOURCE_SPACING: Duration = Duration::from_secs(5);
/// Such requests that may wait at once. Anybody can send them, so the others are refused at once.
const MOST_DOUBTFUL: usize = 8;

/// Requests whose bodies are read at once, before anybody knows whether Slack sent them.
const MOST_BODIES: usize = 64;

struct Receiver<H> {
    bodies: Semaphore,
    doubtful: Semaphore,
    /// When the source was asked last on account of such a request. Who comes meanwhile waits for the same.
    asked: Mutex<Option<Instant>>,
    intake: Intake<H>,
    secrets: SigningSecrets,
    now: fn() -> Timestamp,
}

/// `POST /slack/commands`, `/slack/interactivity` and `/slack/events`.
///
/// `now` is the clock that signatures are checked against.
pub fn router<H: Handler>(
    intake: Intake<H>,
    secrets: SigningSecrets,
    now: fn() -> Timestamp,
) -> Router {
    Router::new()
        .route("/slack/commands", post(commands::<H>))
        .route("/slack/interactivity", post(interactivity::<H>))
        .route("/slack/events", post(events::<H>))
        .with_state(Arc::new(Receiver {
            bodies: Semaphore::new(MOST_BODIES),
            doubtful: Semaphore::new(MOST_DOUBTFUL),
            asked: Mutex::default(),
            intake,
            secrets,
            now,
        }))
}

async fn commands<H: Handler>(
    State(receiver): State<Arc<Receiver<H>>>,
    request: Request,
) -> Response {
    let arrival = Instant::now();
    let (_, form) = match receiver.form(request).await {
        Ok(form) => form,
        Err(response) => return response,
    };
    receiver
        .take(Inbound::command_from_form(&form), None, arrival)
        .await
}

async fn interactivity<H: Handler>(
    State(receiver): State<Arc<Receiver<H>>>,
    request: Request,
) -> Response {
    let arrival = Instant::now();
    let (_, form) = match receiver.form(request).await {
        Ok(form) => form,
        Err(response) => return response,
    };
    let mut payloads = form.iter().filter(|(name, _)| name == "payload");
    let payload = match (payloads.next(), payloads.next()) {
        (Some((_, payload)), None) => serde_json::from_str(payload).ok(),
        _ => None,
    };
    let Some(payload) = payload else {
        return receiver.refuse(StatusCode::BAD_REQUEST, "malformed");
    };
    receiver
        .take(Inbound::interaction(payload), None, arrival)
        .await
}

async fn events<H: Handler>(
    State(receiver): State<Arc<Receiver<H>>>,
    request: Request,
) -> Response {
    let arrival = Instant::now();
    let (headers, body) = match receiver.verified(request, JSON).await {
        Ok(verified) => verified,
        Err(response) => return response,
    };
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return receiver.refuse(StatusCode::BAD_REQUEST, "malformed");
    };
    if body.get("type").and_then(Value::as_str) == Some("url_verification") {
        let challenge = body.get("challenge").and_then(Value::as_str);
        return match challenge {
            Some(challenge) => Json(serde_json::json!({"challenge": challenge})).into_response(),
            None => receiver.refuse(StatusCode::BAD_REQUEST, "malformed"),
        };
    }
    receiver
        .take(Inbound::event(body), retry(&headers), arrival)
        .await
}

impl<H: Handler> Receiver<H> {
    /// The body, if Slack signed it and it is of the kind that is expected.
    async fn verified(
        &self,
        request: Request<Body>,
        expected: &str,
    ) -> Result<(HeaderMap, Bytes), Response> {
        let (parts, body) = request.into_parts();
        let reading = async {
            let _permit = self.bodies.acquire().await;
            to_bytes(body, MOST_BODY).await
        };
        let Ok(body) = timeout(READ_WITHIN, reading).await else {
            return Err(self.refuse(StatusCode::REQUEST_TIMEOUT, "slow"));
        };
        let Ok(body) = body else {
            // Too long, or broken off; then nobody reads the answer.
            return Err(self.refuse(StatusCode::PAYLOAD_TOO_LARGE, "too-long"));
        };
        if let Err(unsigned) = self.signed(&parts.headers, &body).await {
            tracing::warn!(
                reason = unsigned.reason(),
                "a request that Slack did not sign: {unsigned}"
            );
            return Err(self.refuse(StatusCode::UNAUTHORIZED, unsigned.reason()));
        }
        if !is(&parts.headers, expected) {
            return Err(self.refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-type"));
        }
        Ok((parts.headers, body))
    }

    /// Whether Slack signed it. What no secret signed may be the first that a new one signs.
    async fn signed(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), Unsigned> {
        let verify = || self.secrets.verify(headers, body, (self.now)());
        let verified = verify();
        if verified != Err(Unsigned::Mismatch) {
            return verified;
        }
        let Ok(_one_of_few) = self.doubtful.try_acquire() else {
            return verified;
        };
        let asking = async {
            let mut asked = self.asked.lock().await;
            if asked.is_none_or(|at| at.elapsed() >= SOURCE_SPACING) {
                *asked = Some(Instant::now());
                self.secrets.ask_anew().await;
            }
        };
        let asked = timeout(SOURCE_PATIENCE, asking).await;
        asked.map_or(verified, |()| verify())
    }

    async fn form(
        &self,
        request: Request<Body>,
    ) -> Result<(HeaderMap, Vec<(String, String)>), Response> {
        let (headers, body) = self.verified(request, FORM).await?;
        let form: Vec<(String, String)> = form_urlencoded::parse(&body).into_owned().collect();
        if form.iter().any(|(name, _)| name == "ssl_check") {
            // Slack looks at our certificate; whatever else came along is not read.
            return Err(StatusCode::OK.into_response());
        }
        Ok((headers, form))
    }

    async fn take(&self, inbound: Inbound, retry: Option<Retry>, received: Instant) -> Response {
        match self.intake.take(TRANSPORT, inbound, retry, received).await {
            Taken::Unknown => StatusCode::OK.into_response(),
            Taken::NotAllowed => StatusCode::FORBIDDEN.into_response(),
            Taken::Reply(Reply::Refused) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
            Taken::Reply(reply) => match reply.body() {
                Some(body) => Json(body).into_response(),
                None => StatusCode::OK.into_response(),
            },
        }
    }

    fn refuse(&self, status: StatusCode, reason: &'static str) -> Response {
        self.intake.metrics().delivery(TRANSPORT, "unread", reason);
        status.into_response()
    }
}

/// Compared without parameters, and whatever the case.
fn is(headers: &HeaderMap, expected: &str) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    let value = value.to_str().unwrap_or_default();
    let kind = value.split(';').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case(expected)
}

fn retry(headers: &HeaderMap) -> Option<Retry> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let number = header("x-slack-retry-num")?.trim().parse().ok()?;
    Some(Retry {
        number,
        reason: clean(header("x-slack-retry-reason").unwrap_or_default(), 40),
    })
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
