//! Socket Mode: hello, envelopes, acknowledgements, farewells, and what happens without them.

use std::time::Duration;

use foredeck_testkit::slack::{Failure, Goodbye, Kind, Timing};
use futures::StreamExt;
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

use crate::bench::{Bench, PATIENCE};

fn quick() -> Timing {
    Timing {
        answer_deadline: Duration::from_secs(1),
        event_retries: vec![
            Duration::ZERO,
            Duration::from_millis(20),
            Duration::from_millis(20),
        ],
        ping: Duration::from_millis(30),
        farewell: Duration::from_millis(100),
        ..Timing::default()
    }
}

#[tokio::test]
async fn a_ticket_opens_one_socket_that_says_hello() {
    let bench = Bench::new().await;
    let answer = bench.socket_address().await;
    let url = answer["url"].as_str().unwrap();
    let host = url
        .strip_prefix("ws://")
        .unwrap()
        .split('/')
        .next()
        .unwrap();
    let dial = async || {
        let stream = TcpStream::connect(host).await.unwrap();
        client_async(url, stream).await
    };
    let (mut socket, _) = dial().await.unwrap();
    let hello = socket.next().await.unwrap().unwrap().into_text().unwrap();
    let hello: serde_json::Value = serde_json::from_str(hello.as_str()).unwrap();
    assert_eq!(hello["type"], "hello");
    assert_eq!(hello["num_connections"], 1);
    assert_eq!(hello["connection_info"]["app_id"], bench.slack.app_id());
    assert!(hello["debug_info"]["approximate_connection_time"].is_number());
    assert!(dial().await.is_err(), "a ticket must not work twice");
    assert_eq!(bench.connect().await.hello["num_connections"], 2);
}

#[tokio::test]
async fn a_command_comes_in_an_envelope_and_its_ack_is_the_reply() {
    let bench = Bench::new().await;
    let mut app = bench.connect().await;
    let delivery = bench
        .slack
        .user("alice")
        .command("deploys", "/deploy checkout")
        .unwrap();
    let envelope = app.next().await;
    assert_eq!(envelope["type"], "slash_commands");
    assert_eq!(envelope["accepts_response_payload"], true);
    assert_eq!(envelope["payload"], *delivery.payload());
    app.answer(
        &envelope,
        json!({"text": "on it", "response_type": "ephemeral"}),
    )
    .await;
    let answer = delivery.answered().await.unwrap();
    assert_eq!(answer.body.unwrap()["text"], "on it");
    assert_eq!(bench.slack.ephemerals("alice")[0].text, "on it");
    assert_eq!(bench.slack.sockets()[0].acked, 1);
    let delivery = bench
        .slack
        .user("alice")
        .command("deploys", "/deploy x")
        .unwrap();
    let envelope = app.next().await;
    app.answer(
        &envelope,
        json!({"text": "all see", "response_type": "in_channel"}),
    )
    .await;
    delivery.answered().await.unwrap();
    assert_eq!(bench.slack.messages("deploys")[0].text(), "all see");
}

#[tokio::test]
async fn each_envelope_goes_to_one_socket_in_turn() {
    let bench = Bench::new().await;
    let (mut first, mut second) = (bench.connect().await, bench.connect().await);
    let alice = bench.slack.user("alice");
    let one = alice.command("deploys", "/deploy a").unwrap();
    let two = alice.command("deploys", "/deploy b").unwrap();
    let (left, right) = (first.next().await, second.next().await);
    first.ack(&left).await;
    second.ack(&right).await;
    one.answered().await.unwrap();
    two.answered().await.unwrap();
    assert_ne!(one.attempts()[0].socket, two.attempts()[0].socket);
    assert!(bench.slack.violations().is_empty());
}

