//! Whose answer to a judgment counts, row by row. Touches nothing.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::api::bounds;
use crate::api::deploy_request::WaitingFor;
use crate::domain::access::{Missing, Permission, Standing, Subject};

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

fn now() -> Timestamp {
    at("2026-11-22T12:00:00Z")
}

fn request() -> DeployRequest {
    serde_json::from_value(json!({
        "metadata": {"name": "checkout-main", "namespace": "shop", "uid": "u"},
        "spec": {"application": "checkout", "environment": "production", "version": "main"},
    }))
    .unwrap()
}

fn stage(moment: Moment) -> JudgmentStage {
    JudgmentStage {
        judgment: Judgment {
            stage: "S".to_owned(),
            name: "Looks good?".to_owned(),
            inputs: vec!["eu".to_owned(), "us".to_owned()],
            ..Judgment::default()
        },
        moment,
        shown: None,
        restarted_at: None,
    }
}

fn shown(verdict: Option<ApprovalDecision>, approval: Option<&str>) -> ShownAnswer {
    ShownAnswer {
        decision: verdict,
        input: Some("eu".to_owned()),
        by: Some("carol".to_owned()),
        approval: approval.map(str::to_owned),
    }
}

fn standing(username: &str, groups: &[&str]) -> Standing {
    Standing {
        subject: Subject {
            username: username.to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        },
        permission: Permission::Granted("RBAC: allowed".to_owned()),
    }
}

/// `name`, given so many seconds after the stage began, by the user of that name.
fn answer(name: &str, second: u32, change: &Value) -> Answer {
    let mut spec = json!({
        "request": {"name": "checkout-main", "uid": "u"}, "for": "Judgment", "decision": "Approve",
        "judgment": {"execution": "E", "stage": "S", "input": "eu"},
        "approver": {"username": name},
    });
    for (key, value) in change.as_object().unwrap() {
        spec[key] = value.clone();
    }
    let approval = serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "shop", "uid": name, "creationTimestamp": format!("2026-11-22T11:00:{second:02}Z")},
        "spec": spec,
    }));
    Answer {
        approval: approval.unwrap(),
        known: Some(Ok(standing(name, &[]))),
    }
}

fn weighed(stage: JudgmentStage, answers: Vec<Answer>, held: Option<&str>) -> Weighed {
    let facts = JudgmentFacts {
        answers,
        roles: vec![JudgmentRole {
            role: "qa".to_owned(),
            group: "okta:qa".to_owned(),
        }],
        holders: None,
    };
    let (request, stages) = (request(), [stage]);
    let matter = Matter {
        request: &request,
        execution: "E",
        stages: &stages,
        facts: &facts,
    };
    weigh(matter, held)
}

fn reasons(weighed: &Weighed) -> BTreeMap<&str, (Option<bool>, Reason)> {
    let all = weighed.verdicts.iter();
    all.map(|verdict| (verdict.name.as_str(), (verdict.counts, verdict.reason)))
        .collect()
}

fn winner(weighed: &Weighed) -> Option<&str> {
    weighed.counted.as_ref().map(|won| won.by.as_str())
}

