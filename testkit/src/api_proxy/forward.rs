//! Hands calls on, with what was put in their way. Touches the API server and the clock.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::Value;

use super::call::{Call, Shape};
use super::faults::ApiEffect;
use super::watches::{self, status};
use super::{Shared, Write};
use crate::server::Connection;

/// Far more than the API server takes.
const LONGEST_BODY: usize = 64 << 20;

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new().fallback(proxy).with_state(shared)
}

async fn proxy(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    request: Request,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LONGEST_BODY).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    // The upstream client puts its own there.
    for own in [
        AUTHORIZATION,
        HOST,
        CONTENT_LENGTH,
        TRANSFER_ENCODING,
        CONNECTION,
    ] {
        parts.headers.remove(own);
    }
    let call = Call::of(&parts.method, &parts.uri);
    let text = String::from_utf8_lossy(&body).into_owned();
    let mut write = call.writes().then(|| Write {
        at: Timestamp::now(),
        method: call.method.clone(),
        resource: call.resource.clone(),
        name: call.name.clone(),
        body: serde_json::from_str(&text).unwrap_or_default(),
        status: None,
        version: None,
        answered: false,
    });
    let hold = shared.faults().held(&call, &text);
    if let Some(hold) = hold {
        hold.await;
    }
    let effect = shared.faults().take(&call, &text);
    let answer = match effect {
        Some(ApiEffect::Refuse(code)) => Ok(refused(code)),
        Some(ApiEffect::LoseAnswer) | None => {
            answer(
                &shared,
                &call,
                Request::from_parts(parts, body.into()),
                &mut write,
            )
            .await
        }
    };
    if let Some(mut write) = write {
        write.answered = effect.is_none() && answer.is_ok();
        shared.writes().push(write);
    }
    match (answer, effect) {
        (Ok(answer), None | Some(ApiEffect::Refuse(_))) => answer,
        (Ok(_), Some(ApiEffect::LoseAnswer)) => {
            connection.reset();
            StatusCode::OK.into_response()
        }
        (Err(error), _) => {
            tracing::warn!(
                path = call.path,
                error = format!("{error:#}"),
                "the API server was not reached"
            );
            connection.reset();
            StatusCode::BAD_GATEWAY.into_response()
        }
    }
}

/// The API server's answer, or one of its past.
async fn answer(
    shared: &Shared,
    call: &Call,
    request: Request,
    write: &mut Option<Write>,
) -> Result<Response> {
    // What happens to all watches from here on happens to this one.
    let sky = shared.sky.subscribe();
    let then = sky.borrow().clone();
    match call.shape {
        Shape::WholeList => {
            let mut lists = shared.lists();
            lists.listed.insert(call.path.clone(), then.expiries);
            if lists.old
                && let Some(old) = lists.remembered.get(&call.path)
            {
                return Ok(json_answer(StatusCode::OK, old.clone()));
            }
        }
        Shape::Watch => {
            let listed = shared.lists().listed.get(&call.path).copied();
            if listed.unwrap_or_default() < then.expiries {
                // A watch that can't go on is opened all the same, and says so in its first event.
                return Ok(json_answer(StatusCode::OK, watches::gone_event()));
            }
        }
        Shape::Other => {}
    }
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, LONGEST_BODY).await?;
    let request = Request::from_parts(parts, kube::client::Body::from(body));
    let answer = shared.upstream.send(request).await?;
    let (parts, body) = answer.into_parts();
    let headers = kept(&parts.headers);
    if call.shape == Shape::Watch && parts.status.is_success() {
        return Ok((
            parts.status,
            headers,
            watches::body(body, call.kind(), &then, sky),
        )
            .into_response());
    }
    let bytes = to_bytes(Body::new(body), LONGEST_BODY).await?;
    if let Some(write) = write {
        write.status = Some(parts.status.as_u16());
        write.version = parts.status.is_success().then(|| version(&bytes)).flatten();
    }
    Ok((parts.status, headers, bytes).into_response())
}

impl Shared {
    /// A collection as it is now.
    pub(super) async fn read(&self, path: &str) -> Result<Bytes> {
        let request = Request::get(path).body(kube::client::Body::empty())?;
        let answer = self.upstream.send(request).await?;
        let status = answer.status();
        let bytes = to_bytes(Body::new(answer.into_body()), LONGEST_BODY)
            .await
            .with_context(|| format!("cannot read {path}"))?;
        ensure!(status.is_success(), "{path} is answered {status}");
        Ok(bytes)
    }
}

fn version(object: &[u8]) -> Option<u64> {
    let object: Value = serde_json::from_slice(object).ok()?;
    let version = object.pointer("/metadata/resourceVersion")?;
    version.as_str()?.parse().ok()
}

/// Headers that are of the answer, not of the connection that it came by.
fn kept(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for other in [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION] {
        headers.remove(other);
    }
    headers
}

fn refused(code: u16) -> Response {
    let (reason, message) = match code {
        429 => (
            "TooManyRequests",
            "too many requests, please try again later",
        ),
        503 => (
            "ServiceUnavailable",
            "the server is currently unable to handle the request",
        ),
        _ => ("InternalError", "an error on the server"),
    };
    let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    json_answer(
        code,
        status(code.as_u16(), reason, message).to_string().into(),
    )
}

fn json_answer(code: StatusCode, body: Bytes) -> Response {
    (code, [(CONTENT_TYPE, "application/json")], body).into_response()
}
