//! What is told of commits and artifacts: how much where, and of which links are built.

use super::*;
use crate::slack::actions::Span;

/// `count` commits of which the status lists the newest ten, with what is handed to the pipeline.
fn known(phase: Phase, relation: &str, count: usize) -> DeployRequest {
    let commits: Vec<Value> = (0..count.min(10))
        .map(|number| {
            let sha = format!("{number}{}", &SHA[1..]);
            json!({"sha": sha, "title": format!("Change {number}"), "author": "Ada"})
        })
        .collect();
    let (added, removed) = match relation {
        "Behind" => (0, count),
        "Diverged" => (count, 1),
        _ => (count, 0),
    };
    let image = |name: &str| json!({"type": "docker/image", "name": name, "version": "3f2a1bc", "reference": format!("{name}:3f2a1bc")});
    let chart = json!({"type": "helm/chart", "name": "checkout", "artifactAccount": "charts"});
    let artifacts = json!([
        image("shop/checkout"),
        image("shop/worker"),
        chart,
        image("shop/sidecar")
    ]);
    changed(
        phase,
        &json!({"status": {
            "resolved": {"version": "main", "commit": SHA, "artifacts": artifacts},
            "changes": {"from": FROM, "relation": relation, "added": added, "removed": removed, "commits": commits,
                        "url": "https://evil.example/"},
        }}),
    )
}

/// What Slack parses of the blocks that tell of commits and artifacts, and which of the buttons lists all.
fn told(message: &Message) -> Vec<String> {
    let json = to_json(message);
    let parts = ["*What changes*", "*Artifacts*", "*Version*"];
    let mut told = parsed(&json);
    told.retain(|text| parts.iter().any(|part| text.starts_with(part)));
    if json.to_string().contains(r#""action_id":"commits""#) {
        told.push("[Show all commits]".to_owned());
    }
    told
}

#[test]
fn the_live_message_is_short_and_who_approves_sees_all() {
    let application = application();
    let rows: Vec<_> = [
        ("Ahead", 1),
        ("Ahead", 5),
        ("Ahead", 40),
        ("Behind", 2),
        ("Diverged", 3),
        ("Unrelated", 0),
        ("Identical", 0),
    ]
    .into_iter()
    .map(|(relation, count)| {
        let request = known(Phase::AwaitingApproval, relation, count);
        let asked = approval(&request, None, Some(&application), Readers::Channel, None);
        let live = live(&request, Some(&application), None);
        assert!(
            live.text()
                .as_str()
                .contains("*checkout* `main` (`3f2a1bc`)")
        );
        json!({"what": format!("{relation} {count}"), "live": told(&live), "asked": told(&asked)})
    })
    .collect();
    insta::assert_json_snapshot!("changes", rows);
}

/// Where the Application names no repository, or isn't there, nothing is a link; what the host calls its page never is.
#[test]
fn no_link_is_built_of_what_the_host_says() {
    let request = known(Phase::Running, "Ahead", 40);
    let with = to_json(&live(&request, Some(&application()), None)).to_string();
    assert!(
        with.contains("<https://github.com/shop/checkout/commit/"),
        "{with}"
    );
    let without = to_json(&live(&request, None, None)).to_string();
    assert!(!without.contains("github.com"), "{without}");
    assert!(without.contains("`main` (`3f2a1bc`)"), "{without}");
    for text in [with, without] {
        assert!(!text.contains("evil.example"), "{text}");
    }
}

#[test]
fn why_a_commit_is_not_known_is_said_once() {
    let problem = "GitHub has no branch \"main\".";
    let patch = |waiting: Value| json!({"status": {"changes": {"problem": problem}, "resolved": {"version": "main"}, "waiting": waiting}});
    let waits = json!({"for": "Repository", "message": format!("it waits: {problem}"), "since": "2026-03-04T10:00:01Z"});
    for waiting in [Value::Null, waits] {
        let request = changed(Phase::Queued, &patch(waiting));
        let json = to_json(&live(&request, Some(&application()), None)).to_string();
        assert_eq!(json.matches("GitHub has no branch").count(), 1, "{json}");
        assert!(!json.contains("What changes"), "{json}");
    }
}

#[test]
fn the_button_for_all_commits_means_these_two() {
    let json = to_json(&live(&known(Phase::Queued, "Ahead", 40), None, None));
    let blocks = json["blocks"].as_array().unwrap();
    let row = blocks
        .iter()
        .find(|block| block["type"] == "actions")
        .unwrap();
    let value = row["elements"][0]["value"].as_str().unwrap();
    let span = Span::read(value).unwrap();
    assert_eq!((span.base.as_str(), span.head.as_str()), (FROM, SHA));
    assert_eq!(
        (
            span.namespace.as_str(),
            span.application.as_str(),
            span.page
        ),
        ("shop", "checkout", 0)
    );
}

/// What GitHub was told is the repository's matter, and stands in the request's status alone.
#[test]
fn what_the_repository_was_told_is_not_told_in_slack() {
    let git = json!({"status": {"git": {"deployment": 77001, "state": "queued", "problem": "the token may not"}}});
    for phase in Phase::ALL {
        assert_eq!(
            to_json(&live(&changed(phase, &git), None, None)),
            to_json(&live(&request(phase), None, None)),
        );
    }
}
