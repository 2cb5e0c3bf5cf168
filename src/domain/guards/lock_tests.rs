//! Who is kept by which lock, until when.

use serde_json::{Value, json};

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

const NOW: &str = "2026-06-06T12:00:00Z";

fn environment(lock: &Value) -> Environment {
    serde_json::from_value(json!({
        "apiVersion": "foredeck.dev/v1alpha1", "kind": "Environment", "metadata": {"name": "production"},
        "spec": {"connection": "main", "target": {"account": "a", "namespace": "n"}, "lock": lock},
    }))
    .unwrap()
}

fn target(lock: &Value, hold: &Value, unhold: &Value) -> DeployTarget {
    serde_json::from_value(json!({
        "apiVersion": "foredeck.dev/v1alpha1", "kind": "DeployTarget", "metadata": {"name": "checkout-production"},
        "spec": {
            "application": "checkout", "environment": "production", "place": {"account": "a", "namespace": "n"},
            "lock": lock, "unhold": unhold,
        },
        "status": {"hold": hold},
    }))
    .unwrap()
}

fn ada(until: &str) -> Value {
    json!({"reason": "a migration", "until": until, "by": {"username": "ada@corp.example"}})
}

fn hold() -> Value {
    json!({
        "uid": "uid-1", "name": "back-1", "by": "bob@corp.example", "from": "v2", "to": "v1", "since": "2026-06-06T11:00:00Z",
    })
}

#[test]
fn a_lock_holds_until_its_time_is_over() {
    let table = [
        ("2026-06-06T12:00:00.000000001Z", true),
        ("2026-06-06T12:00:00Z", false),
        ("2026-06-06T11:00:00Z", false),
    ];
    for (until, wanted) in table {
        let found = closed(Some(&environment(&ada(until))), None, "deploy", at(NOW));
        assert_eq!(found.is_some(), wanted, "{until}");
    }
    let for_ever = environment(&json!({"reason": "a migration"}));
    let found = closed(Some(&for_ever), None, "deploy", at("9999-01-01T00:00:00Z")).unwrap();
    assert_eq!(found.until, None);
    assert!(found.refusal.message.contains("until somebody unlocks it"));
    assert_eq!(closed(None, None, "deploy", at(NOW)), None);
}

#[test]
fn every_lock_and_the_hold_are_told_with_who_can_lift_them() {
    let none = Value::Null;
    let found = closed(
        Some(&environment(&none)),
        Some(&target(&ada("2026-06-06T14:00:00Z"), &none, &none)),
        "rollback",
        at(NOW),
    )
    .unwrap();
    assert_eq!(
        found.refusal.message,
        "`checkout` in `production` is locked by `ada@corp.example` until 2026-06-06 14:00 UTC, saying “a migration”. `ada@corp.example` can unlock it, and so can whoever has the verb `override`. Whoever has the verb `override` may let one request pass, with a reason (spec.override)."
    );
    assert_eq!(found.until, Some(at("2026-06-06T14:00:00Z")));
    assert_eq!(found.refusal.reason, Reason::Locked);
    assert_eq!(found.refusal.waiting_for, Some(WaitingFor::Lock));

    // It opens when the last of them ends.
    let two = |hold: &Value, action| {
        closed(
            Some(&environment(&ada("2026-06-06T13:00:00Z"))),
            Some(&target(&ada("2026-06-06T14:00:00Z"), hold, &none)),
            action,
            at(NOW),
        )
        .unwrap()
    };
    assert_eq!(two(&none, "deploy").until, Some(at("2026-06-06T14:00:00Z")));
    let all = two(&hold(), "deploy");
    assert_eq!(all.until, None);
    assert_eq!(all.refusal.reason, Reason::Locked);
    for words in [
        "Environment `production` is locked",
        "`checkout` in `production` is locked",
        "rolled back from `v2` to `v1` by `bob@corp.example` 2026-06-06 11:00 UTC (request `back-1`)",
    ] {
        assert!(
            all.refusal.message.contains(words),
            "{}",
            all.refusal.message
        );
    }
    let message = two(&hold(), "rollback").refusal.message;
    assert!(!message.contains("rolled back"), "{message}");
}

#[test]
fn a_hold_keeps_everything_but_rollbacks_until_that_very_hold_is_lifted() {
    let none = Value::Null;
    let table = [
        (none.clone(), "deploy", true),
        (none.clone(), "restart", true),
        (none.clone(), "rollback", false),
        (json!({"uid": "uid-0"}), "deploy", true),
        (json!({"uid": "uid-1"}), "deploy", false),
    ];
    for (unhold, action, wanted) in table {
        let found = closed(
            None,
            Some(&target(&none, &hold(), &unhold)),
            action,
            at(NOW),
        );
        assert_eq!(found.is_some(), wanted, "{unhold} {action}");
        let Some(found) = found else { continue };
        assert_eq!(found.refusal.reason, Reason::Held);
        assert!(
            found
                .refusal
                .message
                .contains("`bob@corp.example` can, and so can whoever has the verb `override`"),
            "{found:?}"
        );
    }
}
