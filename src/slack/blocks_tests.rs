//! What the constructors make, and that they keep Slack's limits.

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::slack::{
    elements::{
        Button, Choice, Confirm, ExternalSelect, Overflow, PlainTextInput, StaticSelect, Style,
        Value,
    },
    view::View,
};

fn to_json(value: &impl Serialize) -> Json {
    serde_json::to_value(value).unwrap()
}

#[test]
fn a_message_is_what_slack_expects() {
    let button = Button::new("deploy", "Deploy")
        .value(Value::new("plan").unwrap())
        .style(Style::Primary)
        .spoken("Deploy checkout to staging")
        .confirm(
            Confirm::new(
                "Deploy to production?",
                Mrkdwn::fixed("*now*"),
                "Deploy",
                "Cancel",
            )
            .style(Style::Danger),
        );
    let message = Message::new(
        Mrkdwn::fixed("Deploying ") + Mrkdwn::name("checkout"),
        [
            Block::header("Plan"),
            Section::new(Mrkdwn::name("checkout"))
                .id("line")
                .fields([
                    Mrkdwn::fixed("*Version*\n") + Mrkdwn::code("v1"),
                    Mrkdwn::default(),
                ])
                .accessory(
                    Button::new("open", "Open").url(&"https://spinnaker.example/".parse().unwrap()),
                )
                .into(),
            Block::divider(),
            Block::context([Mrkdwn::fixed("small")]),
            RichText::new()
                .line("said:")
                .quote("<!here>\n*b*")
                .preformatted("a\n  b")
                .into(),
            Actions::new([
                button.into(),
                Overflow::new("more", [Choice::new("Logs", "logs").unwrap()]).into(),
            ])
            .id("row")
            .into(),
        ],
    )
    .metadata(Metadata::new("foredeck_request", [("uid", "1".to_owned())]));
    let mrkdwn = |text: &str| json!({"type": "mrkdwn", "text": text, "verbatim": true});
    let plain = |text: &str| json!({"type": "plain_text", "text": text, "emoji": false});
    assert_eq!(
        to_json(&message),
        json!({
            "text": "Deploying *checkout*",
            "blocks": [
                {"type": "header", "text": plain("Plan")},
                {"type": "section", "block_id": "line", "text": mrkdwn("*checkout*"), "fields": [mrkdwn("*Version*\n`v1`")],
                 "accessory": {"type": "button", "action_id": "open", "text": plain("Open"), "url": "https://spinnaker.example/"}},
                {"type": "divider"},
                {"type": "context", "elements": [mrkdwn("small")]},
                {"type": "rich_text", "elements": [
                    {"type": "rich_text_section", "elements": [{"type": "text", "text": "said:"}]},
                    {"type": "rich_text_quote", "elements": [{"type": "text", "text": "<!here>\n*b*"}]},
                    {"type": "rich_text_preformatted", "elements": [{"type": "text", "text": "a\n  b"}]},
                ]},
                {"type": "actions", "block_id": "row", "elements": [
                    {"type": "button", "action_id": "deploy", "text": plain("Deploy"), "value": "plan", "style": "primary",
                     "accessibility_label": "Deploy checkout to staging",
                     "confirm": {"title": plain("Deploy to production?"), "text": mrkdwn("*now*"), "confirm": plain("Deploy"),
                                 "deny": plain("Cancel"), "style": "danger"}},
                    {"type": "overflow", "action_id": "more", "options": [{"text": plain("Logs"), "value": "logs"}]},
                ]},
            ],
            "metadata": {"event_type": "foredeck_request", "event_payload": {"uid": "1"}},
        })
    );
    assert_eq!(to_json(&message.without_blocks())["blocks"], Json::Null);
}

#[test]
fn a_modal_is_what_slack_expects() {
    let view = View::modal(
        "deploy",
        "Deploy an application of ours",
        [
            Input::new(
                "app",
                "Application",
                ExternalSelect::new("app", "Choose").initial(None),
            )
            .dispatching()
            .into(),
            Input::new(
                "env",
                "Environment",
                StaticSelect::new(
                    "env",
                    "Choose",
                    [Choice::new("Staging", "staging").unwrap()],
                )
                .initial("nowhere")
                .initial("staging"),
            )
            .into(),
            Input::new(
                "parameters",
                "Parameters",
                PlainTextInput::new("parameters")
                    .multiline()
                    .initial("a=1")
                    .unwrap(),
            )
            .optional()
            .hint("One a line")
            .into(),
        ],
    )
    .submit("Continue")
    .close("Cancel")
    .external_id("plan-1")
    .notify_on_close()
    .private_metadata("{}")
    .unwrap();
    let plain = |text: &str| json!({"type": "plain_text", "text": text, "emoji": false});
    let staging = json!({"text": plain("Staging"), "value": "staging"});
    assert_eq!(
        to_json(&view),
        json!({
            "type": "modal", "callback_id": "deploy", "title": plain("Deploy an application o…"), "submit": plain("Continue"),
            "close": plain("Cancel"), "external_id": "plan-1", "notify_on_close": true, "private_metadata": "{}",
            "blocks": [
                {"type": "input", "block_id": "app", "label": plain("Application"), "optional": false, "dispatch_action": true,
                 "element": {"type": "external_select", "action_id": "app", "placeholder": plain("Choose"), "min_query_length": 0}},
                {"type": "input", "block_id": "env", "label": plain("Environment"), "optional": false, "dispatch_action": false,
                 "element": {"type": "static_select", "action_id": "env", "placeholder": plain("Choose"), "options": [staging],
                             "initial_option": staging}},
                {"type": "input", "block_id": "parameters", "label": plain("Parameters"), "optional": true, "dispatch_action": false,
                 "hint": plain("One a line"),
                 "element": {"type": "plain_text_input", "action_id": "parameters", "multiline": true, "initial_value": "a=1",
                             "max_length": 3000}},
            ],
        })
    );
}

