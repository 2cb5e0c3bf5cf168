//! What people read, phase by phase; and that nothing foreign gets out of its place.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    api::Environment,
    relay::testing::{application, changed, judged, protected, request},
    slack::{blocks::MOST_IN_MESSAGE, ids::UserId},
};

fn to_json(message: &Message) -> Value {
    serde_json::to_value(message).unwrap()
}

/// The commit that is asked.
const SHA: &str = "3f2a1bc0123456789abcdef0123456789abcdef0";
/// The commit that ran.
const FROM: &str = "9d8e7f60123456789abcdef0123456789abcdef0";

fn alice() -> UserId {
    "U01".parse().unwrap()
}

#[test]
fn live_message_of_each_phase() {
    for phase in Phase::ALL {
        let message = live(&request(phase), None, None);
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
        gone(&running, &Purpose::Live),
        gone(&request(Phase::Queued), &Purpose::Live),
        gone(&request(Phase::AwaitingApproval), &Purpose::Approval),
    ];
    insta::assert_json_snapshot!("lines", all);
}

/// Two have to say yes, one of them a lead.
fn two_of_which_one_leads() -> Environment {
    protected(&json!({"approvals": {
        "required": 2, "groups": ["okta:leads", "okta:security"], "mention": ["S0LEADS", "U0BOSS"],
    }}))
}

/// How `decisions` keep a no.
fn rejected() -> DeployRequest {
    let decisions = json!([
        {"at": "2026-03-04T10:00:00Z", "what": "Requested", "by": "alice@corp.example"},
        {"at": "2026-03-04T10:02:00Z", "what": "Rejected", "by": "carol@corp.example", "why": "not on a Friday"},
    ]);
    changed(
        Phase::Denied,
        &json!({"status": {"decisions": decisions, "message": "carol said no"}}),
    )
}

fn enough(phase: Phase) -> DeployRequest {
    let given = |by: &str, at: &str| json!({"name": by, "by": by, "at": at});
    let approvals = json!({"required": 2, "given": [
        given("bob@corp.example", "2026-03-04T10:00:30Z"), given("carol@corp.example", "2026-03-04T10:00:50Z"),
    ]});
    changed(phase, &json!({"status": {"approvals": approvals}}))
}

#[test]
fn the_question_for_approval_through_its_life() {
    let environment = two_of_which_one_leads();
    let parameters =
        json!({"status": {"resolved": {"parameters": {"branch": "v42", "password": "***"}}}});
    let rows = [
        ("asked", changed(Phase::AwaitingApproval, &parameters)),
        ("enough", enough(Phase::Queued)),
        ("rejected", rejected()),
        ("expired", request(Phase::Expired)),
    ];
    for (name, request) in rows {
        let message = approval(&request, Some(&environment), None, Readers::Channel, None);
        insta::assert_json_snapshot!(format!("approval-{name}"), message);
    }
}

/// In a direct message to who asked there is nobody to be asked.
#[test]
fn who_asked_is_not_asked_to_approve_it_alone() {
    let request = request(Phase::AwaitingApproval);
    let mut environment = two_of_which_one_leads();
    let message = approval(
        &request,
        Some(&environment),
        None,
        Readers::RequesterOnly,
        None,
    );
    insta::assert_json_snapshot!("approval-alone", message);
    let text = to_json(&message).to_string();
    for part in ["<!subteam", "<@", "request-approve", "request-reject"] {
        assert!(!text.contains(part), "{part} in {text}");
    }
    let rules = environment.spec.protection.approvals.as_mut();
    rules.unwrap().requester_may_approve = true;
    let own = to_json(&approval(
        &request,
        Some(&environment),
        None,
        Readers::RequesterOnly,
        None,
    ));
    assert!(own.to_string().contains("request-approve"), "{own}");
    assert!(!own.to_string().contains("<!subteam"), "{own}");
}

