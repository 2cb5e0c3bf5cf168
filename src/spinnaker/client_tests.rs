//! What the client makes of answers, silence and limits, against a Gate of a few lines. Touches loopback.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::spinnaker::{
    settings::{Credentials, GateLogin},
    testing::{Reply, TestGate, execution, not_there, settings, spring},
};
use crate::{api::conditions::Reason, runtime::tls::Trust};

const REFERENCE: &str = "01M80G0E2CDT4FQJ4A6PQXS8PR";

/// What a bare server does after its reply.
#[derive(Clone, Copy)]
enum Then {
    HangUp,
    KeepOpen,
}

/// A server that answers whatever comes with `reply`; counts connections.
async fn raw(reply: &'static [u8], then: Then) -> (reqwest::Url, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            counter.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut some = [0; 4096];
                while stream.read(&mut some).await.is_ok_and(|length| length > 0) {
                    let _ = stream.write_all(reply).await;
                    if matches!(then, Then::HangUp) {
                        break;
                    }
                }
            });
        }
    });
    (reqwest::Url::parse(&url).unwrap(), count)
}

#[tokio::test]
async fn a_start_is_sent_once_with_exactly_the_bytes_and_headers() {
    let gate =
        TestGate::new(|_| Reply::Json(200, json!({"ref": format!("/pipelines/{REFERENCE}")})))
            .await;
    let credentials = Credentials::Basic {
        username: "bot".to_owned(),
        password: "hush".into(),
    };
    let login = GateLogin::new(&credentials, &Trust::Machine).unwrap();
    let mut settings = GateSettings::fixed(gate.url.clone(), login);
    settings.url.set_path("/api/v1/");
    let client = GateClient::new(settings).unwrap().with_request_id("req-1");
    let body = b"{ \"b\":1,\"a\" : 2}".to_vec();
    let sent = client.start(body.clone()).await;
    assert_eq!(
        sent,
        Sent::Accepted {
            execution_id: REFERENCE.to_owned()
        }
    );
    let came = gate.came();
    assert_eq!(came.len(), 1);
    assert_eq!(came[0].line, "POST /api/v1/pipelines/start");
    assert_eq!(came[0].body, body);
    let header = |name: &str| came[0].headers[name].to_str().unwrap();
    assert_eq!(header("content-type"), "application/json");
    assert_eq!(header("accept"), "application/json");
    assert_eq!(header("x-envoy-max-retries"), "0");
    assert_eq!(header("x-ratelimit-app"), "foredeck");
    assert_eq!(header("x-spinnaker-request-id"), "req-1");
    assert_eq!(header("authorization"), "Basic Ym90Omh1c2g=");
}

#[tokio::test]
async fn a_redirected_start_is_not_followed() {
    let gate = TestGate::new(|_| Reply::Redirect("/login".to_owned())).await;
    let sent = gate.client().start(Vec::new()).await;
    assert!(
        matches!(
            sent,
            Sent::NotProcessed {
                error: GateError::LoginRequired,
                ..
            }
        ),
        "{sent:?}"
    );
    assert_eq!(gate.lines(), ["POST /pipelines/start"]);
}

