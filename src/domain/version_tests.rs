//! Which commit a version is: what stands written, who may be asked, and what goes without one.

use serde_json::{Value, json};

use super::*;

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn object<K: serde::de::DeserializeOwned>(spec: &Value) -> K {
    let metadata = json!({"name": "checkout", "namespace": "shop", "uid": "own"});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

fn request(spec: &Value, status: &Value) -> DeployRequest {
    let mut whole = json!({"application": "checkout", "environment": "staging"});
    whole
        .as_object_mut()
        .unwrap()
        .extend(spec.as_object().unwrap().clone());
    let mut request: DeployRequest = object(&whole);
    request.status = serde_json::from_value(status.clone()).unwrap();
    request
}

fn environment(protection: &Value) -> Environment {
    object(
        &json!({"connection": "gate", "target": {"account": "eks", "namespace": "shop"}, "protection": protection}),
    )
}

fn application(repository: bool) -> Application {
    let repository = repository.then(|| json!({"github": "shop/checkout"}));
    let mut spec = json!({"actions": {"deploy": {"pipeline": "Deploy"}}});
    if let Some(repository) = repository {
        spec["repository"] = repository;
    }
    object(&spec)
}

fn run(version: &str, commit: Option<&str>) -> Value {
    json!({"uid": "x", "name": "x", "action": "deploy", "version": version, "commit": commit, "connection": "gate",
        "phase": "Succeeded", "reason": "Succeeded", "sentAt": "2026-11-22T12:00:00Z", "finishedAt": "2026-11-22T12:00:00Z"})
}

/// A target on which these ran, the newest first.
fn target(history: &[Value], active: &Value) -> DeployTargetStatus {
    serde_json::from_value(json!({
        "initialized": "2026-11-22T12:00:00Z", "current": history.first(), "history": history, "active": active,
    }))
    .unwrap()
}

fn holding(uid: &str, version: &str, commit: Option<&str>) -> Value {
    json!({
        "uid": uid, "name": "x", "key": "k", "digest": "d", "action": "deploy", "version": version, "commit": commit, "sends": 0,
        "attempt": {
            "executionId": "01", "correlationId": "fd-1", "holder": "me", "claimedAt": "2026-11-22T12:00:00Z",
            "pinned": {
                "connection": "gate", "connectionUid": "c", "gateUrl": "http://gate", "trigger": "Start", "bodyDigest": "b",
                "pipeline": {"application": "checkout", "name": "Deploy", "id": "p"},
            },
        },
    })
}

fn accepted(version: &str, commit: Option<&str>, problem: Option<&str>) -> Value {
    json!({
        "resolved": {
            "connection": "gate", "pipeline": {"application": "checkout", "name": "Deploy", "id": "p"}, "version": version,
            "commit": commit, "target": {"account": "eks", "namespace": "shop"}, "deployTarget": "t", "digest": "d",
        },
        "changes": problem.map(|problem| json!({"problem": problem})),
    })
}

fn written_of(request: &DeployRequest, target: Option<&DeployTargetStatus>) -> Written {
    let named = named(request, target).unwrap();
    written(request, target, &named)
}

fn commit(commit: &str) -> Written {
    Written::Commit(commit.to_owned())
}

#[test]
fn what_was_accepted_counts_whatever_was_planned_and_only_for_its_version() {
    let main = json!({"version": "main"});
    let none = Value::Null;
    assert_eq!(
        written_of(&request(&main, &none), None),
        Written::Nothing,
        "it has to be asked"
    );
    let planned = json!({"version": "main", "commit": A});
    assert_eq!(written_of(&request(&planned, &none), None), commit(A));
    let as_b = accepted("main", Some(B), None);
    assert_eq!(written_of(&request(&main, &as_b), None), commit(B));
    assert_eq!(written_of(&request(&planned, &as_b), None), commit(B));
    let other = accepted("next", Some(B), None);
    assert_eq!(written_of(&request(&main, &other), None), Written::Nothing);
    assert_eq!(
        written_of(
            &request(&json!({"version": "next", "commit": A}), &as_b),
            None
        ),
        commit(A)
    );
}

#[test]
fn a_claim_remembers_what_a_wiped_status_forgot_and_nobody_elses_does() {
    let main = request(&json!({"version": "main"}), &Value::Null);
    let own = target(&[], &holding("own", "main", Some(A)));
    assert_eq!(written_of(&main, Some(&own)), commit(A));
    let others = target(&[], &holding("other", "main", Some(A)));
    assert_eq!(written_of(&main, Some(&others)), Written::Nothing);
    let without = target(&[], &holding("own", "main", None));
    assert_eq!(
        written_of(&main, Some(&without)),
        Written::Without(None),
        "it was claimed without one, and isn't asked about any more"
    );
}

#[test]
fn what_goes_without_a_commit_goes_on_without_one() {
    let spec = json!({"version": "main"});
    let down = accepted("main", None, Some("GitHub is down."));
    assert_eq!(
        written_of(&request(&spec, &down), None),
        Written::Without(Some("GitHub is down.".to_owned()))
    );
    let unasked = accepted("main", None, None);
    assert_eq!(
        written_of(&request(&spec, &unasked), None),
        Written::Without(None),
        "no repository was named when it was accepted, and none is asked that is named since"
    );
}

#[test]
fn what_ran_is_the_commit_that_ran_and_is_looked_up_anew_until_it_is_claimed() {
    let back = json!({"action": "rollback"});
    let history = [run("main", Some(B)), run("main", Some(A))];
    let standing = target(&history, &Value::Null);
    assert_eq!(
        written_of(&request(&back, &Value::Null), Some(&standing)),
        commit(A)
    );
    let stale = accepted("main", Some(B), None);
    assert_eq!(
        written_of(&request(&back, &stale), Some(&standing)),
        commit(A),
        "something else ran while it waited"
    );
    let restart = request(&json!({"action": "restart"}), &Value::Null);
    assert_eq!(written_of(&restart, Some(&standing)), commit(B));
    let claimed = target(&history, &holding("own", "main", Some(B)));
    assert_eq!(
        written_of(&request(&back, &Value::Null), Some(&claimed)),
        commit(B)
    );
    let sha = target(&[run(A, None)], &Value::Null);
    assert_eq!(
        written_of(&restart, Some(&sha)),
        commit(A),
        "a whole SHA-1 is its own commit, whoever wrote what down"
    );
}

#[test]
fn a_branch_that_ran_before_commits_were_written_down_is_not_asked_about() {
    let open = environment(&json!({}));
    let restart = request(&json!({"action": "restart"}), &Value::Null);
    let ran = |version: &str| named(&restart, Some(&target(&[run(version, None)], &Value::Null)));
    let problem = forgotten(&restart, &open, &ran("main").unwrap()).unwrap();
    assert!(
        matches!(&problem, Unresolved::Missing(text) if text.contains("`main`")),
        "{problem:?}"
    );
    assert_eq!(forgotten(&restart, &open, &ran("v1.2.3").unwrap()), None);
    assert_eq!(forgotten(&restart, &open, &ran("3f2a1bc").unwrap()), None);
    let own = environment(&json!({"approvals": {"required": 1, "fixedVersions": "release-.*"}}));
    assert_eq!(forgotten(&restart, &own, &ran("release-7").unwrap()), None);
    let asks = request(&json!({"version": "main"}), &Value::Null);
    let version = named(&asks, None).unwrap();
    assert_eq!(forgotten(&asks, &open, &version), None, "it names one");
}

#[test]
fn nobody_is_asked_where_there_is_no_repository_or_the_commit_is_known() {
    let main = Version {
        name: Some("main".to_owned()),
        commit: None,
    };
    assert_eq!(question(&main, &application(true)), Some("main"));
    assert_eq!(question(&main, &application(false)), None);
    assert_eq!(question(&Version::default(), &application(true)), None);
    let known = Version {
        commit: Some(A.to_owned()),
        ..main
    };
    assert_eq!(question(&known, &application(true)), None);
    let whole = Version {
        name: Some(A.to_owned()),
        commit: None,
    };
    assert_eq!(
        question(&whole, &application(true)),
        Some(A),
        "that it is there is for the host to say"
    );
}

#[test]
fn an_environment_says_what_goes_without_its_commit() {
    let missing = || Unresolved::Missing("there is no `main`.".to_owned());
    let unclear = || Unresolved::Unclear("nobody answers.".to_owned());
    let version = |name: &str| Version {
        name: Some(name.to_owned()),
        commit: None,
    };
    let settled = |protection: &Value, problem: Unresolved| {
        settle(
            version("main"),
            &environment(protection),
            Some(Err(problem)),
        )
    };
    let allow = json!({"unresolvedVersions": "Allow"});
    let refuse = json!({"unresolvedVersions": "Refuse"});
    let approvals = json!({"approvals": {"required": 1}});
    let both = json!({"approvals": {"required": 1}, "unresolvedVersions": "Allow"});
    for goes in [&json!({}), &allow, &both] {
        for problem in [missing(), unclear()] {
            let settled = settled(goes, problem.clone()).unwrap();
            assert_eq!(settled.version, version("main"), "{goes}");
            assert_eq!(settled.problem, Some(problem), "{goes}");
        }
    }
    for stays in [&refuse, &approvals] {
        let fails = settled(stays, missing()).unwrap_err();
        assert_eq!(
            (fails.reason, fails.waiting_for),
            (Reason::VersionNotFound, None),
            "{stays}"
        );
        let waits = settled(stays, unclear()).unwrap_err();
        assert_eq!(
            (waits.reason, waits.waiting_for),
            (Reason::CommitUnknown, Some(WaitingFor::Repository)),
            "{stays}"
        );
    }
    let open = environment(&json!({}));
    let found = settle(version("main"), &open, Some(Ok(A.to_owned()))).unwrap();
    assert_eq!(found.version.commit.as_deref(), Some(A));
    let unasked = settle(version("main"), &environment(&refuse), None).unwrap();
    assert_eq!(unasked.problem, None, "no repository is named");
}

#[test]
fn a_whole_sha_goes_as_itself_unless_it_is_not_there() {
    let sha = || Version {
        name: Some(A.to_owned()),
        commit: None,
    };
    let open = environment(&json!({}));
    let unclear = Unresolved::Unclear("nobody answers.".to_owned());
    let unverified = settle(sha(), &open, Some(Err(unclear.clone()))).unwrap();
    assert_eq!(unverified.version.commit.as_deref(), Some(A));
    assert_eq!(unverified.problem, Some(unclear.clone()));
    let missing = Unresolved::Missing("it isn't there.".to_owned());
    let absent = settle(sha(), &open, Some(Err(missing))).unwrap();
    assert_eq!(absent.version.commit, None);
    let strict = environment(&json!({"unresolvedVersions": "Refuse"}));
    assert!(settle(sha(), &strict, Some(Err(unclear))).is_err());
}

#[test]
fn a_refusal_for_want_of_a_commit_says_why_and_waits_where_that_helps() {
    let refusal = Refusal::permanent(Reason::CommitUnknown, "the template names it.");
    let unclear = Unresolved::Unclear("nobody answers.".to_owned());
    let waits = explained(refusal.clone(), Some(&unclear));
    assert_eq!(waits.message, "the template names it. nobody answers.");
    assert_eq!(waits.waiting_for, Some(WaitingFor::Repository));
    let missing = Unresolved::Missing("there is no `main`.".to_owned());
    let fails = explained(refusal.clone(), Some(&missing));
    assert_eq!(
        (fails.reason, fails.waiting_for),
        (Reason::VersionNotFound, None)
    );
    assert_eq!(explained(refusal.clone(), None), refusal);
    let late = too_late(refusal.clone(), Some(&unclear));
    assert_eq!(
        (late.reason, late.waiting_for),
        (Reason::CommitUnknown, None)
    );
    assert!(late.message.ends_with("make a new one. nobody answers."));
    let other = Refusal::permanent(Reason::TemplateFailed, "a mistake.");
    assert_eq!(too_late(other.clone(), Some(&unclear)), other);
    assert_eq!(explained(other.clone(), Some(&unclear)), other);
}

#[test]
fn a_rollback_goes_back_only_to_what_succeeded_there() {
    let mut failed = run("v4", None);
    failed["phase"] = json!("Failed");
    let history = [
        run("v3", None),
        failed,
        run("main", Some(B)),
        run("main", Some(A)),
    ];
    let there = target(&history, &Value::Null);
    let refusal = |spec: Value, commit: Option<&str>, target: Option<&DeployTargetStatus>| {
        let request = request(&spec, &Value::Null);
        let version = Version {
            name: request.spec.version.clone(),
            commit: commit.map(str::to_owned),
        };
        let refusal = goes_back(&request, target, &version).err()?;
        assert_eq!(
            (refusal.reason, refusal.waiting_for),
            (Reason::NoEarlierVersion, None)
        );
        Some(refusal.message)
    };
    let to = |version: &str| json!({"action": "rollback", "version": version});
    assert_eq!(refusal(to("v3"), None, Some(&there)), None);
    assert_eq!(refusal(to("main"), Some(A), Some(&there)), None);
    assert_eq!(
        refusal(to("aaaaaaa"), Some(A), Some(&there)),
        None,
        "one commit under another name"
    );
    let moved = "c".repeat(40);
    let told = refusal(to("main"), Some(&moved), Some(&there)).unwrap();
    assert!(
        told.starts_with("`main` never succeeded in \"staging\"")
            && told.contains("`v3`, `bbbbbbb`, `aaaaaaa`")
            && told.contains("ask for `deploy`"),
        "{told}"
    );
    let by_name = target(&history[..2], &Value::Null);
    assert!(
        refusal(to("v4"), None, Some(&by_name)).is_some(),
        "what failed there never ran well"
    );
    assert!(refusal(to("v9"), None, Some(&by_name)).is_some());
    assert_eq!(refusal(to("v3"), None, Some(&by_name)), None);
    let deploy = json!({"action": "deploy", "version": "v9"});
    assert_eq!(refusal(deploy, None, Some(&there)), None);
    assert_eq!(
        refusal(json!({"action": "rollback"}), None, Some(&there)),
        None,
        "what it goes back to comes from the history"
    );
    let empty = target(&[], &Value::Null);
    for nothing in [Some(&empty), None] {
        let told = refusal(to("v9"), None, nothing).unwrap();
        assert!(
            told.ends_with(
                "go back to it; no other version did either; ask for `deploy` to start it."
            ),
            "where nothing succeeded there is nothing to go back to: {told}"
        );
        let deploy = json!({"action": "deploy", "version": "v9"});
        assert_eq!(refusal(deploy, None, nothing), None);
    }
}

#[test]
fn a_rollback_to_a_branch_of_which_nobody_knows_the_commit_now_waits_for_that() {
    let there = target(&[run("main", Some(B)), run("main", Some(A))], &Value::Null);
    for (name, others) in [("main", "`bbbbbbb`, `aaaaaaa`"), ("v1", "`main`")] {
        let request = request(
            &json!({"action": "rollback", "version": name}),
            &Value::Null,
        );
        let unknown = Version {
            name: Some(name.to_owned()),
            commit: None,
        };
        let refusal = goes_back(&request, Some(&there), &unknown).unwrap_err();
        assert_eq!(refusal.reason, Reason::CommitUnknown);
        let told = format!("(the latest are {others})");
        assert!(refusal.message.contains(&told), "{refusal:?}");
        let problem = Unresolved::Unclear("nobody answers.".to_owned());
        let waits = explained(refusal, Some(&problem));
        assert_eq!(waits.waiting_for, Some(WaitingFor::Repository));
    }
}

#[test]
fn two_are_one_version_by_their_commits_or_else_by_their_names() {
    let version = |name: &str, commit: Option<&str>| Version {
        name: Some(name.to_owned()),
        commit: commit.map(str::to_owned),
    };
    for (one, other, same) in [
        (version("main", Some(A)), version("v1", Some(A)), true),
        (version("main", Some(A)), version("main", Some(B)), false),
        (version("main", None), version("main", None), true),
        (version("main", None), version("v1", None), false),
        (version("main", Some(A)), version("main", None), false),
        (version(A, None), version("main", Some(A)), true),
        (version(A, None), version(A, None), true),
        (Version::default(), Version::default(), false),
    ] {
        assert_eq!(one.is_same(&other), same, "{one:?}, {other:?}");
        assert_eq!(other.is_same(&one), same, "{other:?}, {one:?}");
    }
}