#[test]
fn who_asked_to_end_it_is_named() {
    let cancel = |phase, cancel: Value| {
        live(
            &changed(phase, &json!({"spec": {"cancel": cancel}})),
            None,
            None,
        )
    };
    let bob = json!({"username": "bob@corp.example"});
    let rows = [
        (
            "running",
            cancel(Phase::Running, json!({"by": bob, "reason": "wrong one"})),
        ),
        ("running-silent", cancel(Phase::Running, json!({"by": bob}))),
        (
            "canceled",
            cancel(Phase::Canceled, json!({"by": bob, "reason": "wrong one"})),
        ),
        (
            "canceled-silent",
            cancel(Phase::Canceled, json!({"by": bob})),
        ),
    ];
    let said: Vec<(&str, Vec<String>)> = rows
        .iter()
        .map(|(name, message)| {
            let blocks = to_json(message)["blocks"].clone();
            let texts = blocks
                .as_array()
                .unwrap()
                .iter()
                .filter(|block| block["type"] == "rich_text");
            let texts = texts.map(|block| {
                block["elements"][0]["elements"][0]["text"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            });
            (*name, texts.collect())
        })
        .collect();
    insta::assert_json_snapshot!("who-asked-to-end-it", said);
}

#[test]
fn a_rejection_is_told_in_the_live_message_and_at_the_end() {
    let request = rejected();
    for message in [
        live(&request, None, None),
        end(&request, Some(&alice()), true, None),
    ] {
        let text = to_json(&message).to_string();
        for part in ["carol@corp.example", "not on a Friday"] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
        assert!(!text.contains("carol said no"), "once is enough: {text}");
    }
}

#[test]
fn people_are_asked_only_while_their_word_can_count() {
    let environment = two_of_which_one_leads();
    let asks = |request: &DeployRequest| {
        let text = to_json(&approval(
            request,
            Some(&environment),
            None,
            Readers::Channel,
            None,
        ))
        .to_string();
        let parts = [
            "<!subteam^S0LEADS> <@U0BOSS> ",
            "request-approve",
            "request-reject",
        ];
        let found: Vec<bool> = parts.iter().map(|part| text.contains(part)).collect();
        assert!(found.iter().all(|one| *one == found[0]), "{text}");
        found[0]
    };
    assert!(asks(&request(Phase::AwaitingApproval)));
    let cancelled = changed(Phase::AwaitingApproval, &json!({"spec": {"cancel": {}}}));
    assert!(!asks(&cancelled));
    for phase in Phase::ALL {
        if phase != Phase::AwaitingApproval {
            assert!(!asks(&enough(phase)), "{phase:?}");
        }
    }
}

/// It may still start, so people are still asked.
#[test]
fn a_cancel_that_does_not_count_is_told_and_changes_nothing_else() {
    let condition = json!({
        "type": "Cancelable", "status": "False", "reason": "CancelRefused", "lastTransitionTime": "2026-03-04T10:00:00Z",
        "message": "it is not cancelled, as who wanted that neither asked for it nor may.",
    });
    let refused = json!({"spec": {"cancel": {}}, "status": {"conditions": [condition]}});
    let request = changed(Phase::AwaitingApproval, &refused);
    assert!(is_asked(&request));
    let live = to_json(&live(&request, None, None)).to_string();
    assert!(
        live.contains("It is not cancelled, as who wanted that"),
        "{live}"
    );
    assert!(live.contains("waits for approval"), "{live}");
}

#[test]
fn what_is_approved_is_repeated_before_it_is_approved() {
    let message = to_json(&approval(
        &request(Phase::AwaitingApproval),
        None,
        None,
        Readers::Channel,
        None,
    ));
    let blocks = message["blocks"].as_array().unwrap();
    let row = blocks
        .iter()
        .find(|block| block["type"] == "actions")
        .unwrap();
    let question = row["elements"][0]["confirm"]["text"]["text"]
        .as_str()
        .unwrap();
    for part in ["*checkout*", "`v42`", "*production*"] {
        assert!(question.contains(part), "{part} is missing in {question}");
    }
    let value = row["elements"][0]["value"].as_str().unwrap();
    assert_eq!(value, "shop/checkout-main-7f3c2a/0b1c4d5e/d");
}

fn judgment_of(request: &DeployRequest, environment: Option<&Environment>) -> Message {
    let (mark, _) = current_judgment(request).unwrap();
    judgment(request, environment, &mark, None, None)
}

#[test]
fn the_question_for_a_judgment_through_its_life() {
    let ops = protected(&json!({"judgmentRoles": [{"role": "ops", "group": "okta:ops"}]}));
    let many: Vec<String> = (0..7).map(|number| format!("cluster {number}")).collect();
    let rows = vec![
        ("plain", judged(&json!({}))),
        (
            "inputs",
            judged(&json!({"status": {"judgment": {"inputs": ["blue", "green"]}}})),
        ),
        (
            "many",
            judged(&json!({"status": {"judgment": {"inputs": many}}})),
        ),
        (
            "roles",
            judged(&json!({"status": {"judgment": {"roles": ["ops"]}}})),
        ),
        (
            "unmapped",
            judged(&json!({"status": {"judgment": {"roles": ["qa"]}}})),
        ),
        ("canceling", judged(&json!({"spec": {"cancel": {}}}))),
        (
            "answered",
            judged(&json!({"status": {"judgment": {"answer": {
                "name": "judgment-1", "by": "bob@corp.example", "at": "2026-03-04T10:03:00Z", "comment": "fine"}}}})),
        ),
    ];
    for (name, request) in rows {
        let message = judgment_of(&request, Some(&ops));
        insta::assert_json_snapshot!(format!("judgment-{name}"), message);
    }
}

#[test]
fn a_judgment_that_is_over_says_who_answered_it_what() {
    let open = judged(&json!({}));
    let (mark, _) = current_judgment(&open).unwrap();
    let decision = |at: &str, why: &str| json!({"at": at, "what": "Judged", "by": "bob@corp.example", "why": why});
    let stage = |name: &str, started: &str| json!({"name": name, "type": "manualJudgment", "status": "SUCCEEDED", "startedAt": started});
    let over = judged(&json!({"status": {
        "judgment": null,
        "execution": {"stages": [stage("Early", "2026-03-04T10:00:10Z"), stage("Go?", "2026-03-04T10:01:00Z"), stage("Later", "2026-03-04T10:04:00Z")]},
        "decisions": [decision("2026-03-04T10:00:20Z", "early"), decision("2026-03-04T10:03:00Z", "Go?: blue"), decision("2026-03-04T10:04:30Z", "late")],
    }}));
    let since = "2026-03-04T10:01:02Z".parse().unwrap();
    let message = judgment(&over, None, &mark, Some(since), None);
    let text = to_json(&message).to_string();
    for part in ["stage `Go?`", "judged by `bob@corp.example`", "`Go?: blue`"] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    assert!(!text.contains("judge-"), "{text}");
    let silent = judged(&json!({"status": {"judgment": null}}));
    let text = judgment(&silent, None, &mark, Some(since), None)
        .text()
        .to_string();
    assert!(
        text.contains("nobody is asked to judge it any more"),
        "{text}"
    );
}

fn first_line(phase: Phase, patch: &Value) -> String {
    live(&changed(phase, patch), None, None).text().to_string()
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
        let message = to_json(&live(request, None, None));
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
        let asked = approval(&request, None, None, Readers::Channel, None);
        for message in [
            live(&request, None, None),
            stages(&request),
            gone(&request, &Purpose::Live),
            asked,
        ] {
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
    let text = to_json(&live(&request, None, None)).to_string();
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
    let at = "2026-03-04T10:03:00Z";
    let given = json!({"name": text, "by": text, "at": at, "comment": text});
    let parameters = json!({text: text, "password": text});
    let commit = json!({"sha": SHA, "title": text, "author": text});
    let artifact = json!({"type": text, "name": text, "version": text, "location": text, "reference": text, "artifactAccount": text});
    changed(
        phase,
        &json!({
            "spec": {"application": text, "environment": text, "version": text, "reason": text, "action": text,
                     "requester": {"username": text}},
            "status": {
                "message": text, "stage": text,
                "resolved": {"connection": text, "deployTarget": text, "digest": text, "version": text, "parameters": parameters,
                             "pipeline": {"application": text, "name": text, "id": text}, "target": {"account": text, "namespace": text},
                             "commit": SHA, "artifacts": vec![artifact; 20]},
                "changes": {"from": FROM, "relation": "Diverged", "added": 4000, "removed": 7, "url": text, "problem": text,
                            "commits": vec![commit; 10]},
                "approvals": {"required": 2, "given": [given], "missingGroups": [text]},
                "judgment": {"stage": text, "name": text, "instructions": text, "inputs": [text, text], "roles": [text]},
                "decisions": [{"at": at, "what": "Rejected", "by": text, "why": text}, {"at": at, "what": "Judged", "by": text, "why": text}],
                "waiting": {"for": "Person", "message": text, "since": "2026-03-04T10:00:01Z"},
                "execution": {"id": text, "url": text, "status": text, "rerun": text, "stages": [stage.clone(), stage],
                              "failure": {"stage": text, "message": text}},
            },
        }),
    )
}

fn all_messages(request: &DeployRequest, text: &str) -> Vec<Message> {
    let channel = "C0ALSO".parse().unwrap();
    let environment = protected(&json!({
        "approvals": {"required": 2, "groups": [text], "mention": [text, "S0LEADS"]},
        "judgmentRoles": [{"role": text, "group": text}],
    }));
    let since = Some("2026-03-04T10:02:00Z".parse().unwrap());
    let mark = current_judgment(request).map_or_else(|| "0".to_owned(), |(mark, _)| mark);
    let mut canceling = request.clone();
    canceling.spec.cancel = serde_json::from_value(json!({"reason": text})).unwrap();
    let answered = {
        let mut answered = request.clone();
        let status = answered.status.as_mut().unwrap();
        let judgment = status.judgment.as_mut().unwrap();
        judgment.answer = status
            .approvals
            .as_ref()
            .map(|approvals| approvals.given[0].clone());
        answered
    };
    vec![
        live(&canceling, Some(&application()), None),
        approval(
            request,
            Some(&environment),
            Some(&application()),
            Readers::Channel,
            Some(EarlierMessage::Unknown),
        ),
        approval(request, None, None, Readers::RequesterOnly, None),
        judgment(
            request,
            Some(&environment),
            &mark,
            since,
            Some(EarlierMessage::Unknown),
        ),
        judgment(request, None, &mark, since, None),
        judgment(&answered, None, &mark, since, None),
        judgment(request, None, "1", since, None),
        live(request, None, Some(EarlierMessage::Unchangeable)),
        stages(request),
        end(request, None, true, Some(EarlierMessage::Unknown)),
        gone(request, &Purpose::Live),
        link(request, Some(&channel), None),
        started(request, &channel, None, None),
        ended(request, &channel, None, None),
    ]
}

/// Foreign markup would show as a `<` that we didn't write, or as a sign outside of code.
fn assert_tame(text: &str) {
    for opened in text.split('<').skip(1) {
        assert!(
            [
                "!date^",
                "#C0ALSO>",
                "!subteam^S0LEADS>",
                "https://github.com/shop/checkout/commit/3f2a1bc",
                "https://github.com/shop/checkout/compare/",
            ]
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
            for message in all_messages(&hostile(phase, text), text) {
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
            for message in all_messages(&hostile(phase, text), text) {
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
        for phase in [Phase::AwaitingApproval, Phase::Running, Phase::Failed, Phase::Unknown] {
            let mut request = hostile(phase, &text);
            let stages = &mut request.status.as_mut().unwrap().execution.as_mut().unwrap().stages;
            let stage = stages[0].clone();
            *stages = vec![stage; count];
            for message in all_messages(&request, &text) {
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

#[path = "changes_tests.rs"]
mod changes;

#[path = "gates_tests.rs"]
mod held;
