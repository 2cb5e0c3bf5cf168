//! Response URLs answer commands and clicks, five times within half an hour.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::bench::{Bench, with_button};

async fn post(bench: &Bench, url: &Value, body: Value) -> (StatusCode, String) {
    let request = bench
        .client
        .post(url.as_str().unwrap())
        .header("content-type", "application/json")
        .body(body.to_string());
    let response = request.send().await.unwrap();
    (response.status(), response.text().await.unwrap())
}

#[tokio::test]
async fn a_command_is_answered_to_one_or_to_all() {
    let bench = Bench::new().await;
    let delivery = bench
        .slack
        .user("alice")
        .command("deploys", "/deploy x")
        .unwrap();
    let url = &delivery.payload()["response_url"];
    let (status, body) = post(&bench, url, json!({"text": "planning"})).await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "ok"));
    assert_eq!(
        bench.slack.ephemerals("alice").last().unwrap().text,
        "planning"
    );
    post(
        &bench,
        url,
        json!({"text": "planned", "replace_original": true}),
    )
    .await;
    let mine: Vec<String> = bench
        .slack
        .ephemerals("alice")
        .into_iter()
        .filter(|message| !message.from_slackbot)
        .map(|message| message.text)
        .collect();
    assert_eq!(mine, ["planned"]);
    post(
        &bench,
        url,
        json!({"text": "all see", "response_type": "in_channel"}),
    )
    .await;
    assert_eq!(bench.slack.messages("deploys")[0].text(), "all see");
    let calls = bench.slack.calls_of("response_url");
    assert_eq!(calls.len(), 3);
    assert!(calls.iter().all(foredeck_testkit::slack::Call::is_ok));
}

#[tokio::test]
async fn a_response_url_is_good_for_five_uses_and_half_an_hour() {
    let bench = Bench::new().await;
    let alice = bench.slack.user("alice");
    let delivery = alice.command("deploys", "/deploy x").unwrap();
    let url = &delivery.payload()["response_url"];
    for number in 0..5 {
        assert_eq!(
            post(&bench, url, json!({"text": number.to_string()}))
                .await
                .0,
            StatusCode::OK
        );
    }
    let (status, body) = post(&bench, url, json!({"text": "6"})).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(body.contains("used_url"), "{body}");
    let delivery = alice.command("deploys", "/deploy x").unwrap();
    bench.slack.pass_time(Duration::from_mins(31));
    let (status, body) = post(
        &bench,
        &delivery.payload()["response_url"],
        json!({"text": "x"}),
    )
    .await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(body.contains("expired_url"), "{body}");
}

#[tokio::test]
async fn a_click_on_an_ephemeral_message_can_replace_and_remove_it() {
    let bench = Bench::new().await;
    let bob = bench.slack.user("bob");
    let mut arguments = with_button(&bench.channel("deploys"));
    arguments["user"] = json!(bob.id());
    bench.call("chat.postEphemeral", arguments).await;
    let shown = bench.slack.ephemerals("bob")[0].clone();
    let delivery = bob.click(&shown, "deploy").unwrap();
    let url = &delivery.payload()["response_url"];
    post(
        &bench,
        url,
        json!({"text": "started", "replace_original": true}),
    )
    .await;
    let now = bench.slack.ephemerals("bob");
    assert_eq!(
        (now.len(), now[0].text.as_str(), now[0].blocks.len()),
        (1, "started", 0)
    );
    assert_eq!(now[0].ts, shown.ts);
    post(&bench, url, json!({"delete_original": true})).await;
    assert!(bench.slack.ephemerals("bob").is_empty());
}

#[tokio::test]
async fn a_click_on_a_message_answers_beside_it_unless_told_otherwise() {
    let bench = Bench::new().await;
    bench
        .call("chat.postMessage", with_button(&bench.channel("deploys")))
        .await;
    let message = bench.slack.messages("deploys")[0].clone();
    let delivery = bench.slack.user("bob").click(&message, "deploy").unwrap();
    let url = &delivery.payload()["response_url"];
    post(
        &bench,
        url,
        json!({"text": "too late", "response_type": "ephemeral"}),
    )
    .await;
    assert_eq!(bench.slack.ephemerals("bob")[0].text, "too late");
    assert_eq!(bench.slack.messages("deploys")[0].text(), message.text());
    post(
        &bench,
        url,
        json!({"text": "done", "replace_original": true}),
    )
    .await;
    assert_eq!(bench.slack.messages("deploys")[0].text(), "done");
}

#[tokio::test]
async fn what_a_response_url_cannot_show_is_refused() {
    let bench = Bench::new().await;
    let delivery = bench
        .slack
        .user("alice")
        .command("deploys", "/deploy x")
        .unwrap();
    let url = &delivery.payload()["response_url"];
    assert!(post(&bench, url, json!({})).await.1.contains("no_text"));
    assert!(
        post(&bench, url, json!([]))
            .await
            .1
            .contains("invalid_payload")
    );
    let blocks = json!({"text": "x", "blocks": [{"type": "banner"}]});
    assert!(post(&bench, url, blocks).await.1.contains("invalid_blocks"));
    let forged = json!(format!("{}/commands/T0/1/2", bench.slack.url()));
    assert!(
        post(&bench, &forged, json!({"text": "x"}))
            .await
            .1
            .contains("invalid_url")
    );
}
