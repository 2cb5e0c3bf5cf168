//! What is said of freezes that can be read, and of those that can't.

use serde_json::{Value, json};

use super::*;

fn freeze(spec: &Value) -> DeployFreeze {
    serde_json::from_value(json!({
        "metadata": {"name": "inventory", "namespace": "shop", "generation": 3, "creationTimestamp": "2026-03-02T00:00:00Z"},
        "spec": spec,
    }))
    .unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn told(status: &DeployFreezeStatus, kind: ConditionType) -> (String, String, String) {
    let told = conditions::find(&status.conditions, kind).unwrap();
    assert_eq!(told.observed_generation, Some(3));
    (
        told.status.clone(),
        told.reason.clone(),
        told.message.clone(),
    )
}

#[test]
fn a_freeze_says_whether_it_holds_until_when_and_when_next() {
    let spec = json!({
        "reason": "the books are counted", "contact": "#finance",
        "schedule": {"cron": "0 18 * * 5", "duration": "2h"},
    });
    let freeze = freeze(&spec);
    // A Friday.
    let (status, changes_at) = said(&freeze, "home", at("2026-03-06T19:00:00Z"));
    assert_eq!(status.since.as_ref().unwrap().0, at("2026-03-06T18:00:00Z"));
    assert_eq!(status.until.as_ref().unwrap().0, at("2026-03-06T20:00:00Z"));
    assert_eq!(status.next.as_ref().unwrap().0, at("2026-03-13T18:00:00Z"));
    assert_eq!(changes_at, Some(at("2026-03-06T20:00:00Z")));
    let (active, reason, message) = told(&status, ConditionType::Active);
    assert_eq!((active.as_str(), reason.as_str()), ("True", "Frozen"));
    assert!(message.contains("the books are counted"), "{message}");
    assert!(message.contains("#finance"), "{message}");
    assert_eq!(told(&status, ConditionType::Ready).0, "True");

    let mut later = freeze.clone();
    later.status = Some(status);
    let (status, changes_at) = said(&later, "home", at("2026-03-06T20:00:00Z"));
    assert_eq!((&status.since, &status.until), (&None, &None));
    assert_eq!(changes_at, Some(at("2026-03-13T18:00:00Z")));
    let (active, reason, message) = told(&status, ConditionType::Active);
    assert_eq!((active.as_str(), reason.as_str()), ("False", "NotFrozen"));
    assert!(message.contains("2026-03-13 18:00 UTC"), "{message}");

    // Looked at again in between, it says the very same: nothing is written.
    later.status = Some(status.clone());
    let (same, _) = said(&later, "home", at("2026-03-08T00:00:00Z"));
    assert_eq!(same, status);
}

#[test]
fn a_freeze_that_is_over_says_so_and_nothing_ever_changes_that() {
    let over = freeze(&json!({"reason": "inventory", "until": "2026-03-05T00:00:00Z"}));
    let (status, changes_at) = said(&over, "home", at("2026-03-06T19:00:00Z"));
    assert_eq!(changes_at, None);
    assert_eq!(
        told(&status, ConditionType::Active).2,
        "it is over.".to_owned()
    );
}

#[test]
fn a_freeze_that_nobody_understands_holds_and_says_why() {
    let odd = freeze(
        &json!({"reason": "inventory", "schedule": {"cron": "0 0 31 2 *", "duration": "1h"}}),
    );
    let (status, changes_at) = said(&odd, "home", at("2026-03-06T19:00:00Z"));
    let (ready, reason, message) = told(&status, ConditionType::Ready);
    assert_eq!(
        (ready.as_str(), reason.as_str()),
        ("False", "ScheduleInvalid")
    );
    assert!(message.contains("0 0 31 2 *"), "{message}");
    assert_eq!(told(&status, ConditionType::Active).0, "True");
    assert_eq!(status.since.unwrap().0, at("2026-03-02T00:00:00Z"));
    assert_eq!(changes_at, None);
}
