//! What people do reaches the app as Slack tells it.

use std::time::Duration;

use foredeck_testkit::slack::{ChannelKind, SlashCommand, User};
use serde_json::{Value, json};

use crate::bench::{Bench, with_button};

#[tokio::test]
async fn a_command_carries_who_where_and_what() {
    let bench = Bench::new().await;
    let alice = bench.slack.user("alice");
    let line = "/deploy checkout main to staging for @bob";
    let delivery = alice.command("deploys", line).unwrap();
    let payload = delivery.payload();
    let bob = bench.slack.user("bob").id().to_owned();
    assert_eq!(payload["command"], "/deploy");
    assert_eq!(
        payload["text"],
        format!("checkout main to staging for <@{bob}|bob>")
    );
    assert_eq!(payload["user_id"], alice.id());
    assert_eq!(payload["channel_id"], bench.channel("deploys"));
    assert_eq!(payload["channel_name"], "deploys");
    assert_eq!(payload["team_id"], bench.slack.team_id());
    assert_eq!(payload["is_enterprise_install"], "false");
    let response_url = payload["response_url"].as_str().unwrap();
    assert!(response_url.starts_with(&format!("{}/commands/", bench.slack.url())));
    let parts: Vec<&str> = payload["trigger_id"].as_str().unwrap().split('.').collect();
    assert_eq!(parts.len(), 3);

    bench.slack.change_app(|app| {
        app.commands.push(SlashCommand {
            name: "/raw".to_owned(),
            should_escape: false,
        });
    });
    let delivery = alice
        .command("deploys", "/raw <&> @bob https://x.example")
        .unwrap();
    assert_eq!(delivery.payload()["text"], "<&> @bob https://x.example");
}

