//! What comes over HTTP, genuine and otherwise.

use std::{convert::Infallible, sync::Mutex};

use axum::{http::request::Builder, routing::RouterIntoService};
use futures::stream;
use serde_json::json;
use tokio::sync::Notify;
use tower_service::Service;

use super::*;
use crate::runtime::live::LiveSecret;
use crate::slack::{
    blocks::Message,
    ids::TeamId,
    inbound::{Allowed, Delivery},
    metrics::SlackMetrics,
    signature::sign,
    text::Mrkdwn,
};

const SECRET: &str = "signing";
const NOW: i64 = 1_531_420_618;

/// Remembers what came, and answers as told.
struct Recorder {
    seen: Mutex<Vec<Delivery>>,
    reply: Reply,
    hold: Option<Arc<Notify>>,
    finished: Notify,
}

impl Handler for Recorder {
    async fn handle(&self, delivery: Delivery) -> Reply {
        self.seen.lock().unwrap().push(delivery);
        if let Some(hold) = &self.hold {
            hold.notified().await;
        }
        self.finished.notify_one();
        self.reply.clone()
    }
}

struct Bench {
    recorder: Arc<Recorder>,
    service: RouterIntoService<Body>,
}

fn bench_with(reply: Reply, hold: Option<Arc<Notify>>, allowed: Allowed) -> Bench {
    let recorder = Arc::new(Recorder {
        seen: Mutex::default(),
        reply,
        hold,
        finished: Notify::new(),
    });
    let intake = Intake::new(Arc::clone(&recorder), allowed, SlackMetrics::default());
    let secrets = SigningSecrets::new([SECRET.to_owned().into()]).unwrap();
    let now = || Timestamp::from_second(NOW).unwrap();
    let service = router(intake, secrets, now).into_service();
    Bench { recorder, service }
}

fn bench() -> Bench {
    bench_with(Reply::Empty, None, Allowed::default())
}

fn signed(path: &str, content_type: &str, body: &[u8]) -> Builder {
    Request::builder()
        .method("POST")
        .uri(path)
        .header("content-type", content_type)
        .header("x-slack-request-timestamp", NOW.to_string())
        .header("x-slack-signature", sign(SECRET, NOW, body))
}

impl Bench {
    async fn send(&mut self, request: Request) -> (StatusCode, Value) {
        let response: Result<Response, Infallible> = self.service.call(request).await;
        let response = response.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), MOST_BODY).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn post(&mut self, path: &str, content_type: &str, body: &[u8]) -> (StatusCode, Value) {
        let request = signed(path, content_type, body);
        let request = request.body(Body::from(body.to_vec())).unwrap();
        self.send(request).await
    }

    fn seen(&self) -> Vec<&'static str> {
        let seen = self.recorder.seen.lock().unwrap();
        seen.iter().map(|delivery| delivery.kind.word()).collect()
    }
}

fn form(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(fields);
    form.finish().into_bytes()
}

fn command() -> Vec<u8> {
    form(&[
        ("team_id", "T1"),
        ("channel_id", "C1"),
        ("user_id", "U1"),
        ("command", "/deploy"),
        ("text", "a *b* <c>"),
        ("trigger_id", "1.2.x"),
        ("api_app_id", "A1"),
    ])
}

fn interaction(payload: &Value) -> Vec<u8> {
    form(&[("payload", &payload.to_string())])
}

fn submission() -> Vec<u8> {
    interaction(&json!({
        "type": "view_submission", "user": {"id": "U1", "team_id": "T1"}, "team": {"id": "T1"}, "api_app_id": "A1",
        "view": {"id": "V1", "hash": "1.a", "state": {}},
    }))
}

fn event() -> Vec<u8> {
    json!({
        "type": "event_callback", "team_id": "T1", "event_id": "Ev1", "api_app_id": "A1",
        "event": {"type": "app_mention", "user": "U1", "channel": "C1", "ts": "1.1", "text": "hi"},
    })
    .to_string()
    .into_bytes()
}

