//! Deliveries by signed HTTP, byte for byte as Slack writes them. Touches the network and the clock.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use reqwest::header::{HeaderMap, HeaderValue};
use serde_json::Value;
use tokio::time::timeout;

use super::super::shared::Shared;
use super::{Answer, Failure, Kind};

/// The app's own addresses.
#[derive(Debug, Clone)]
pub struct RequestUrls {
    /// For slash commands.
    pub commands: String,
    /// For clicks and views.
    pub interactivity: String,
    /// For what is typed into external selects; where absent, `interactivity`.
    pub options: Option<String>,
    /// For events.
    pub events: String,
}

impl RequestUrls {
    /// One address for everything, as Bolt has it.
    pub fn all(url: &str) -> Self {
        Self {
            commands: url.to_owned(),
            interactivity: url.to_owned(),
            options: None,
            events: url.to_owned(),
        }
    }
}

/// Where deliveries go.
#[derive(Debug, Clone, Default)]
pub(in crate::slack) enum Destination {
    #[default]
    Sockets,
    Http(RequestUrls),
}

pub(super) struct Request<'a> {
    pub(super) urls: &'a RequestUrls,
    pub(super) kind: Kind,
    pub(super) payload: &'a Value,
    pub(super) retry: Option<(u32, &'static str)>,
}

/// Posts, and says whether a failure is the last.
pub(super) async fn post(
    shared: &Arc<Shared>,
    request: &Request<'_>,
    deadline: Duration,
) -> (Result<Answer, Failure>, bool) {
    let (url, kind, body) = written(request);
    let (timestamp, secret) = {
        let world = shared.world();
        (world.now().as_secs(), world.app.signing_secret.clone())
    };
    let mut call = shared.client.post(url).headers(headers(
        kind,
        &signature(&secret, timestamp, &body),
        timestamp,
    ));
    if let Some((number, reason)) = request.retry.filter(|_| request.kind == Kind::Event) {
        call = call
            .header("X-Slack-Retry-Num", number.to_string())
            .header("X-Slack-Retry-Reason", reason);
    }
    let sent = Instant::now();
    let exchange = async {
        let response = call.body(body).send().await?;
        let status = response.status().as_u16();
        let no_retry = response.headers().get("x-slack-no-retry").is_some();
        let is_json = response
            .headers()
            .get("content-type")
            .and_then(|kind| kind.to_str().ok())
            .is_some_and(|kind| kind.starts_with("application/json"));
        let text = response.text().await?;
        Ok::<_, reqwest::Error>((status, no_retry, is_json, text))
    };
    let (status, no_retry, is_json, text) = match timeout(deadline, exchange).await {
        Err(_) => return (Err(Failure::OperationTimeout), false),
        Ok(Err(_)) => return (Err(Failure::DispatchFailed), false),
        Ok(Ok(answer)) => answer,
    };
    if status != 200 {
        return (Err(Failure::HttpError(status)), no_retry);
    }
    let body = if text.is_empty() {
        None
    } else if is_json {
        Some(serde_json::from_str(&text).unwrap_or(Value::String(text)))
    } else {
        Some(Value::String(text))
    };
    let answer = Answer {
        after: sent.elapsed(),
        status: Some(status),
        body,
    };
    (Ok(answer), false)
}

fn headers(kind: &'static str, signature: &str, timestamp: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("Content-Type", HeaderValue::from_static(kind));
    headers.insert("Accept", HeaderValue::from_static("application/json,*/*"));
    let agent = "Slackbot 1.0 (+https://api.slack.com/robots)";
    headers.insert("User-Agent", HeaderValue::from_static(agent));
    headers.insert("X-Slack-Request-Timestamp", HeaderValue::from(timestamp));
    if let Ok(signature) = HeaderValue::from_str(signature) {
        headers.insert("X-Slack-Signature", signature);
    }
    headers
}

/// Address, content type and body.
fn written(request: &Request<'_>) -> (String, &'static str, String) {
    const FORM: &str = "application/x-www-form-urlencoded";
    let urls = request.urls;
    let json = as_slack_writes(request.payload);
    match request.kind {
        Kind::Event | Kind::UrlVerification => (urls.events.clone(), "application/json", json),
        Kind::Command => {
            let fields = request.payload.as_object().into_iter().flatten();
            let pairs: Vec<String> = fields
                .map(|(name, value)| {
                    let value = value
                        .as_str()
                        .map_or_else(|| value.to_string(), str::to_owned);
                    format!("{name}={}", in_form(&value))
                })
                .collect();
            (urls.commands.clone(), FORM, pairs.join("&"))
        }
        Kind::Interaction => (
            urls.interactivity.clone(),
            FORM,
            format!("payload={}", in_form(&json)),
        ),
        Kind::Options => (
            urls.options
                .clone()
                .unwrap_or_else(|| urls.interactivity.clone()),
            FORM,
            format!("payload={}", in_form(&json)),
        ),
    }
}

/// JSON with slashes and everything beyond ASCII escaped.
pub(super) fn as_slack_writes(value: &Value) -> String {
    let mut text = String::new();
    for symbol in value.to_string().chars() {
        match symbol {
            '/' => text.push_str("\\/"),
            symbol if symbol.is_ascii() => text.push(symbol),
            symbol => {
                for unit in symbol.encode_utf16(&mut [0; 2]) {
                    // Writing to a String cannot fail.
                    let _ = write!(text, "\\u{unit:04x}");
                }
            }
        }
    }
    text
}

/// A form value: a space is `+`, and `*` and `~` are escaped, unlike in the form encoding of browsers.
fn in_form(value: &str) -> String {
    let mut text = String::new();
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                text.push(char::from(byte));
            }
            b' ' => text.push('+'),
            byte => {
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    text
}

/// The v0 signature of a body.
pub(in crate::slack) fn signature(secret: &str, timestamp: u64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, format!("v0:{timestamp}:{body}").as_bytes());
    let mut text = "v0=".to_owned();
    for byte in tag.as_ref() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_slacks_own_example() {
        let body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow\
            &channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner\
            &command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2F\
            commands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN\
            &trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
        assert_eq!(
            signature("8f742231b10e8888abcd99yyyzzz85a5", 1_531_420_618, body),
            "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
        );
    }

    #[test]
    fn forms_escape_what_browsers_do_not() {
        assert_eq!(in_form("a *b*~ü/"), "a+%2Ab%2A%7E%C3%BC%2F");
    }

    #[test]
    fn json_is_plain_ascii() {
        let value = serde_json::json!({"a": "ü/🚀"});
        assert_eq!(as_slack_writes(&value), r#"{"a":"\u00fc\/\ud83d\ude80"}"#);
    }
}
