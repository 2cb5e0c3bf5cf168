//! What people read, phase by phase; and that nothing foreign gets out of its place.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    relay::testing::{changed, request},
    slack::{blocks::MOST_IN_MESSAGE, ids::UserId},
};

fn to_json(message: &Message) -> Value {
    serde_json::to_value(message).unwrap()
}

fn alice() -> UserId {
    "U01".parse().unwrap()
}

#[test]
fn live_message_of_each_phase() {
    for phase in Phase::ALL {
        let message = live(&request(phase), None);
        insta::assert_json_snapshot!(format!("live-{phase:?}"), message);
    }
}

#[test]
fn answer_in_the_thread_at_the_end() {
    for phase in Phase::ALL.into_iter().filter(|phase| phase.is_terminal()) {
        let message = end(&request(phase), Some(&alice()), true, None);
        insta::assert_json_snapshot!(format!("end-{phase:?}"), message);
    }
}

#[test]
fn lines_beside_the_live_message() {
    let url = "https://corp.slack.com/archives/C01/p1".parse().unwrap();
    let channel = "C0ALSO".parse().unwrap();
    let (running, failed) = (request(Phase::Running), request(Phase::Failed));
    let all = [
        link(&running, Some(&channel), Some(&url)),
        link(&running, None, None),
        started(&running, &channel, Some(&url), None),
        ended(&failed, &channel, Some(&url), Some(EarlierMessage::Unknown)),
        stages(&running),
        gone(&running),
        gone(&request(Phase::Queued)),
    ];
    insta::assert_json_snapshot!("lines", all);
}

fn first_line(phase: Phase, patch: &Value) -> String {
    live(&changed(phase, patch), None).text().to_string()
}

#[test]
fn the_first_line_stands_alone() {
    let queue = json!({"status": {"waiting": null}});
    let rows = [
        (
            Phase::Queued,
            queue.clone(),
            "⏳ *checkout* `v42` to *production*: waits for its turn",
        ),
        (
            Phase::Running,
            json!({}),
            "🔄 *checkout* `v42` to *production*: running",
        ),
        (
            Phase::Running,
            json!({"spec": {"action": "rollback"}}),
            "🔄 rollback of *checkout* to `v42` in *production*: running",
        ),
        (
            Phase::Running,
            json!({"spec": {"action": "restart", "version": null}, "status": {"resolved": {"version": null}}}),
            "🔄 *restart* of *checkout* in *production*: running",
        ),
        (
            Phase::Running,
            json!({"spec": {"cancel": {}}}),
            "🔄 *checkout* `v42` to *production*: being canceled",
        ),
        (
            Phase::Running,
            json!({"status": {"waiting": {"for": "Judgment", "message": "m", "since": "2026-03-04T10:00:01Z"}}}),
            "✋ *checkout* `v42` to *production*: waits for a judgment",
        ),
        (
            Phase::Failed,
            json!({}),
            "❌ *checkout* `v42` to *production*: failed at stage `Deploy`",
        ),
        (
            Phase::Succeeded,
            json!({"spec": {"dryRun": true}}),
            "✅ dry run: *checkout* `v42` to *production*: valid, nothing was started",
        ),
        (
            Phase::Pending,
            json!({"status": {"waiting": null}}),
            "⏳ *checkout* `main` to *production*: being checked",
        ),
    ];
    for (phase, patch, expected) in rows {
        assert_eq!(first_line(phase, &patch), expected, "{phase:?} {patch}");
    }
}

