//! Every block and view is parsed by `slack_sdk.models` without an error, and nothing of it is unknown there.

use std::collections::BTreeMap;

use foredeck::{
    api::{Application, DeployRequest},
    relay::message,
    slack::{
        blocks::{Actions, Block, Input, Message, RichText, Section},
        elements::{
            Button, Choice, Confirm, ExternalSelect, Overflow, PlainTextInput, StaticSelect, Style,
            Value as ButtonValue,
        },
        text::{Mrkdwn, Plain},
        view::View,
    },
};
use foredeck_testkit::toolbox::SlackModels;
use serde_json::{Value, json};

async fn accept(models: &mut SlackModels, what: &Value) {
    let problems = models.problems(what).await.unwrap();
    assert_eq!(problems, Vec::<String>::new(), "{what:#}");
}

/// As long as foreign text gets: as bad as it gets, and without a space to be cut at.
fn endless() -> [String; 2] {
    [
        "<!channel> *b* _i_ ~s~ `c` &amp; <https://evil.example|Slack> \u{202e}🚀\n".repeat(60),
        "x".repeat(4000),
    ]
}

fn confirm(long: &str) -> Confirm {
    Confirm::new(long, Mrkdwn::code(long), long, long).style(Style::Danger)
}

fn choices(long: &str, count: usize) -> Vec<Choice> {
    let choice = |number: usize| {
        let value = format!("{number:0>75}");
        Choice::new(long, value).unwrap().description(long)
    };
    (0..count).map(choice).collect()
}

/// Every kind of block that goes into a message, with as much in it as fits.
fn every_block(long: &str) -> Vec<Block> {
    let button = || {
        Button::new("go", long)
            .value(ButtonValue::new("v".repeat(2000)).unwrap())
            .style(Style::Primary)
            .confirm(confirm(long))
            .spoken(long)
    };
    let link = Button::new("link", "Open").url(&"https://gate.example/x?y=%2A".parse().unwrap());
    vec![
        Block::header(long),
        Block::section(Mrkdwn::code_block(long, 3000)),
        Section::new(Mrkdwn::code(long))
            .fields((0..20).map(|_| Mrkdwn::code(long)))
            .accessory(Overflow::new("more", choices(long, 9)))
            .id("section")
            .into(),
        Section::of_fields([Mrkdwn::name("checkout")]).into(),
        Block::context((0..20).map(|_| Mrkdwn::code(long))),
        Block::divider(),
        Actions::new([
            button().into(),
            link.into(),
            StaticSelect::new("select", long, choices(long, 120))
                .initial(&format!("{:0>75}", 3))
                .into(),
            ExternalSelect::new("search", long)
                .initial(choices(long, 1).pop())
                .into(),
        ])
        .id("actions")
        .into(),
        RichText::new()
            .line(long)
            .bold(long)
            .preformatted(long)
            .quote(long)
            .into(),
    ]
}

fn every_input(long: &str) -> Vec<Block> {
    vec![
        Input::new("text", long, PlainTextInput::new("value"))
            .hint(long)
            .optional()
            .dispatching()
            .into(),
        Input::new(
            "lines",
            "Reason",
            PlainTextInput::new("value")
                .multiline()
                .max_length(300)
                .initial("because")
                .unwrap()
                .placeholder(long),
        )
        .into(),
        Input::new(
            "choice",
            "Version",
            ExternalSelect::new("value", "main").min_query_length(1),
        )
        .into(),
        Input::new(
            "known",
            "Where",
            StaticSelect::new("value", "staging", choices(long, 3)),
        )
        .into(),
    ]
}

#[tokio::test]
async fn the_sdk_parses_every_kind_of_block_filled_to_the_brim() {
    let Some(mut models) = SlackModels::fetch().await.unwrap() else {
        return;
    };
    for long in &endless() {
        for block in every_block(long) {
            accept(&mut models, &json!({"blocks": [block]})).await;
        }
        let many = (0..10).flat_map(|_| every_block(long));
        let message = json!(Message::new(Mrkdwn::fixed("Many"), many));
        accept(&mut models, &json!({"blocks": message["blocks"]})).await;
    }
}

#[tokio::test]
async fn the_sdk_parses_every_kind_of_view_filled_to_the_brim() {
    let Some(mut models) = SlackModels::fetch().await.unwrap() else {
        return;
    };
    for long in &endless() {
        let blocks = every_input(long).into_iter().chain(every_block(long));
        let view = View::modal("plan", long.as_str(), blocks)
            .submit(Plain::new(long))
            .close(Plain::new(long))
            .private_metadata("m".repeat(3000))
            .unwrap()
            .external_id("plan-1")
            .notify_on_close();
        accept(&mut models, &json!({"view": view})).await;
        accept(&mut models, &json!({"options": choices(long, 100)})).await;
    }
}