#[tokio::test]
async fn each_kind_reaches_the_handler() {
    let mut bench = bench();
    assert_eq!(
        bench.post("/slack/commands", FORM, &command()).await.0,
        StatusCode::OK
    );
    let charset = "Application/X-WWW-Form-Urlencoded; charset=UTF-8";
    assert_eq!(
        bench
            .post("/slack/interactivity", charset, &submission())
            .await
            .0,
        StatusCode::OK
    );
    let json = "application/json;charset=utf-8";
    let request = signed("/slack/events", json, &event())
        .header("X-Slack-Retry-Num", "2")
        .header("X-Slack-Retry-Reason", "http_timeout")
        .body(Body::from(event()))
        .unwrap();
    assert_eq!(bench.send(request).await.0, StatusCode::OK);
    assert_eq!(bench.seen(), ["command", "submission", "event"]);
    let seen = bench.recorder.seen.lock().unwrap();
    let retry = Retry {
        number: 2,
        reason: "http_timeout".to_owned(),
    };
    assert_eq!((&seen[0].retry, &seen[2].retry), (&None, &Some(retry)));
    let Inbound::Command(command) = &seen[0].kind else {
        panic!("no command")
    };
    assert_eq!(command.text, "a *b* <c>");
}

#[tokio::test]
async fn what_slack_did_not_sign_is_not_read() {
    let mut bench = bench();
    let verification = json!({"type": "url_verification", "challenge": "c"}).to_string();
    for (path, content_type, body) in [
        ("/slack/commands", FORM, command()),
        (
            "/slack/commands",
            FORM,
            [b"ssl_check=1&".to_vec(), command()].concat(),
        ),
        ("/slack/interactivity", FORM, submission()),
        ("/slack/events", JSON, event()),
        ("/slack/events", JSON, verification.into_bytes()),
    ] {
        let request = signed(path, content_type, b"another body")
            .body(Body::from(body))
            .unwrap();
        assert_eq!(
            bench.send(request).await,
            (StatusCode::UNAUTHORIZED, Value::Null),
            "{path}"
        );
    }
    let unsigned = Request::builder()
        .method("POST")
        .uri("/slack/events")
        .body(Body::from(event()))
        .unwrap();
    assert_eq!(bench.send(unsigned).await.0, StatusCode::UNAUTHORIZED);
    let twice = signed("/slack/events", JSON, &event())
        .header("x-slack-signature", "v0=00")
        .body(Body::from(event()))
        .unwrap();
    assert_eq!(bench.send(twice).await.0, StatusCode::UNAUTHORIZED);
    let get = Request::builder()
        .uri("/slack/commands?ssl_check=1")
        .body(Body::empty())
        .unwrap();
    assert_eq!(bench.send(get).await.0, StatusCode::METHOD_NOT_ALLOWED);
    assert!(bench.seen().is_empty());
}

#[tokio::test]
async fn slacks_own_checks_are_answered_and_nothing_in_them_is_done() {
    let mut bench = bench();
    let smuggled = [b"ssl_check=1&token=x&".to_vec(), command()].concat();
    assert_eq!(
        bench.post("/slack/commands", FORM, &smuggled).await.0,
        StatusCode::OK
    );
    let smuggled = [submission(), b"&ssl_check=1".to_vec()].concat();
    assert_eq!(
        bench.post("/slack/interactivity", FORM, &smuggled).await.0,
        StatusCode::OK
    );
    let verification =
        json!({"type": "url_verification", "token": "x", "challenge": "3eZb"}).to_string();
    let answer = bench
        .post("/slack/events", JSON, verification.as_bytes())
        .await;
    assert_eq!(answer, (StatusCode::OK, json!({"challenge": "3eZb"})));
    assert!(bench.seen().is_empty());
}

