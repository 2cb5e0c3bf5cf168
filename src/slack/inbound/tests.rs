//! What is read from what Slack sends.

use proptest::prelude::*;
use reqwest::Url;
use serde_json::{Value, json};

use super::*;
use crate::slack::{
    blocks::{Block, Message},
    elements::Choice,
    text::{Mrkdwn, Plain},
    view::View,
};

fn command() -> Vec<(String, String)> {
    [
        ("token", "old"),
        ("team_id", "T1"),
        ("team_domain", "shop"),
        ("enterprise_id", ""),
        ("channel_id", "C1"),
        ("channel_name", "deploys"),
        ("user_id", "U1"),
        ("user_name", "renamable"),
        ("command", "/deploy"),
        ("text", "checkout &lt;v1&gt; to staging"),
        (
            "response_url",
            "https://hooks.slack.com/commands/T1/2/secret",
        ),
        ("trigger_id", "13.14.ab"),
        ("api_app_id", "A1"),
        ("is_enterprise_install", "false"),
        ("something_new", "1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

fn actions() -> Value {
    json!({
        "type": "block_actions", "user": {"id": "U1", "username": "a", "team_id": "T1"}, "api_app_id": "A1",
        "team": {"id": "T1", "domain": "shop"}, "enterprise": null, "is_enterprise_install": false, "trigger_id": "1.2.x",
        "container": {"type": "message", "message_ts": "1.1", "channel_id": "C1", "is_ephemeral": true, "thread_ts": "1.0"},
        "channel": {"id": "C1", "name": "deploys"}, "state": {"values": {}},
        "response_url": "https://hooks.slack.com/actions/T1/2/secret",
        "actions": [
            {"type": "button", "action_id": "deploy", "block_id": "row", "value": "sealed", "action_ts": "2.2", "text": {}},
            {"type": "static_select", "action_id": "env", "block_id": "row", "selected_option": {"value": "staging"}},
        ],
    })
}

#[test]
fn a_command_is_read_from_its_form() {
    let Inbound::Command(read) = Inbound::command_from_form(&command()) else {
        panic!("not read");
    };
    assert_eq!(read.text, "checkout &lt;v1&gt; to staging");
    assert_eq!(read.enterprise, None);
    assert!(!read.is_enterprise_install);
    let inbound = Inbound::Command(read);
    assert_eq!(inbound.identity().unwrap().as_str(), "command:T1:13.14.ab");
    assert_eq!(inbound.team().unwrap().as_str(), "T1");
    assert_eq!(inbound.app().unwrap().as_str(), "A1");
    assert_eq!(inbound.user().unwrap().as_str(), "U1");
    assert!(!inbound.is_foreign(&TeamId::new("T1").unwrap()));
    assert!(inbound.is_foreign(&TeamId::new("T2").unwrap()));
    let shown = format!("{inbound:?}");
    assert!(
        !shown.contains("secret") && !shown.contains("renamable"),
        "{shown}"
    );
}

#[test]
fn a_field_that_comes_twice_or_lies_is_not_read() {
    for (name, value) in [("user_id", "U2"), ("text", "other")] {
        let mut form = command();
        form.push((name.to_owned(), value.to_owned()));
        assert_eq!(
            Inbound::command_from_form(&form).word(),
            "unknown",
            "{name}"
        );
    }
    for (name, value) in [
        ("user_id", "U1>"),
        ("team_id", ""),
        ("enterprise_id", "<!here>"),
        ("response_url", "file:///etc/passwd"),
        ("trigger_id", "a b"),
    ] {
        let mut form = command();
        for field in &mut form {
            if field.0 == name {
                value.clone_into(&mut field.1);
            }
        }
        assert_eq!(
            Inbound::command_from_form(&form).word(),
            "unknown",
            "{name}"
        );
    }
}

#[test]
fn a_press_is_read_with_what_it_carries() {
    let inbound = Inbound::interaction(actions());
    assert_eq!(inbound.identity().unwrap().as_str(), "actions:T1:1.2.x");
    assert!(!inbound.is_foreign(&TeamId::new("T1").unwrap()));
    let Inbound::Actions(read) = inbound else {
        panic!("not read");
    };
    assert_eq!(read.place().unwrap().as_str(), "C1");
    assert!(read.container.is_ephemeral);
    assert_eq!(read.container.thread.unwrap().as_str(), "1.0");
    assert_eq!(read.actions[0].action, "deploy");
    assert_eq!(read.actions[0].given.first(), Some("sealed"));
    assert_eq!(read.actions[1].given.first(), Some("staging"));
    assert!(read.response_url.is_some());
}

#[test]
fn somebody_of_another_workspace_is_foreign() {
    let home = TeamId::new("T1").unwrap();
    for team in [json!("T2"), Value::Null] {
        let mut payload = actions();
        payload["user"]["team_id"] = team;
        assert!(Inbound::interaction(payload).is_foreign(&home));
    }
    let mut body = json!({
        "type": "event_callback", "team_id": "T1", "event_id": "Ev1", "is_ext_shared_channel": false,
        "event": {"type": "app_mention", "user": "U1", "text": "hi", "channel": "C1", "ts": "1.1", "user_team": "T1"},
    });
    assert!(!Inbound::event(body.clone()).is_foreign(&home));
    body["event"]["user_team"] = json!("T2");
    assert!(Inbound::event(body.clone()).is_foreign(&home));
    // Where people of several organisations meet, one of ours shows that they are.
    body["is_ext_shared_channel"] = json!(true);
    assert!(Inbound::event(body.clone()).is_foreign(&home));
    body["event"]["user_team"] = json!("T1");
    assert!(!Inbound::event(body.clone()).is_foreign(&home));
    body["event"]["user_team"] = Value::Null;
    assert!(Inbound::event(body).is_foreign(&home));
    assert!(Inbound::unknown("x").is_foreign(&home));
}

#[test]
fn a_modal_is_read_however_empty() {
    let payload = |kind: &str| {
        json!({
            "type": kind, "team": null, "enterprise": {"id": "E1"}, "is_enterprise_install": "true",
            "user": {"id": "W1", "team_id": "E1"}, "api_app_id": "A1", "is_cleared": true,
            "view": {"id": "V1", "type": "modal", "callback_id": "deploy", "private_metadata": "{}", "state": {}, "hash": "1.ab",
                     "root_view_id": "V0", "previous_view_id": null, "external_id": "", "app_installed_team_id": "E1"},
        })
    };
    let submitted = Inbound::interaction(payload("view_submission"));
    assert_eq!(submitted.identity().unwrap().as_str(), "submission:V1:1.ab");
    assert_eq!(submitted.team().unwrap().as_str(), "E1");
    assert_eq!(submitted.enterprise().unwrap().as_str(), "E1");
    for state in [Value::Null, json!({"values": null}), json!({"values": {}})] {
        let mut bare = payload("view_submission");
        bare["view"]["state"] = state;
        assert_eq!(Inbound::interaction(bare).word(), "submission");
    }
    let mut filled = payload("view_submission");
    filled["view"]["state"]["values"] = json!({
        "app": {"app": {"type": "external_select", "selected_option": {"value": "checkout"}}},
        "who": {"who": {"type": "multi_users_select", "selected_users": ["U1", "U2"]}},
        "none": {"none": {"type": "static_select", "selected_option": null}},
        "text": {"text": {"type": "plain_text_input", "value": "x"}},
    });
    let Inbound::Submission(filled) = Inbound::interaction(filled) else {
        panic!("not read");
    };
    let values = filled.view.state;
    assert_eq!(values.get("app", "app"), Some("checkout"));
    assert_eq!(values.get("text", "text"), Some("x"));
    assert_eq!(values.get("none", "none"), None);
    assert_eq!(values.given("who", "who").unwrap().chosen, ["U1", "U2"]);
    assert_eq!(values.iter().count(), 4);
    let Inbound::Closed(closed) = Inbound::interaction(payload("view_closed")) else {
        panic!("not read");
    };
    assert!(closed.is_cleared);
}

#[test]
fn menus_and_shortcuts_are_read() {
    let Inbound::Suggestion(suggestion) = Inbound::interaction(json!({
        "type": "block_suggestion", "user": {"id": "U1"}, "value": "che", "action_id": "app", "block_id": "app",
        "container": {"type": "view", "view_id": "V1"}, "team": {"id": "T1"},
    })) else {
        panic!("not read");
    };
    assert_eq!(suggestion.value, "che");
    let shortcut = Inbound::interaction(json!({
        "type": "message_action", "user": {"id": "U1", "team_id": "T1"}, "callback_id": "deploy_this", "trigger_id": "1.2",
        "channel": {"id": "C1"}, "message": {"ts": "1.1", "text": "a: b"}, "team": {"id": "T1"},
    }));
    assert_eq!(shortcut.identity().unwrap().as_str(), "shortcut:T1:1.2");
    let Inbound::Shortcut(shortcut) = shortcut else {
        panic!("not read");
    };
    assert_eq!(shortcut.message.unwrap().text, "a: b");
}

#[test]
fn events_are_read_also_of_an_organisation() {
    let read = |event: Value| {
        let body = json!({
            "type": "event_callback", "team_id": null, "enterprise_id": "E1", "event_id": "Ev1", "api_app_id": "A1",
            "authorizations": [{"team_id": null, "is_enterprise_install": true}], "event": event,
        });
        match Inbound::event(body) {
            Inbound::Event(callback) => Some(callback.event),
            _ => None,
        }
    };
    let Some(Event::Message(message)) = read(json!({
        "type": "message", "channel_type": "im", "channel": "D1", "user": "U1", "ts": "1.1", "text": "```a: “b”```",
        "blocks": [{"type": "rich_text", "elements": [
            {"type": "rich_text_section", "elements": [{"type": "text", "text": "no"}]},
            {"type": "rich_text_preformatted", "elements": [{"type": "text", "text": "a: \"b\" "}, {"type": "link", "url": "https://x.example"}]},
        ]}],
    })) else {
        panic!("not read");
    };
    assert!(message.is_direct());
    assert_eq!(message.preformatted, ["a: \"b\" https://x.example"]);
    assert_eq!(message.person().unwrap().as_str(), "U1");
    for (event, word) in [
        (
            json!({"type": "app_home_opened", "user": "U1", "tab": "home"}),
            "app_home_opened",
        ),
        (
            json!({"type": "tokens_revoked", "tokens": {}}),
            "app_uninstalled",
        ),
        (
            json!({"type": "subteam_members_changed", "subteam_id": "S1"}),
            "subteam",
        ),
        (
            json!({"type": "subteam_updated", "subteam": {"id": "S1"}}),
            "subteam",
        ),
        (
            json!({"type": "user_change", "user": {"id": "U1", "deleted": true}}),
            "user_change",
        ),
        (
            json!({"type": "channel_rename", "channel": {"id": "C1"}}),
            "channel_rename",
        ),
        (json!({"type": "pin_added"}), "pin_added"),
        (json!({"no": "type"}), ""),
    ] {
        assert_eq!(read(event.clone()).unwrap().word(), word, "{event}");
    }
    assert_eq!(
        read(json!({"type": "app_home_opened", "user": "<!here>"})),
        None
    );
}

#[test]
fn what_apps_write_has_no_author() {
    let message = |extra: Value| {
        let mut event =
            json!({"type": "message", "channel": "C1", "ts": "1.1", "user": "U1", "text": "x"});
        event
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        let body =
            json!({"type": "event_callback", "team_id": "T1", "event_id": "Ev1", "event": event});
        match Inbound::event(body) {
            Inbound::Event(EventCallback {
                event: Event::Message(message),
                ..
            }) => message,
            other => panic!("{other:?}"),
        }
    };
    assert!(message(json!({})).person().is_some());
    assert!(message(json!({"subtype": "file_share"})).person().is_some());
    for by_others in [
        json!({"bot_id": "B1"}),
        json!({"subtype": "bot_message"}),
        json!({"subtype": "message_changed"}),
        json!({"subtype": "message_deleted"}),
        json!({"user": null}),
    ] {
        assert_eq!(message(by_others.clone()).person(), None, "{by_others}");
    }
}

#[test]
fn what_is_unknown_is_named_and_nothing_more() {
    for (payload, kind) in [
        (json!({"type": "dialog_submission"}), "dialog_submission"),
        (json!({"type": "block_actions"}), "block_actions"),
        (json!({"type": "<!here>\u{202e}\n"}), "<!here>"),
        (json!([]), ""),
    ] {
        assert_eq!(
            Inbound::interaction(payload),
            Inbound::Unknown {
                kind: kind.to_owned()
            }
        );
    }
    let limited = json!({"type": "app_rate_limited", "team_id": "T1", "minute_rate_limited": 1});
    assert_eq!(Inbound::event(limited).word(), "unknown");
    let long = Inbound::interaction(json!({"type": "x".repeat(500)}));
    assert_eq!(
        long,
        Inbound::Unknown {
            kind: format!("{}…", "x".repeat(79))
        }
    );
    assert_eq!(long.identity(), None);
}

#[test]
fn answers_go_to_slack_or_to_where_its_api_is() {
    let api: Url = "https://slack.com/api/".parse().unwrap();
    let local: Url = "http://127.0.0.1:8080/api/".parse().unwrap();
    let goes = |url: &str, api: &Url| {
        ResponseUrl::new(url)
            .and_then(|url| url.within(api))
            .is_ok()
    };
    assert!(goes("https://hooks.slack.com/actions/T1/2/3", &api));
    assert!(goes("http://127.0.0.1:8080/hooks/1", &local));
    for elsewhere in [
        "http://hooks.slack.com/a",
        "https://hooks.slack.com.evil.example/a",
        "https://evilslack.com/a",
        "https://hooks.slack.com:8443/a",
        "https://hooks.slack.com@evil.example/a",
        "https://user@hooks.slack.com/a",
        "http://127.0.0.1:8080/a",
        "http://169.254.169.254/latest",
        "ftp://hooks.slack.com/a",
        "nonsense",
    ] {
        assert!(!goes(elsewhere, &api), "{elsewhere}");
    }
    assert!(!goes("http://127.0.0.2:8080/a", &local));
    let secret = ResponseUrl::new("https://hooks.slack.com/secret").unwrap();
    assert!(!format!("{secret:?}").contains("secret"));
}

#[test]
fn replies_are_what_slack_expects() {
    let message = Message::new(Mrkdwn::fixed("hello"), [Block::divider()]);
    let view = View::modal("a", "b", []);
    assert_eq!(Reply::Empty.body(), None);
    assert_eq!(Reply::Refused.body(), None);
    assert_eq!(
        Reply::ephemeral(message.clone()).body().unwrap(),
        json!({"response_type": "ephemeral", "text": "hello", "blocks": [{"type": "divider"}]})
    );
    let public = Reply::Message {
        visibility: Visibility::InChannel,
        message,
    };
    assert_eq!(public.body().unwrap()["response_type"], json!("in_channel"));
    let errors = [("app".to_owned(), Plain::new("No such application"))];
    assert_eq!(
        Reply::ViewErrors(errors.into()).body().unwrap(),
        json!({"response_action": "errors", "errors": {"app": "No such application"}})
    );
    assert_eq!(
        Reply::ViewUpdate(Box::new(view.clone())).body().unwrap()["response_action"],
        "update"
    );
    assert_eq!(
        Reply::ViewPush(Box::new(view)).body().unwrap()["view"]["callback_id"],
        "a"
    );
    assert_eq!(
        Reply::ViewClear.body().unwrap(),
        json!({"response_action": "clear"})
    );
    let choices = vec![Choice::new("Label", "value").unwrap(); 120];
    let body = Reply::Options(choices).body().unwrap();
    assert_eq!(body["options"].as_array().unwrap().len(), 100);
    assert_eq!(body["options"][0]["value"], "value");
}

type Reader = fn(Value) -> Inbound;

/// What somebody may put in a field's place.
fn odd() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(json!("<!channel>|&\u{202e}")),
        Just(json!([])),
        Just(json!({"id": "U1"})),
        Just(json!([{"type": "rich_text", "elements": [{"type": "rich_text_preformatted"}]}])),
    ]
}

/// All places of a payload.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    let children: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), value))
            .collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(at, value)| (at.to_string(), value))
            .collect(),
        _ => Vec::new(),
    };
    for (name, child) in children {
        places(child, &format!("{at}/{name}"), found);
    }
}

