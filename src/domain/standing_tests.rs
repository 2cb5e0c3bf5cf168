//! What counts as known, row by row; and that text of strangers stays short.

use serde_json::{Value, json};

use super::*;

const BUILT: i64 = 1_767_322_000_000;
const MINUTE: i64 = 60_000;

fn at(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).unwrap()
}

/// A run that began so many minutes after the first, and took two.
fn run(uid: &str, minutes: i64, phase: &str) -> Value {
    let began = BUILT + minutes * MINUTE;
    json!({
        "uid": uid, "name": format!("slack-{uid}"), "action": "deploy", "version": format!("v-{uid}"),
        "requester": "bob@corp.example", "executionId": format!("E-{uid}"), "buildTime": began, "connection": "gate",
        "pipeline": {"application": "checkout", "name": "Deploy", "id": "P"}, "phase": phase, "reason": phase,
        "sentAt": at(began), "finishedAt": at(began + 2 * MINUTE),
    })
}

fn target(status: &Value) -> DeployTarget {
    serde_json::from_value(json!({
        "metadata": {"name": "checkout-staging", "namespace": "shop", "uid": "t"},
        "spec": {"application": "checkout", "environment": "staging", "place": {"account": "eks-1", "namespace": "shop"}},
        "status": status,
    }))
    .unwrap()
}

/// `a` ran well at 0, then what else is there.
fn after(later: &[Value]) -> DeployTarget {
    let current = run("a", 0, "Succeeded");
    let mut history = later.to_vec();
    history.push(current.clone());
    target(&json!({"initialized": at(BUILT), "current": current, "history": history}))
}

fn shown(id: &str, minutes: i64) -> Shown {
    let began = BUILT + minutes * MINUTE;
    Shown {
        id: id.to_owned(),
        pipeline: "P".to_owned(),
        mark: None,
        remembered: false,
        by: Some("mallory".to_owned()),
        parameters: BTreeMap::new(),
        over: true,
        build_time: Some(began),
        start_time: Some(began + 1),
        end_time: Some(began + MINUTE),
        first_stage: Some(began + 2),
        asked_at: at(BUILT + 600 * MINUTE),
    }
}

fn mark(uid: &str, target: &str) -> Option<Mark> {
    serde_json::from_value(
        json!({"uid": uid, "digest": "d", "target": target, "namespace": "shop"}),
    )
    .ok()
}

fn now() -> Timestamp {
    at(BUILT + 600 * MINUTE)
}

/// Status and reason.
fn verdict(target: &DeployTarget, shown: Option<&[Shown]>) -> String {
    let conditions = known(target, shown, now());
    conditions::find(&conditions, ConditionType::Known).map_or_else(
        || "nothing".to_owned(),
        |known| format!("{} {}", known.status, known.reason),
    )
}

fn with_conditions(mut target: DeployTarget, conditions: Vec<Condition>) -> DeployTarget {
    target.status.as_mut().unwrap().conditions = conditions;
    target
}

#[test]
fn nothing_is_said_of_a_target_on_which_nothing_ran() {
    assert_eq!(verdict(&target(&json!({})), Some(&[])), "nothing");
    let mut refused = run("a", 0, "Failed");
    refused["executionId"] = Value::Null;
    refused["reason"] = json!("StartRefused");
    let never = target(&json!({"history": [refused]}));
    assert_eq!(verdict(&never, Some(&[])), "nothing");
}

#[test]
fn what_failed_after_its_start_is_told_with_version_and_person_until_the_next_success() {
    assert_eq!(verdict(&after(&[]), Some(&[])), "True Succeeded");
    for phase in ["Failed", "Canceled"] {
        let failed = after(&[run("b", 10, phase)]);
        assert_eq!(verdict(&failed, Some(&[])), "False LastRequestFailed");
        assert_eq!(verdict(&failed, None), "False LastRequestFailed");
        let conditions = known(&failed, None, now());
        let message = &conditions[0].message;
        for part in ["v-b by bob@corp.example", "slack-b", "2026-"] {
            assert!(message.contains(part), "{message}");
        }
        let again = run("c", 20, "Succeeded");
        let mended = target(&json!({
            "current": again, "history": [again, run("b", 10, phase), run("a", 0, "Succeeded")],
            "conditions": conditions,
        }));
        assert_eq!(verdict(&mended, None), "True Succeeded");
    }
}