#[tokio::test]
async fn what_is_malformed_is_refused_and_what_is_unknown_is_received() {
    let mut bench = bench();
    for (path, content_type, body, status) in [
        ("/slack/commands", JSON, command(), 415),
        ("/slack/commands", "text/plain", command(), 415),
        ("/slack/events", FORM, event(), 415),
        ("/slack/events", JSON, b"{".to_vec(), 400),
        ("/slack/events", JSON, b"\xff".to_vec(), 400),
        ("/slack/events", JSON, "[".repeat(100_000).into_bytes(), 400),
        (
            "/slack/events",
            JSON,
            br#"{"type":"url_verification"}"#.to_vec(),
            400,
        ),
        ("/slack/interactivity", FORM, b"payload=%7B".to_vec(), 400),
        ("/slack/interactivity", FORM, b"nothing=1".to_vec(), 400),
        (
            "/slack/interactivity",
            FORM,
            [submission(), b"&".to_vec(), submission()].concat(),
            400,
        ),
        (
            "/slack/interactivity",
            FORM,
            interaction(&json!({"type": "dialog_submission"})),
            200,
        ),
        (
            "/slack/events",
            JSON,
            br#"{"type":"app_rate_limited","minute_rate_limited":1}"#.to_vec(),
            200,
        ),
        ("/slack/events", JSON, b"[]".to_vec(), 200),
        (
            "/slack/commands",
            FORM,
            b"\xff=%ff&team_id=<!here>".to_vec(),
            200,
        ),
        (
            "/slack/commands",
            FORM,
            [command(), b"&user_id=U2".to_vec()].concat(),
            200,
        ),
        ("/slack/nothing", JSON, event(), 404),
    ] {
        let answered = bench.post(path, content_type, &body).await;
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        assert_eq!(answered.0.as_u16(), status, "{path} {shown}");
    }
    assert!(bench.seen().is_empty());
}

