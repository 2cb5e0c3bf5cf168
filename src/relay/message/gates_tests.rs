//! What people read of a request that is held, overridden, scheduled, or has rolled back.

use serde_json::{Value, json};

use super::{super::*, application, changed, to_json};
use crate::relay::testing::request;

/// The table of gates as the controller writes it, all open but for these.
fn gates(closed: &[(&str, &str, Value)]) -> Value {
    let all = [
        "Policies",
        "Authorization",
        "Approval",
        "Time",
        "Order",
        "Freeze",
        "Lock",
        "Queue",
    ];
    let rows = all.map(|gate| {
        let known = closed.iter().find(|(name, ..)| *name == gate);
        let (state, more) = known.map_or(("Open", json!({})), |(_, state, more)| {
            (*state, more.clone())
        });
        let mut row = json!({"gate": gate, "state": state});
        for (key, value) in more.as_object().into_iter().flatten() {
            row[key.as_str()] = value.clone();
        }
        row
    });
    json!(rows)
}

fn frozen(state: &'static str) -> (&'static str, &'static str, Value) {
    let message = "freeze \"black-friday\" of namespace \"shop\" holds it until 2026-03-04 18:00 UTC: <!channel> the *busiest* day. Ask #shop-leads.";
    (
        "Freeze",
        state,
        json!({"reason": "Frozen", "until": "2026-03-04T18:00:00Z", "message": message}),
    )
}

fn locked(reason: &str) -> (&'static str, &'static str, Value) {
    (
        "Lock",
        "Closed",
        json!({"reason": reason, "message": "bob@corp.example locked Environment \"production\": the database moves. They, or whoever may override, unlock it."}),
    )
}

fn waiting(phase: Phase, subject: &str, closed: &[(&str, &str, Value)]) -> DeployRequest {
    changed(
        phase,
        &json!({"status": {
            "gates": gates(closed),
            "waiting": {"for": subject, "message": "it is held.", "since": "2026-03-04T10:00:01Z", "until": "2026-03-05T10:00:00Z"},
        }}),
    )
}

fn with(mut request: DeployRequest, patch: &Value) -> DeployRequest {
    let mut json = serde_json::to_value(&request).unwrap();
    for (part, changes) in patch.as_object().unwrap() {
        for (key, value) in changes.as_object().unwrap() {
            json[part][key] = value.clone();
        }
    }
    request = serde_json::from_value(json).unwrap();
    request
}

fn first_line(request: &DeployRequest) -> String {
    let message = to_json(&live(request, Some(&application()), None));
    message["text"].as_str().unwrap().to_owned()
}

fn text(request: &DeployRequest) -> String {
    to_json(&live(request, Some(&application()), None)).to_string()
}

fn asked_to_override(condition: &str) -> Value {
    json!({
        "spec": {"override": {"reason": "the shop is down", "by": {"username": "bob@corp.example"}}},
        "status": {"conditions": [{"type": "Overridden", "status": condition, "reason": "Overridden", "lastTransitionTime": "2026-03-04T10:00:00Z",
            "message": "bob@corp.example has no verb override on Environment \"production\"."}]},
    })
}

fn overridden(phase: Phase) -> DeployRequest {
    let decisions = json!([{"at": "2026-03-04T10:01:00Z", "what": "Overridden", "by": "bob@corp.example", "why": "the shop is down"}]);
    changed(
        phase,
        &json!({
            "spec": asked_to_override("True")["spec"],
            "status": {"decisions": decisions, "gates": gates(&[frozen("Overridden"), ("Lock", "Overridden", json!({"reason": "Held"}))])},
        }),
    )
}

#[test]
fn live_message_of_what_is_held() {
    let scheduled = (
        "Time",
        "Closed",
        json!({"reason": "NotYet", "until": "2026-03-04T22:00:00Z", "message": "it is not to start before 2026-03-04 22:00 UTC."}),
    );
    let times = json!({"spec": {"notBefore": "2026-03-04T22:00:00Z", "startBefore": "2026-03-05T02:00:00Z"}});
    let rows = vec![
        (
            "two",
            waiting(
                Phase::Queued,
                "Freeze",
                &[frozen("Closed"), locked("Locked")],
            ),
        ),
        (
            "approval",
            waiting(
                Phase::AwaitingApproval,
                "Approval",
                &[
                    (
                        "Approval",
                        "Closed",
                        json!({"reason": "ApprovalMissing", "message": "1 of 2 approvals."}),
                    ),
                    frozen("Closed"),
                ],
            ),
        ),
        (
            "scheduled",
            with(
                waiting(Phase::Queued, "Time", std::slice::from_ref(&scheduled)),
                &times,
            ),
        ),
        (
            "counted",
            with(
                waiting(
                    Phase::Queued,
                    "Queue",
                    &[("Freeze", "Overridden", json!({}))],
                ),
                &asked_to_override("True"),
            ),
        ),
        (
            "refused",
            with(
                waiting(Phase::Queued, "Freeze", &[frozen("Closed")]),
                &asked_to_override("False"),
            ),
        ),
        (
            "asked",
            with(
                waiting(Phase::Queued, "Freeze", &[frozen("Closed")]),
                &asked_to_override("Unknown"),
            ),
        ),
        ("overridden", overridden(Phase::Succeeded)),
        (
            "rolled-back",
            with(
                request(Phase::Succeeded),
                &json!({"spec": {"action": "rollback"}}),
            ),
        ),
    ];
    for (name, request) in rows {
        insta::assert_json_snapshot!(format!("held-{name}"), live(&request, None, None));
    }
}

