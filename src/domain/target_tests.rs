//! How statuses of a target follow one another, and what a target is called.

use serde_json::json;

use super::*;

fn run(uid: usize, artifacts: usize) -> Run {
    let artifact = json!({"type": "docker/image", "name": "n".repeat(bounds::VALUE)});
    serde_json::from_value(json!({
        "uid": uid.to_string(), "name": "r", "action": "deploy", "version": "v1", "connection": "gate",
        "phase": "Succeeded", "reason": "Succeeded", "sentAt": "2026-01-02T03:04:05Z",
        "finishedAt": "2026-01-02T03:04:05Z", "artifacts": vec![artifact; artifacts],
    }))
    .unwrap()
}

#[test]
fn what_is_being_deleted_stands_in_no_line() {
    let request = |metadata: &serde_json::Value, phase: &str| -> DeployRequest {
        let resolved = json!({
            "connection": "gate", "pipeline": {"application": "checkout", "name": "Deploy", "id": "p"},
            "target": {"account": "eks", "namespace": "shop"}, "deployTarget": "t", "digest": "d",
        });
        let spec = json!({"application": "checkout", "environment": "staging"});
        let status = json!({"phase": phase, "resolved": resolved});
        let whole = json!({"metadata": metadata, "spec": spec, "status": status});
        serde_json::from_value(whole).unwrap()
    };
    let there = json!({"name": "there"});
    assert!(is_in_line(&request(&there, "Queued"), "t"));
    assert!(!is_in_line(&request(&there, "Queued"), "other"));
    assert!(!is_in_line(&request(&there, "Pending"), "t"));
    let kept = json!({
        "name": "kept", "deletionTimestamp": "2026-03-02T12:00:00Z", "finalizers": ["example.com/kept"],
    });
    assert!(!is_in_line(&request(&kept, "Queued"), "t"));
}

#[test]
fn a_target_is_called_what_its_spec_says_or_nothing_goes_by_it() {
    let place = json!({"account": "eks", "namespace": "shop"});
    let target = |name: &str, application: &str, environment: &str| -> DeployTarget {
        let spec = json!({"application": application, "environment": environment, "place": place});
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap()
    };
    let named = |application: &str, environment: &str| {
        let place = serde_json::from_value(place.clone()).unwrap();
        ids::target_name(application, environment, &place)
    };
    let own = named("checkout", "production");
    assert_eq!(misnamed(&target(&own, "checkout", "production")), None);
    let long = "a".repeat(bounds::LABEL);
    let longest = named(&long, &long);
    assert_eq!(misnamed(&target(&longest, &long, &long)), None);

    let said = misnamed(&target(&own, "toy", "dev")).unwrap();
    for words in [
        &*own,
        "\"toy\" in \"dev\"",
        &named("toy", "dev"),
        "delete it",
    ] {
        assert!(said.contains(words), "{words:?} is missing in: {said}");
    }
    // What admission takes for the same: the dots of names, and another's digits.
    let dotted = named("shop.checkout", "production");
    assert!(misnamed(&target(&dotted, "shop", "checkout.production")).is_some());
    let digits = "checkout.production.4d2a1e0c9b7f";
    assert!(misnamed(&target(digits, "checkout", "production")).is_some());
}

#[test]
fn what_ran_keeps_its_artifacts_as_long_as_all_of_them_fit() {
    let mut status = DeployTargetStatus::default();
    for uid in 0..bounds::HISTORY {
        settle(&mut status, run(uid, bounds::ARTIFACTS));
    }
    let current = status.current.as_ref().map(|run| run.artifacts.len());
    assert_eq!(current, Some(bounds::ARTIFACTS));
    assert_eq!(status.history.len(), bounds::HISTORY);
    let kept: Vec<usize> = status
        .history
        .iter()
        .map(|run| run.artifacts.len())
        .collect();
    assert_eq!(kept[..5], [20, 20, 20, 20, 0]);
    assert!(kept[5..].iter().all(|kept| *kept == 0));
    assert!(serde_json::to_vec(&status).unwrap().len() < 200_000);
}