#[test]
fn only_buttons_that_do_something_are_there() {
    let actions = |request: &DeployRequest| -> Vec<String> {
        let message = to_json(&live(request, None));
        let blocks = message["blocks"].as_array().unwrap().clone();
        let rows = blocks.iter().filter(|block| block["type"] == "actions");
        rows.flat_map(|row| row["elements"].as_array().unwrap().clone())
            .map(|element| element["action_id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        actions(&request(Phase::Running)),
        ["link", "request-cancel"]
    );
    assert_eq!(actions(&request(Phase::Queued)), ["request-cancel"]);
    assert_eq!(actions(&request(Phase::Succeeded)), ["link"]);
    assert!(actions(&request(Phase::Canceled)).is_empty());
    let canceling = changed(
        Phase::Running,
        &json!({"spec": {"cancel": {"reason": "wrong"}}}),
    );
    assert_eq!(actions(&canceling), ["link"]);
    for bad in ["javascript:alert(1)", "ftp://x/", "not a url", "https://"] {
        let foreign = changed(
            Phase::Succeeded,
            &json!({"status": {"execution": {"url": bad}}}),
        );
        assert!(actions(&foreign).is_empty(), "{bad}");
    }
}

#[test]
fn only_the_answer_at_the_end_mentions_somebody() {
    for phase in Phase::ALL {
        let request = request(phase);
        for message in [live(&request, None), stages(&request), gone(&request)] {
            assert!(!to_json(&message).to_string().contains("<@"), "{phase:?}");
        }
        let end = to_json(&end(&request, Some(&alice()), true, None));
        // Once in the text that phones show, once in the block that others do: one message, one mention.
        assert_eq!(end.to_string().matches("<@U01>").count(), 2, "{phase:?}");
    }
}

#[test]
fn a_run_again_after_the_end_is_said() {
    let request = changed(
        Phase::Succeeded,
        &json!({"status": {"execution": {"rerun": "RUNNING"}}}),
    );
    let text = to_json(&live(&request, None)).to_string();
    assert!(
        text.contains("Somebody restarted it in Spinnaker"),
        "{text}"
    );
}

/// What a message holds that Slack parses: the top-level text and every mrkdwn object.
fn parsed(message: &Value) -> Vec<String> {
    fn walk(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(object) => {
                if object.get("type") == Some(&json!("mrkdwn")) {
                    found.push(object["text"].as_str().unwrap().to_owned());
                }
                object.values().for_each(|value| walk(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| walk(value, found)),
            _ => {}
        }
    }
    let mut found = vec![message["text"].as_str().unwrap().to_owned()];
    walk(&message["blocks"], &mut found);
    found
}

/// A request in which every text that comes from outside is this one.
fn hostile(phase: Phase, text: &str) -> DeployRequest {
    let stage = json!({"name": text, "type": text, "status": text});
    changed(
        phase,
        &json!({
            "spec": {"application": text, "environment": text, "version": text, "reason": text, "action": text,
                     "requester": {"username": text}, "cancel": {"reason": text}},
            "status": {
                "message": text, "stage": text,
                "resolved": {"connection": text, "deployTarget": text, "digest": text, "version": text,
                             "pipeline": {"application": text, "name": text, "id": text}, "target": {"account": text, "namespace": text}},
                "waiting": {"for": "Person", "message": text, "since": "2026-03-04T10:00:01Z"},
                "execution": {"id": text, "url": text, "status": text, "rerun": text, "stages": [stage.clone(), stage],
                              "failure": {"stage": text, "message": text}},
            },
        }),
    )
}

fn all_messages(request: &DeployRequest) -> Vec<Message> {
    let channel = "C0ALSO".parse().unwrap();
    vec![
        live(request, Some(EarlierMessage::Unchangeable)),
        stages(request),
        end(request, None, true, Some(EarlierMessage::Unknown)),
        gone(request),
        link(request, Some(&channel), None),
        started(request, &channel, None, None),
        ended(request, &channel, None, None),
    ]
}

/// Foreign markup would show as a `<` that we didn't write, or as a sign outside of code.
fn assert_tame(text: &str) {
    for opened in text.split('<').skip(1) {
        assert!(
            ["!date^", "#C0ALSO>"]
                .iter()
                .any(|ours| opened.starts_with(ours)),
            "{text}"
        );
    }
    assert!(!text.contains('\u{202e}'), "{text}");
    let outside: String = text.replace("```", "`").split('`').step_by(2).collect();
    for forged in ["EVIL", ":white_check_mark:", "succeeded*"] {
        assert!(!outside.contains(forged), "{forged} in {text}");
    }
}

#[test]
fn foreign_text_stays_in_its_place() {
    for text in [
        "EVIL <!channel> <@U02> <https://evil.example|deck.example>",
        "EVIL` *Deployed* `EVIL",
        "EVIL```\n:white_check_mark: *succeeded*\n```EVIL",
        "EVIL\n> EVIL\n:white_check_mark: *succeeded*",
        "EVIL\u{202e}gnp.exe\u{200b}EVIL",
        "EVIL &lt;!here&gt; &amp;",
    ] {
        for phase in Phase::ALL {
            for message in all_messages(&hostile(phase, text)) {
                for markup in parsed(&to_json(&message)) {
                    assert_tame(&markup);
                }
            }
        }
    }
}

#[test]
fn nothing_is_said_without_words() {
    for text in ["", " ", "\u{200b}"] {
        for phase in Phase::ALL {
            for message in all_messages(&hostile(phase, text)) {
                for markup in parsed(&to_json(&message)) {
                    assert!(!markup.trim().is_empty(), "{phase:?}");
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn every_message_keeps_the_limits(text in "\\PC{0,3000}", count in 0..120_usize) {
        for phase in [Phase::Running, Phase::Failed, Phase::Unknown] {
            let mut request = hostile(phase, &text);
            let stages = &mut request.status.as_mut().unwrap().execution.as_mut().unwrap().stages;
            let stage = stages[0].clone();
            *stages = vec![stage; count];
            for message in all_messages(&request) {
                prop_assert!(message.blocks().len() <= MOST_IN_MESSAGE);
                prop_assert!(message.text().len() <= 3500);
                let json = to_json(&message);
                for markup in parsed(&json) {
                    prop_assert!(markup.chars().count() <= 3500);
                    prop_assert!(!markup.trim().is_empty());
                }
                prop_assert!(json.to_string().len() < 64 << 10);
            }
        }
    }
}