#[test]
fn what_never_began_changed_nothing() {
    let mut refused = run("b", 10, "Failed");
    refused["executionId"] = Value::Null;
    refused["reason"] = json!("StartRefused");
    assert_eq!(
        verdict(&after(&[refused.clone()]), Some(&[])),
        "True Succeeded"
    );
    refused["reason"] = json!("StartUnknown");
    let perhaps = after(&[refused]);
    assert_eq!(verdict(&perhaps, Some(&[])), "False LastRequestFailed");
}

#[test]
fn an_execution_that_was_run_again_is_told() {
    let own = || shown("E-a", 0);
    assert_eq!(verdict(&after(&[]), Some(&[own()])), "True Succeeded");
    let cases = [
        Shown {
            over: false,
            ..own()
        },
        Shown {
            build_time: Some(BUILT + 5),
            ..own()
        },
        Shown {
            start_time: Some(BUILT + 30 * MINUTE),
            ..own()
        },
        Shown {
            end_time: Some(BUILT + 30 * MINUTE),
            ..own()
        },
        Shown {
            start_time: Some(BUILT + MINUTE),
            ..own()
        },
    ];
    for again in cases {
        let told = verdict(&after(&[]), Some(std::slice::from_ref(&again)));
        assert_eq!(told, "False ExecutionRerun", "{again:?}");
        // It was still running when Spinnaker was asked, before it ended.
        let early = Shown {
            asked_at: at(BUILT + MINUTE),
            ..again
        };
        assert_eq!(verdict(&after(&[]), Some(&[early])), "True Succeeded");
    }
}

#[test]
fn what_others_ran_is_told_and_what_we_ran_is_not() {
    let told = |shown: Shown| verdict(&after(&[]), Some(&[shown]));
    assert_eq!(told(shown("X", 10)), "False RanElsewhere");
    assert_eq!(
        told(Shown {
            over: false,
            ..shown("X", -9)
        }),
        "False RanElsewhere"
    );
    assert_eq!(
        told(shown("X", -9)),
        "True Succeeded",
        "it ended before ours began"
    );
    assert_eq!(
        told(Shown {
            pipeline: "Q".to_owned(),
            ..shown("X", 10)
        }),
        "True Succeeded"
    );
    let waiting = Shown {
        start_time: None,
        first_stage: None,
        over: false,
        ..shown("X", 10)
    };
    assert_eq!(told(waiting), "True Succeeded", "it has not begun");
    let other = Shown {
        mark: mark("z", "checkout-production"),
        ..shown("X", 10)
    };
    let forged = told(other.clone());
    assert_eq!(forged, "False RanElsewhere", "no other target knows it");
    let other = Shown {
        remembered: true,
        ..other
    };
    assert_eq!(told(other), "True Succeeded", "ours, for another target");
    let copied = Shown {
        mark: mark("a", "checkout-staging"),
        ..shown("X", 10)
    };
    let mut remembering = after(&[]);
    remembering.status.as_mut().unwrap().keys = serde_json::from_value(json!([
        {"key": "k", "digest": "d", "uid": "a", "name": "a", "executionId": "E-a", "at": at(BUILT)},
    ]))
    .unwrap();
    let copied = verdict(&remembering, Some(&[copied]));
    assert_eq!(copied, "False RanElsewhere", "Spinnaker's copy of ours");
}

