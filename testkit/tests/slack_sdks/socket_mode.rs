//! `slack_sdk`'s `SocketModeClient` and `@slack/socket-mode` hear everything, acknowledge it, and change sockets.

use std::time::Duration;

use foredeck_testkit::slack::{Goodbye, StandInSlack, Timing};
use serde_json::json;

use crate::{SOON, node, python};

/// Lets sockets that were told to go stay for long, so that a new one can only come of having been told.
fn keep_sockets_open(slack: &StandInSlack) {
    slack.set_timing(Timing {
        farewell: Duration::from_mins(5),
        ..Timing::default()
    });
}

#[tokio::test]
async fn the_official_socket_hears_everything_and_answers() {
    let slack = StandInSlack::start().await.unwrap();
    let Some(mut client) = python(&slack, "socket_mode.py").await else {
        return;
    };
    let hello = client.saw("hello", SOON).await.unwrap();
    assert_eq!(hello["message"]["num_connections"], 1);
    assert_eq!(
        hello["message"]["connection_info"]["app_id"],
        slack.app_id()
    );
    let alice = slack.user("alice");

    let command = alice
        .command("deploys", "/deploy checkout main to *staging* ünï")
        .unwrap();
    let seen = client.saw("slash_commands", SOON).await.unwrap();
    assert_eq!(seen["payload"]["text"], "checkout main to *staging* ünï");
    assert_eq!(seen["payload"]["command"], "/deploy");
    assert_eq!(seen["accepts_response_payload"], true);
    let blocks = json!([
        {"type": "section", "text": {"type": "plain_text", "text": "A plan"}},
        {"type": "actions", "block_id": "b", "elements": [
            {"type": "button", "action_id": "go", "value": "1", "text": {"type": "plain_text", "text": "Go"}}]},
    ]);
    let ack = json!({"envelope_id": seen["envelope_id"], "payload": {"text": "A plan", "blocks": blocks}});
    client.tell(&ack).await.unwrap();
    command.answered().await.unwrap();
    let plan = slack
        .until("the plan", SOON, |world| world.ephemerals("alice").pop())
        .await
        .unwrap();

    let click = alice.click(&plan, "go").unwrap();
    let seen = client.saw("interactive", SOON).await.unwrap();
    assert_eq!(seen["payload"]["type"], "block_actions");
    assert_eq!(seen["payload"]["actions"][0]["value"], "1");
    client
        .tell(&json!({"envelope_id": seen["envelope_id"]}))
        .await
        .unwrap();
    click.answered().await.unwrap();

    let mention = alice.mention("deploys", None, "what runs?").unwrap();
    let seen = client.saw("events_api", SOON).await.unwrap();
    assert_eq!(seen["payload"]["event"]["type"], "app_mention");
    assert_eq!(seen["retry_attempt"], 0);
    client
        .tell(&json!({"envelope_id": seen["envelope_id"]}))
        .await
        .unwrap();
    mention.answered().await.unwrap();

    assert_eq!(slack.violations(), Vec::<String>::new());
    client.end(SOON).await.unwrap();
}

#[tokio::test]
async fn the_official_socket_is_told_again_of_events_it_left_unanswered() {
    let slack = StandInSlack::start().await.unwrap();
    slack.set_timing(Timing {
        answer_deadline: Duration::from_millis(300),
        ..Timing::default()
    });
    let Some(mut client) = python(&slack, "socket_mode.py").await else {
        return;
    };
    client.saw("hello", SOON).await.unwrap();
    let mention = slack
        .user("alice")
        .mention("deploys", None, "hello?")
        .unwrap();
    let first = client.saw("events_api", SOON).await.unwrap();
    let second = client.saw("events_api", SOON).await.unwrap();
    assert_eq!(first["payload"]["event_id"], second["payload"]["event_id"]);
    assert_eq!(second["retry_attempt"], 1);
    assert_eq!(second["retry_reason"], "timeout");
    client
        .tell(&json!({"envelope_id": second["envelope_id"]}))
        .await
        .unwrap();
    mention.answered().await.unwrap();
}

#[tokio::test]
async fn the_official_socket_is_replaced_when_slack_says_so() {
    let slack = StandInSlack::start().await.unwrap();
    keep_sockets_open(&slack);
    let Some(mut client) = python(&slack, "socket_mode.py").await else {
        return;
    };
    client.saw("hello", SOON).await.unwrap();
    for reason in [Goodbye::Warning, Goodbye::RefreshRequested] {
        let [socket] = slack.connected(1, SOON).await.unwrap()[..] else {
            panic!("more sockets than one");
        };
        assert!(slack.say_goodbye(socket.id, reason));
        client.saw("hello", SOON).await.unwrap();
        let command = slack
            .user("bob")
            .command("deploys", "/deploy help")
            .unwrap();
        let seen = client.saw("slash_commands", SOON).await.unwrap();
        client
            .tell(&json!({"envelope_id": seen["envelope_id"]}))
            .await
            .unwrap();
        command.answered().await.unwrap();
    }
    // A connection that breaks off is replaced, too.
    let socket = slack.connected(1, SOON).await.unwrap()[0];
    assert!(slack.drop_socket(socket.id));
    client.saw("hello", SOON).await.unwrap();
    assert_eq!(slack.violations(), Vec::<String>::new());
    client.end(SOON).await.unwrap();
}

#[tokio::test]
async fn nodes_official_socket_hears_answers_and_is_replaced() {
    let slack = StandInSlack::start().await.unwrap();
    keep_sockets_open(&slack);
    let (url, token) = (slack.api_url(), slack.app_token());
    let Some(mut client) = node("socket_mode.cjs", &[&url, &token]).await else {
        return;
    };
    client.saw("connected", SOON).await.unwrap();
    for _ in 0..2 {
        let command = slack
            .user("bob")
            .command("deploys", "/deploy help")
            .unwrap();
        let seen = client.saw("slash_commands", SOON).await.unwrap();
        assert_eq!(seen["payload"]["text"], "help");
        let ack = json!({"envelope_id": seen["envelope_id"], "payload": {"text": "Here you are"}});
        client.tell(&ack).await.unwrap();
        command.answered().await.unwrap();
        let socket = slack.connected(1, SOON).await.unwrap()[0];
        assert!(slack.say_goodbye(socket.id, Goodbye::RefreshRequested));
        client.saw("connected", SOON).await.unwrap();
    }
    assert_eq!(slack.ephemerals("bob").len(), 2, "{}", slack.describe());
    assert_eq!(slack.violations(), Vec::<String>::new());
    client.end(SOON).await.unwrap();
}