#[test]
fn what_must_come_back_whole_is_refused_rather_than_cut() {
    assert!(Value::new("v".repeat(2000)).is_ok());
    let error = Value::new("v".repeat(2001)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the value has 2001 characters; Slack carries 2000"
    );
    assert!(Choice::new("label", "v".repeat(76)).is_err());
    assert!(
        PlainTextInput::new("a")
            .max_length(3)
            .initial("four")
            .is_err()
    );
    assert!(
        View::modal("a", "b", [])
            .private_metadata("m".repeat(3001))
            .is_err()
    );
    let script = Button::new("a", "b").url(&"javascript:alert(1)".parse().unwrap());
    assert_eq!(to_json(&script).get("url"), None);
}

#[test]
fn a_long_message_keeps_its_last_block() {
    let texts = (0..60).map(|number| Block::section(Mrkdwn::number(number)));
    let message = Message::new(Mrkdwn::fixed("long"), texts);
    assert_eq!(message.blocks().len(), 50);
    assert_eq!(message.blocks()[49], Block::section(Mrkdwn::number(59)));
    assert_eq!(message.blocks()[48], Block::section(Mrkdwn::number(48)));
}

#[test]
fn a_long_text_is_spread_over_sections() {
    let lines = (0..400).map(|_| Mrkdwn::code("0123456789"));
    let text = Mrkdwn::join(lines, "\n");
    let sections = Block::sections(&text);
    assert_eq!(sections.len(), 2);
    for section in sections {
        let shown = to_json(&section);
        assert!(shown["text"]["text"].as_str().unwrap().len() <= 3000);
    }
}

proptest! {
    #[test]
    fn nothing_is_longer_than_slack_takes(text in "\\PC{0,400}", count in 0_usize..30) {
        let many = || (0..count).map(|_| Mrkdwn::code_block(&text, 2900));
        let choices = || (0..count * 10).filter_map(|_| Choice::new(text.clone(), "v").ok());
        let message = Message::new(
            Mrkdwn::concat(many()),
            [
                Block::header(text.clone()),
                Section::new(Mrkdwn::concat(many())).fields(many()).into(),
                Block::context(many()),
                Block::actions((0..count).map(|_| Button::new(text.clone(), text.clone()).spoken(text.clone()).into())),
                Input::new(text.clone(), text.clone(), StaticSelect::new("a", text.clone(), choices())).into(),
            ],
        );
        let shown = to_json(&message);
        let length = |pointer: &str| shown.pointer(pointer).and_then(Json::as_str).map_or(0, |text| text.chars().count());
        let count = |pointer: &str| shown.pointer(pointer).and_then(Json::as_array).map_or(0, Vec::len);
        for (pointer, most) in [
            ("/text", 3500), ("/blocks/0/text/text", 150), ("/blocks/1/text/text", 3000), ("/blocks/1/fields/0/text", 2000),
            ("/blocks/2/elements/0/text", 2000), ("/blocks/3/elements/0/text/text", 75), ("/blocks/3/elements/0/action_id", 255),
            ("/blocks/3/elements/0/accessibility_label", 75), ("/blocks/4/label/text", 2000), ("/blocks/4/block_id", 255),
            ("/blocks/4/element/placeholder/text", 150), ("/blocks/4/element/options/0/text/text", 75),
        ] {
            prop_assert!(length(pointer) <= most, "{} has {}", pointer, length(pointer));
        }
        for (pointer, most) in [
            ("/blocks/1/fields", 10), ("/blocks/2/elements", 10), ("/blocks/3/elements", 25), ("/blocks/4/element/options", 100),
        ] {
            prop_assert!(count(pointer) <= most, "{}", pointer);
        }
    }
}

#[test]
fn a_sentence_shows_names_as_code_and_keeps_every_word() {
    let shown =
        |text: &str| serde_json::to_value(Block::from(RichText::new().sentence(text))).unwrap();
    let elements = shown("`bob` locked `shop`.")["elements"][0]["elements"].clone();
    assert_eq!(
        elements,
        serde_json::json!([
            {"type": "text", "text": "bob", "style": {"code": true}},
            {"type": "text", "text": " locked "},
            {"type": "text", "text": "shop", "style": {"code": true}},
            {"type": "text", "text": "."},
        ])
    );
    for odd in ["", "`", "``", "one ` alone"] {
        let elements = shown(odd)["elements"][0]["elements"].clone();
        assert_eq!(elements.as_array().unwrap().len(), 1, "{odd}");
        assert_ne!(elements[0]["text"], "", "{odd}");
    }
}
