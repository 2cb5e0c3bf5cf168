//! An app made with `slack_bolt`, as people write them, works against the stand-in from end to end.

use foredeck_testkit::slack::StandInSlack;

use crate::{SOON, python};

#[tokio::test]
async fn an_app_made_with_bolt_works_from_command_to_modal() {
    let slack = StandInSlack::start().await.unwrap();
    let Some(mut app) = python(&slack, "bolt_app.py").await else {
        return;
    };
    app.saw("start", SOON).await.unwrap();
    slack.connected(1, SOON).await.unwrap();
    let alice = slack.user("alice");

    let command = alice
        .command("deploys", "/deploy checkout main to staging")
        .unwrap();
    command.answered().await.unwrap();
    let seen = app.saw("command", SOON).await.unwrap();
    assert_eq!(seen["command"]["user_id"], alice.id());
    let ephemerals = slack
        .until("both answers", SOON, |world| {
            Some(world.ephemerals("alice")).filter(|seen| seen.len() == 2)
        })
        .await
        .unwrap();
    let texts: Vec<&str> = ephemerals
        .iter()
        .map(|message| message.text.as_str())
        .collect();
    assert!(
        texts.contains(&"Taken: checkout main to staging") && texts.contains(&"Look above"),
        "{texts:?}"
    );
    let message = slack.messages("deploys").pop().unwrap();
    assert_eq!(
        message.blocks()[0]["text"]["text"],
        "*checkout main to staging*"
    );

    let click = alice.click(&message, "why").unwrap();
    click.answered().await.unwrap();
    let seen = app.saw("action", SOON).await.unwrap();
    assert_eq!(seen["value"], "plan-1");
    let view = slack.view_of("alice").unwrap();
    alice.fill(&view, "text", "no").unwrap();
    alice.submit(&view).unwrap().answered().await.unwrap();
    let view = slack
        .until("the complaint", SOON, |world| {
            world.modal("alice").filter(|view| !view.errors.is_empty())
        })
        .await
        .unwrap();
    assert_eq!(view.errors["reason"], "Say a little more");
    alice.fill(&view, "text", "because it is green").unwrap();
    alice.submit(&view).unwrap().answered().await.unwrap();
    let seen = app.saw("submission", SOON).await.unwrap();
    assert_eq!(seen["text"], "because it is green");
    assert_eq!(seen["metadata"], message.ts);
    slack
        .until("the modal to close", SOON, |world| {
            world.modal("alice").is_none().then_some(())
        })
        .await
        .unwrap();

    let mention = alice.mention("deploys", None, "what runs?").unwrap();
    mention.answered().await.unwrap();
    let seen = app.saw("mention", SOON).await.unwrap();
    let root = seen["event"]["ts"].as_str().unwrap();
    let replies = slack.channel("deploys").unwrap().replies(root);
    assert!(
        replies[0].text().contains("what runs?"),
        "{}",
        replies[0].text()
    );
    assert_eq!(slack.violations(), Vec::<String>::new());
    app.end(SOON).await.unwrap();
}