#[test]
fn who_ran_it_and_when_is_told_and_strangers_have_few_words() {
    let long = Shown {
        by: Some("m".repeat(5_000)),
        ..shown(&"X".repeat(5_000), 10)
    };
    let conditions = known(&after(&[]), Some(&[long]), now());
    assert!(conditions[0].message.chars().count() < 400);
    let conditions = known(&after(&[]), Some(&[shown("X", 10)]), now());
    for part in ["execution X", "by mallory", "at 2026-"] {
        assert!(conditions[0].message.contains(part), "{conditions:?}");
    }
}

#[test]
fn a_shared_pipeline_that_others_ran_for_another_place_changed_nothing_here() {
    let for_account = |id: &str, minutes, account: &str| Shown {
        parameters: BTreeMap::from([("account".to_owned(), account.to_owned())]),
        ..shown(id, minutes)
    };
    let own = for_account("E-a", 0, "eks-1");
    let told = |other: Shown| verdict(&after(&[]), Some(&[own.clone(), other]));
    assert_eq!(told(for_account("X", 10, "eks-2")), "True Succeeded");
    assert_eq!(told(for_account("X", 10, "eks-1")), "False RanElsewhere");
    assert_eq!(told(shown("X", 10)), "False RanElsewhere");
}

#[test]
fn what_is_known_stays_while_spinnaker_is_silent_or_forgets_and_no_longer_than_what_runs() {
    let others = known(&after(&[]), Some(&[shown("X", 10)]), now());
    let stays = with_conditions(after(&[]), others.clone());
    for silent in [None, Some([].as_slice())] {
        assert_eq!(
            known(&stays, silent, now() + std::time::Duration::from_secs(9)),
            others
        );
    }
    let later = run("c", 700, "Succeeded");
    let next = target(&json!({"current": later, "history": [later], "conditions": others}));
    assert_eq!(verdict(&next, None), "True Succeeded");
}

fn told(behind: u32, ahead: u32) -> Heard {
    Heard::Compared {
        branch: "main".to_owned(),
        head: "a".repeat(40),
        behind,
        ahead,
    }
}

fn silent(passing: bool, sentence: &str) -> Heard {
    Heard::Problem {
        branch: None,
        head: None,
        sentence: sentence.to_owned(),
        passing,
    }
}

#[test]
fn since_moves_only_when_the_numbers_do_or_what_runs() {
    let mut status = after(&[]).status.unwrap();
    let first = drift(&status, Some(told(3, 0)), now()).unwrap();
    assert_eq!((first.behind, first.ahead), (Some(3), Some(0)));
    status.drift = Some(first.clone());
    let later = now() + std::time::Duration::from_mins(10);
    assert_eq!(drift(&status, Some(told(3, 0)), later), Some(first.clone()));
    assert_eq!(
        drift(&status, Some(told(4, 0)), later).unwrap().since.0,
        later
    );
    assert_eq!(
        drift(&status, Some(silent(true, "late")), later),
        Some(first)
    );
    status.current.as_mut().unwrap().finished_at = Time(later);
    let anew = later + std::time::Duration::from_secs(1);
    assert_eq!(
        drift(&status, Some(told(3, 0)), anew).unwrap().since.0,
        anew
    );
    let unknown = drift(&status, Some(silent(true, "late")), anew).unwrap();
    assert_eq!(
        (unknown.behind, unknown.problem.as_deref()),
        (None, Some("late"))
    );
}

#[test]
fn without_a_repository_or_anything_that_runs_there_is_no_drift() {
    let status = after(&[]).status.unwrap();
    assert_eq!(drift(&status, None, now()), None);
    assert_eq!(
        drift(&DeployTargetStatus::default(), Some(told(0, 0)), now()),
        None
    );
    let gone = drift(
        &status,
        Some(silent(false, "there is no repository")),
        now(),
    )
    .unwrap();
    assert_eq!(
        (gone.behind, gone.problem.as_deref()),
        (None, Some("there is no repository"))
    );
}
