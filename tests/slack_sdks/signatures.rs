//! Whatever `slack_sdk` signs, our HTTP router takes and reads as it was meant; what is altered, it refuses.

use std::sync::{Arc, Mutex};

use foredeck::slack::{
    http,
    inbound::{Allowed, Delivery, Handler, Inbound, Intake, Reply},
    metrics::SlackMetrics,
    signature::SigningSecrets,
};
use foredeck_testkit::toolbox::{Python, Script};
use jiff::Timestamp;
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{SOON, script};

const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
/// How many requests of each kind are tried.
const CASES: usize = 60;
const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// Remembers what text came.
#[derive(Default)]
struct Ear(Mutex<Vec<String>>);

impl Handler for Ear {
    async fn handle(&self, delivery: Delivery) -> Reply {
        let heard = match delivery.kind {
            Inbound::Command(command) => command.text,
            Inbound::Actions(actions) => actions.actions[0].given.value.clone().unwrap_or_default(),
            Inbound::Event(event) => format!("{:?}", event.event),
            other => panic!("{other:?}"),
        };
        self.0.lock().unwrap().push(heard);
        Reply::Empty
    }
}

/// Our router on a port, and the SDK that signs.
struct Bench {
    url: String,
    ear: Arc<Ear>,
    signer: Script,
    client: reqwest::Client,
}

/// A request that Slack might send.
#[derive(Debug, Clone)]
struct Request {
    path: &'static str,
    kind: &'static str,
    timestamp: i64,
    body: String,
    signature: String,
}

impl Bench {
    async fn start() -> Option<Self> {
        foredeck::runtime::tls::install();
        let python = Python::fetch().await.unwrap()?;
        let signer = python.run(&script("signer.py"), &[]).unwrap();
        let ear = Arc::<Ear>::default();
        let intake = Intake::new(
            Arc::clone(&ear),
            Allowed::default(),
            SlackMetrics::default(),
        );
        // The one before it is being rotated out.
        let secrets = ["0123456789abcdef0123456789abcdef", SECRET];
        let secrets = SigningSecrets::new(secrets.map(|secret| secret.to_owned().into())).unwrap();
        let router = http::router(intake, secrets, Timestamp::now);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Some(Self {
            url,
            ear,
            signer,
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
        })
    }

    async fn signed(&mut self, path: &'static str, kind: &'static str, body: String) -> Request {
        let timestamp = Timestamp::now().as_second();
        let order = json!({"secret": SECRET, "timestamp": timestamp, "body": body});
        self.signer.tell(&order).await.unwrap();
        let answer = self.signer.next(SOON).await.unwrap();
        Request {
            path,
            kind,
            timestamp,
            body,
            signature: answer["signature"].as_str().unwrap().to_owned(),
        }
    }

    async fn send(&self, request: &Request) -> StatusCode {
        let Request {
            path,
            kind,
            timestamp,
            body,
            signature,
        } = request.clone();
        let answer = self
            .client
            .post(format!("{}{path}", self.url))
            .header("Content-Type", kind)
            .header("X-Slack-Request-Timestamp", timestamp)
            .header("X-Slack-Signature", signature)
            .body(body)
            .send();
        answer.await.unwrap().status()
    }

    /// Sends it as it is, and gives what was heard; then sends it altered in every way, and nothing more is heard.
    async fn check(&self, request: Request) -> String {
        let status = self.send(&request).await;
        assert_eq!(status, StatusCode::OK, "{request:?}");
        let heard = std::mem::take(&mut *self.ear.0.lock().unwrap());
        assert_eq!(heard.len(), 1, "{request:?}");
        for altered in altered(&request) {
            let status = self.send(&altered).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{altered:?}");
        }
        assert_eq!(*self.ear.0.lock().unwrap(), Vec::<String>::new());
        heard.into_iter().next().unwrap()
    }
}

/// The same form by another hand, a character more or less, another time, another signature.
fn altered(request: &Request) -> Vec<Request> {
    let with_body = |body: String| Request {
        body,
        ..request.clone()
    };
    let mut altered = vec![
        with_body(format!("{} ", request.body)),
        with_body(format!("{}\n", request.body)),
        with_body(request.body.chars().skip(1).collect()),
        with_body(request.body.to_uppercase()),
        Request {
            timestamp: request.timestamp + 1,
            ..request.clone()
        },
        Request {
            signature: request.signature.replace("v0=", "v1="),
            ..request.clone()
        },
        Request {
            signature: format!("v0={}", "0".repeat(64)),
            ..request.clone()
        },
    ];
    for (from, to) in [("%2A", "*"), ("*", "%2A"), ("+", "%20"), ("%2F", "%2f")] {
        if request.body.contains(from) {
            altered.push(with_body(request.body.replacen(from, to, 1)));
        }
    }
    // A body without letters is the same in capitals.
    altered.retain(|altered| {
        altered.body != request.body
            || altered.timestamp != request.timestamp
            || altered.signature != request.signature
    });
    altered
}

