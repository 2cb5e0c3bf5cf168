//! How far a version got elsewhere.

use serde_json::{Value, json};

use super::*;

const NOW: &str = "2026-06-06T12:00:00Z";
const COMMIT: &str = "1111111111111111111111111111111111111111";
const OTHER: &str = "2222222222222222222222222222222222222222";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Today, at that time.
fn time(clock: &str) -> String {
    format!("2026-06-06T{clock}:00Z")
}

fn resolved(version: Option<&str>, commit: Option<&str>) -> Resolved {
    serde_json::from_value(json!({
        "connection": "main", "pipeline": {"application": "checkout", "name": "Deploy", "id": "1"},
        "version": version, "commit": commit, "target": {"account": "a", "namespace": "n"},
        "deployTarget": "checkout-production", "digest": "d",
    }))
    .unwrap()
}

/// `action version[@commit] phase sent finished`, with `-` for no version.
fn run(text: &str) -> Value {
    let words: Vec<&str> = text.split(' ').collect();
    let (version, commit) = words[1]
        .split_once('@')
        .map_or((words[1], None), |(version, commit)| {
            (version, Some(commit))
        });
    json!({
        "uid": text, "name": format!("{}-{}", words[0], words[3].replace(':', "")), "action": words[0],
        "version": (version != "-").then_some(version), "commit": commit, "connection": "main",
        "phase": if words[2] == "StartRefused" { "Failed" } else { words[2] }, "reason": words[2],
        "sentAt": time(words[3]), "finishedAt": time(words[4]),
    })
}

/// Runs, oldest first; `current` as the controller keeps it.
fn status(runs: &[&str]) -> DeployTargetStatus {
    let history: Vec<Value> = runs.iter().rev().map(|text| run(text)).collect();
    let current = runs
        .iter()
        .rev()
        .find(|text| text.contains(" Succeeded ") && !text.contains(" - "));
    serde_json::from_value(json!({"history": history, "current": current.map(|text| run(text))}))
        .unwrap()
}

fn before(status: DeployTargetStatus, minutes: u64) -> Before {
    Before {
        environment: "staging".to_owned(),
        soak: Duration::from_mins(minutes),
        there: Ok(Some(status)),
    }
}

#[test]
fn a_version_passes_where_it_succeeded_and_stayed() {
    let wanted = resolved(Some("v2"), None);
    let absent = || Standing::Absent(Some("`v1`".to_owned()));
    let left = |text: &str| Standing::Left(text.to_owned());
    let old = "deploy v1 Succeeded 08:00 08:10";
    let table: &[(&[&str], u64, Standing)] = &[
        (&[], 0, Standing::Absent(None)),
        (&[old], 0, absent()),
        (&[old, "deploy v2 Failed 09:00 09:10"], 0, absent()),
        (
            &[old, "deploy v2 Succeeded 09:00 09:10"],
            0,
            Standing::Passed,
        ),
        // It stays from its end, to the moment.
        (&["deploy v2 Succeeded 11:00 11:50"], 10, Standing::Passed),
        (
            &["deploy v2 Succeeded 11:00 11:51"],
            10,
            Standing::Soaking(at(&time("12:01"))),
        ),
        // It once stayed long enough, whatever came after.
        (
            &[
                "deploy v2 Succeeded 09:00 09:10",
                "deploy v3 Succeeded 09:20 09:30",
            ],
            10,
            Standing::Passed,
        ),
        (
            &[
                "deploy v2 Succeeded 09:00 09:10",
                "deploy v3 Failed 09:20 09:30",
            ],
            10,
            Standing::Passed,
        ),
        (
            &[
                "deploy v2 Succeeded 09:00 09:10",
                "deploy v3 Succeeded 09:19 09:30",
            ],
            10,
            left("`v3` replaced it there after 9m"),
        ),
        (
            &[
                "deploy v2 Succeeded 09:00 09:10",
                "deploy v3 Failed 09:19 09:30",
            ],
            10,
            left("`v3` replaced it there after 9m"),
        ),
        // What was refused never began; a restart is nothing else; neither is itself.
        (
            &[
                "deploy v2 Succeeded 11:00 11:10",
                "deploy v3 StartRefused 11:15 11:15",
            ],
            30,
            Standing::Passed,
        ),
        (
            &[
                "deploy v2 Succeeded 11:00 11:10",
                "restart - Succeeded 11:15 11:16",
            ],
            30,
            Standing::Passed,
        ),
        (
            &[
                "deploy v2 Succeeded 11:00 11:10",
                "deploy v2 Succeeded 11:45 11:50",
            ],
            30,
            Standing::Passed,
        ),
        (
            &[
                "deploy v2 Succeeded 11:00 11:10",
                "deploy v2 Failed 11:45 11:50",
            ],
            30,
            Standing::Passed,
        ),
        // Two short stays are not a long one.
        (
            &[
                "deploy v2 Succeeded 11:00 11:10",
                "deploy v3 Succeeded 11:15 11:16",
                "deploy v2 Succeeded 11:40 11:45",
            ],
            20,
            Standing::Soaking(at(&time("12:05"))),
        ),
        // Rolled back, however long it stayed and however the rollback ended; and tried again since.
        (
            &[
                old,
                "deploy v2 Succeeded 09:00 09:10",
                "rollback v1 Succeeded 11:00 11:10",
            ],
            10,
            left("it was rolled back there 2026-06-06 11:00 UTC (request `rollback-1100`)"),
        ),
        (
            &[
                old,
                "deploy v2 Succeeded 09:00 09:10",
                "rollback v1 Failed 11:00 11:10",
            ],
            10,
            left("it was rolled back there 2026-06-06 11:00 UTC (request `rollback-1100`)"),
        ),
        (
            &[
                old,
                "deploy v2 Succeeded 09:00 09:10",
                "deploy v3 Failed 10:00 10:10",
                "rollback v1 Succeeded 11:00 11:10",
            ],
            10,
            left("it was rolled back there 2026-06-06 11:00 UTC (request `rollback-1100`)"),
        ),
        (
            &[
                old,
                "deploy v2 Succeeded 09:00 09:10",
                "rollback v1 Succeeded 11:00 11:10",
                "deploy v2 Succeeded 11:20 11:30",
            ],
            30,
            Standing::Passed,
        ),
        // Another version was rolled back; or one was, to this.
        (
            &[
                "deploy v2 Succeeded 09:00 09:10",
                "deploy v3 Succeeded 10:00 10:10",
                "rollback v1 Succeeded 11:00 11:10",
            ],
            10,
            Standing::Passed,
        ),
        (
            &[
                "deploy v3 Succeeded 10:00 10:10",
                "rollback v2 Succeeded 11:00 11:10",
            ],
            50,
            Standing::Passed,
        ),
    ];
    for (runs, soak, standing) in table {
        let found = super::standing(&before(status(runs), *soak), &wanted, at(NOW));
        assert_eq!(found, *standing, "{runs:?} for {soak}m");
    }
}