proptest! {
    #[test]
    fn whatever_stands_in_a_field_is_read_or_unknown(change in any::<prop::sample::Index>(), odd in odd()) {
        let event = json!({
            "type": "event_callback", "team_id": "T1", "event_id": "Ev1", "api_app_id": "A1", "is_ext_shared_channel": false,
            "event": {"type": "message", "channel_type": "im", "channel": "D1", "user": "U1", "ts": "1.1", "text": "x",
                      "blocks": [{"type": "rich_text", "elements": []}]},
        });
        let view = json!({
            "type": "view_submission", "user": {"id": "U1", "team_id": "T1"}, "team": {"id": "T1"},
            "view": {"id": "V1", "hash": "1.a", "callback_id": "c", "private_metadata": "", "state": {"values": {"a": {"a": {
                "type": "static_select", "selected_option": {"value": "x"}}}}}},
        });
        let readers: [(Value, Reader); 3] =
            [(actions(), Inbound::interaction), (view, Inbound::interaction), (event, Inbound::event)];
        for (mut payload, read) in readers {
            let mut found = Vec::new();
            places(&payload, "", &mut found);
            *payload.pointer_mut(&found[change.index(found.len())]).unwrap() = odd.clone();
            let inbound = read(payload);
            // Whatever ids come out are ids: nothing of markup, paths or control characters.
            let ids = [
                inbound.user().map(ToString::to_string),
                inbound.team().map(ToString::to_string),
                inbound.app().map(ToString::to_string),
            ];
            for id in ids.into_iter().flatten() {
                prop_assert!(id.chars().all(|char| char.is_ascii_alphanumeric()), "{}", id);
            }
            let _ = (inbound.identity(), inbound.is_foreign(&TeamId::new("T1").unwrap()));
        }
    }
}
