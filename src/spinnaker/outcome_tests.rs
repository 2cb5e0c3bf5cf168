//! What the answer to a start proves. Touches nothing.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::spinnaker::testing::spring;

fn answer(status: u16, body: &str) -> Answer {
    Answer {
        status,
        body: body.as_bytes().to_vec(),
        ..Answer::default()
    }
}

fn json_answer(status: u16, body: &Value) -> Answer {
    answer(status, &body.to_string())
}

fn html(status: u16, body: &str) -> Answer {
    Answer {
        content_type: "text/html;charset=UTF-8".to_owned(),
        ..answer(status, body)
    }
}

fn redirect(status: u16, location: &str) -> Answer {
    Answer {
        location: Some(location.to_owned()),
        ..answer(status, "")
    }
}

/// The outcome in one word.
fn word(sent: &Sent) -> &'static str {
    match sent {
        Sent::Accepted { .. } => "accepted",
        Sent::Refused { .. } => "refused",
        Sent::NotProcessed { .. } => "not processed",
        Sent::Unknown { .. } => "unknown",
    }
}

#[test]
fn each_answer_to_a_start_proves_what_the_table_says() {
    let network = "SpinnakerNetworkException";
    let http = "SpinnakerHttpException";
    let no_connection = "Failed to connect to localhost/127.0.0.1:8083";
    let handed_on =
        "Status: 503, Method: POST, URL: http://orca/orchestrate, Message: upstream connect error";
    let accepted = json!({"ref": "/pipelines/01M80G0E2CDT4FQJ4A6PQXS8PR"});
    let problem = json!({"type": "about:blank", "title": "Bad Request", "status": 400, "detail": "Failed to read request",
        "instance": "/pipelines/start"});
    let rows: Vec<(&str, Result<Answer, Trouble>, &str)> = vec![
        ("200 ref", Ok(json_answer(200, &accepted)), "accepted"),
        ("202 ref", Ok(json_answer(202, &accepted)), "accepted"),
        ("200 empty", Ok(answer(200, "")), "unknown"),
        (
            "200 other json",
            Ok(json_answer(200, &json!({"eventId": "x"}))),
            "unknown",
        ),
        (
            "200 task",
            Ok(json_answer(200, &json!({"ref": "/tasks/01M8"}))),
            "unknown",
        ),
        (
            "200 ref of nothing",
            Ok(json_answer(200, &json!({"ref": "/pipelines/"}))),
            "unknown",
        ),
        (
            "200 odd ref",
            Ok(json_answer(200, &json!({"ref": "/pipelines/a/b"}))),
            "unknown",
        ),
        (
            "200 cut",
            Ok(answer(200, "{\"ref\":\"/pipelines/01")),
            "unknown",
        ),
        (
            "200 login page",
            Ok(html(200, "<form><input type=\"password\"></form>")),
            "not processed",
        ),
        ("200 any page", Ok(html(200, "<h1>Sorry</h1>")), "unknown"),
        (
            "302 login",
            Ok(redirect(302, "http://gate.example/login")),
            "not processed",
        ),
        (
            "302 sso",
            Ok(redirect(302, "https://idp.example/oauth2/v1/authorize?x")),
            "not processed",
        ),
        (
            "302 elsewhere",
            Ok(redirect(302, "https://gate.example/sorry")),
            "unknown",
        ),
        (
            "301 https",
            Ok(redirect(301, "https://gate.example/pipelines/start")),
            "unknown",
        ),
        ("302 nowhere", Ok(answer(302, "")), "unknown"),
        (
            "400 Gate",
            Ok(json_answer(
                400,
                &spring(400, http, "Message: Required parameter tag is missing"),
            )),
            "refused",
        ),
        ("400 problem", Ok(json_answer(400, &problem)), "refused"),
        (
            "400 proxy",
            Ok(html(400, "<h1>Bad Request</h1>")),
            "unknown",
        ),
        ("401 empty", Ok(answer(401, "")), "not processed"),
        ("401 page", Ok(html(401, "<h1>No</h1>")), "not processed"),
        (
            "403 Gate",
            Ok(json_answer(
                403,
                &spring(403, "AccessDeniedException", "Access is denied"),
            )),
            "refused",
        ),
        ("403 proxy", Ok(html(403, "<h1>Forbidden</h1>")), "unknown"),
        (
            "403 proxy json",
            Ok(json_answer(403, &json!({"message": "Forbidden"}))),
            "unknown",
        ),
        (
            "404 Gate",
            Ok(json_answer(
                404,
                &spring(404, http, "No pipeline found with id 'x'"),
            )),
            "refused",
        ),
        ("404 proxy", Ok(html(404, "<h1>Not Found</h1>")), "unknown"),
        (
            "405 Gate",
            Ok(json_answer(405, &spring(405, "x", "Method Not Allowed"))),
            "refused",
        ),
        (
            "406 Gate",
            Ok(json_answer(406, &spring(406, "x", "Not Acceptable"))),
            "unknown",
        ),
        ("408", Ok(answer(408, "")), "unknown"),
        (
            "409 Gate",
            Ok(json_answer(409, &spring(409, http, "conflict"))),
            "unknown",
        ),
        ("413", Ok(html(413, "<h1>Too large</h1>")), "refused"),
        (
            "429 Gate",
            Ok(json_answer(
                429,
                &json!({"message": "Rate capacity exceeded"}),
            )),
            "not processed",
        ),
        (
            "500 no Orca",
            Ok(json_answer(500, &spring(500, network, no_connection))),
            "unknown",
        ),
        (
            "500 handed on",
            Ok(json_answer(500, &spring(500, http, no_connection))),
            "unknown",
        ),
        (
            "500 further behind",
            Ok(json_answer(
                500,
                &spring(
                    500,
                    network,
                    &format!("Status: 500, URL: http://orca/x, Message: {no_connection}"),
                ),
            )),
            "unknown",
        ),
        (
            "500 reset",
            Ok(json_answer(500, &spring(500, network, "Connection reset"))),
            "unknown",
        ),
        (
            "500 timeout",
            Ok(json_answer(500, &spring(500, network, "timeout"))),
            "unknown",
        ),
        (
            "500 page with the words",
            Ok(html(500, no_connection)),
            "unknown",
        ),
        ("502", Ok(html(502, "<h1>Bad Gateway</h1>")), "unknown"),
        (
            "503 Gate",
            Ok(json_answer(503, &spring(503, "x", "Service Unavailable"))),
            "not processed",
        ),
        (
            "503 handed on",
            Ok(json_answer(503, &spring(503, http, handed_on))),
            "unknown",
        ),
        (
            "503 proxy",
            Ok(answer(
                503,
                "upstream connect error or disconnect/reset before headers",
            )),
            "unknown",
        ),
        ("504", Ok(html(504, "<h1>Gateway Time-out</h1>")), "unknown"),
        (
            "no connection",
            Err(Trouble::NotConnected("the connection was refused")),
            "not processed",
        ),
        ("no permit", Err(Trouble::NoPermit), "not processed"),
        (
            "time-out",
            Err(Trouble::TimedOut(Duration::from_secs(20))),
            "unknown",
        ),
        ("reset", Err(Trouble::Broken), "unknown"),
        ("too long", Err(Trouble::TooLong), "unknown"),
    ];
    for (name, result, expected) in rows {
        let sent = sent(result);
        assert_eq!(word(&sent), expected, "{name}: {sent:?}");
    }
}

