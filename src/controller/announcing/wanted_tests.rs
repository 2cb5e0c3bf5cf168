//! Every phase, as a repository is told it.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const COMMIT: &str = "3f2a1bc0aabbccddeeff00112233445566778899";

fn case(phase: Phase) -> Case {
    Case {
        uid: "u-1".into(),
        name: "one".into(),
        namespace: "shop".into(),
        application: "checkout".into(),
        environment: "production".into(),
        place: place("eks-1", "checkout"),
        deploy_target: "checkout.production.1".into(),
        action: "deploy".into(),
        version: Some("main".into()),
        commit: COMMIT.into(),
        phase,
        reason: String::new(),
        begun: false,
        sent: false,
        executed: false,
        url: None,
        finished_at: None,
    }
}

fn place(account: &str, namespace: &str) -> Place {
    Place {
        account: account.into(),
        namespace: namespace.into(),
    }
}

fn state(case: &Case) -> Option<State> {
    case.wanted(None).map(|wanted| wanted.told.state)
}

/// Per phase: never told and never sent, told before, sent but not told, both and with an execution.
#[test]
fn each_phase_has_its_state() {
    use State::{Failure, InProgress, Inactive, Queued, Success};
    let table = [
        (Phase::Pending, [None, Some(Queued), None, Some(Queued)]),
        (
            Phase::AwaitingApproval,
            [None, Some(Queued), None, Some(Queued)],
        ),
        (Phase::Queued, [Some(Queued); 4]),
        (Phase::Starting, [Some(Queued); 4]),
        (Phase::Running, [Some(InProgress); 4]),
        (Phase::Unknown, [Some(InProgress); 4]),
        (
            Phase::Succeeded,
            [None, Some(Success), Some(Success), Some(Success)],
        ),
        (
            Phase::Failed,
            [None, Some(Failure), Some(Failure), Some(Failure)],
        ),
        (
            Phase::Canceled,
            [None, Some(Inactive), Some(Inactive), Some(Failure)],
        ),
        (Phase::Denied, [None, Some(Inactive), None, Some(Inactive)]),
        (Phase::Expired, [None, Some(Inactive), None, Some(Inactive)]),
    ];
    assert_eq!(table.map(|(phase, _)| phase), Phase::ALL);
    for (phase, wanted) in table {
        let facts = [
            (false, false, false),
            (true, false, false),
            (false, true, false),
            (true, true, true),
        ];
        for ((begun, sent, executed), wanted) in facts.into_iter().zip(wanted) {
            let case = Case {
                begun,
                sent,
                executed,
                ..case(phase)
            };
            assert_eq!(state(&case), wanted, "{phase:?} begun {begun} sent {sent}");
        }
    }
}

#[test]
fn an_end_that_nobody_knows_is_an_error_and_one_that_is_known_a_failure() {
    for (reason, wanted) in [
        (Reason::Released, State::Error),
        (Reason::ExecutionLost, State::Error),
        (Reason::StartUnknown, State::Error),
        (Reason::ExecutionFailed, State::Failure),
        (Reason::StartRefused, State::Failure),
    ] {
        let case = Case {
            sent: true,
            reason: reason.to_string(),
            ..case(Phase::Failed)
        };
        assert_eq!(state(&case), Some(wanted), "{reason}");
    }
}

#[test]
fn in_line_without_anybody_having_asked_for_a_yes_nothing_is_made() {
    let unread = |begun| Case {
        reason: Reason::TargetUnreadable.to_string(),
        begun,
        ..case(Phase::Queued)
    };
    assert_eq!(state(&unread(false)), None);
    assert_eq!(state(&unread(true)), Some(State::Queued));
    let request: DeployRequest = serde_json::from_value(json!({
        "metadata": {"name": "one", "namespace": "shop", "uid": "u-1"},
        "spec": {"application": "checkout", "environment": "production", "version": "main"},
        "status": {
            "phase": "Queued",
            "conditions": [{
                "type": "Stalled", "status": "True", "reason": "TargetUnreadable", "message": "it can't be read.",
                "lastTransitionTime": "2026-11-22T10:00:00Z",
            }],
            "resolved": {
                "connection": "gate", "pipeline": {"application": "checkout", "name": "Deploy", "id": "p"},
                "version": "main", "commit": COMMIT, "target": {"account": "eks-1", "namespace": "checkout"},
                "deployTarget": "t", "digest": "d",
            },
        },
    }))
    .unwrap();
    assert_eq!(state(&Case::of(&request).unwrap()), None);
}