#[test]
fn the_first_line_alone_says_what_holds_it_and_until_when() {
    let lock = locked("Locked");
    let hold = locked("Held");
    let soon = ("Order", "Closed", json!({"until": "2026-03-04T10:10:00Z"}));
    let unread = ("Freeze", "Unknown", json!({"reason": "GuardsUnknown"}));
    let time = ("Time", "Closed", json!({"until": "2026-03-04T22:00:00Z"}));
    let until = "<!date^1772647200^{date_short_pretty} {time}|2026-03-04 18:00 UTC>";
    let what = "*checkout* `v42` to *production*: ";
    let rows = vec![
        (
            waiting(Phase::Queued, "Freeze", &[frozen("Closed")]),
            format!("⏸️ {what}held by a freeze until {until}"),
        ),
        (
            waiting(Phase::Queued, "Freeze", &[frozen("Closed"), lock]),
            format!("⏸️ {what}held by a freeze until {until} and by a lock"),
        ),
        (
            waiting(Phase::Queued, "Lock", &[hold]),
            format!("⏸️ {what}held by the hold of a rollback"),
        ),
        (
            waiting(Phase::Queued, "Order", &[soon]),
            format!(
                "⏸️ {what}held by the order of environments until <!date^1772619000^{{date_short_pretty}} {{time}}|2026-03-04 10:10 UTC>"
            ),
        ),
        (
            waiting(Phase::Queued, "Freeze", &[unread]),
            format!("⏸️ {what}held by freezes that can't be read"),
        ),
        (
            waiting(Phase::Queued, "Time", std::slice::from_ref(&time)),
            format!(
                "🕒 {what}scheduled for <!date^1772661600^{{date_short_pretty}} {{time}}|2026-03-04 22:00 UTC>"
            ),
        ),
        (
            waiting(Phase::Queued, "Time", &[time, frozen("Closed")]),
            format!(
                "⏸️ {what}scheduled for <!date^1772661600^{{date_short_pretty}} {{time}}|2026-03-04 22:00 UTC>, held by a freeze until {until}"
            ),
        ),
        (
            waiting(Phase::AwaitingApproval, "Approval", &[frozen("Closed")]),
            format!("✋ {what}waits for approval, held by a freeze until {until}"),
        ),
        // What an override passes, and what is its turn alone, holds nobody.
        (
            waiting(Phase::Queued, "Queue", &[frozen("Overridden")]),
            format!("⏳ {what}waits for its turn"),
        ),
        (
            waiting(Phase::Running, "Freeze", &[frozen("Closed")]),
            format!("🔄 {what}running"),
        ),
    ];
    for (request, line) in rows {
        assert_eq!(first_line(&request), line);
    }
}

#[test]
fn override_is_offered_where_it_would_pass_something() {
    let held = || waiting(Phase::Queued, "Freeze", &[frozen("Closed")]);
    let time = ("Time", "Closed", json!({"until": "2026-03-04T22:00:00Z"}));
    let canceled = json!({"spec": {"cancel": {"reason": "wrong one"}}});
    let rows = vec![
        ("a freeze", held(), true),
        (
            "a freeze, while people are asked",
            waiting(Phase::AwaitingApproval, "Approval", &[frozen("Closed")]),
            true,
        ),
        (
            "its time alone",
            waiting(Phase::Queued, "Time", &[time]),
            false,
        ),
        (
            "its turn alone",
            waiting(Phase::Queued, "Queue", &[]),
            false,
        ),
        (
            "asked for already",
            with(held(), &asked_to_override("Unknown")),
            false,
        ),
        (
            "found not to count",
            with(held(), &asked_to_override("False")),
            true,
        ),
        ("it is to end", with(held(), &canceled), false),
        (
            "it runs",
            waiting(Phase::Running, "Freeze", &[frozen("Closed")]),
            false,
        ),
        (
            "it is over",
            waiting(Phase::Expired, "Freeze", &[frozen("Closed")]),
            false,
        ),
    ];
    for (name, request, offered) in rows {
        let text = text(&request);
        assert_eq!(text.contains("request-override"), offered, "{name}: {text}");
    }
}

#[test]
fn only_a_rollback_that_was_sent_leaves_a_hold() {
    let rollback = json!({"spec": {"action": "rollback"}});
    let refused = json!({"spec": {"action": "rollback"}, "status": {"conditions": [
        {"type": "Succeeded", "status": "False", "reason": "StartRefused", "message": "", "lastTransitionTime": "2026-03-04T10:00:00Z"},
    ]}});
    let dry = json!({"spec": {"action": "rollback", "dryRun": true}});
    let rows = vec![
        (
            "a good one",
            with(request(Phase::Succeeded), &rollback),
            true,
        ),
        ("a bad one", with(request(Phase::Failed), &rollback), true),
        (
            "one that runs",
            with(request(Phase::Running), &rollback),
            false,
        ),
        (
            "never sent",
            with(request(Phase::Canceled), &rollback),
            false,
        ),
        (
            "Spinnaker refused it",
            with(request(Phase::Failed), &refused),
            false,
        ),
        ("only looked", with(request(Phase::Succeeded), &dry), false),
        ("a deployment", request(Phase::Succeeded), false),
    ];
    for (name, request, held) in rows {
        let said = text(&request);
        assert_eq!(said.contains("The target is held"), held, "{name}: {said}");
        let answer = to_json(&end(&request, None, false, None)).to_string();
        assert_eq!(
            answer.contains("/deploy unlock checkout production"),
            held,
            "{name}: {answer}"
        );
    }
}

#[test]
fn an_override_is_announced_with_who_and_why() {
    let channel = "C0OWN".parse().unwrap();
    let url = "https://corp.slack.com/archives/C01/p1".parse().unwrap();
    let message = super::super::overridden(&overridden(Phase::Running), &channel, Some(&url), None);
    insta::assert_json_snapshot!("overridden", message);
}