#[tokio::test]
async fn a_command_nobody_acknowledges_times_out_before_the_persons_eyes() {
    let bench = Bench::new().await;
    bench.slack.set_timing(quick());
    let mut app = bench.connect().await;
    let delivery = bench
        .slack
        .user("alice")
        .command("deploys", "/deploy x")
        .unwrap();
    let envelope = app.next().await;
    assert_eq!(
        delivery.ended().await.unwrap(),
        Err(Failure::OperationTimeout)
    );
    assert_eq!(delivery.shown_failure(), Some("operation_timeout"));
    let shown = &bench.slack.ephemerals("alice")[0];
    assert!(
        shown.from_slackbot && shown.text.contains("operation_timeout"),
        "{shown:?}"
    );
    assert_eq!(
        delivery.attempts().len(),
        1,
        "commands are not delivered again"
    );
    // Too late: nobody sees it, but it is known.
    app.answer(&envelope, json!({"text": "on it"})).await;
    let late = bench.slack.until("the late ack", PATIENCE, |_| {
        delivery.attempts()[0].late.clone()
    });
    assert!(late.await.is_ok());
    assert_eq!(bench.slack.ephemerals("alice").len(), 1);
}

#[tokio::test]
async fn without_a_socket_a_command_fails_at_once() {
    let bench = Bench::new().await;
    let delivery = bench
        .slack
        .user("alice")
        .command("deploys", "/deploy x")
        .unwrap();
    assert_eq!(
        delivery.ended().await.unwrap(),
        Err(Failure::DispatchFailed)
    );
}

#[tokio::test]
async fn an_event_is_delivered_again_until_it_is_acknowledged() {
    let bench = Bench::new().await;
    bench.slack.set_timing(quick());
    let mut app = bench.connect().await;
    let delivery = bench
        .slack
        .user("alice")
        .mention("deploys", None, "status")
        .unwrap();
    let first = app.next().await;
    assert_eq!(
        (&first["retry_attempt"], &first["retry_reason"]),
        (&json!(0), &json!(""))
    );
    let second = app.next().await;
    assert_eq!(
        (&second["retry_attempt"], &second["retry_reason"]),
        (&json!(1), &json!("timeout"))
    );
    assert_ne!(first["envelope_id"], second["envelope_id"]);
    assert_eq!(
        first["payload"], second["payload"],
        "the event_id must stay"
    );
    app.ack(&second).await;
    assert!(delivery.answered().await.is_ok());
    assert_eq!(delivery.attempts().len(), 2);
}

#[tokio::test]
async fn an_event_is_given_up_after_three_retries_and_can_be_sent_once_more() {
    let bench = Bench::new().await;
    bench.slack.set_timing(Timing {
        answer_deadline: Duration::from_millis(20),
        ..quick()
    });
    let mut app = bench.connect().await;
    let delivery = bench.slack.user("alice").direct_message("help").unwrap();
    assert_eq!(
        delivery.ended().await.unwrap(),
        Err(Failure::OperationTimeout)
    );
    assert_eq!(delivery.attempts().len(), 4);
    for _ in 0..4 {
        app.next().await;
    }
    bench.slack.set_timing(Timing::default());
    let again = bench.slack.redeliver(&delivery);
    let envelope = app.next().await;
    assert_eq!(
        envelope["payload"]["event_id"],
        delivery.payload()["event_id"]
    );
    app.ack(&envelope).await;
    assert!(again.answered().await.is_ok());
}

#[tokio::test]
async fn commands_and_clicks_can_be_delivered_twice_with_the_same_identity() {
    let bench = Bench::new().await;
    let mut app = bench.connect().await;
    let delivery = bench
        .slack
        .user("alice")
        .command("deploys", "/deploy x")
        .unwrap();
    let first = app.next().await;
    app.ack(&first).await;
    let again = bench.slack.redeliver(&delivery);
    let second = app.next().await;
    assert_eq!(
        first["payload"]["trigger_id"],
        second["payload"]["trigger_id"]
    );
    app.ack(&second).await;
    assert!(again.answered().await.is_ok());
}

#[tokio::test]
async fn a_socket_that_is_told_to_go_gets_no_more_work_and_is_closed() {
    let bench = Bench::new().await;
    bench.slack.set_timing(quick());
    let mut old = bench.connect().await;
    let mut new = bench.connect().await;
    let id = bench.slack.sockets()[0].id;
    assert!(bench.slack.say_goodbye(id, Goodbye::RefreshRequested));
    let goodbye = old.next().await;
    assert_eq!(
        (&goodbye["type"], &goodbye["reason"]),
        (&json!("disconnect"), &json!("refresh_requested"))
    );
    for _ in 0..2 {
        let delivery = bench
            .slack
            .user("bob")
            .command("deploys", "/deploy x")
            .unwrap();
        let envelope = new.next().await;
        new.ack(&envelope).await;
        delivery.answered().await.unwrap();
    }
    assert_eq!(old.try_next().await, None);
    let left = bench.slack.until("one socket", PATIENCE, |_| {
        (bench.slack.sockets().len() == 1).then_some(())
    });
    left.await.unwrap();
}

