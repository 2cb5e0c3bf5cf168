//! Blocks and views past Slack's limits are refused in Slack's words.

use serde_json::{Value, json};

use crate::bench::Bench;

fn text(kind: &str, length: usize) -> Value {
    json!({"type": kind, "text": "x".repeat(length)})
}

fn button(length: usize, value: usize) -> Value {
    json!([{"type": "actions", "elements": [{"type": "button", "action_id": "a",
        "text": text("plain_text", length), "value": "v".repeat(value)}]}])
}

fn select(options: usize, label: usize) -> Value {
    let options: Vec<Value> = (0..options)
        .map(|number| json!({"text": text("plain_text", label), "value": number.to_string()}))
        .collect();
    json!([{"type": "section", "text": text("mrkdwn", 1), "accessory":
        {"type": "static_select", "action_id": "a", "options": options}}])
}

#[tokio::test]
async fn each_limit_holds_on_both_of_its_sides() {
    let bench = Bench::new().await;
    let fields = |count: usize, length: usize| json!([{"type": "section", "fields": vec![text("mrkdwn", length); count]}]);
    let dividers = |count: usize| json!(vec![json!({"type": "divider"}); count]);
    let elements = |count: usize| {
        let element = |number: usize| {
            json!({"type": "button", "action_id": number.to_string(),
            "text": text("plain_text", 1)})
        };
        json!([{"type": "actions", "elements": (0..count).map(element).collect::<Vec<_>>()}])
    };
    let section = |length: usize| json!([{"type": "section", "text": text("mrkdwn", length)}]);
    let header = |length: usize| json!([{"type": "header", "text": text("plain_text", length)}]);
    let context =
        |count: usize| json!([{"type": "context", "elements": vec![text("mrkdwn", 1); count]}]);
    let cases = [
        (
            "section",
            section(3000),
            section(3001),
            "must be less than 3001 characters [json-pointer:/blocks/0/text/text]",
        ),
        (
            "empty text",
            section(1),
            section(0),
            "must be more than 0 characters [json-pointer:/blocks/0/text/text]",
        ),
        (
            "header",
            header(150),
            header(151),
            "must be less than 151 characters [json-pointer:/blocks/0/text/text]",
        ),
        (
            "fields",
            fields(10, 1),
            fields(11, 1),
            "no more than 10 items allowed [json-pointer:/blocks/0/fields]",
        ),
        (
            "field",
            fields(1, 2000),
            fields(1, 2001),
            "must be less than 2001 characters [json-pointer:/blocks/0/fields/0/text]",
        ),
        (
            "context",
            context(10),
            context(11),
            "no more than 10 items allowed [json-pointer:/blocks/0/elements]",
        ),
        (
            "blocks",
            dividers(50),
            dividers(51),
            "no more than 50 items allowed [json-pointer:/blocks]",
        ),
        (
            "elements",
            elements(25),
            elements(26),
            "no more than 25 items allowed [json-pointer:/blocks/0/elements]",
        ),
        (
            "button",
            button(75, 1),
            button(76, 1),
            "must be less than 76 characters [json-pointer:/blocks/0/elements/0/text/text]",
        ),
        (
            "value",
            button(1, 2000),
            button(1, 2001),
            "must be less than 2001 characters [json-pointer:/blocks/0/elements/0/value]",
        ),
        (
            "options",
            select(100, 1),
            select(101, 1),
            "no more than 100 items allowed [json-pointer:/blocks/0/accessory/options]",
        ),
        (
            "option",
            select(1, 75),
            select(1, 76),
            "must be less than 76 characters [json-pointer:/blocks/0/accessory/options/0/text/text]",
        ),
    ];
    let channel = bench.channel("deploys");
    for (name, good, bad, complaint) in cases {
        let post = |blocks: Value| json!({"channel": channel, "text": "x", "blocks": blocks});
        let answer = bench.call("chat.postMessage", post(good)).await;
        assert_eq!(answer["ok"], true, "{name}: {answer}");
        let answer = bench.call("chat.postMessage", post(bad)).await;
        assert_eq!(answer["error"], "invalid_blocks", "{name}");
        assert_eq!(answer["errors"], json!([complaint]), "{name}");
        assert_eq!(
            answer["response_metadata"]["messages"],
            json!([format!("[ERROR] {complaint}")]),
            "{name}"
        );
    }
}

