//! `@slack/bolt`'s HTTP receiver takes what the stand-in signs for Slack's, and nothing else.

use foredeck_testkit::slack::{Failure, RequestUrls, StandInSlack};
use foredeck_testkit::toolbox::Script;

use crate::{SOON, node};

/// An app made with `@slack/bolt` that checks signatures with this secret.
async fn app(slack: &StandInSlack, secret: &str) -> Option<Script> {
    let (url, token) = (slack.api_url(), slack.bot_token());
    let mut app = node("bolt_receiver.cjs", &[&url, &token, secret]).await?;
    let port = app.saw("start", SOON).await.unwrap()["port"].clone();
    let address = format!("http://127.0.0.1:{port}/slack/events");
    slack.deliver_by_http(RequestUrls::all(&address));
    Some(app)
}

#[tokio::test]
async fn bolts_receiver_takes_every_signed_delivery() {
    let slack = StandInSlack::start().await.unwrap();
    let Some(mut app) = app(&slack, &slack.signing_secret()).await else {
        return;
    };
    let alice = slack.user("alice");
    let answer = slack.verify_url("ch4ll*enge+%2A").answered().await.unwrap();
    assert_eq!(answer.body.unwrap()["challenge"], "ch4ll*enge+%2A");

    let text = "checkout feature/ü*+%2A&x=1 to \"staging\" 🚀";
    let command = alice
        .command("deploys", &format!("/deploy {text}"))
        .unwrap();
    command.answered().await.unwrap();
    let seen = app.saw("command", SOON).await.unwrap();
    assert_eq!(
        seen["command"]["text"],
        command.payload()["text"],
        "what was signed is not what was read"
    );
    slack
        .until("both answers", SOON, |world| {
            let at_once = world
                .ephemerals("alice")
                .iter()
                .any(|message| message.text.starts_with("Taken: "));
            let later = world
                .messages("deploys")
                .iter()
                .any(|message| message.text() == "And later");
            (at_once && later).then_some(())
        })
        .await
        .unwrap();

    let mention = alice.mention("deploys", None, "¿qué pasa? 🚀").unwrap();
    mention.answered().await.unwrap();
    let seen = app.saw("mention", SOON).await.unwrap();
    assert_eq!(seen["body"]["api_app_id"], slack.app_id());
    assert_eq!(seen["event"]["text"], mention.payload()["event"]["text"]);

    let direct = alice.direct_message("status").unwrap();
    direct.answered().await.unwrap();
    let seen = app.saw("message", SOON).await.unwrap();
    assert_eq!(seen["event"]["channel_type"], "im");
    assert_eq!(slack.violations(), Vec::<String>::new());
    app.end(SOON).await.unwrap();
}

#[tokio::test]
async fn bolts_receiver_takes_clicks_choices_and_forms() {
    let slack = StandInSlack::start().await.unwrap();
    let Some(mut app) = app(&slack, &slack.signing_secret()).await else {
        return;
    };
    let alice = slack.user("alice");
    let client = reqwest::Client::new();
    let deploys = slack.channel("deploys").unwrap().id;
    let blocks = serde_json::json!([{"type": "actions", "elements": [
        {"type": "button", "action_id": "go", "value": "v*+%2A", "text": {"type": "plain_text", "text": "Go"}}]}]);
    client
        .post(format!("{}chat.postMessage", slack.api_url()))
        .bearer_auth(slack.bot_token())
        .json(&serde_json::json!({"channel": deploys, "text": "A form", "blocks": blocks}))
        .send()
        .await
        .unwrap();
    let message = slack.messages("deploys").pop().unwrap();
    alice
        .click(&message, "go")
        .unwrap()
        .answered()
        .await
        .unwrap();
    assert_eq!(
        app.saw("action", SOON).await.unwrap()["action"]["value"],
        "v*+%2A"
    );
    let view = slack
        .until("the form", SOON, |world| world.modal("alice"))
        .await
        .unwrap();
    let suggestion = alice.suggest(&view, "application", "chß*").unwrap();
    suggestion.answered().await.unwrap();
    assert_eq!(app.saw("options", SOON).await.unwrap()["value"], "chß*");
    alice.select(&view, "application", "checkout").unwrap();
    alice.submit(&view).unwrap().answered().await.unwrap();
    let seen = app.saw("submission", SOON).await.unwrap();
    assert_eq!(
        seen["values"]["app"]["application"]["selected_option"]["value"],
        "checkout"
    );
    slack
        .until("the form to close", SOON, |world| {
            world.modal("alice").is_none().then_some(())
        })
        .await
        .unwrap();
    assert_eq!(slack.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn bolts_receiver_refuses_what_another_secret_signed() {
    let slack = StandInSlack::start().await.unwrap();
    let Some(app) = app(&slack, "00000000000000000000000000000000").await else {
        return;
    };
    let command = slack.user("alice").command("deploys", "/deploy x").unwrap();
    let outcome = command.ended().await.unwrap();
    assert_eq!(outcome, Err(Failure::HttpError(401)));
    assert_eq!(
        app.end(SOON).await.unwrap(),
        Vec::<serde_json::Value>::new()
    );
}