#[tokio::test]
async fn each_reason_of_a_farewell_is_said_by_its_name() {
    let bench = Bench::new().await;
    for (reason, word) in [
        (Goodbye::Warning, "warning"),
        (Goodbye::LinkDisabled, "link_disabled"),
    ] {
        let mut app = bench.connect().await;
        let id = bench.slack.sockets().last().unwrap().id;
        bench.slack.say_goodbye(id, reason);
        assert_eq!(app.next().await["reason"], word);
    }
}

#[tokio::test]
async fn the_eleventh_socket_is_one_too_many() {
    let bench = Bench::new().await;
    let mut open = Vec::new();
    for _ in 0..10 {
        open.push(bench.connect().await);
    }
    let mut eleventh = bench.dial().await;
    let goodbye = eleventh.next().await;
    assert_eq!(goodbye["reason"], "too_many_websockets");
    assert_eq!(eleventh.try_next().await, None);
    assert_eq!(bench.slack.sockets().len(), 10);
}

#[tokio::test]
async fn a_silent_socket_swallows_what_it_is_given() {
    let bench = Bench::new().await;
    bench.slack.set_timing(quick());
    let mut app = bench.connect().await;
    let id = bench.slack.sockets()[0].id;
    let ping = app.socket.next().await.unwrap().unwrap();
    assert!(matches!(ping, Message::Ping(_)), "{ping:?}");
    assert!(bench.slack.silence_socket(id));
    let delivery = bench
        .slack
        .user("bob")
        .command("deploys", "/deploy x")
        .unwrap();
    assert_eq!(
        delivery.ended().await.unwrap(),
        Err(Failure::OperationTimeout)
    );
    assert_eq!(delivery.attempts()[0].socket, Some(id));
    // Only a reset ends it.
    assert!(bench.slack.drop_socket(id));
    assert_eq!(app.try_next().await, None);
}

#[tokio::test]
async fn what_is_wrong_with_an_ack_is_noted() {
    let bench = Bench::new().await;
    let mut app = bench.connect().await;
    let delivery = bench
        .slack
        .user("alice")
        .mention("deploys", None, "hello")
        .unwrap();
    let envelope = app.next().await;
    app.answer(&envelope, json!({"text": "nobody reads this"}))
        .await;
    assert_eq!(delivery.answered().await.unwrap().body, None);
    app.ack(&envelope).await;
    let violations = bench.slack.until("two complaints", PATIENCE, |world| {
        (world.violations().len() == 2).then(|| world.violations().to_vec())
    });
    let violations = violations.await.unwrap();
    assert!(
        violations[0].contains("carries a payload"),
        "{violations:?}"
    );
    assert!(violations[1].contains("unknown envelope"), "{violations:?}");
}

#[tokio::test]
async fn an_app_that_is_cut_off_in_mid_delivery_is_told_again_on_its_next_socket() {
    let bench = Bench::new().await;
    bench.slack.set_timing(quick());
    let mut app = bench.connect().await;
    let delivery = bench
        .slack
        .send_event(&json!({"type": "user_change", "user": {"id": "U1"}}));
    assert_eq!(delivery.kind(), Kind::Event);
    app.next().await;
    bench.slack.drop_socket(bench.slack.sockets()[0].id);
    assert_eq!(app.try_next().await, None);
    let mut app = bench.connect().await;
    let envelope = app.next().await;
    app.ack(&envelope).await;
    assert!(delivery.answered().await.is_ok());
}

#[tokio::test]
async fn an_ack_on_another_socket_counts_for_nothing() {
    let bench = Bench::new().await;
    bench.slack.set_timing(quick());
    let (mut first, mut second) = (bench.connect().await, bench.connect().await);
    let delivery = bench
        .slack
        .user("alice")
        .command("deploys", "/deploy x")
        .unwrap();
    let envelope = first.next().await;
    second.ack(&envelope).await;
    assert_eq!(
        delivery.ended().await.unwrap(),
        Err(Failure::OperationTimeout)
    );
    let violations = bench.slack.violations();
    assert!(violations[0].contains("another socket"), "{violations:?}");
}