/// What people type, and worse: half of it from what trips those who decode before they verify.
fn texts(count: usize) -> Vec<String> {
    let nasty = prop::sample::select(vec![
        "*", "%2A", "%", "+", " ", "&", "=", "ü", "🚀", "\u{202e}", "\"", "\\", "<@U1>", "\u{0}",
        "ß", "/", "~", "\n",
    ])
    .prop_map(str::to_owned);
    let text = prop::collection::vec(prop_oneof![nasty, "\\PC{0,5}"], 0..12)
        .prop_map(|parts| parts.concat());
    let mut runner = TestRunner::deterministic();
    (0..count)
        .map(|_| text.new_tree(&mut runner).unwrap().current())
        .collect()
}

/// A form value as Slack writes it (`tight`), or with as little escaped as any writer may leave.
fn in_form(text: &str, tight: bool) -> String {
    let mut written = String::new();
    for byte in text.bytes() {
        let plain = byte.is_ascii_alphanumeric()
            || b"-_.".contains(&byte)
            || (!tight && b"*~!'()/:@".contains(&byte));
        match byte {
            _ if plain => written.push(char::from(byte)),
            b' ' if tight => written.push('+'),
            byte => written.extend(format!("%{byte:02X}").chars()),
        }
    }
    written
}

fn command(text: &str, tight: bool) -> String {
    let fields = [
        ("team_id", "T0HARBOR001"),
        ("api_app_id", "A0FOREDECK1"),
        ("channel_id", "C0DEPLOYS01"),
        ("channel_name", "deploys"),
        ("user_id", "U0ALICE0001"),
        ("command", "/deploy"),
        ("text", text),
        (
            "response_url",
            "https://hooks.slack.com/commands/T1/2/abc*%2A",
        ),
        ("trigger_id", "13345224609.738474920.8088930838d88f"),
    ];
    let pairs = fields.map(|(name, value)| format!("{name}={}", in_form(value, tight)));
    pairs.join("&")
}

#[tokio::test]
async fn signed_commands_are_taken_and_altered_ones_refused() {
    let Some(mut bench) = Bench::start().await else {
        return;
    };
    for (number, text) in texts(CASES).into_iter().enumerate() {
        let body = command(&text, number % 2 == 0);
        let request = bench.signed("/slack/commands", FORM, body).await;
        assert_eq!(bench.check(request).await, text);
    }
}

#[tokio::test]
async fn signed_clicks_are_taken_and_altered_ones_refused() {
    let Some(mut bench) = Bench::start().await else {
        return;
    };
    for (number, text) in texts(CASES).into_iter().enumerate() {
        let payload: Value = json!({
            "type": "block_actions", "api_app_id": "A0FOREDECK1", "token": "x",
            "team": {"id": "T0HARBOR001", "domain": "harbor"},
            "user": {"id": "U0ALICE0001", "team_id": "T0HARBOR001", "username": "alice"},
            "container": {"type": "message", "message_ts": "1548261231.000200", "channel_id": "C0DEPLOYS01",
                          "is_ephemeral": true},
            "channel": {"id": "C0DEPLOYS01", "name": "deploys"},
            "trigger_id": "12321423423.333649436676.d8c1bb837935619ccad0f624c448ffb3",
            "response_url": "https://hooks.slack.com/actions/T1/2/abc",
            "actions": [{"type": "button", "action_id": "go", "block_id": "b", "action_ts": "1548426417.840180",
                         "text": {"type": "plain_text", "text": "Go"}, "value": text}],
        });
        let body = format!("payload={}", in_form(&payload.to_string(), number % 2 == 0));
        let request = bench.signed("/slack/interactivity", FORM, body).await;
        assert_eq!(bench.check(request).await, text);
    }
}

#[tokio::test]
async fn signed_events_are_taken_and_altered_ones_refused() {
    let Some(mut bench) = Bench::start().await else {
        return;
    };
    for (number, text) in texts(CASES).into_iter().enumerate() {
        let body = json!({
            "type": "event_callback", "team_id": "T0HARBOR001", "api_app_id": "A0FOREDECK1",
            "event_id": format!("Ev{number:08}"), "event_time": 1_600_000_000, "context_team_id": "T0HARBOR001",
            "event": {"type": "app_mention", "user": "U0ALICE0001", "text": text, "ts": "1600000000.000100",
                      "channel": "C0DEPLOYS01", "event_ts": "1600000000.000100", "team": "T0HARBOR001"},
        });
        // With space as people's tools write it, and without as Slack does.
        let body = if number % 2 == 0 {
            body.to_string()
        } else {
            format!("{body:#}")
        };
        let request = bench.signed("/slack/events", JSON, body).await;
        let heard = bench.check(request).await;
        assert!(heard.contains(&format!("{text:?}")), "{heard}");
    }
}