#[test]
fn each_answer_is_told_whether_it_counts_and_why_not() {
    let asked = |change: fn(&mut Answer)| {
        let mut answer = answer("alice", 1, &json!({}));
        change(&mut answer);
        answer
    };
    let named = |execution: &str, stage: &str, input: Value| {
        let judgment = json!({"execution": execution, "stage": stage, "input": input});
        answer("alice", 1, &json!({"judgment": judgment}))
    };
    let with = |change: Value| answer("alice", 1, &change);
    let rows = [
        (
            "as it should be",
            named("E", "S", json!("us")),
            Some(true),
            Reason::Counts,
            "continue (input \"us\")",
        ),
        (
            "a stop needs no input",
            with(json!({"decision": "Reject", "judgment": {"execution": "E", "stage": "S"}})),
            Some(true),
            Reason::Counts,
            "stop",
        ),
        (
            "names no judgment",
            with(json!({"judgment": null})),
            Some(false),
            Reason::Invalid,
            "spec.judgment",
        ),
        (
            "another execution",
            named("F", "S", json!("eu")),
            Some(false),
            Reason::JudgmentOver,
            "execution F",
        ),
        (
            "another stage",
            named("E", "T", json!("eu")),
            Some(false),
            Reason::JudgmentOver,
            "status.judgment.stage",
        ),
        (
            "no such input",
            named("E", "S", json!("mars")),
            Some(false),
            Reason::InputNotOffered,
            "one of eu, us, and not \"mars\"",
        ),
        (
            "no input",
            named("E", "S", Value::Null),
            Some(false),
            Reason::InputNotOffered,
            "eu, us",
        ),
        (
            "a bad input to stop",
            with(
                json!({"decision": "Reject", "judgment": {"execution": "E", "stage": "S", "input": "mars"}}),
            ),
            Some(false),
            Reason::InputNotOffered,
            "mars",
        ),
        (
            "nobody was asked yet",
            asked(|answer| answer.known = None),
            None,
            Reason::Accepted,
            "looked at",
        ),
        (
            "without the verb",
            asked(|answer| {
                answer.known = Some(Ok(Standing {
                    subject: Subject {
                        username: "alice".to_owned(),
                        groups: Vec::new(),
                    },
                    permission: Permission::Refused(vec![Missing {
                        verb: "judge".to_owned(),
                        resource: "environments",
                        name: "production".to_owned(),
                    }]),
                }));
            }),
            Some(false),
            Reason::ApproverNotAuthorized,
            "no verb `judge` on Environment `production`",
        ),
        (
            "a ServiceAccount",
            asked(|answer| {
                answer.known = Some(Ok(standing("system:serviceaccount:flux:flux", &[])));
            }),
            Some(false),
            Reason::Nobody,
            "no person",
        ),
        (
            "nobody",
            asked(|answer| {
                answer.known = Some(Err(Refusal::permanent(Reason::Nobody, "deactivated")));
            }),
            Some(false),
            Reason::Nobody,
            "deactivated",
        ),
        (
            "unknown groups",
            asked(|answer| {
                answer.known = Some(Err(Refusal::passing(
                    WaitingFor::Authorization,
                    Reason::GroupsUnknown,
                    "too old",
                )));
            }),
            None,
            Reason::GroupsUnknown,
            "too old",
        ),
    ];
    for (name, answer, counts, reason, words) in rows {
        let weighed = weighed(stage(Moment::Waiting), vec![answer], None);
        let verdict = &weighed.verdicts[0];
        assert_eq!(
            (verdict.counts, verdict.reason),
            (counts, reason),
            "{name}: {}",
            verdict.message
        );
        assert!(
            verdict.message.contains(words),
            "{name}: {}",
            verdict.message
        );
        assert_eq!(weighed.counted.is_some(), counts == Some(true), "{name}");
    }
}

#[test]
fn a_stage_without_inputs_takes_none() {
    let mut bare = stage(Moment::Waiting);
    bare.judgment.inputs.clear();
    let given = weighed(bare.clone(), vec![answer("alice", 1, &json!({}))], None);
    assert_eq!(given.verdicts[0].reason, Reason::InputNotOffered);
    let none = json!({"judgment": {"execution": "E", "stage": "S"}});
    let given = weighed(bare, vec![answer("alice", 1, &none)], None);
    assert_eq!(given.verdicts[0].reason, Reason::Counts);
}

#[test]
fn where_the_stage_names_roles_the_judge_needs_a_group_that_has_one() {
    for (roles, groups, reason) in [
        (vec![], vec![], Reason::Counts),
        (vec!["qa"], vec![], Reason::RoleMissing),
        (vec!["qa"], vec!["qa"], Reason::RoleMissing),
        (vec!["qa"], vec!["okta:qa"], Reason::Counts),
        (vec!["sre", "qa"], vec!["okta:qa"], Reason::Counts),
        (vec!["sre"], vec!["okta:qa", "sre"], Reason::RoleMissing),
    ] {
        let mut stage = stage(Moment::Waiting);
        stage.judgment.roles = roles.iter().map(|role| (*role).to_owned()).collect();
        let mut alice = answer("alice", 1, &json!({}));
        alice.known = Some(Ok(standing("alice", &groups)));
        let given = weighed(stage, vec![alice], None);
        assert_eq!(given.verdicts[0].reason, reason, "{roles:?} {groups:?}");
    }
}

