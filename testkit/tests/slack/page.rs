//! The page shows one person's screen, does what that person does, and runs nothing but its own script.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::bench::{Bench, with_button};

async fn act(bench: &Bench, action: Value) -> (StatusCode, Value) {
    let request = bench
        .client
        .post(format!("{}/page/act", bench.slack.url()))
        .header("content-type", "application/json")
        .body(action.to_string());
    let response = request.send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}

async fn state(bench: &Bench, query: &str) -> Value {
    let url = format!("{}/page/state?{query}", bench.slack.url());
    bench
        .client
        .get(url)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap()
}

fn messages(state: &Value, channel: &str) -> Vec<Value> {
    let channels = state["channels"].as_array().unwrap();
    let found = channels.iter().find(|one| one["id"] == channel).unwrap();
    found["messages"].as_array().unwrap().clone()
}

#[tokio::test]
async fn the_page_is_whole_and_lets_nothing_foreign_run() {
    let bench = Bench::new().await;
    let response = bench.client.get(bench.slack.url()).send().await.unwrap();
    let policy = response.headers()["content-security-policy"]
        .to_str()
        .unwrap()
        .to_owned();
    let page = response.text().await.unwrap();
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    let (_, rest) = policy.split_once("'nonce-").unwrap();
    let (nonce, _) = rest.split_once('\'').unwrap();
    assert!(page.contains(&format!("<script nonce=\"{nonce}\">")));
    assert!(!page.contains("{{"), "a placeholder is left");
    for foreign in ["src=", "href=\"http", "@import", "url("] {
        assert!(!page.contains(foreign), "{foreign} loads something");
    }
    for danger in [
        "innerHTML =",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
    ] {
        assert!(
            !page.contains(danger),
            "{danger} would run what people wrote"
        );
    }
    let again = bench
        .client
        .get(bench.slack.url())
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(!again.contains(nonce), "a nonce must not be used twice");
}

#[tokio::test]
async fn each_person_sees_an_own_screen() {
    let bench = Bench::new().await;
    let channel = bench.channel("deploys");
    bench.slack.add_channel(
        "secret",
        foredeck_testkit::slack::ChannelKind::Private,
        &["bob"],
    );
    let bob = bench.slack.user("bob");
    let arguments = json!({"channel": channel, "user": bob.id(), "text": "only you"});
    bench.call("chat.postEphemeral", arguments).await;
    let (alice, bob) = (
        state(&bench, "user=alice").await,
        state(&bench, "user=bob").await,
    );
    assert!(messages(&alice, &channel).is_empty());
    assert_eq!(messages(&bob, &channel)[0]["ephemeral"], true);
    assert_eq!(
        alice["channels"].as_array().unwrap().len() + 1,
        bob["channels"].as_array().unwrap().len()
    );
    assert_eq!(
        state(&bench, "user=nobody").await["error"],
        "No such person."
    );
}

#[tokio::test]
async fn news_come_as_soon_as_there_are_some() {
    let bench = Bench::new().await;
    let seen = state(&bench, "user=alice").await["count"].as_u64().unwrap();
    let query = format!("user=alice&seen={seen}");
    let waiting = state(&bench, &query);
    let (news, _) = tokio::join!(waiting, bench.post("deploys", "hello"));
    assert_eq!(
        messages(&news, &bench.channel("deploys"))[0]["text"],
        "hello"
    );
}