#[test]
fn a_refusal_shows_the_human_part_without_addresses() {
    let message = "Unable to trigger pipeline (application: a, pipelineNameOrId: b). Error: Status: 400, Method: POST, \
                   URL: http://orca.internal:8083/orchestrate, Message: Pipeline is disabled and cannot be started.";
    let Sent::Refused { status, message } = sent(Ok(json_answer(400, &spring(400, "x", message))))
    else {
        panic!("refused")
    };
    assert_eq!(status, 400);
    assert_eq!(message, "Pipeline is disabled and cannot be started.");
}

#[test]
fn gates_wish_to_wait_is_kept() {
    let busy = Answer {
        retry_after: Some(Duration::from_secs(7)),
        ..answer(429, "")
    };
    let Sent::NotProcessed { retry_after, .. } = sent(Ok(busy)) else {
        panic!("not processed")
    };
    assert_eq!(retry_after, Some(Duration::from_secs(7)));
}

#[test]
fn a_503_without_words_proves_nothing_of_a_start_but_its_wish_to_wait_is_kept() {
    let shed = Answer {
        retry_after: Some(Duration::from_secs(7)),
        ..answer(503, "")
    };
    let Sent::Unknown { error } = sent(Ok(shed)) else {
        panic!("unknown")
    };
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
}

#[test]
fn only_gates_own_words_with_our_id_are_absence() {
    let gone = |id: &str| {
        spring(
            404,
            "NotFoundException",
            &format!("Pipeline not found (id: {id})"),
        )
    };
    assert_eq!(
        lookup("01A", Ok(json_answer(404, &gone("01A")))),
        Lookup::Absent
    );
    for (name, answer) in [
        ("another id", json_answer(404, &gone("01AB"))),
        ("proxy", html(404, "Pipeline not found (id: 01A)")),
        (
            "proxy json",
            json_answer(404, &json!({"message": "Pipeline not found (id: 01A)"})),
        ),
        (
            "no route",
            json_answer(404, &spring(404, "x", "No static resource")),
        ),
        ("200 with the words", json_answer(200, &gone("01A"))),
        (
            "500 with the words",
            json_answer(500, &spring(500, "x", "Pipeline not found (id: 01A)")),
        ),
        ("empty", answer(200, "")),
        ("null", answer(200, "null")),
        ("page", html(200, "<html>")),
        ("204", answer(204, "")),
    ] {
        let lookup = lookup("01A", Ok(answer));
        assert!(matches!(lookup, Lookup::Unclear(_)), "{name}: {lookup:?}");
    }
}

