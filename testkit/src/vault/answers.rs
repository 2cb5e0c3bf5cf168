//! What a false Vault says: what the real one would, and what only a hostile or broken one does. Touches the clock.

use std::convert::Infallible;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde_json::{Value, json};

use super::VaultCall;
use crate::server::Connection;
use crate::tls::{Authority, Issued, Subject, Validity};

/// What comes at a time of a body that is too long.
const PIECE: &[u8] = &[b'a'; 16 << 10];

/// The answer to a call.
#[derive(Debug, Clone)]
pub enum VaultAnswer {
    /// What the real one would say: every login succeeds, and every certificate is issued.
    Usual,
    /// The usual, this much later.
    Slow(Duration),
    /// None at all.
    Silent,
    /// The connection is reset.
    Reset,
    /// This status and JSON, such as `{"errors": ["permission denied"]}`.
    Json(u16, Value),
    /// This status and text, called JSON, whatever it is.
    Text(u16, String),
    /// A login that succeeds with this token, line breaks and all.
    Token(String),
    /// This status with all that the caller sent, headers and body, as the errors.
    Echo(u16),
    /// 307 to this address.
    Redirect(String),
    /// 200 with JSON that never ends, a piece each time that so much has passed.
    Endless(Duration),
    /// 200 with a JSON string of so many bytes.
    Huge(usize),
    /// A certificate as it is asked for, with the key of another.
    WrongKey,
    /// A certificate as it is asked for, but good from then until then, whatever it says its clock is.
    Valid(Validity),
}

impl VaultAnswer {
    pub(super) async fn give(
        self,
        call: &VaultCall,
        authority: &Authority,
        skew: i64,
        connection: &Connection,
    ) -> Response {
        match self {
            Self::Usual => usual(call, authority, skew),
            Self::Slow(time) => {
                tokio::time::sleep(time).await;
                usual(call, authority, skew)
            }
            Self::Silent => std::future::pending().await,
            Self::Reset => {
                connection.reset();
                StatusCode::OK.into_response()
            }
            Self::Json(code, body) => (status(code), Json(body)).into_response(),
            Self::Text(code, text) => (
                status(code),
                [(header::CONTENT_TYPE, "application/json")],
                text,
            )
                .into_response(),
            Self::Token(token) => Json(login(&token)).into_response(),
            Self::Echo(code) => {
                let headers = call.headers.iter();
                let headers: Vec<String> = headers
                    .map(|(name, value)| format!("{name}: {value}"))
                    .collect();
                let said = json!({"errors": [call.body, headers.join("\n")]});
                (status(code), Json(said)).into_response()
            }
            Self::Redirect(to) => {
                (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)]).into_response()
            }
            Self::Endless(pause) => {
                let pieces = stream::unfold(true, move |first| async move {
                    let piece: &'static [u8] = if first { b"{\"data\": \"" } else { PIECE };
                    tokio::time::sleep(pause).await;
                    Some((Ok::<_, Infallible>(Bytes::from_static(piece)), false))
                });
                Body::from_stream(pieces).into_response()
            }
            Self::Huge(bytes) => Json(json!({"data": "a".repeat(bytes)})).into_response(),
            Self::WrongKey => or_broken(wrong_key(call, authority, skew)),
            Self::Valid(validity) => or_broken(
                issue(call, authority, validity)
                    .and_then(|issued| issued_answer(authority, &issued, validity)),
            ),
        }
    }
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn or_broken(answer: Result<Value>) -> Response {
    match answer {
        Ok(answer) => Json(answer).into_response(),
        Err(error) => {
            let said = json!({"errors": [error.to_string()]});
            (StatusCode::BAD_REQUEST, Json(said)).into_response()
        }
    }
}