#[tokio::test]
async fn a_reset_connection_leaves_a_start_unknown_and_unrepeated() {
    for reply in [
        &b""[..],
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"ref\":",
    ] {
        let (url, count) = raw(reply, Then::HangUp).await;
        let client = GateClient::new(settings(url)).unwrap();
        let sent = client.start(b"{}".to_vec()).await;
        assert!(matches!(sent, Sent::Unknown { .. }), "{sent:?}");
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn starts_never_share_a_connection() {
    let reply = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
    let (url, count) = raw(reply, Then::KeepOpen).await;
    let client = GateClient::new(settings(url)).unwrap();
    for _ in 0..3 {
        client.start(b"{}".to_vec()).await;
    }
    assert_eq!(count.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn no_whole_answer_within_the_deadline_leaves_a_start_unknown() {
    for reply in [
        &b""[..],
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"ref\":",
    ] {
        let (url, count) = raw(reply, Then::KeepOpen).await;
        let mut settings = settings(url);
        settings.request_deadline = Duration::from_millis(300);
        let client = GateClient::new(settings).unwrap();
        let sent = client.start(b"{}".to_vec()).await;
        let is_timeout = matches!(
            sent,
            Sent::Unknown {
                error: GateError::TimedOut { .. }
            }
        );
        assert!(is_timeout, "{sent:?}");
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn a_start_without_a_connection_was_not_processed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let gate = TestGate::new(|_| Reply::Never).await;
    let refused = format!("http://{address}");
    let not_tls = gate.url.as_str().replace("http:", "https:");
    let nameless = "http://gate.invalid".to_owned();
    for (url, expected) in [
        (refused, "the connection was refused"),
        (not_tls, "the TLS handshake failed"),
        (nameless, "its name can't be resolved"),
    ] {
        let client = GateClient::new(settings(url.parse().unwrap())).unwrap();
        let sent = client.start(b"{}".to_vec()).await;
        let Sent::NotProcessed {
            error: GateError::Unreachable { detail },
            ..
        } = sent
        else {
            panic!("{url}: {sent:?}")
        };
        assert_eq!(detail, expected, "{url}");
    }
    assert!(gate.lines().is_empty());
}

#[tokio::test]
async fn a_handshake_that_never_ends_was_not_processed() {
    // Takes the connection into its backlog and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let mut settings = settings(url.parse().unwrap());
    settings.request_deadline = Duration::from_secs(1);
    let sent = GateClient::new(settings)
        .unwrap()
        .start(b"{}".to_vec())
        .await;
    assert!(
        matches!(&sent, Sent::NotProcessed { error: GateError::Unreachable { detail }, .. } if detail.contains("deadline")),
        "{sent:?}"
    );
}

#[tokio::test]
async fn polls_that_hang_do_not_hold_up_a_start() {
    let gate = TestGate::new(|line| {
        if line.starts_with("GET") {
            Reply::Never
        } else {
            Reply::Json(200, json!({"ref": format!("/pipelines/{REFERENCE}")}))
        }
    })
    .await;
    let mut settings = gate.settings();
    settings.max_in_flight = 2;
    let client = GateClient::new(settings).unwrap();
    let polls: Vec<_> = (0..4)
        .map(|id| {
            let client = client.clone();
            tokio::spawn(async move { client.execution(&id.to_string()).await })
        })
        .collect();
    let both_run = async {
        while gate.lines().len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), both_run)
        .await
        .unwrap();
    let sent = client.start(b"{}".to_vec()).await;
    assert!(matches!(sent, Sent::Accepted { .. }), "{sent:?}");
    assert_eq!(gate.lines().len(), 3, "two polls run, two wait");
    for poll in polls {
        poll.abort();
    }
}

#[tokio::test]
async fn a_start_for_which_there_is_no_permit_was_not_processed() {
    let gate = TestGate::new(|_| Reply::Never).await;
    let mut settings = gate.settings();
    settings.max_in_flight = 1;
    settings.request_deadline = Duration::from_millis(300);
    let client = GateClient::new(settings).unwrap();
    let held = client.reserve().await.unwrap();
    let sent = client.start(b"{}".to_vec()).await;
    assert!(
        matches!(
            sent,
            Sent::NotProcessed {
                error: GateError::Saturated,
                ..
            }
        ),
        "{sent:?}"
    );
    drop(held);
    assert!(client.reserve().await.is_ok());
    assert!(gate.lines().is_empty());
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_not_read() {
    let gate = TestGate::new(|_| Reply::Text(200, "application/json", "x".repeat(5000))).await;
    let mut settings = gate.settings();
    settings.max_body = 4999;
    let lookup = GateClient::new(settings).unwrap().execution("01A").await;
    assert!(
        matches!(&lookup, Lookup::Unclear(GateError::Unclear { detail, .. }) if detail.contains("longer")),
        "{lookup:?}"
    );
}

#[tokio::test]
async fn an_unknown_id_does_not_hide_the_others() {
    let gate = TestGate::new(|line| match line {
        "GET /pipelines/01A" => Reply::Json(200, execution("01A")),
        "GET /pipelines/01B" => not_there("01B"),
        _ => Reply::Json(500, spring(500, "x", "The iterator returned a null value")),
    })
    .await;
    let ids = ["01A", "01B", "01A"].map(str::to_owned);
    let lookups = gate.client().executions(&ids).await;
    assert_eq!(lookups.len(), 2);
    assert!(matches!(lookups["01A"], Lookup::Found(_)));
    assert_eq!(lookups["01B"], Lookup::Absent);
    assert_eq!(
        gate.lines()[0],
        "GET /executions?executionIds=01A%2C01B&expand=false"
    );
}

#[tokio::test]
async fn an_id_missing_from_a_list_is_asked_for_by_itself() {
    let gate = TestGate::new(|line| {
        if line.starts_with("GET /executions") {
            Reply::Json(
                200,
                json!([execution("01A"), {"id": "01B"}, execution("01C")]),
            )
        } else {
            not_there("01B")
        }
    })
    .await;
    let lookups = gate
        .client()
        .executions(&["01A".to_owned(), "01B".to_owned()])
        .await;
    assert_eq!(lookups["01B"], Lookup::Absent);
    assert_eq!(lookups.len(), 2);
    assert_eq!(gate.lines().len(), 2);
}

#[tokio::test]
async fn a_batch_that_meets_a_closed_door_does_not_knock_again() {
    let gate = TestGate::new(|_| Reply::Redirect("/login".to_owned())).await;
    let ids: Vec<String> = (0..45).map(|id| format!("01{id}")).collect();
    let lookups = gate.client().executions(&ids).await;
    assert_eq!(lookups.len(), 45);
    assert!(
        lookups
            .values()
            .all(|lookup| *lookup == Lookup::Unclear(GateError::LoginRequired))
    );
    assert_eq!(gate.lines().len(), 3);
}

#[tokio::test]
async fn a_pipeline_is_asked_for_by_any_name_that_gate_takes() {
    let gate = TestGate::new(|line| {
        if line.contains("Nope") {
            Reply::Json(
                404,
                spring(404, "NotFoundException", "Pipeline config not found"),
            )
        } else {
            Reply::Json(
                200,
                json!({"id": "4f0a", "name": "x", "application": "shop"}),
            )
        }
    })
    .await;
    let client = gate.client();
    assert_eq!(
        client.pipeline("shop", "Deploy [prod]").await.unwrap().id,
        "4f0a"
    );
    let missing = client.pipeline("shop", "Nope").await.unwrap_err();
    assert_eq!(
        missing.to_string(),
        "the pipeline \"Nope\" of the Spinnaker application \"shop\" does not exist"
    );
    let unsendable = client.pipeline("shop", "a/b").await.unwrap_err();
    assert!(matches!(unsendable, GateError::NotSendable { .. }));
    assert_eq!(
        gate.lines()[0],
        "GET /applications/shop/pipelineConfigs/Deploy%20%5Bprod%5D"
    );
    assert_eq!(gate.lines().len(), 2);
}

#[tokio::test]
async fn a_list_of_executions_with_one_unreadable_is_an_error() {
    let gate = TestGate::new(|line| {
        if line.contains("whole") {
            Reply::Json(200, json!([execution("01A"), execution("01B")]))
        } else {
            Reply::Json(200, json!([execution("01A"), {"id": 3}]))
        }
    })
    .await;
    let client = gate.client();
    assert_eq!(client.executions_of(&["whole"], 50).await.unwrap().len(), 2);
    assert!(client.executions_of(&["torn"], 50).await.is_err());
    assert!(client.unfinished_of(&["a", "torn"], 50).await.is_err());
    assert!(client.executions_of(&[], 50).await.unwrap().is_empty());
    assert_eq!(
        [gate.lines()[0].as_str(), gate.lines()[2].as_str()],
        [
            "GET /executions?pipelineConfigIds=whole&limit=50&expand=false",
            "GET /executions?pipelineConfigIds=a%2Ctorn&limit=50&expand=false&statuses=NOT_STARTED%2CRUNNING%2CPAUSED%2CSUSPENDED%2CREDIRECT%2CBUFFERED",
        ]
    );
}

#[tokio::test]
async fn whoever_is_not_logged_in_is_told_so() {
    for (reply, expected) in [
        (
            Reply::Text(200, "application/json", String::new()),
            Err(GateError::LoginRequired),
        ),
        (
            Reply::Json(200, json!({"username": "bot"})),
            Ok("bot".to_owned()),
        ),
        (
            Reply::Text(200, "text/html", "<input type=\"password\">".to_owned()),
            Err(GateError::LoginRequired),
        ),
    ] {
        let gate = TestGate::new(move |_| reply.clone()).await;
        assert_eq!(gate.client().login().await, expected);
    }
}

#[tokio::test]
async fn a_cancel_says_why_and_tells_a_missing_execution() {
    let gate = TestGate::new(|line| {
        if line.contains("01A") {
            Reply::Text(200, "application/json", String::new())
        } else {
            not_there("01B")
        }
    })
    .await;
    let client = gate.client();
    let cancel = async |execution: &str, reason: &str| {
        let reservation = client.reserve_cancel().await.unwrap();
        reservation.cancel(execution, reason).await
    };
    assert_eq!(cancel("01A", "too slow & token=hush").await, Ok(()));
    let missing = cancel("01B", "x").await.unwrap_err();
    assert_eq!(missing.to_string(), "the execution \"01B\" does not exist");
    assert_eq!(
        gate.lines()[0],
        "PUT /pipelines/01A/cancel?reason=too+slow+%26+token%3D%5Bremoved%5D"
    );
}

#[tokio::test]
async fn the_other_endpoint_takes_application_and_id() {
    let gate =
        TestGate::new(|_| Reply::Json(202, json!({"ref": format!("/pipelines/{REFERENCE}")})))
            .await;
    let client = gate.client();
    let sent = client.trigger_v1("shop", "4f0a", b"{}".to_vec()).await;
    assert!(matches!(sent, Sent::Accepted { .. }), "{sent:?}");
    let refused = client.trigger_v1("shop", "a/b", b"{}".to_vec()).await;
    assert!(
        matches!(refused, Sent::Refused { status: 400, .. }),
        "{refused:?}"
    );
    assert_eq!(gate.lines(), ["POST /pipelines/shop/4f0a"]);
}

#[tokio::test]
async fn an_answer_to_a_judgment_is_one_patch_that_names_its_author() {
    let gate = TestGate::new(|line| {
        if line.contains("01A") {
            Reply::Json(200, execution("01A"))
        } else {
            not_there("01B")
        }
    })
    .await;
    let client = gate.client();
    let answer = |execution: &str| JudgmentAnswer {
        execution: execution.to_owned(),
        stage: "S 1".to_owned(),
        input: Some("eu".to_owned()),
    };
    let judge = async |execution: &str| {
        let answer = answer(execution);
        let reservation = client.reserve_judgment().await.unwrap();
        reservation
            .judge(
                &answer,
                ApprovalDecision::Approve,
                "alice-says-yes",
                "alice",
            )
            .await
    };
    assert_eq!(judge("01A").await, Handed::Done);
    let missing = GateError::NotFound {
        what: Missing::Execution("01B".to_owned()),
    };
    assert_eq!(judge("01B").await, Handed::Refused(missing));
    assert!(matches!(
        judge("0/1").await,
        Handed::Refused(GateError::NotSendable { .. })
    ));
    let came = gate.came();
    assert_eq!(came.len(), 2);
    assert_eq!(came[0].line, "PATCH /pipelines/01A/stages/S%201");
    let body: Value = serde_json::from_slice(&came[0].body).unwrap();
    assert_eq!(
        body,
        json!({"judgmentStatus": "continue", "judgmentInput": "eu",
            "foredeck": {"judgedBy": "alice", "approval": "alice-says-yes"}})
    );
}

#[tokio::test]
async fn what_is_not_gate_is_told_from_a_gate_that_is_away() {
    let page = |status| Reply::Text(status, "text/html", "<html>Welcome</html>".to_owned());
    for reply in [
        page(200),
        page(404),
        Reply::Json(404, spring(404, "NotFoundException", "No such path")),
        Reply::Json(200, json!({"login": "bot"})),
        Reply::Json(200, json!([])),
        Reply::Text(200, "text/plain", "welcome".to_owned()),
    ] {
        let gate = TestGate::new(move |_| reply.clone()).await;
        let error = gate.client().login().await.unwrap_err();
        assert_eq!(error.reason(), Reason::NotSpinnaker, "{error}");
    }
    for (reply, reason) in [
        (page(502), Reason::GateUnreachable),
        (page(503), Reason::GateUnreachable),
        (page(500), Reason::SpinnakerUnclear),
        (page(400), Reason::SpinnakerUnclear),
        (
            Reply::Redirect("/sorry".to_owned()),
            Reason::SpinnakerUnclear,
        ),
    ] {
        let gate = TestGate::new(move |_| reply.clone()).await;
        let error = gate.client().login().await.unwrap_err();
        assert_eq!(error.reason(), reason, "{error}");
    }
}

#[tokio::test]
async fn a_proxys_page_about_certificates_is_a_refused_login_but_proves_nothing_of_a_start() {
    let page = "<html><title>400 No required SSL certificate was sent</title></html>";
    let gate = TestGate::new(move |_| Reply::Text(400, "text/html", page.to_owned())).await;
    let error = gate.client().login().await.unwrap_err();
    assert!(error.refuses_login(), "{error}");
    let sent = gate.client().start(Vec::new()).await;
    assert!(
        matches!(&sent, Sent::Unknown { error } if error.refuses_login()),
        "{sent:?}"
    );
}

#[tokio::test]
async fn a_user_and_a_version_are_shown_without_what_does_not_show() {
    let gate = TestGate::new(|line| match line {
        "GET /auth/user" => Reply::Json(
            200,
            json!({"username": "\u{202e}bot\u{1b}[31m\u{7}-one@corp.local\n"}),
        ),
        _ => Reply::Json(200, json!({"version": "2026\u{202e}.1"})),
    })
    .await;
    let client = gate.client();
    assert_eq!(client.login().await.unwrap(), "bot-one@corp.local");
    assert_eq!(client.version().await.unwrap(), "2026.1");
}

/// A client of `gate` that logs in with these.
fn with(gate: &TestGate, credentials: &Credentials) -> GateClient {
    let mut settings = gate.settings();
    settings = GateSettings {
        request_deadline: settings.request_deadline,
        ..GateSettings::fixed(
            settings.url,
            GateLogin::new(credentials, &Trust::Machine).unwrap(),
        )
    };
    GateClient::new(settings).unwrap()
}

/// Credentials, and what of them a Gate may repeat.
fn repeated() -> [(Credentials, &'static str); 4] {
    let token = |value: &str| Credentials::Token {
        header: "X-Spinnaker-Token".to_owned(),
        value: value.into(),
    };
    let basic = || Credentials::Basic {
        username: "bot".to_owned(),
        password: "correct/hush".into(),
    };
    [
        (token("correct hush"), "correct hush"),
        (token("cor\"rect-hush"), "cor\"rect-hush"),
        (basic(), "correct/hush"),
        (basic(), "Ym90OmNvcnJlY3QvaHVzaA=="),
    ]
}

#[tokio::test]
async fn our_credentials_are_not_shown_though_gate_repeats_them() {
    for (credentials, secret) in repeated() {
        for status in [400, 403, 404, 409, 500, 503] {
            let words = spring(status, "X", &format!("Message: you sent {secret} to us"));
            let gate = TestGate::new(move |_| Reply::Json(status, words.clone())).await;
            let client = with(&gate, &credentials);
            let error = client.version().await.unwrap_err();
            assert_eq!(error.reason(), Reason::SpinnakerUnclear, "{error}");
            assert!(error.to_string().contains("repeats"), "{error}");
            let sent = client.start(Vec::new()).await;
            assert!(matches!(sent, Sent::Unknown { .. }), "{status}: {sent:?}");
            let pipeline = client.pipeline("shop", "Deploy").await.unwrap_err();
            let lookup = client.execution(REFERENCE).await;
            let reservation = client.reserve_cancel().await.unwrap();
            let cancelled = reservation.cancel(REFERENCE, "").await.unwrap_err();
            let all = format!("{error:?} {sent:?} {pipeline:?} {lookup:?} {cancelled:?}");
            for part in [secret, "you sent", "correct", "Ym90"] {
                assert!(!all.contains(part), "{all}");
            }
        }
    }
}

#[tokio::test]
async fn what_gate_accepts_and_tells_is_read_without_the_credentials_that_it_repeats() {
    for (credentials, secret) in repeated() {
        let gate = TestGate::new(move |line| {
            Reply::Json(
                200,
                match line {
                    "GET /auth/user" => json!({"username": format!("bot {secret}")}),
                    "GET /version" => json!({"version": "1", "you": secret}),
                    "POST /pipelines/start" => {
                        json!({"ref": format!("/pipelines/{REFERENCE}"), "you": secret})
                    }
                    _ => {
                        let mut execution = execution(REFERENCE);
                        execution["cancellationReason"] = json!(secret);
                        execution
                    }
                },
            )
        })
        .await;
        let client = with(&gate, &credentials);
        assert_eq!(client.login().await.unwrap(), "bot [removed]");
        assert_eq!(client.version().await.unwrap(), "1");
        let sent = client.start(Vec::new()).await;
        assert!(matches!(sent, Sent::Accepted { .. }), "{sent:?}");
        let Lookup::Found(execution) = client.execution(REFERENCE).await else {
            panic!("an execution whose pipeline holds our token can still be followed")
        };
        assert_eq!(execution.cancellation_reason.as_deref(), Some("[removed]"));
    }
}

#[tokio::test]
async fn a_refused_login_that_is_repeated_proves_nothing_of_a_start() {
    let [(credentials, secret), ..] = repeated();
    let gate = TestGate::new(move |_| Reply::Text(401, "text/plain", secret.to_owned())).await;
    let client = with(&gate, &credentials);
    assert_eq!(client.login().await, Err(GateError::LoginRequired));
    let sent = client.start(Vec::new()).await;
    assert!(matches!(sent, Sent::Unknown { .. }), "{sent:?}");
}

#[tokio::test]
async fn what_is_so_short_that_it_stands_in_any_answer_is_no_sign_of_a_repetition() {
    let credentials = Credentials::Token {
        header: "X-Spinnaker-Token".to_owned(),
        value: "status".into(),
    };
    let gate = TestGate::new(|_| not_there(REFERENCE)).await;
    let lookup = with(&gate, &credentials).execution(REFERENCE).await;
    assert_eq!(lookup, Lookup::Absent);
}