#[test]
fn what_is_under_way_there_ends_the_stay_once_it_was_sent() {
    let wanted = resolved(Some("v2"), None);
    let with = |action: &str, version: &str, sent: Value| {
        let mut status = status(&["deploy v2 Succeeded 11:00 11:10"]);
        status.active = serde_json::from_value(json!({
            "uid": "u", "name": "next", "key": "k", "digest": "d", "action": action, "version": version,
            "attempt": {
                "executionId": "e", "correlationId": "c", "holder": "h", "claimedAt": time("11:20"), "sentAt": sent,
                "pinned": {
                    "connection": "main", "connectionUid": "u", "gateUrl": "https://gate", "trigger": "V1", "bodyDigest": "d",
                    "pipeline": {"application": "checkout", "name": "Deploy", "id": "1"},
                },
            },
        }))
        .unwrap();
        super::standing(&before(status, 30), &wanted, at(NOW))
    };
    assert_eq!(with("deploy", "v3", Value::Null), Standing::Passed);
    assert_eq!(with("deploy", "v2", json!(time("11:20"))), Standing::Passed);
    assert_eq!(with("deploy", "v3", json!(time("11:40"))), Standing::Passed);
    assert_eq!(
        with("deploy", "v3", json!(time("11:20"))),
        Standing::Left("`v3` replaced it there after 10m".to_owned())
    );
    let rolled_back = with("rollback", "v1", json!(time("11:50")));
    assert!(matches!(rolled_back, Standing::Left(_)), "{rolled_back:?}");
}

#[test]
fn a_success_that_the_history_no_longer_has_counts_and_says_nothing_of_how_long_it_stayed() {
    // As the controller keeps it: of what was sent there, the history has the last alone.
    let shortened = |runs: &[&str], kept: usize| {
        let mut there = status(runs);
        there.history.truncate(kept);
        there
    };
    let succeeded = "deploy v2 Succeeded 08:00 08:10";
    let replaced = "deploy v3 Failed 08:11 08:12";
    let rolled_back = Standing::Left(
        "it was rolled back there 2026-06-06 11:45 UTC (request `rollback-1145`)".to_owned(),
    );
    let table: &[(&[&str], u64, Standing)] = &[
        // What replaced it after a minute is forgotten, whatever came after that.
        (
            &[succeeded, replaced, "deploy v2 Failed 11:45 11:50"],
            60,
            Standing::Forgotten,
        ),
        (
            &[succeeded, replaced, "deploy v4 Failed 11:45 11:50"],
            60,
            Standing::Forgotten,
        ),
        (
            &[succeeded, replaced, "restart - Succeeded 09:45 09:50"],
            60,
            Standing::Forgotten,
        ),
        // That it succeeded is known.
        (
            &[succeeded, replaced, "deploy v4 Failed 11:45 11:50"],
            0,
            Standing::Passed,
        ),
        (
            &[succeeded, replaced, "rollback v1 Failed 11:45 11:50"],
            0,
            rolled_back,
        ),
    ];
    let wanted = resolved(Some("v2"), None);
    for (runs, soak, standing) in table {
        let there = before(shortened(runs, 1), *soak);
        let found = super::standing(&there, &wanted, at(NOW));
        assert_eq!(found, *standing, "{runs:?} for {soak}m");
    }
    // Nothing was sent since: it stays.
    let there = before(shortened(&[succeeded], 0), 60);
    assert_eq!(super::standing(&there, &wanted, at(NOW)), Standing::Passed);
    // Sent there again, it is known again.
    let again = [succeeded, replaced, "deploy v2 Succeeded 11:45 11:50"];
    let there = before(shortened(&again, 1), 10);
    assert_eq!(super::standing(&there, &wanted, at(NOW)), Standing::Passed);
    let there = before(
        shortened(&[succeeded, replaced, "restart - Succeeded 09:45 09:50"], 1),
        60,
    );
    let told = closed("deploy", &wanted, None, &[there], at(NOW)).unwrap();
    assert!(
        told.refusal.message.contains(
            "In `staging` it succeeded, and so much was sent there since that nobody knows how long it stayed. Deploy it there again."
        ),
        "{told:?}"
    );
    assert_eq!(
        (told.until, told.refusal.reason),
        (None, Reason::OrderUnmet)
    );
}