#[test]
fn teams_and_applications_that_share_a_repository_have_environments_of_their_own() {
    let name =
        |case: &Case, usual: Option<&Place>| case.wanted(usual).unwrap().announcement.environment;
    let ours = case(Phase::Queued);
    assert_eq!(name(&ours, None), "shop/checkout/production");
    assert_eq!(name(&ours, Some(&ours.place)), "shop/checkout/production");
    let elsewhere = place("eks-2", "pr-12");
    assert_eq!(
        name(
            &Case {
                place: elsewhere,
                ..ours.clone()
            },
            Some(&ours.place)
        ),
        "shop/checkout/production/eks-2/pr-12"
    );
    let long = |tail: &str| Case {
        place: place(&format!("{}{tail}", "a".repeat(250)), "pr-12"),
        ..ours.clone()
    };
    let (one, other) = (
        name(&long("1"), Some(&ours.place)),
        name(&long("2"), Some(&ours.place)),
    );
    assert_eq!(one.chars().count(), ENVIRONMENT);
    assert_ne!(one, other);
}

#[test]
fn only_an_encrypted_link_without_a_login_is_shown() {
    for (url, shown) in [
        ("https://deck.example/#/applications/checkout", true),
        ("http://deck.example/#/applications/checkout", false),
        ("https://user:word@deck.example/", false),
        ("https:///nowhere", false),
        ("javascript:alert(1)", false),
    ] {
        let case = Case {
            url: Some(url.into()),
            ..case(Phase::Running)
        };
        assert_eq!(
            case.wanted(None).unwrap().told.log_url.is_some(),
            shown,
            "{url}"
        );
    }
}

#[test]
fn a_sentence_says_what_where_and_how() {
    let told = |case: &Case| case.wanted(None).unwrap().told.description;
    let waits = Case {
        begun: true,
        ..case(Phase::AwaitingApproval)
    };
    assert_eq!(
        told(&waits),
        "deploy of main to production: waits for approval."
    );
    let failed = Case {
        sent: true,
        ..case(Phase::Failed)
    };
    assert_eq!(told(&failed), "deploy of main to production: failed.");
    let hostile = Case {
        version: Some("m\u{202e}a\u{ad}in\n\u{200b}x\u{7}".into()),
        ..case(Phase::Running)
    };
    assert_eq!(told(&hostile), "deploy of main x to production: runs.");
}

#[test]
fn nothing_is_wanted_of_a_dry_run_and_without_a_commit() {
    let request = |dry: bool, commit: Option<&str>| -> DeployRequest {
        serde_json::from_value(json!({
            "metadata": {"name": "one", "namespace": "shop", "uid": "u-1"},
            "spec": {"application": "checkout", "environment": "production", "version": "main", "dryRun": dry},
            "status": {"phase": "Queued", "resolved": {
                "connection": "gate", "pipeline": {"application": "checkout", "name": "Deploy", "id": "p"},
                "version": "main", "commit": commit, "target": {"account": "eks-1", "namespace": "checkout"},
                "deployTarget": "t", "digest": "d",
            }},
        }))
        .unwrap()
    };
    assert!(Case::of(&request(false, Some(COMMIT))).is_some());
    assert_eq!(Case::of(&request(true, Some(COMMIT))), None);
    assert_eq!(Case::of(&request(false, None)), None);
}

proptest! {
    #[test]
    fn whatever_a_version_holds_the_sentence_fits_and_keeps_its_end(version in ".{0,300}", place in "[a-z]{1,63}") {
        for phase in Phase::ALL {
            let case = Case { version: Some(version.clone()), environment: place.clone(), begun: true, ..case(phase) };
            let wanted = case.wanted(None).unwrap();
            prop_assert!(wanted.told.description.chars().count() <= SENTENCE);
            prop_assert!(wanted.announcement.description.chars().count() <= SENTENCE);
            let end = format!("{}.", case.how(wanted.told.state));
            prop_assert!(wanted.told.description.ends_with(&end));
        }
    }
}
