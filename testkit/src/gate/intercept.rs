//! What befalls a call before and after its handler: the log, the login, and the faults. Touches the call log, the
//! faults and the connection.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, Query, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use serde_json::{Value, json};

use super::answers::Refusal;
use super::call_log::Call;
use super::faults::Effect;
use super::operation::{Operation, subject_of};
use super::shared::{Principal, Shared};
use super::world::milliseconds;
use crate::server::Connection;
use crate::tls::Subject;

/// More than the largest config; a longer body is nobody's honest start.
const LONGEST_BODY: usize = 16 << 20;

pub(super) async fn intercept(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    Query(query): Query<HashMap<String, String>>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let Ok(bytes) = to_bytes(body, LONGEST_BODY).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let body: Option<Value> = serde_json::from_slice(&bytes).ok();
    let subject = subject_of(&parts.method, parts.uri.path(), &query, body.as_ref());
    let effect = shared.faults().take(&subject);
    let shown = connection
        .certificate
        .as_ref()
        .and_then(|shown| Subject::of(shown).ok());
    let admitted = shared.admit(subject.operation, &parts.headers, shown.as_ref());
    let number = shared.log().record(Call {
        number: 0,
        at: shared.now(),
        operation: subject.operation,
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query,
        execution: subject.execution.clone(),
        pipeline: subject.pipeline.clone(),
        authorization_present: parts.headers.contains_key(header::AUTHORIZATION)
            || parts.headers.contains_key("x-spinnaker-token"),
        headers: kept_headers(&parts.headers),
        body,
        connection: connection.number,
        principal: admitted.as_ref().ok().cloned(),
        certificate: shown.map(|shown| shown.serial),
        fault: effect.as_ref().map(Effect::name),
        status: None,
    });
    if shared.hanging.load(Ordering::SeqCst) {
        return std::future::pending().await;
    }
    let answer = match admitted {
        Err(refused) => refused,
        Ok(principal) => {
            parts.extensions.insert(Principal(principal));
            let request = Request::from_parts(parts, Body::from(bytes));
            // A task of its own: what a caller who gives up has asked for is done all the same, as in the real Gate.
            let handle = move || async move {
                tokio::spawn(next.run(request))
                    .await
                    .unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
            };
            if shared.orca_down.load(Ordering::SeqCst) && subject.operation.needs_orca() {
                Refusal::failed_to_connect().into_response()
            } else {
                match effect {
                    None => handle().await,
                    Some(effect) => befall(&shared, &connection, effect, handle).await,
                }
            }
        }
    };
    shared.log().answered(number, answer.status().as_u16());
    answer
}

