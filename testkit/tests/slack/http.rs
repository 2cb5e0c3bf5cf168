//! Deliveries by HTTP: signed, in Slack's own writing, retried where Slack retries.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::hmac;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use foredeck_testkit::slack::{Failure, RequestUrls, Timing};
use serde_json::{Value, json};

use crate::bench::{Bench, with_button};

#[derive(Clone)]
struct Request {
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

/// What an app on HTTP was asked, and what it is to answer: 200 and nothing when it was told nothing else.
#[derive(Clone, Default)]
struct HttpApp {
    requests: Arc<Mutex<Vec<Request>>>,
    answers: Arc<Mutex<VecDeque<(u16, HeaderMap, String)>>>,
    slow: Arc<Mutex<Duration>>,
}

impl HttpApp {
    async fn start(bench: &Bench) -> Self {
        let app = Self::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(receive).with_state(app.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        bench.slack.deliver_by_http(RequestUrls {
            commands: format!("{url}/slack/commands"),
            interactivity: format!("{url}/slack/interactivity"),
            options: None,
            events: format!("{url}/slack/events"),
        });
        app
    }

    fn answer(&self, status: u16, header: Option<(&'static str, &'static str)>, body: &str) {
        let mut headers = HeaderMap::new();
        if let Some((name, value)) = header {
            headers.insert(name, value.parse().unwrap());
        }
        self.answers
            .lock()
            .unwrap()
            .push_back((status, headers, body.to_owned()));
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

async fn receive(
    State(app): State<HttpApp>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = uri.path().to_owned();
    app.requests.lock().unwrap().push(Request {
        path,
        headers,
        body,
    });
    let slow = *app.slow.lock().unwrap();
    tokio::time::sleep(slow).await;
    let answer = app.answers.lock().unwrap().pop_front();
    let (status, headers, body) = answer.unwrap_or((200, HeaderMap::new(), String::new()));
    (StatusCode::from_u16(status).unwrap(), headers, body).into_response()
}

fn form(body: &[u8], name: &str) -> String {
    let mut pairs = form_urlencoded::parse(body);
    pairs.find(|(key, _)| key == name).unwrap().1.into_owned()
}

const JSON: Option<(&str, &str)> = Some(("content-type", "application/json"));

#[tokio::test]
async fn a_command_comes_as_a_signed_form() {
    let bench = Bench::new().await;
    let app = HttpApp::start(&bench).await;
    app.answer(200, None, "on it");
    let line = "/deploy checkout feature/*-x to staging";
    let delivery = bench.slack.user("alice").command("deploys", line).unwrap();
    let answer = delivery.answered().await.unwrap();
    assert_eq!(
        (answer.status, answer.body),
        (Some(200), Some(json!("on it")))
    );
    assert_eq!(bench.slack.ephemerals("alice")[0].text, "on it");

    let request = &app.requests()[0];
    assert_eq!(request.path, "/slack/commands");
    assert_eq!(
        request.headers["content-type"],
        "application/x-www-form-urlencoded"
    );
    let body = std::str::from_utf8(&request.body).unwrap();
    assert!(
        body.contains("text=checkout+feature%2F%2A-x+to+staging"),
        "{body}"
    );
    assert_eq!(form(&request.body, "is_enterprise_install"), "false");
    let timestamp = request.headers["x-slack-request-timestamp"]
        .to_str()
        .unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, bench.slack.signing_secret().as_bytes());
    let base = format!("v0:{timestamp}:{body}");
    let tag = hmac::sign(&key, base.as_bytes());
    let hex: Vec<String> = tag
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let expected = hex.concat();
    assert_eq!(
        request.headers["x-slack-signature"],
        format!("v0={expected}")
    );
}

#[tokio::test]
async fn a_command_that_fails_is_not_repeated_and_the_person_sees_it() {
    let bench = Bench::new().await;
    let app = HttpApp::start(&bench).await;
    app.answer(500, None, "");
    let delivery = bench
        .slack
        .user("alice")
        .command("deploys", "/deploy x")
        .unwrap();
    assert_eq!(
        delivery.ended().await.unwrap(),
        Err(Failure::HttpError(500))
    );
    assert_eq!(app.requests().len(), 1);
    assert!(
        bench.slack.ephemerals("alice")[0]
            .text
            .contains("http_service_error")
    );

    bench.slack.set_timing(Timing {
        answer_deadline: Duration::from_millis(50),
        ..Timing::default()
    });
    *app.slow.lock().unwrap() = Duration::from_secs(5);
    let delivery = bench
        .slack
        .user("bob")
        .command("deploys", "/deploy x")
        .unwrap();
    assert_eq!(
        delivery.ended().await.unwrap(),
        Err(Failure::OperationTimeout)
    );
    assert_eq!(delivery.shown_failure(), Some("operation_timeout"));
}

#[tokio::test]
async fn an_event_is_repeated_with_the_reason_until_it_is_taken() {
    let bench = Bench::new().await;
    let app = HttpApp::start(&bench).await;
    let event_retries = vec![
        Duration::ZERO,
        Duration::from_millis(10),
        Duration::from_millis(10),
    ];
    bench.slack.set_timing(Timing {
        event_retries,
        ..Timing::default()
    });
    app.answer(503, None, "");
    app.answer(302, Some(("location", "http://127.0.0.1:9/")), "");
    let delivery = bench
        .slack
        .user("alice")
        .mention("deploys", None, "status")
        .unwrap();
    assert_eq!(delivery.answered().await.unwrap().status, Some(200));
    let requests = app.requests();
    let retry = |index: usize, name: &str| {
        let value = requests[index].headers.get(name);
        value.map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(requests.len(), 3);
    assert_eq!(retry(0, "x-slack-retry-num"), None);
    assert_eq!(retry(1, "x-slack-retry-num").unwrap(), "1");
    assert_eq!(retry(1, "x-slack-retry-reason").unwrap(), "http_error");
    assert_eq!(retry(2, "x-slack-retry-num").unwrap(), "2");
    assert_eq!(requests[0].body, requests[2].body);
    assert_eq!(requests[0].headers["content-type"], "application/json");
    let body: Value = serde_json::from_slice(&requests[0].body).unwrap();
    assert_eq!(body["event"]["type"], "app_mention");
}

#[tokio::test]
async fn an_app_may_ask_not_to_be_told_again() {
    let bench = Bench::new().await;
    let app = HttpApp::start(&bench).await;
    app.answer(500, Some(("x-slack-no-retry", "1")), "");
    let delivery = bench.slack.user("alice").direct_message("hello").unwrap();
    assert_eq!(
        delivery.ended().await.unwrap(),
        Err(Failure::HttpError(500))
    );
    assert_eq!(app.requests().len(), 1);
}

#[tokio::test]
async fn an_address_is_verified_with_a_signed_challenge() {
    let bench = Bench::new().await;
    let app = HttpApp::start(&bench).await;
    app.answer(200, JSON, r#"{"challenge": "3eZbrw1aB"}"#);
    let answer = bench
        .slack
        .verify_url("3eZbrw1aB")
        .answered()
        .await
        .unwrap();
    assert_eq!(answer.body.unwrap()["challenge"], "3eZbrw1aB");
    let request = &app.requests()[0];
    assert!(request.headers.contains_key("x-slack-signature"));
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(body["type"], "url_verification");
}

#[tokio::test]
async fn a_click_comes_as_a_form_with_a_payload() {
    let bench = Bench::new().await;
    let app = HttpApp::start(&bench).await;
    bench
        .call("chat.postMessage", with_button(&bench.channel("deploys")))
        .await;
    let message = &bench.slack.messages("deploys")[0];
    let delivery = bench.slack.user("bob").click(message, "deploy").unwrap();
    delivery.answered().await.unwrap();
    let request = &app.requests()[0];
    assert_eq!(request.path, "/slack/interactivity");
    let payload: Value = serde_json::from_str(&form(&request.body, "payload")).unwrap();
    assert_eq!(payload["actions"][0]["value"], "r-1");
    assert!(std::str::from_utf8(&request.body).unwrap().is_ascii());
}
