//! What people read who say yes or no, as it is; and that foreign text stays text.

use serde_json::json;

use super::{
    super::tests::{HOSTILE, markup, page, parsed, person, request},
    *,
};

/// A word of this person on the request.
fn word(text: &str, subject: ApprovalSubject, decision: ApprovalDecision) -> DeployApproval {
    let approver = json!({"username": text, "slack": {"team": "T1", "user": "U9"}});
    let mut spec = json!({
        "request": {"name": "slack-7f3c", "uid": "u-1"}, "for": subject, "decision": decision, "approver": approver,
    });
    if subject == ApprovalSubject::Judgment {
        spec["judgment"] = json!({"execution": text, "stage": text, "input": text});
    }
    serde_json::from_value(json!({
        "metadata": {"name": "approval-1", "namespace": "shop", "creationTimestamp": "2026-01-02T03:04:05Z"}, "spec": spec,
    }))
    .unwrap()
}

fn judgment(text: &str) -> Judgment {
    let answer = json!({"name": text, "by": text, "at": "2026-01-02T03:04:05Z"});
    serde_json::from_value(json!({
        "stage": text, "name": text, "inputs": [text, "green"], "roles": [text], "answer": answer,
    }))
    .unwrap()
}

fn missing(text: &str) -> [Missing; 2] {
    [("applications", text), ("environments", "production")].map(|(resource, name)| Missing {
        verb: "approve".to_owned(),
        resource,
        name: name.to_owned(),
    })
}

fn all(text: &str, request: &DeployRequest, person: &Person) -> Vec<(&'static str, Message)> {
    let approve = word(text, ApprovalSubject::Start, ApprovalDecision::Approve);
    let reject = word(text, ApprovalSubject::Start, ApprovalDecision::Reject);
    let judged = word(text, ApprovalSubject::Judgment, ApprovalDecision::Approve);
    let mut own = approve.clone();
    own.spec.approver.as_mut().unwrap().slack = Some(person.slack.clone());
    let mut lapsed = own.clone();
    let counts = json!({"conditions": [{
        "type": "Counts", "status": "False", "reason": "ApprovalExpired", "lastTransitionTime": "2026-03-04T10:00:00Z",
        "message": format!("{text} has lapsed."),
    }]});
    lapsed.status = Some(serde_json::from_value(counts).unwrap());
    let judgment = judgment(text);
    let answer = judgment.answer.clone().unwrap();
    let group = text.to_owned();
    let groups = std::slice::from_ref(&group);
    vec![
        ("gone", gone(Asked::Start)),
        ("not asked", not_asked(Asked::Start, request)),
        ("another judgment", not_asked(Asked::Judgment, request)),
        ("canceled", canceled(Asked::Start, request)),
        ("changed", changed(request)),
        (
            "no verb",
            not_allowed(Asked::Start, person, request, &missing(text)),
        ),
        ("own", super::own(request)),
        ("automation's", not_of_groups(person, request, groups)),
        (
            "no role",
            no_role(person, request, &judgment, &[text].into()),
        ),
        (
            "no role mapped",
            no_role(person, request, &judgment, &BTreeSet::new()),
        ),
        ("no such input", no_such_input(&judgment)),
        ("answered", answered(request, &answer)),
        ("approved", recorded(request, &approve)),
        ("rejected", recorded(request, &reject)),
        ("judged", recorded(request, &judged)),
        ("approved before", stands(person, request, &approve, &own)),
        (
            "approved before, now rejected",
            stands(person, request, &reject, &own),
        ),
        (
            "judged by another",
            stands(person, request, &judged, &judged),
        ),
        ("lapsed", stands(person, request, &approve, &lapsed)),
        ("refused", refused(Asked::Start, text)),
        ("not done", not_done(Asked::Judgment)),
        ("no modal", no_modal(Asked::Start)),
    ]
}

#[test]
fn answers_to_a_decision_read_like_this() {
    let request = request(&json!({"phase": "Queued"}));
    let all = all("bob@corp.example", &request, &person());
    insta::assert_snapshot!("decisions", page(all));
}

#[test]
fn foreign_text_stays_text_in_answers_to_a_decision() {
    let mut request = request(&json!({"phase": "AwaitingApproval", "message": HOSTILE}));
    request.spec.application = HOSTILE.to_owned();
    request.spec.environment = HOSTILE.to_owned();
    request.spec.version = Some(HOSTILE.to_owned());
    let mut person = person();
    person.username = HOSTILE.to_owned();
    let mut texts = Vec::new();
    for (_, message) in all(HOSTILE, &request, &person) {
        texts.extend(parsed(&message));
    }
    let judgment = judgment(HOSTILE);
    for view in [
        ask_why(actions::REJECTION, &request, Some(HOSTILE), "value"),
        ask_which(&request, &judgment, "value"),
    ] {
        markup(&json!(view.unwrap()), &mut texts);
    }
    for text in texts {
        for evil in ["<!channel>", "<https://evil", "\u{202e}", "*x*`"] {
            assert!(!text.contains(evil), "{text}");
        }
    }
}

#[test]
fn a_modal_offers_every_input_by_its_mark() {
    let judgment = Judgment {
        inputs: (0..50).map(|number| format!("cluster {number}")).collect(),
        ..Judgment::default()
    };
    let view = json!(ask_which(&request(&json!({})), &judgment, "value").unwrap());
    let blocks = view["blocks"].as_array().unwrap();
    let options = blocks
        .iter()
        .find_map(|block| block["element"]["options"].as_array())
        .unwrap();
    assert_eq!(options.len(), 50);
    assert_eq!(options[3]["value"], json!(ids::input_mark("cluster 3")));
    assert_eq!(view["private_metadata"], "value");
}