#[tokio::test]
async fn the_sdk_would_say_what_is_wrong() {
    let Some(mut models) = SlackModels::fetch().await.unwrap() else {
        return;
    };
    let text = |length: usize| json!({"type": "mrkdwn", "text": "x".repeat(length)});
    let wrong = [
        json!({"blocks": [{"type": "section", "text": text(3001)}]}),
        json!({"blocks": [{"type": "sektion", "text": text(3)}]}),
        json!({"blocks": [{"type": "section", "text": text(3), "colour": "red"}]}),
        json!({"blocks": [{"type": "actions", "elements": [
            {"type": "button", "action_id": "a", "text": {"type": "plain_text", "text": "x".repeat(76)}}]}]}),
        json!({"view": {"type": "modal", "blocks": [], "title": {"type": "plain_text", "text": "x".repeat(25)}}}),
    ];
    for wrong in wrong {
        let problems = models.problems(&wrong).await.unwrap();
        assert!(!problems.is_empty(), "nothing is wrong with {wrong}");
    }
}

/// checkout, whose commits are on GitHub.
fn application() -> Application {
    serde_json::from_value(json!({
        "apiVersion": "foredeck.dev/v1alpha1", "kind": "Application", "metadata": {"name": "checkout", "namespace": "shop"},
        "spec": {"repository": {"github": "shop/checkout"}, "actions": {"deploy": {"pipeline": "Deploy"}}},
    }))
    .unwrap()
}

/// checkout, with this wherever a text comes from outside.
fn asked(phase: &str, text: &str) -> DeployRequest {
    let at = "2026-03-04T10:03:00Z";
    let cut: String = text.chars().take(1000).collect();
    let given = json!({"name": "a", "by": cut, "at": at, "comment": cut});
    let commit = json!({"sha": "3f".repeat(20), "title": cut, "author": cut});
    let artifact = json!({"type": cut, "name": cut, "version": cut, "location": cut, "reference": cut, "artifactAccount": cut});
    let parameters: BTreeMap<String, &str> = (0..64)
        .map(|number| (format!("p{number}"), cut.as_str()))
        .collect();
    serde_json::from_value(json!({
        "apiVersion": "foredeck.dev/v1alpha1", "kind": "DeployRequest",
        "metadata": {"name": "one", "namespace": "shop", "uid": "0b1c"},
        "spec": {"application": "checkout", "environment": "production", "version": cut, "reason": cut},
        "status": {
            "phase": phase,
            "resolved": {"connection": "c", "pipeline": {"application": "a", "name": cut, "id": "p"}, "parameters": parameters,
                         "target": {"account": cut, "namespace": "n"}, "deployTarget": "t", "digest": "d",
                         "commit": "3f".repeat(20), "artifacts": vec![artifact; 20]},
            "changes": {"from": "9d".repeat(20), "relation": "Diverged", "added": 40, "removed": 2, "problem": cut,
                        "commits": vec![commit; 10]},
            "approvals": {"required": 20, "given": vec![given; 20], "missingGroups": [cut]},
            "waiting": {"for": "Approval", "message": cut, "since": at, "until": at},
            "execution": {"id": "01J", "url": "https://deck.example/", "status": "RUNNING"},
            "judgment": {"stage": "s", "name": cut, "instructions": cut, "inputs": vec![cut.clone(); 5], "roles": vec![cut.clone(); 50]},
        },
    }))
    .unwrap()
}

#[tokio::test]
async fn the_sdk_parses_what_people_are_asked() {
    let Some(mut models) = SlackModels::fetch().await.unwrap() else {
        return;
    };
    for text in &endless() {
        let waiting = asked("AwaitingApproval", text);
        let running = asked("Running", text);
        let (mark, _) = message::current_judgment(&running).unwrap();
        let mut open = running.clone();
        let judgment = open
            .status
            .as_mut()
            .and_then(|status| status.judgment.as_mut());
        judgment.unwrap().roles.clear();
        let application = application();
        for message in [
            message::approval(
                &waiting,
                None,
                Some(&application),
                message::Readers::RequesterOnly,
                None,
            ),
            message::approval(&running, None, None, message::Readers::Channel, None),
            message::live(&waiting, Some(&application), None),
            message::judgment(&running, None, &mark, None, None),
            message::judgment(&open, None, &mark, None, None),
        ] {
            let message = json!(message);
            let size = message["blocks"].to_string().chars().count();
            assert!(
                size < 20_000,
                "{size} characters, of which Slack counts the texts"
            );
            accept(&mut models, &json!({"blocks": message["blocks"]})).await;
        }
    }
}