#[test]
fn a_record_with_another_id_is_unclear() {
    let record = json!({"id": "01B", "application": "shop", "status": "RUNNING"});
    assert!(matches!(
        lookup("01A", Ok(json_answer(200, &record))),
        Lookup::Unclear(_)
    ));
    let Lookup::Found(found) = lookup("01B", Ok(json_answer(200, &record))) else {
        panic!("found")
    };
    assert_eq!(found.id, "01B");
}

#[test]
fn errors_have_their_reasons() {
    use crate::api::conditions::Reason;
    for (answer, reason) in [
        (answer(401, ""), Reason::LoginFailed),
        (redirect(302, "/login"), Reason::LoginFailed),
        (html(403, "no"), Reason::SpinnakerForbidden),
        (answer(429, ""), Reason::SpinnakerBusy),
        (
            json_answer(404, &spring(404, "x", "gone")),
            Reason::PipelineNotFound,
        ),
        (html(404, "gone"), Reason::SpinnakerUnclear),
        (html(502, "bad gateway"), Reason::GateUnreachable),
        (
            json_answer(
                500,
                &spring(500, "SpinnakerNetworkException", "Failed to connect to x"),
            ),
            Reason::GateUnreachable,
        ),
        (
            redirect(301, "https://x.example/"),
            Reason::SpinnakerUnclear,
        ),
    ] {
        assert_eq!(refusal(&answer).reason(), reason, "{answer:?}");
    }
}

proptest! {
    #[test]
    fn nothing_but_a_reference_is_acceptance(status in 100_u16..600, body in "\\PC{0,80}", kind in "(text/html|application/json)?") {
        let answer = Answer { status, content_type: kind, body: body.into_bytes(), ..Answer::default() };
        let is_accepted = matches!(sent(Ok(answer.clone())), Sent::Accepted { .. });
        prop_assert!(!is_accepted);
        prop_assert!(!matches!(lookup("01A", Ok(answer)), Lookup::Found(_) | Lookup::Absent));
    }
}

#[test]
fn each_answer_to_a_judgment_proves_no_more_than_it_can() {
    let execution = json!({"id": "01E", "application": "shop", "status": "RUNNING"});
    let other = json!({"id": "01F", "application": "shop", "status": "RUNNING"});
    let in_gates_words = |status| {
        Ok(json_answer(
            status,
            &spring(status, "NotFoundException", "no"),
        ))
    };
    let handed_on = spring(
        503,
        "SpinnakerHttpException",
        "Status: 503, URL: http://orca",
    );
    let unread = spring(500, "SpinnakerConversionException", "No content to map");
    let rows: Vec<(&str, Result<Answer, Trouble>, &str)> = vec![
        ("the execution", Ok(json_answer(200, &execution)), "done"),
        ("another", Ok(json_answer(200, &other)), "unknown"),
        ("200 empty", Ok(answer(200, "")), "unknown"),
        ("no connection", Err(Trouble::NotConnected("x")), "refused"),
        ("no permit", Err(Trouble::NoPermit), "refused"),
        (
            "too late",
            Err(Trouble::TimedOut(Duration::from_secs(1))),
            "unknown",
        ),
        ("reset", Err(Trouble::Broken), "unknown"),
        ("login", Ok(redirect(302, "/login")), "refused"),
        (
            "login page",
            Ok(html(200, "<input type=\"password\">")),
            "refused",
        ),
        ("401", Ok(answer(401, "")), "refused"),
        ("403", in_gates_words(403), "refused"),
        ("404", in_gates_words(404), "refused"),
        ("429", Ok(answer(429, "")), "refused"),
        ("503", in_gates_words(503), "refused"),
        ("503 handed on", Ok(json_answer(503, &handed_on)), "unknown"),
        ("no such stage", Ok(json_answer(500, &unread)), "unknown"),
        (
            "a proxy's 404",
            Ok(html(404, "<html>nothing here")),
            "unknown",
        ),
        ("a proxy's 504", Ok(answer(504, "")), "unknown"),
    ];
    for (name, result, expected) in rows {
        let word = match judged("01E", result) {
            Handed::Done => "done",
            Handed::Refused(_) => "refused",
            Handed::Unknown(_) => "unknown",
        };
        assert_eq!(word, expected, "{name}");
    }
}