#[test]
fn a_version_is_known_by_its_commit_and_by_its_name_only_where_neither_knows_one() {
    let main = format!("main@{COMMIT}");
    let table = [
        (resolved(Some("main"), Some(COMMIT)), main.as_str(), true),
        (resolved(Some("v2"), Some(COMMIT)), main.as_str(), true),
        // The branch has moved since.
        (resolved(Some("main"), Some(OTHER)), main.as_str(), false),
        (resolved(Some("main"), None), main.as_str(), false),
        (resolved(Some("main"), Some(COMMIT)), "main", false),
        (resolved(Some("main"), None), "main", true),
        (resolved(Some("v2"), None), "main", false),
    ];
    for (wanted, ran, passes) in table {
        let there = status(&[&format!("deploy {ran} Succeeded 09:00 09:10")]);
        let found = super::standing(&before(there, 0), &wanted, at(NOW));
        assert_eq!(found == Standing::Passed, passes, "{wanted:?} {ran}");
    }
}

#[test]
fn every_environment_that_comes_before_is_told_with_where_it_stands() {
    let named = |name: &str, minutes, there| Before {
        environment: name.to_owned(),
        soak: Duration::from_mins(minutes),
        there,
    };
    let wanted = resolved(Some("v2"), None);
    let judge = |before: &[Before]| closed("deploy", &wanted, None, before, at(NOW));
    let passed = || {
        named(
            "test",
            0,
            Ok(Some(status(&["deploy v2 Succeeded 09:00 09:10"]))),
        )
    };
    let soaking = || {
        named(
            "staging",
            60,
            Ok(Some(status(&["deploy v2 Succeeded 11:00 11:10"]))),
        )
    };
    let absent = || named("canary", 0, Ok(None));
    let unknown = || named("gone", 0, Err("there is no Environment `gone`.".to_owned()));

    assert_eq!(judge(&[]), None);
    assert_eq!(judge(&[passed()]), None);
    let found = judge(&[passed(), soaking()]).unwrap();
    assert_eq!(
        found.refusal.message,
        "Not yet: `v2` has to have succeeded in `test` and in `staging` and stayed there for 1h (spec.protection.after of the Environment). In `test` it has. In `staging` it runs, and has to stay until 2026-06-06 12:10 UTC. Whoever has the verb `override` may let one request pass, with a reason (spec.override)."
    );
    assert_eq!(found.until, Some(at(&time("12:10"))));
    assert_eq!(found.refusal.waiting_for, Some(WaitingFor::Order));
    assert_eq!(found.refusal.reason, Reason::OrderUnmet);
    // Nobody knows when what isn't there comes.
    let found = judge(&[soaking(), absent(), unknown()]).unwrap();
    assert_eq!(
        (found.until, found.refusal.reason),
        (None, Reason::OrderUnmet)
    );
    let found = judge(&[passed(), unknown()]).unwrap();
    assert_eq!(
        (found.until, found.refusal.reason),
        (None, Reason::GuardsUnknown)
    );
    assert!(
        found.refusal.message.contains(
            "Of `gone` that can't be said: there is no Environment `gone`; it is tried again."
        ),
        "{found:?}"
    );
}

#[test]
fn a_rollback_and_what_has_no_version_or_runs_already_go_without_order() {
    let before = [before(DeployTargetStatus::default(), 0)];
    let own = status(&["deploy v2 Succeeded 09:00 09:10"]);
    let other = status(&["deploy v1 Succeeded 09:00 09:10"]);
    let wanted = resolved(Some("v2"), None);
    let judge = |action, resolved: &Resolved, own| {
        closed(action, resolved, own, &before, at(NOW)).is_some()
    };
    assert!(judge("deploy", &wanted, None));
    assert!(judge("deploy", &wanted, Some(&other)));
    assert!(judge("promote", &wanted, None));
    assert!(!judge("deploy", &wanted, Some(&own)));
    assert!(!judge("rollback", &wanted, None));
    assert!(!judge("restart", &resolved(None, None), None));
}
