//! Faults befall the calls they are meant for, and the rate limits are Slack's.

use std::time::{Duration, Instant};

use foredeck_testkit::slack::{Effect, Fault};
use serde_json::json;

use crate::bench::Bench;

fn hello(bench: &Bench) -> serde_json::Value {
    json!({"channel": bench.channel("deploys"), "text": "hello"})
}

#[tokio::test]
async fn a_rate_limited_call_has_no_effect_and_says_when_to_come_back() {
    let bench = Bench::new().await;
    bench
        .slack
        .inject(Fault::on("chat.postMessage", Effect::RateLimited(7)));
    let response = bench
        .send("chat.postMessage", &hello(&bench))
        .await
        .unwrap();
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "7");
    let answer: serde_json::Value = response.json().await.unwrap();
    assert_eq!(answer["error"], "ratelimited");
    assert!(bench.slack.messages("deploys").is_empty());
    assert_eq!(
        bench.call("chat.postMessage", hello(&bench)).await["ok"],
        true
    );
    assert_eq!(bench.slack.calls()[0].status, Some(429));
}

#[tokio::test]
async fn a_lost_answer_comes_after_the_effect() {
    let bench = Bench::new().await;
    bench
        .slack
        .inject(Fault::on("chat.postMessage", Effect::LoseAnswer));
    assert!(
        bench
            .send("chat.postMessage", &hello(&bench))
            .await
            .is_err()
    );
    assert_eq!(bench.slack.messages("deploys").len(), 1);
    bench
        .slack
        .inject(Fault::on("chat.postMessage", Effect::ResetBefore));
    assert!(
        bench
            .send("chat.postMessage", &hello(&bench))
            .await
            .is_err()
    );
    assert_eq!(bench.slack.messages("deploys").len(), 1);
    bench
        .slack
        .inject(Fault::on("chat.postMessage", Effect::InternalErrorAfter));
    let answer = bench.call("chat.postMessage", hello(&bench)).await;
    assert_eq!(answer["error"], "internal_error");
    assert_eq!(bench.slack.messages("deploys").len(), 2);
}

#[tokio::test]
async fn errors_and_statuses_are_given_as_they_are_named() {
    let bench = Bench::new().await;
    bench.slack.inject(Fault::anywhere(Effect::Status(503)));
    let response = bench.send("auth.test", &json!({})).await.unwrap();
    assert_eq!(response.status(), 503);
    assert!(response.json::<serde_json::Value>().await.is_err());
    let fault = Fault::on(
        "apps.connections.open",
        Effect::Error("invalid_auth".to_owned()),
    );
    bench.slack.inject(fault.permanently());
    for _ in 0..2 {
        assert_eq!(bench.socket_address().await["error"], "invalid_auth");
    }
    bench.slack.clear_faults();
    assert_eq!(bench.socket_address().await["ok"], true);
}

#[tokio::test]
async fn a_fault_waits_for_its_call_and_its_turn() {
    let bench = Bench::new().await;
    let channel = bench.channel("general");
    let fault = Fault::on(
        "chat.postMessage",
        Effect::Error("restricted_action".to_owned()),
    );
    bench
        .slack
        .inject(fault.with("channel", &channel).skipping(1).times(2));
    let mut errors = Vec::new();
    for _ in 0..4 {
        assert_eq!(
            bench.call("chat.postMessage", hello(&bench)).await["ok"],
            true
        );
        let there = json!({"channel": channel, "text": "x"});
        errors.push(bench.call("chat.postMessage", there).await["error"].is_string());
    }
    assert_eq!(errors, [false, true, true, false]);
    assert_eq!(bench.slack.pending_faults(), 0);
}

#[tokio::test]
async fn a_slow_answer_is_slow() {
    let bench = Bench::new().await;
    let pause = Duration::from_millis(150);
    for effect in [Effect::SlowAnswer(pause), Effect::SlowStart(pause)] {
        bench.slack.inject(Fault::on("chat.postMessage", effect));
        let start = Instant::now();
        assert_eq!(
            bench.call("chat.postMessage", hello(&bench)).await["ok"],
            true
        );
        assert!(start.elapsed() >= pause);
    }
}

#[tokio::test]
async fn posts_to_one_channel_come_about_once_a_second() {
    let bench = Bench::new().await;
    bench.slack.enforce_rate_limits(true);
    let mut refused = 0;
    for _ in 0..10 {
        let response = bench
            .send("chat.postMessage", &hello(&bench))
            .await
            .unwrap();
        refused += usize::from(response.status() == 429);
    }
    assert!(
        refused >= 5,
        "{refused} of 10 posts within a moment were refused"
    );
    assert_eq!(
        bench.slack.rate_limit_violations()["chat.postMessage"],
        refused
    );
    // Another channel has a budget of its own, and time heals.
    let other = json!({"channel": bench.channel("general"), "text": "x"});
    assert_eq!(bench.call("chat.postMessage", other).await["ok"], true);
    bench.slack.pass_time(Duration::from_secs(10));
    assert_eq!(
        bench.call("chat.postMessage", hello(&bench)).await["ok"],
        true
    );
}

#[tokio::test]
async fn updates_have_fifty_a_minute() {
    let bench = Bench::new().await;
    let ts = bench.post("deploys", "hello").await;
    bench.slack.enforce_rate_limits(true);
    let update = json!({"channel": bench.channel("deploys"), "ts": ts, "text": "x"});
    for _ in 0..50 {
        assert_eq!(bench.call("chat.update", update.clone()).await["ok"], true);
    }
    let response = bench.send("chat.update", &update).await.unwrap();
    assert_eq!(response.status(), 429);
    let seconds: u64 = response.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    bench.slack.pass_time(Duration::from_secs(seconds));
    assert_eq!(bench.call("chat.update", update).await["ok"], true);
}