#[test]
fn the_first_answer_that_counts_wins_by_creation_then_by_name() {
    let mars = json!({"judgment": {"execution": "E", "stage": "S", "input": "mars"}});
    let answers = vec![
        answer("dave", 3, &json!({"decision": "Reject"})),
        answer("carol", 2, &json!({})),
        answer("bob", 2, &json!({"decision": "Reject"})),
        answer("alice", 1, &mars),
    ];
    let given = weighed(stage(Moment::Waiting), answers.clone(), None);
    assert_eq!(winner(&given), Some("bob"));
    let over = (Some(false), Reason::JudgmentOver);
    let expected = [
        ("alice", (Some(false), Reason::InputNotOffered)),
        ("bob", (Some(true), Reason::Counts)),
        ("carol", over),
        ("dave", over),
    ];
    assert_eq!(reasons(&given), BTreeMap::from(expected));
    // What was handed over stays the answer as long as it counts: Spinnaker may have it.
    let given = weighed(stage(Moment::Waiting), answers.clone(), Some("carol"));
    assert_eq!(winner(&given), Some("carol"));
    let given = weighed(stage(Moment::Waiting), answers, Some("alice"));
    assert_eq!(winner(&given), Some("bob"));
}

#[test]
fn an_answer_is_held_back_until_the_stage_listens() {
    for (moment, counts, shown) in [
        (Moment::Ahead, None, None),
        (Moment::Unread, None, None),
        (Moment::Opening, Some(true), Some(Moment::Opening)),
        (Moment::Waiting, Some(true), Some(Moment::Waiting)),
        (Moment::Answered, Some(true), Some(Moment::Answered)),
        (Moment::Over, Some(false), None),
    ] {
        let given = weighed(stage(moment), vec![answer("alice", 1, &json!({}))], None);
        assert_eq!(given.verdicts[0].counts, counts, "{moment:?}");
        assert_eq!(given.moment, shown, "{moment:?}");
    }
}

#[test]
fn what_spinnaker_shows_says_whose_answer_it_was() {
    use ApprovalDecision::{Approve, Reject};
    for (moment, shown, counts, words) in [
        (
            Moment::Over,
            Some(shown(Some(Approve), Some("alice"))),
            true,
            "so stage \"Looks good?\" was answered",
        ),
        (
            Moment::Answered,
            Some(shown(Some(Approve), Some("alice"))),
            true,
            "continue",
        ),
        (
            Moment::Over,
            Some(shown(Some(Approve), None)),
            false,
            "continue (input \"eu\"), by carol in Spinnaker",
        ),
        (
            Moment::Answered,
            Some(shown(Some(Reject), None)),
            false,
            "by carol in Spinnaker",
        ),
        // Somebody in Deck was faster, and left our mark of an earlier try.
        (
            Moment::Over,
            Some(shown(Some(Reject), Some("alice"))),
            false,
            "stop",
        ),
        (Moment::Over, Some(shown(None, None)), false, "is over"),
        (Moment::Over, None, false, "is over"),
    ] {
        let stage = JudgmentStage {
            shown,
            ..stage(moment)
        };
        let given = weighed(stage, vec![answer("alice", 1, &json!({}))], None);
        let verdict = &given.verdicts[0];
        assert_eq!(verdict.counts, Some(counts), "{}", verdict.message);
        assert!(verdict.message.contains(words), "{}", verdict.message);
    }
}

#[test]
fn an_answer_that_spinnaker_took_back_says_who_can_help() {
    let mut stage = JudgmentStage {
        shown: Some(shown(None, Some("alice"))),
        ..stage(Moment::Waiting)
    };
    stage.judgment.roles = vec!["qa".to_owned()];
    let mut alice = answer("alice", 1, &json!({}));
    alice.known = Some(Ok(standing("alice", &["okta:qa"])));
    let given = weighed(stage, vec![alice], None);
    assert!(given.turned_away && given.counted.is_some());
    let message = &given.verdicts[0].message;
    assert!(
        message.contains("account carol has none of the roles qa"),
        "{message}"
    );
}