/// A run of one day, with its key.
fn ran(uid: &str, action: &str, version: &str, reason: &str, day: u8) -> (Run, KeyRecord) {
    let at = format!("2026-01-{day:02}T03:04:05Z");
    let phase = if reason == "Succeeded" {
        "Succeeded"
    } else {
        "Failed"
    };
    let run = json!({
        "uid": uid, "name": format!("r-{uid}"), "action": action, "version": version, "connection": "gate",
        "requester": "alice", "phase": phase, "reason": reason, "sentAt": at, "finishedAt": at,
    });
    let key = json!({"key": uid, "digest": "d", "uid": uid, "name": "r", "at": at});
    (
        serde_json::from_value(run).unwrap(),
        serde_json::from_value(key).unwrap(),
    )
}

fn holder(uid: &str, action: &str, sent: Option<&str>) -> Active {
    serde_json::from_value(json!({
        "uid": uid, "name": "r", "key": uid, "digest": "d", "action": action,
        "attempt": {
            "executionId": "e", "correlationId": "c", "holder": "h", "claimedAt": "2026-01-01T00:00:00Z", "sentAt": sent,
            "pinned": {
                "connection": "gate", "connectionUid": "u", "gateUrl": "http://gate", "trigger": "Start",
                "pipeline": {"application": "a", "name": "p", "id": "i"}, "bodyDigest": "b",
            },
        },
    }))
    .unwrap()
}

/// What a target is held by after this run.
fn after(before: &DeployTargetStatus, run: Run, sent: bool) -> DeployTargetStatus {
    let sent = sent.then_some("2026-01-01T00:00:00Z");
    let claimed = DeployTargetStatus {
        active: Some(holder(&run.uid, &run.action, sent)),
        ..before.clone()
    };
    finished(&claimed, run).unwrap()
}

fn told(status: &DeployTargetStatus) -> Option<String> {
    let hold = status.hold.as_ref()?;
    let word = |word: &Option<String>| word.clone().unwrap_or_else(|| "?".to_owned());
    Some(format!(
        "{}: {} to {} by {}",
        hold.uid,
        word(&hold.from),
        word(&hold.to),
        word(&hold.by)
    ))
}

#[test]
fn a_rollback_that_was_sent_holds_its_target_whatever_became_of_it() {
    let run = |uid: &str, action: &str, version: &str, reason: &str| {
        ran(uid, action, version, reason, 2).0
    };
    let none = DeployTargetStatus::default();
    let deployed = after(&none, run("1", "deploy", "v3", "Succeeded"), true);
    assert_eq!(told(&deployed), None);
    for reason in [
        "Succeeded",
        "TimedOut",
        "ExecutionLost",
        "Canceled",
        "Released",
    ] {
        let back = after(&deployed, run("2", "rollback", "v2", reason), true);
        assert_eq!(
            told(&back).as_deref(),
            Some("2: v3 to v2 by alice"),
            "{reason}"
        );
        assert!(back.active.is_none());
        let hold = back.hold.as_ref().map(|hold| hold.since.clone());
        assert_eq!(hold, Some(back.history[0].finished_at.clone()));
    }
    let refused = after(&deployed, run("2", "rollback", "v2", "StartRefused"), true);
    assert_eq!(told(&refused), None, "it never started");
    let unsent = after(
        &deployed,
        run("2", "rollback", "v2", "ExecutionConflict"),
        false,
    );
    assert_eq!(told(&unsent), None, "nothing was sent");
    let first = after(&none, run("2", "rollback", "v2", "Succeeded"), true);
    assert_eq!(told(&first).as_deref(), Some("2: ? to v2 by alice"));
}