/// Lets an effect befall a call.
async fn befall<Handling: Future<Output = Response> + Send + 'static>(
    shared: &Arc<Shared>,
    connection: &Connection,
    effect: Effect,
    handle: impl FnOnce() -> Handling + Send + 'static,
) -> Response {
    match effect {
        Effect::AcceptedThenTimeout { answer_after } => {
            let answer = handle().await;
            match answer_after {
                Some(time) => tokio::time::sleep(time).await,
                None => std::future::pending().await,
            }
            answer
        }
        Effect::SlowAnswer(time) => {
            let answer = handle().await;
            tokio::time::sleep(time).await;
            answer
        }
        Effect::Hang => std::future::pending().await,
        Effect::ResetBeforeEffect => {
            connection.reset();
            StatusCode::OK.into_response()
        }
        Effect::ResetAfterEffect => {
            let answer = handle().await;
            connection.reset();
            answer
        }
        Effect::ServerErrorAfterAcceptance => {
            handle().await;
            Refusal::timeout().into_response()
        }
        Effect::ServerErrorBefore => Refusal::failed_to_connect().into_response(),
        Effect::RateLimited { reset_after } => rate_limited(shared.now(), reset_after),
        Effect::Shed { retry_after } => {
            let mut answer = StatusCode::SERVICE_UNAVAILABLE.into_response();
            set_number(&mut answer, "retry-after", retry_after.as_secs());
            answer
        }
        Effect::RedirectToLogin => shared.login_redirect(),
        Effect::LoginPage => login_page(),
        Effect::NotFound => Refusal::no_execution("").into_response(),
        Effect::EmptyBody => StatusCode::OK.into_response(),
        Effect::HideCreated(time) => {
            let (answer, body) = readable(handle().await).await;
            let created = body
                .as_ref()
                .and_then(|body| body.get("ref"))
                .and_then(Value::as_str)
                .and_then(|reference| reference.rsplit('/').next());
            if let Some(id) = created {
                let mut world = shared.world();
                let until = world.now() + milliseconds(time);
                world.change(id, |_, execution| execution.hidden_until = until);
            }
            answer
        }
        Effect::AbandonedStart { after } => {
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                handle().await;
            });
            std::future::pending().await
        }
        Effect::UnknownStatusWord(word) => {
            let (answer, body) = readable(handle().await).await;
            match body {
                Some(Value::Array(mut executions)) => {
                    for execution in &mut executions {
                        replace_status(execution, &word);
                    }
                    Json(executions).into_response()
                }
                Some(mut execution @ Value::Object(_)) if answer.status() == StatusCode::OK => {
                    replace_status(&mut execution, &word);
                    Json(execution).into_response()
                }
                _ => answer,
            }
        }
        Effect::Answer(status, body) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, Json(body)).into_response()
        }
    }
}

fn replace_status(execution: &mut Value, word: &str) {
    if let Some(status) = execution.get_mut("status") {
        *status = json!(word);
    }
}

/// An answer together with its JSON.
async fn readable(answer: Response) -> (Response, Option<Value>) {
    let (parts, body) = answer.into_parts();
    let bytes: Bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let json = serde_json::from_slice(&bytes).ok();
    (Response::from_parts(parts, Body::from(bytes)), json)
}

fn rate_limited(now: u64, reset_after: Duration) -> Response {
    let body = json!({"message": "Rate capacity exceeded"});
    let mut answer = (StatusCode::TOO_MANY_REQUESTS, Json(body)).into_response();
    set_number(&mut answer, "x-ratelimit-capacity", 60);
    set_number(&mut answer, "x-ratelimit-remaining", 0);
    set_number(
        &mut answer,
        "x-ratelimit-reset",
        now + milliseconds(reset_after),
    );
    answer.headers_mut().insert(
        HeaderName::from_static("x-ratelimit-learning"),
        HeaderValue::from_static("false"),
    );
    answer
}

fn set_number(answer: &mut Response, name: &'static str, value: u64) {
    answer
        .headers_mut()
        .insert(HeaderName::from_static(name), HeaderValue::from(value));
}

/// What a client that follows the redirect takes for success.
pub(super) fn login_page() -> Response {
    // The signs of Spring Security's own page, without its style sheet.
    let page = concat!(
        "<!DOCTYPE html><html><head><title>Please sign in</title></head><body>",
        "<form class=\"login-form\" method=\"post\" action=\"/login\">",
        "<input type=\"text\" id=\"username\" name=\"username\" required autofocus>",
        "<input type=\"password\" id=\"password\" name=\"password\" required>",
        "<button type=\"submit\">Sign in</button></form></body></html>",
    );
    Html(page).into_response()
}

fn kept_headers(headers: &HeaderMap) -> BTreeMap<String, String> {
    headers
        .iter()
        .filter(|(name, _)| {
            let name = name.as_str();
            matches!(name, "accept" | "content-type" | "user-agent")
                || (name.starts_with("x-") && !name.contains("token"))
        })
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            (name.to_string(), value.into_owned())
        })
        .collect()
}

/// Whether an operation is answered without a login.
pub(super) fn is_open(operation: Operation) -> bool {
    matches!(operation, Operation::AuthUser | Operation::Health)
}