#[test]
fn a_restarted_stage_takes_a_new_answer() {
    let stage = JudgmentStage {
        restarted_at: Some(at("2026-11-22T11:00:05Z")),
        ..stage(Moment::Waiting)
    };
    let answers = vec![answer("alice", 1, &json!({})), answer("bob", 6, &json!({}))];
    let given = weighed(stage, answers, None);
    assert_eq!(winner(&given), Some("bob"));
    assert_eq!(
        reasons(&given)["alice"],
        (Some(false), Reason::JudgmentOver)
    );
}

#[test]
fn what_came_too_late_is_told_so_and_what_counted_keeps_its_word() {
    let told = |stages: &[JudgmentStage], approval: &DeployApproval| {
        too_late(stages, approval).map(|verdict| (verdict.counts, verdict.reason))
    };
    let mut approval = answer("alice", 1, &json!({})).approval;
    let over = Some((Some(false), Reason::JudgmentOver));
    assert_eq!(told(&[], &approval), over);
    assert_eq!(told(&[stage(Moment::Waiting)], &approval), over);
    let mut status = crate::api::deploy_approval::DeployApprovalStatus::default();
    conditions::set(
        &mut status.conditions,
        ConditionType::Counts,
        Some(true),
        Reason::Counts,
        "",
        None,
        now(),
    );
    approval.status = Some(status);
    assert_eq!(told(&[], &approval), None);
    let answered = JudgmentStage {
        shown: Some(shown(Some(ApprovalDecision::Approve), Some("alice"))),
        ..stage(Moment::Over)
    };
    assert_eq!(
        told(&[answered], &approval),
        Some((Some(true), Reason::Counts))
    );
    // Read without its context, it says nothing new.
    assert_eq!(told(&[stage(Moment::Over)], &approval), None);
    approval.status = None;
    assert_eq!(told(&[stage(Moment::Over)], &approval), over);
}

#[test]
fn who_answered_is_remembered_once_whoever_it_was() {
    let won = weighed(
        stage(Moment::Waiting),
        vec![answer("alice", 1, &json!({"comment": "green"}))],
        None,
    );
    let handover = won.counted.unwrap();
    let mut status = DeployRequestStatus::default();
    for _ in 0..3 {
        mark(&mut status, &handover, now());
    }
    let records: Vec<_> = status
        .decisions
        .iter()
        .map(|record| (record.by.as_deref(), record.why.as_deref().unwrap()))
        .collect();
    assert_eq!(
        records,
        [(
            Some("alice"),
            "continue (input \"eu\") at stage \"Looks good?\", by DeployApproval alice"
        )]
    );
    let given = status.judgment.as_ref().unwrap().answer.as_ref().unwrap();
    assert_eq!(
        (given.by.as_str(), given.comment.as_deref()),
        ("alice", Some("green"))
    );

    // Ours was taken: nothing more to remember.
    let ours = JudgmentStage {
        shown: Some(shown(Some(ApprovalDecision::Approve), Some("alice"))),
        ..stage(Moment::Over)
    };
    let mut taken = status.clone();
    close(&mut taken, &[stage(Moment::Waiting)], now());
    assert!(taken.judgment.is_some());
    close(&mut taken, &[ours], now());
    assert!(taken.judgment.is_none() && taken.decisions.len() == 1);

    // Somebody in Deck was faster.
    let theirs = JudgmentStage {
        shown: Some(shown(Some(ApprovalDecision::Reject), None)),
        ..stage(Moment::Over)
    };
    close(&mut status, &[theirs], now());
    let last = status.decisions.last().unwrap();
    assert_eq!(
        (last.by.as_deref(), last.why.as_deref()),
        (
            None,
            Some("stop (input \"eu\"), by carol in Spinnaker at stage \"Looks good?\"")
        )
    );
    assert!(status.judgment.is_none());

    for count in 0..2 * bounds::DECISIONS {
        remember(&mut status, None, &count.to_string(), now());
    }
    assert_eq!(status.decisions.len(), bounds::DECISIONS);
}