#[tokio::test]
async fn a_command_in_private_places_does_not_tell_their_names() {
    let bench = Bench::new().await;
    bench
        .slack
        .add_channel("secret", ChannelKind::Private, &["alice"]);
    let alice = bench.slack.user("alice");
    let name = |channel: &str| {
        let delivery = alice.command(channel, "/deploy").unwrap();
        delivery.payload()["channel_name"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(name("secret"), "privategroup");
    alice.direct_message("hello").unwrap();
    let direct = bench
        .slack
        .world(|world| world.direct_channel("alice").unwrap().id.clone());
    assert_eq!(name(&direct), "directmessage");
}

#[tokio::test]
async fn what_slack_does_not_allow_does_not_reach_the_app() {
    let bench = Bench::new().await;
    bench
        .slack
        .add_channel("elsewhere", ChannelKind::Public, &["bob"]);
    let alice = bench.slack.user("alice");
    assert!(alice.command("elsewhere", "/deploy").is_err());
    assert!(alice.command("deploys", "/unknown").is_err());
    assert!(alice.command("nowhere", "/deploy").is_err());
    assert!(
        bench
            .slack
            .user("bob")
            .mention("elsewhere", None, "hi")
            .is_err()
    );
    bench.slack.change_user("alice", |user| user.deleted = true);
    assert!(alice.command("deploys", "/deploy").is_err());
    bench
        .slack
        .change_channel("deploys", |channel| channel.archived = true);
    assert!(
        bench
            .slack
            .user("bob")
            .command("deploys", "/deploy")
            .is_err()
    );
    assert!(bench.slack.deliveries().is_empty());
}

#[tokio::test]
async fn a_mention_is_an_event_with_rich_text() {
    let bench = Bench::new().await;
    let parent = bench
        .slack
        .user("bob")
        .say("deploys", None, "who deploys?")
        .unwrap();
    assert!(parent.delivery.is_none(), "the app does not hear channels");
    let text = "deploy ```\napplication: checkout\n```";
    let delivery = bench
        .slack
        .user("alice")
        .mention("deploys", Some(&parent.message.ts), text)
        .unwrap();
    let payload = delivery.payload();
    assert_eq!(payload["type"], "event_callback");
    assert!(payload["event_id"].as_str().unwrap().starts_with("Ev"));
    assert_eq!(
        payload["authorizations"][0]["user_id"],
        bench.slack.bot_user_id()
    );
    let event = &payload["event"];
    assert_eq!(event["type"], "app_mention");
    assert_eq!(event["thread_ts"], parent.message.ts);
    assert_eq!(event["channel"], bench.channel("deploys"));
    let bot = bench.slack.bot_user_id();
    assert_eq!(
        event["text"],
        format!("<@{bot}> deploy ```application: checkout```")
    );
    let elements = &event["blocks"][0]["elements"];
    assert_eq!(
        elements[0]["elements"][0],
        json!({"type": "user", "user_id": bot})
    );
    assert_eq!(elements[1]["type"], "rich_text_preformatted");
    assert_eq!(elements[1]["elements"][0]["text"], "application: checkout");
}

#[tokio::test]
async fn a_direct_message_is_an_event_and_so_is_the_apps_own_answer() {
    let bench = Bench::new().await;
    let delivery = bench.slack.user("alice").direct_message("help").unwrap();
    let event = &delivery.payload()["event"];
    assert_eq!(
        (&event["type"], &event["channel_type"]),
        (&json!("message"), &json!("im"))
    );
    assert_eq!(event["text"], "help");
    assert!(event.get("bot_id").is_none());
    let arguments = json!({"channel": event["channel"], "text": "Here is how."});
    bench.call("chat.postMessage", arguments).await;
    let echo = bench.slack.deliveries().pop().unwrap();
    assert_eq!(echo.payload()["event"]["user"], bench.slack.bot_user_id());
    assert!(echo.payload()["event"]["bot_id"].is_string());
}

#[tokio::test]
async fn an_edited_and_a_deleted_direct_message_come_as_subtypes() {
    let bench = Bench::new().await;
    let alice = bench.slack.user("alice");
    alice.direct_message("helo").unwrap();
    let message = bench.slack.direct_messages("alice")[0].clone();
    alice.edit_message(&message, "hello").unwrap();
    alice.delete_message(&message).unwrap();
    let subtypes: Vec<Value> = bench
        .slack
        .deliveries()
        .iter()
        .map(|delivery| delivery.payload()["event"]["subtype"].clone())
        .collect();
    assert_eq!(
        subtypes,
        [
            json!(null),
            json!("message_changed"),
            json!("message_deleted")
        ]
    );
}

#[tokio::test]
async fn a_click_carries_its_message_and_what_was_chosen_there() {
    let bench = Bench::new().await;
    let mut post = with_button(&bench.channel("deploys"));
    post["blocks"].as_array_mut().unwrap().push(json!({
        "type": "actions", "block_id": "where", "elements": [{
            "type": "static_select", "action_id": "environment", "options": [
                {"text": {"type": "plain_text", "text": "Staging"}, "value": "staging"},
                {"text": {"type": "plain_text", "text": "Production"}, "value": "production"},
            ],
        }],
    }));
    bench.call("chat.postMessage", post).await;
    let message = &bench.slack.messages("deploys")[0];
    let bob = bench.slack.user("bob");
    let chosen = bob
        .select(message, "environment", "staging")
        .unwrap()
        .unwrap();
    let action = &chosen.payload()["actions"][0];
    assert_eq!(action["type"], "static_select");
    assert_eq!(action["selected_option"]["value"], "staging");
    assert!(bob.select(message, "environment", "moon").is_err());

    let delivery = bob.click(message, "deploy").unwrap();
    let payload = delivery.payload();
    assert_eq!(payload["type"], "block_actions");
    assert_eq!(payload["user"]["id"], bob.id());
    assert_eq!(payload["team"]["id"], bench.slack.team_id());
    assert_eq!(
        payload["container"],
        json!({"type": "message", "message_ts": message.ts,
            "channel_id": message.channel, "is_ephemeral": false})
    );
    assert_eq!(payload["message"]["ts"], message.ts);
    assert_eq!(payload["actions"][0]["action_id"], "deploy");
    assert_eq!(payload["actions"][0]["block_id"], "decision");
    assert_eq!(payload["actions"][0]["value"], "r-1");
    assert!(payload["actions"][0]["action_ts"].is_string());
    let state = &payload["state"]["values"]["where"]["environment"];
    assert_eq!(state["selected_option"]["value"], "staging");
    let response_url = payload["response_url"].as_str().unwrap();
    assert!(response_url.starts_with(&format!("{}/actions/", bench.slack.url())));
    // What alice sees is not touched by what bob chose.
    let delivery = bench.slack.user("alice").click(message, "cancel").unwrap();
    let state = &delivery.payload()["state"]["values"]["where"]["environment"];
    assert_eq!(state["selected_option"], Value::Null);
}

#[tokio::test]
async fn a_click_on_what_is_gone_is_possible_only_for_who_still_saw_it() {
    let bench = Bench::new().await;
    let channel = bench.channel("deploys");
    let posted = bench.call("chat.postMessage", with_button(&channel)).await;
    let before = bench.slack.messages("deploys")[0].clone();
    let update = json!({"channel": channel, "ts": posted["ts"], "text": "cancelled"});
    bench.call("chat.update", update).await;
    let bob = bench.slack.user("bob");
    assert!(bob.click(&before, "deploy").is_err());
    let delivery = bob.click_as_seen(&before, "deploy").unwrap();
    assert_eq!(delivery.payload()["actions"][0]["action_id"], "deploy");
    let outsider = bench.slack.add_user(User::named("olga"), &[]);
    assert!(
        bench
            .slack
            .user(&outsider)
            .click(&before, "deploy")
            .is_err()
    );
}

#[tokio::test]
async fn a_click_on_an_ephemeral_message_carries_no_message() {
    let bench = Bench::new().await;
    let bob = bench.slack.user("bob");
    let mut arguments = with_button(&bench.channel("deploys"));
    arguments["user"] = json!(bob.id());
    bench.call("chat.postEphemeral", arguments).await;
    let shown = &bench.slack.ephemerals("bob")[0];
    let delivery = bob.click(shown, "deploy").unwrap();
    assert_eq!(delivery.payload()["container"]["is_ephemeral"], true);
    assert!(delivery.payload().get("message").is_none());
    assert!(bench.slack.user("alice").click(shown, "deploy").is_err());
}

#[tokio::test]
async fn people_of_other_organisations_are_known_by_their_team() {
    let bench = Bench::new().await;
    let mut stranger = User::named("sven");
    stranger.team = Some("T0ELSEWHERE".to_owned());
    stranger.is_stranger = true;
    bench.slack.add_user(stranger, &["deploys"]);
    bench
        .slack
        .change_channel("deploys", |channel| channel.is_ext_shared = true);
    bench
        .call("chat.postMessage", with_button(&bench.channel("deploys")))
        .await;
    let message = &bench.slack.messages("deploys")[0];
    let delivery = bench.slack.user("sven").click(message, "deploy").unwrap();
    assert_eq!(delivery.payload()["user"]["team_id"], "T0ELSEWHERE");
    assert_eq!(delivery.payload()["team"]["id"], bench.slack.team_id());
    let mention = bench
        .slack
        .user("sven")
        .mention("deploys", None, "hi")
        .unwrap();
    assert_eq!(mention.payload()["is_ext_shared_channel"], true);
}

#[tokio::test]
async fn opening_the_home_tab_is_an_event() {
    let bench = Bench::new().await;
    let bob = bench.slack.user("bob");
    let delivery = bob.open_home().unwrap();
    assert_eq!(delivery.payload()["event"]["type"], "app_home_opened");
    let view = json!({"type": "home", "blocks": [{"type": "divider"}]});
    bench
        .call("views.publish", json!({"user_id": bob.id(), "view": view}))
        .await;
    let home = bench
        .slack
        .until("the home tab", Duration::from_secs(5), |world| {
            world.home("bob")
        });
    assert_eq!(home.await.unwrap().blocks().len(), 1);
}
