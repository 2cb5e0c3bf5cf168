//! What is said of targets; and that what strangers wrote makes no markup and no link.

use serde_json::{Value, json};

use super::*;
use crate::{api::DeployTarget, receiver::answer::tests::HOSTILE};

fn sha(digit: char) -> String {
    digit.to_string().repeat(40)
}

fn target(status: &Value) -> DeployTarget {
    serde_json::from_value(json!({
        "metadata": {"name": "t", "namespace": "shop"},
        "spec": {"application": "checkout", "environment": "production", "place": {"account": "a", "namespace": "n"}},
        "status": status,
    }))
    .unwrap()
}

fn run(version: &str, commit: Option<&str>) -> Value {
    json!({
        "uid": "u", "name": "slack-1", "action": "deploy", "version": version, "commit": commit, "requester": "alice@corp.example",
        "connection": "gate", "phase": "Succeeded", "reason": "Succeeded", "sentAt": "2026-01-02T03:04:05Z",
        "finishedAt": "2026-01-02T03:04:05Z",
    })
}

fn repository(api: Option<&str>) -> Repository {
    serde_json::from_value(json!({"github": "acme/checkout", "apiUrl": api})).unwrap()
}

fn said(status: &Value, repository: Option<&Repository>) -> String {
    let target = target(status);
    let one = Running {
        environment: None,
        repository,
        target: &target,
    };
    line(&one, Prefix::None).as_str().to_owned()
}

#[test]
fn what_runs_is_told_with_commit_person_and_distance() {
    let drift = |behind, ahead| json!({"branch": "main", "head": sha('b'), "behind": behind, "ahead": ahead, "since": "2026-01-02T03:04:05Z"});
    let of = |behind, ahead| {
        let status =
            json!({"current": run("main", Some(&sha('a'))), "drift": drift(behind, ahead)});
        said(&status, Some(&repository(None)))
    };
    let three = of(3, 0);
    for part in [
        "*checkout* in *production*: `main` (<https://github.com/acme/checkout/commit/aaaa",
        "|aaaaaaa>) since <!date^",
        " by `alice@corp.example`, 3 commits behind `main`",
    ] {
        assert!(three.contains(part), "{three}");
    }
    assert!(of(0, 0).ends_with("the head of `main`"));
    assert!(of(1, 0).ends_with("1 commit behind `main`"));
    assert!(of(0, 2).ends_with("2 commits ahead of `main`"));
    assert!(of(4, 2).ends_with("4 commits behind `main` and 2 commits beside it"));
}

#[test]
fn what_runs_is_told_to_the_image_that_it_was_given() {
    let mut current = run("main", Some(&sha('a')));
    let image = json!({"type": "docker/image", "name": "registry.example/shop/checkout", "version": "aaaaaaa"});
    current["artifacts"] = json!([image]);
    let one = said(&json!({"current": current}), None);
    assert!(
        one.ends_with("\n• `registry.example/shop/checkout:aaaaaaa`"),
        "{one}"
    );
    current["artifacts"] = json!(vec![image; 20]);
    let many = said(&json!({"current": current}), None);
    assert!(many.contains("\nand ") && many.ends_with(" more"), "{many}");
    assert!(many.len() < 1200, "{}", many.len());
}

#[test]
fn links_lead_to_the_repository_that_the_application_names_and_nowhere_without_one() {
    let status = || json!({"current": run("main", Some(&sha('a')))});
    let enterprise = repository(Some("https://github.corp.example/api/v3"));
    let there = said(&status(), Some(&enterprise));
    assert!(
        there.contains("<https://github.corp.example/acme/checkout/commit/aaa"),
        "{there}"
    );
    let none = said(&status(), None);
    assert!(
        none.contains("(`aaaaaaa`)") && !none.contains("http"),
        "{none}"
    );
}

#[test]
fn what_is_not_known_is_said_so() {
    let known = |reason: &str, message: &str| {
        json!({"current": run("v1", None), "conditions": [{
            "type": "Known", "status": "False", "reason": reason, "message": message, "lastTransitionTime": "2026-01-02T03:04:05Z",
        }]})
    };
    let failed = said(&known("LastRequestFailed", "nobody knows"), None);
    assert!(
        failed.ends_with(". :grey_question: not known: `nobody knows`"),
        "{failed}"
    );
    let others = said(&known("RanElsewhere", "others did"), None);
    assert!(
        others.contains(":warning: run by others: `others did`"),
        "{others}"
    );
    let silent = json!({"since": "2026-01-02T03:04:05Z", "problem": "it is gone."});
    let silent = said(&json!({"current": run("v1", None), "drift": silent}), None);
    assert!(
        silent.contains("how far behind isn't known: `it is gone.`"),
        "{silent}"
    );
}

#[test]
fn what_strangers_wrote_stays_text() {
    let mut current = run(HOSTILE, Some(&sha('a')));
    current["requester"] = json!(HOSTILE);
    let status = json!({
        "current": current,
        "active": null,
        "drift": {"branch": HOSTILE, "behind": 1, "ahead": 0, "since": "2026-01-02T03:04:05Z"},
        "conditions": [{"type": "Known", "status": "False", "reason": HOSTILE, "message": HOSTILE, "lastTransitionTime": "2026-01-02T03:04:05Z"}],
    });
    let text = said(&status, Some(&repository(None)));
    for part in ["<!channel>", "<https://evil", "\n", "\u{202e}"] {
        assert!(!text.contains(part), "{text}");
    }
    assert_eq!(text.matches("<http").count(), 1, "{text}");
}