#[tokio::test]
async fn what_does_not_exist_or_does_not_belong_is_refused() {
    let bench = Bench::new().await;
    let channel = bench.channel("deploys");
    let element = |element: Value| json!([{"type": "actions", "elements": [element]}]);
    let plain = text("plain_text", 1);
    let cases = [
        (json!([{"type": "banner"}]), "unsupported type: banner"),
        (json!([{"text": "x"}]), "missing required field: type"),
        (json!(["x"]), "must provide an object"),
        (json!([{"type": "section"}]), "missing required field: text"),
        (
            json!([{"type": "divider", "colour": 1}]),
            "invalid additional property: colour",
        ),
        (
            json!([{"type": "header", "text": text("mrkdwn", 1)}]),
            "must be a valid enum value",
        ),
        (
            element(json!({"type": "plain_text_input"})),
            "unsupported type: plain_text_input",
        ),
        (
            element(json!({"type": "button", "text": plain, "style": "red"})),
            "must be a valid enum value",
        ),
        (
            element(json!({"type": "static_select"})),
            "missing required field: options",
        ),
        (
            json!([{"type": "divider", "block_id": "a"}, {"type": "divider", "block_id": "a"}]),
            "`block_id` must be unique",
        ),
        (
            json!([{"type": "actions", "elements": [
                {"type": "button", "action_id": "a", "text": plain},
                {"type": "button", "action_id": "a", "text": plain},
            ]}]),
            "`action_id` must be unique",
        ),
        (
            element(json!({"type": "static_select", "action_id": "a",
                "options": [{"text": plain, "value": "1"}],
                "initial_option": {"text": plain, "value": "2"}})),
            "must be one of the options",
        ),
        (
            element(json!({"type": "button", "text": plain, "confirm": {"title": plain}})),
            "missing required field: text",
        ),
    ];
    for (blocks, complaint) in cases {
        let arguments = json!({"channel": channel, "text": "x", "blocks": blocks});
        let answer = bench.call("chat.postMessage", arguments).await;
        assert_eq!(answer["error"], "invalid_blocks", "{complaint}: {answer}");
        let first = answer["errors"][0].as_str().unwrap();
        assert!(first.starts_with(complaint), "{first} is not {complaint}");
    }
    let arguments = json!({"channel": channel, "text": "x", "blocks": "not json"});
    let answer = bench.call("chat.postMessage", arguments).await;
    assert_eq!(answer["error"], "invalid_blocks_format");
    assert!(bench.slack.messages("deploys").is_empty());
}

#[tokio::test]
async fn blocks_have_a_limit_in_all() {
    let bench = Bench::new().await;
    let channel = bench.channel("deploys");
    let post = |count: usize| {
        let blocks = vec![json!({"type": "section", "text": text("mrkdwn", 2640)}); count];
        json!({"channel": channel, "text": "x", "blocks": blocks})
    };
    assert_eq!(bench.call("chat.postMessage", post(5)).await["ok"], true);
    let answer = bench.call("chat.postMessage", post(6)).await;
    assert_eq!(answer["error"], "msg_blocks_too_long");
}

#[tokio::test]
async fn a_text_past_forty_thousand_characters_is_cut_off_in_silence() {
    let bench = Bench::new().await;
    bench.post("deploys", &"ü".repeat(40_001)).await;
    let message = &bench.slack.messages("deploys")[0];
    assert_eq!(message.text().chars().count(), 40_000);
    assert_eq!(bench.slack.violations().len(), 1);
}

#[tokio::test]
async fn views_have_limits_of_their_own() {
    let bench = Bench::new().await;
    let bob = bench.slack.user("bob").id().to_owned();
    let publish = async |view: Value| {
        let answer = bench
            .call("views.publish", json!({"user_id": bob, "view": view}))
            .await;
        let first = answer["response_metadata"]["messages"][0]
            .as_str()
            .unwrap_or_default();
        format!("{} {first}", answer["error"].as_str().unwrap_or("none"))
    };
    let home =
        |count: usize| json!({"type": "home", "blocks": vec![json!({"type": "divider"}); count]});
    assert_eq!(publish(home(100)).await, "none ");
    assert_eq!(
        publish(home(101)).await,
        "invalid_arguments [ERROR] no more than 100 items allowed [json-pointer:/view/blocks]"
    );
    let mut large = home(0);
    large["blocks"] = json!(vec![
        json!({"type": "section", "text": text("mrkdwn", 3000)});
        84
    ]);
    assert_eq!(publish(large).await, "view_too_large ");
    let mut long = home(1);
    long["private_metadata"] = json!("x".repeat(3001));
    assert_eq!(
        publish(long).await,
        "invalid_arguments [ERROR] must be less than 3001 characters [json-pointer:/view/private_metadata]"
    );
    let modal = json!({"type": "modal", "title": text("plain_text", 1), "blocks": []});
    assert!(publish(modal).await.contains("must be a valid enum value"));
    bench.slack.change_app(|app| app.home_tab_enabled = false);
    assert_eq!(publish(home(1)).await, "not_enabled ");
}