#[test]
fn by_whose_override_it_is_sent_again_is_remembered() {
    let claimed = DeployTargetStatus {
        active: Some(holder("1", "deploy", None)),
        ..DeployTargetStatus::default()
    };
    let send = |status: &DeployTargetStatus, overrider: Option<&str>| {
        let now = Timestamp::UNIX_EPOCH;
        sent(status, "1", "me", "ask", overrider, now).unwrap()
    };
    let by = |status: &DeployTargetStatus| status.active.clone().unwrap().overridden_by;
    let first = send(&claimed, None);
    assert_eq!(by(&first), None);
    let again = send(&first, Some("olga"));
    assert_eq!(by(&again).as_deref(), Some("olga"));
    let last = send(&again, None);
    assert_eq!(
        by(&last).as_deref(),
        Some("olga"),
        "what was sent before may be what runs"
    );
}

#[test]
fn a_hold_stays_until_another_rollback_replaces_it() {
    let run = |uid: &str, action: &str, version: &str, reason: &str| {
        ran(uid, action, version, reason, 2).0
    };
    let mut status = DeployTargetStatus::default();
    status = after(&status, run("1", "deploy", "v3", "Succeeded"), true);
    status = after(&status, run("2", "rollback", "v2", "Succeeded"), true);
    status = after(&status, run("3", "deploy", "v4", "Succeeded"), true);
    assert_eq!(
        told(&status).as_deref(),
        Some("2: v3 to v2 by alice"),
        "who lets another pass lifts nothing"
    );
    status = after(&status, run("4", "rollback", "v9", "StartRefused"), true);
    assert_eq!(told(&status).as_deref(), Some("2: v3 to v2 by alice"));
    status = after(&status, run("5", "rollback", "v1", "Succeeded"), true);
    assert_eq!(told(&status).as_deref(), Some("5: v4 to v1 by alice"));
}

#[test]
fn two_commits_of_one_branch_are_told_apart() {
    let commit = |digit: &str| Some(digit.repeat(40));
    let mut now = ran("1", "deploy", "main", "Succeeded", 1).0;
    now.commit = commit("b");
    let mut back = ran("2", "rollback", "main", "Succeeded", 2).0;
    back.commit = commit("a");
    let status = after(&DeployTargetStatus::default(), now, true);
    let status = after(&status, back, true);
    assert_eq!(
        told(&status).as_deref(),
        Some("2: bbbbbbb to aaaaaaa by alice")
    );
}

#[test]
fn a_rebuilt_target_is_held_if_nothing_was_sent_since_its_last_rollback() {
    let rebuilt = |runs: Vec<(Run, KeyRecord)>, active: Vec<Active>| {
        let active = active
            .into_iter()
            .map(|active| (active, "d".to_owned()))
            .collect();
        told(&rebuilt(Evidence { active, runs }, Timestamp::UNIX_EPOCH))
    };
    let deployed = || ran("1", "deploy", "v3", "Succeeded", 1);
    let back = || ran("2", "rollback", "v2", "TimedOut", 2);
    let held = Some("2: v3 to v2 by alice".to_owned());
    assert_eq!(rebuilt(vec![back(), deployed()], vec![]), held);
    let later = |reason| ran("3", "deploy", "v4", reason, 3);
    assert_eq!(
        rebuilt(vec![deployed(), back(), later("Succeeded")], vec![]),
        None
    );
    assert_eq!(
        rebuilt(vec![deployed(), back(), later("StartRefused")], vec![]),
        held,
        "what never started says nothing"
    );
    let runs = || vec![deployed(), back()];
    let active = |action, sent| vec![holder("4", action, Some(sent))];
    let (before, since) = ("2026-01-01T12:00:00Z", "2026-01-04T00:00:00Z");
    assert_eq!(rebuilt(runs(), active("deploy", since)), None);
    assert_eq!(rebuilt(runs(), active("deploy", before)), held);
    assert_eq!(rebuilt(runs(), active("rollback", since)), held);
}