#[tokio::test]
async fn a_body_without_end_is_not_collected() {
    let mut bench = bench();
    let long = vec![b'a'; MOST_BODY + 1];
    let answered = bench.post("/slack/commands", FORM, &long).await;
    assert_eq!(answered.0, StatusCode::PAYLOAD_TOO_LARGE);
    let most = [b"a=".to_vec(), vec![b'a'; MOST_BODY - 2]].concat();
    assert_eq!(
        bench.post("/slack/commands", FORM, &most).await.0,
        StatusCode::OK
    );
    let endless = stream::repeat(Ok::<_, Infallible>(Bytes::from_static(&[b'a'; 4096])));
    let request = signed("/slack/commands", FORM, b"")
        .body(Body::from_stream(endless))
        .unwrap();
    assert_eq!(bench.send(request).await.0, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_comes_is_not_waited_for() {
    let mut bench = bench();
    let silent = stream::pending::<Result<Bytes, Infallible>>();
    let request = signed("/slack/commands", FORM, b"")
        .body(Body::from_stream(silent))
        .unwrap();
    assert_eq!(bench.send(request).await.0, StatusCode::REQUEST_TIMEOUT);
}

#[tokio::test]
async fn the_handlers_answer_is_the_answer() {
    let message = Reply::ephemeral(Message::plain(Mrkdwn::fixed("hello")));
    let mut spoken = bench_with(message, None, Allowed::default());
    let answered = spoken.post("/slack/commands", FORM, &command()).await;
    assert_eq!(
        answered,
        (
            StatusCode::OK,
            json!({"response_type": "ephemeral", "text": "hello"})
        )
    );
    let mut refused = bench_with(Reply::Refused, None, Allowed::default());
    let answered = refused.post("/slack/events", JSON, &event()).await;
    assert_eq!(answered.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_too_late_is_replaced_and_the_work_goes_on() {
    let hold = Arc::new(Notify::new());
    let mut bench = bench_with(Reply::Empty, Some(Arc::clone(&hold)), Allowed::default());
    let start = Instant::now();
    let (status, body) = bench.post("/slack/commands", FORM, &command()).await;
    assert_eq!(start.elapsed(), Duration::from_millis(2500));
    assert_eq!(
        (status, &body["response_type"]),
        (StatusCode::OK, &json!("ephemeral"))
    );
    assert!(
        body["text"].as_str().unwrap().contains("may still happen"),
        "{body}"
    );
    let event = bench.post("/slack/events", JSON, &event()).await;
    assert_eq!(
        event.0,
        StatusCode::SERVICE_UNAVAILABLE,
        "to be delivered again"
    );
    let submission = bench
        .post("/slack/interactivity", FORM, &submission())
        .await;
    assert_eq!(submission.0, StatusCode::SERVICE_UNAVAILABLE);
    hold.notify_one();
    bench.recorder.finished.notified().await;
}

#[tokio::test]
async fn only_our_workspace_and_app_are_taken() {
    let allowed = Allowed {
        teams: [TeamId::new("T1").unwrap()].into(),
        apps: ["A1".parse().unwrap()].into(),
    };
    let mut bench = bench_with(Reply::Empty, None, allowed);
    assert_eq!(
        bench.post("/slack/commands", FORM, &command()).await.0,
        StatusCode::OK
    );
    let replaced = |body: Vec<u8>, from: &str, to: &str| {
        String::from_utf8(body)
            .unwrap()
            .replace(from, to)
            .into_bytes()
    };
    for body in [
        replaced(command(), "team_id=T1", "team_id=T2"),
        replaced(command(), "api_app_id=A1", "api_app_id=A2"),
        replaced(command(), "&api_app_id=A1", ""),
    ] {
        assert_eq!(
            bench.post("/slack/commands", FORM, &body).await.0,
            StatusCode::FORBIDDEN
        );
    }
    let foreign = replaced(event(), "\"T1\"", "\"T2\"");
    assert_eq!(
        bench.post("/slack/events", JSON, &foreign).await.0,
        StatusCode::FORBIDDEN
    );
    assert_eq!(bench.seen(), ["command"]);
}

/// A bench whose secret is `first` until its source is asked, and how often that was.
fn rotating(first: &str, then: &'static str) -> (Bench, tokio::task::JoinHandle<usize>) {
    let (live, mut source) = LiveSecret::new(first.into());
    let keeping = tokio::spawn(async move {
        let mut times = 0;
        while let Some(questions) = source.asked().await {
            times += 1;
            source.set(then.into());
            drop(questions);
        }
        times
    });
    (bench_of(SigningSecrets::live(live).unwrap()), keeping)
}

fn bench_of(secrets: SigningSecrets) -> Bench {
    let mut bench = bench();
    let recorder = Arc::clone(&bench.recorder);
    let intake = Intake::new(recorder, Allowed::default(), SlackMetrics::default());
    let now = || Timestamp::from_second(NOW).unwrap();
    bench.service = router(intake, secrets, now).into_service();
    bench
}

#[tokio::test]
async fn the_first_request_that_a_new_secret_signs_is_taken() {
    let (mut bench, keeping) = rotating("old", SECRET);
    for _ in 0..2 {
        let (status, _) = bench.post("/slack/commands", FORM, &command()).await;
        assert_eq!(status, StatusCode::OK);
    }
    drop(bench);
    assert_eq!(keeping.await.unwrap(), 1);
}

#[tokio::test]
async fn what_nobody_signed_is_refused_though_the_source_was_asked() {
    let (mut bench, keeping) = rotating("old", "other");
    let (status, _) = bench.post("/slack/commands", FORM, &command()).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    drop(bench);
    assert_eq!(keeping.await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_flood_that_nobody_signed_has_the_source_asked_once_in_five_seconds() {
    let (mut bench, keeping) = rotating("old", "other");
    let begun = Instant::now();
    for asked_after in [0, 5] {
        tokio::time::advance(Duration::from_secs(asked_after)).await;
        for _ in 0..20 {
            let (status, _) = bench.post("/slack/commands", FORM, &command()).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED);
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(6));
    drop(bench);
    assert_eq!(keeping.await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_first_clicks_that_a_new_secret_signs_are_taken_together() {
    let (live, mut source) = LiveSecret::new("old".into());
    let keeping = tokio::spawn(async move {
        let mut times = 0;
        while let Some(questions) = source.asked().await {
            times += 1;
            // All of them come while it is being looked at.
            tokio::time::sleep(Duration::from_millis(700)).await;
            source.set(SECRET.into());
            drop(questions);
        }
        times
    });
    let bench = bench_of(SigningSecrets::live(live).unwrap());
    let clicks = (0..4).map(|click| {
        let mut bench = Bench {
            recorder: Arc::clone(&bench.recorder),
            service: bench.service.clone(),
        };
        async move {
            tokio::time::sleep(Duration::from_millis(100 * click)).await;
            bench.post("/slack/commands", FORM, &command()).await.0
        }
    });
    let answered = futures::future::join_all(clicks).await;
    assert_eq!(answered, [StatusCode::OK; 4]);
    drop(bench);
    assert_eq!(keeping.await.unwrap(), 1);
}