#[tokio::test]
async fn what_is_typed_is_a_command_a_mention_or_plain_words() {
    let bench = Bench::new().await;
    let mut app = bench.connect().await;
    let channel = bench.channel("deploys");
    let send =
        |text: &str| json!({"user": "alice", "kind": "send", "channel": channel, "text": text});
    assert_eq!(
        act(&bench, send("/deploy checkout")).await.0,
        StatusCode::OK
    );
    let envelope = app.next().await;
    assert_eq!(envelope["payload"]["text"], "checkout");
    app.ack(&envelope).await;
    act(&bench, send("@foredeck status")).await;
    let envelope = app.next().await;
    assert_eq!(envelope["payload"]["event"]["type"], "app_mention");
    app.ack(&envelope).await;
    act(&bench, send("<b>hello</b>")).await;
    assert_eq!(
        bench.slack.messages("deploys")[1].text(),
        "&lt;b&gt;hello&lt;/b&gt;"
    );
    let (status, answer) = act(&bench, send("/unknown")).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer["error"], "/unknown is not a valid command.");
    let mut in_thread = send("/deploy x");
    in_thread["thread_ts"] = json!(bench.slack.messages("deploys")[0].ts);
    assert_eq!(
        act(&bench, in_thread).await.0,
        StatusCode::UNPROCESSABLE_ENTITY
    );
}

#[tokio::test]
async fn buttons_and_forms_are_worked_from_the_page() {
    let bench = Bench::new().await;
    let mut app = bench.connect().await;
    let channel = bench.channel("deploys");
    let posted = bench.call("chat.postMessage", with_button(&channel)).await;
    let click = json!({"user": "bob", "kind": "click", "channel": channel, "ts": posted["ts"],
        "block_id": "decision", "action_id": "deploy"});
    let plain = |text: &str| json!({"type": "plain_text", "text": text});
    let view = json!({"type": "modal", "title": plain("Deploy"), "submit": plain("Go"), "blocks": [
        {"type": "input", "block_id": "v", "label": plain("Version"),
         "element": {"type": "plain_text_input", "action_id": "v"}}]});
    let app_side = async {
        let envelope = app.next().await;
        let trigger = &envelope["payload"]["trigger_id"];
        bench
            .call("views.open", json!({"trigger_id": trigger, "view": view}))
            .await;
        app.ack(&envelope).await;
    };
    let ((status, _), ()) = tokio::join!(act(&bench, click), app_side);
    assert_eq!(status, StatusCode::OK);
    let shown = state(&bench, "user=bob").await["modals"][0].clone();
    let fill = json!({"user": "bob", "kind": "fill", "view": shown["id"], "block_id": "v",
        "action_id": "v", "text": "v42"});
    assert_eq!(act(&bench, fill).await.0, StatusCode::OK);
    let submit = json!({"user": "bob", "kind": "submit", "view": shown["id"]});
    let app_side = async {
        let envelope = app.next().await;
        app.ack(&envelope).await;
        envelope
    };
    let ((status, _), envelope) = tokio::join!(act(&bench, submit), app_side);
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        envelope["payload"]["view"]["state"]["values"]["v"]["v"]["value"],
        "v42"
    );
    let closed = bench
        .slack
        .until("no view", Duration::from_secs(10), |world| {
            world.modal("bob").is_none().then_some(())
        });
    closed.await.unwrap();
}

#[tokio::test]
async fn a_click_that_reaches_nobody_says_so() {
    let bench = Bench::new().await;
    let channel = bench.channel("deploys");
    let posted = bench.call("chat.postMessage", with_button(&channel)).await;
    let click = json!({"user": "bob", "kind": "click", "channel": channel, "ts": posted["ts"],
        "block_id": "decision", "action_id": "deploy"});
    let (status, answer) = act(&bench, click).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        answer["error"]
            .as_str()
            .unwrap()
            .contains("did not respond"),
        "{answer}"
    );
}

#[tokio::test]
async fn another_site_cannot_act() {
    let bench = Bench::new().await;
    let action = json!({"user": "alice", "kind": "reload"}).to_string();
    let post = |kind: &str, site: &str| {
        let request = bench.client.post(format!("{}/page/act", bench.slack.url()));
        request
            .header("content-type", kind.to_owned())
            .header("sec-fetch-site", site.to_owned())
            .body(action.clone())
    };
    let status = async |request: reqwest::RequestBuilder| request.send().await.unwrap().status();
    assert_eq!(
        status(post("application/json", "cross-site")).await,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        status(post("text/plain", "same-origin")).await,
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
    assert_eq!(
        status(post("application/json", "same-origin")).await,
        StatusCode::OK
    );
}