/// What the real one says to somebody who may do what they ask for.
fn usual(call: &VaultCall, authority: &Authority, skew: i64) -> Response {
    let path = call.path.split('?').next().unwrap_or_default();
    if path == "sys/health" {
        return Json(health(skew)).into_response();
    }
    if path == "auth/token/lookup-self" {
        return Json(json!({"data": {"ttl": 3600, "renewable": true}})).into_response();
    }
    if path == "auth/token/renew-self" {
        return Json(login(call.token().unwrap_or_default())).into_response();
    }
    if path.starts_with("auth/") && path.ends_with("/login") {
        return Json(login("s.false-vault")).into_response();
    }
    if path.contains("/issue/") {
        let validity = lasting(call).shifted(skew);
        let issued = issue(call, authority, validity);
        return or_broken(issued.and_then(|issued| issued_answer(authority, &issued, validity)));
    }
    (StatusCode::NOT_FOUND, Json(json!({"errors": []}))).into_response()
}

fn health(skew: i64) -> Value {
    json!({
        "initialized": true,
        "sealed": false,
        "standby": false,
        "performance_standby": false,
        "replication_performance_mode": "disabled",
        "replication_dr_mode": "disabled",
        "server_time_utc": seconds(SystemTime::now()) + skew,
        "version": "1.20.0",
        "cluster_name": "false",
        "cluster_id": "00000000-0000-0000-0000-000000000000",
    })
}

fn login(token: &str) -> Value {
    json!({
        "request_id": "0",
        "lease_id": "",
        "renewable": false,
        "lease_duration": 0,
        "data": null,
        "wrap_info": null,
        "warnings": null,
        "auth": {
            "client_token": token,
            "accessor": "accessor",
            "policies": ["default"],
            "token_policies": ["default"],
            "identity_policies": null,
            "metadata": {},
            "orphan": true,
            "entity_id": "",
            "lease_duration": 3600,
            "renewable": true,
            "token_type": "service",
            "mfa_requirement": null,
            "num_uses": 0,
        },
    })
}

fn issue(call: &VaultCall, authority: &Authority, validity: Validity) -> Result<Issued> {
    let wanted = call.json();
    let common_name = wanted["common_name"].as_str().unwrap_or_default();
    let mut others = wanted["alt_names"].as_str().unwrap_or_default().split(',');
    let email = others.find(|name| name.contains('@')).map(str::trim);
    authority.client_with(common_name, email, validity)
}

fn issued_answer(authority: &Authority, issued: &Issued, validity: Validity) -> Result<Value> {
    let Subject { serial, .. } = issued.subject()?;
    Ok(json!({
        "request_id": "0",
        "lease_id": "",
        "renewable": false,
        "lease_duration": 0,
        "data": {
            "certificate": issued.chain_pem,
            "issuing_ca": authority.ca_pem(),
            "ca_chain": [authority.ca_pem()],
            "private_key": issued.key_pem,
            "private_key_type": "ec",
            "serial_number": serial,
            "expiration": seconds(validity.not_after),
        },
        "wrap_info": null,
        "warnings": null,
        "auth": null,
    }))
}

fn wrong_key(call: &VaultCall, authority: &Authority, skew: i64) -> Result<Value> {
    let validity = lasting(call).shifted(skew);
    let issued = issue(call, authority, validity)?;
    let other = issue(call, authority, validity)?;
    issued_answer(authority, &issued.with_key_of(&other), validity)
}

/// The validity that a call asks for: `90`, `90s`, `90m` or `90h`; an hour if it names none.
fn lasting(call: &VaultCall) -> Validity {
    let wanted = call.json()["ttl"].clone();
    let wanted = wanted.as_u64().map_or_else(
        || wanted.as_str().unwrap_or("1h").to_owned(),
        |seconds| seconds.to_string(),
    );
    let (number, unit) = match wanted.find(|letter: char| !letter.is_ascii_digit()) {
        Some(end) => wanted.split_at(end),
        None => (wanted.as_str(), "s"),
    };
    let unit = match unit {
        "m" => 60,
        "h" => 3600,
        _ => 1,
    };
    let seconds = number.parse::<u64>().unwrap_or(3600).saturating_mul(unit);
    Validity::lasting(Duration::from_secs(seconds))
}

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
