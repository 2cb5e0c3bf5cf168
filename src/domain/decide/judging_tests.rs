//! When an answer to a judgment is handed over, and what the request says meanwhile. Touches nothing.

use serde_json::json;

use super::{
    super::tests::{active, facts, now, observation, ready, request, shown},
    *,
};
use crate::{
    api::deploy_request::{Cancel, DecisionKind, Phase},
    domain::{
        access::{Permission, Standing, Subject},
        decide::decide,
        judgment::{Answer, JudgmentFacts, JudgmentStage, ShownAnswer},
    },
};

const UID: &str = "0000-own";

fn stage(moment: Moment) -> JudgmentStage {
    JudgmentStage {
        judgment: Judgment {
            stage: "S".to_owned(),
            name: "Looks good?".to_owned(),
            instructions: Some("Look at\nthe dashboard.".to_owned()),
            inputs: vec!["eu".to_owned(), "us".to_owned()],
            ..Judgment::default()
        },
        moment,
        shown: None,
        restarted_at: None,
    }
}

fn alice() -> Answer {
    let approval = serde_json::from_value(json!({
        "metadata": {"name": "alice", "namespace": "shop", "uid": "a", "creationTimestamp": "2026-11-22T11:59:30Z"},
        "spec": {
            "request": {"name": "checkout-main", "uid": UID}, "for": "Judgment", "decision": "Approve",
            "judgment": {"execution": "01EXECUTION", "stage": "S", "input": "eu"}, "approver": {"username": "alice"},
        },
    }));
    let subject = Subject {
        username: "alice".to_owned(),
        groups: Vec::new(),
    };
    Answer {
        approval: approval.unwrap(),
        known: Some(Ok(Standing {
            subject,
            permission: Permission::Granted("RBAC".to_owned()),
        })),
    }
}

fn running(stages: Vec<JudgmentStage>, answers: Vec<Answer>) -> Facts {
    let Sighting::Seen(mut seen) = observation(UID, None, 1) else {
        unreachable!()
    };
    seen.judgments = stages;
    let mut facts = facts(
        ready(Some(active(UID, true, Some(shown(Some(1)))))),
        Sighting::Seen(seen),
    );
    facts.judgments = JudgmentFacts {
        answers,
        ..JudgmentFacts::default()
    };
    facts
}

fn judged(decision: &Decision) -> bool {
    matches!(decision.effect, Some(Effect::Judge(_)))
}

/// The request as it is once alice's answer was handed over.
fn marked(facts: &Facts) -> DeployRequest {
    let mut request = request(Some(Phase::Running));
    let Some(Effect::Judge(handover)) = decide(&request, facts, now()).effect else {
        panic!("it is not handed over")
    };
    let mut status = request.status.take().unwrap();
    judgment::mark(&mut status, &handover, now());
    request.status = Some(status);
    request
}

/// The request as it is once the decision was recorded.
fn recorded(decision: Decision) -> DeployRequest {
    let mut request = request(Some(Phase::Running));
    request.status = Some(decision.status);
    request
}

#[test]
fn a_stage_that_waits_is_shown_with_what_it_asks() {
    let facts = running(vec![stage(Moment::Waiting)], Vec::new());
    let decision = decide(&request(Some(Phase::Running)), &facts, now());
    assert_eq!(decision.effect, None);
    let status = &decision.status;
    assert_eq!(status.phase, Some(Phase::Running));
    let waiting = status.waiting.as_ref().unwrap();
    assert_eq!(waiting.subject, WaitingFor::Judgment);
    assert_eq!(
        waiting.message,
        "stage \"Looks good?\" waits for a person's judgment: Look at the dashboard. It takes one of: eu, us."
    );
    let judgment = status.judgment.as_ref().unwrap();
    assert_eq!((judgment.stage.as_str(), judgment.inputs.len()), ("S", 2));
    assert_eq!(judgment.answer, None);
    // What was read once stays, also when it is read without its context.
    let mut unread = stage(Moment::Unread);
    unread.judgment.instructions = None;
    unread.judgment.inputs.clear();
    let facts = running(vec![unread], Vec::new());
    let again = decide(&recorded(decision.clone()), &facts, now());
    assert_eq!(again.status.judgment, decision.status.judgment);
    // For hours, so it is not looked at every second; what was never read is.
    let later = now() + Duration::from_hours(3);
    let again = decide(&recorded(decision.clone()), &facts, later);
    assert!(again.requeue.unwrap() > 10 * LOOK, "{:?}", again.requeue);
    let unknown = decide(&request(Some(Phase::Running)), &facts, later);
    assert_eq!(unknown.requeue, Some(LOOK));
    // When it is over the request shows it no longer.
    let facts = running(vec![stage(Moment::Over)], Vec::new());
    let over = decide(&recorded(decision), &facts, now());
    assert_eq!((over.status.judgment, over.status.waiting), (None, None));
}

#[test]
fn an_answer_is_handed_over_only_to_a_stage_that_waits_of_a_request_that_nobody_cancels() {
    for moment in [
        Moment::Ahead,
        Moment::Unread,
        Moment::Opening,
        Moment::Waiting,
        Moment::Answered,
        Moment::Over,
    ] {
        for variant in 0..16_u8 {
            let on = |bit: u8| variant & (1 << bit) != 0;
            let mut request = request(Some(Phase::Running));
            let mut facts = running(vec![stage(moment)], vec![alice()]);
            if on(0) {
                request.spec.cancel = Some(Cancel {
                    reason: None,
                    by: None,
                });
            }
            if on(1) {
                facts.judgments.answers.clear();
            }
            if on(2) {
                facts.judgments.answers[..].iter_mut().for_each(|answer| {
                    answer.known = Some(Err(Refusal::passing(
                        WaitingFor::Configuration,
                        Reason::PoliciesMissing,
                        "no",
                    )));
                });
            }
            if on(3) {
                let Sighting::Seen(seen) = &mut facts.sighting else {
                    unreachable!()
                };
                seen.ended = Some(crate::domain::outcome::Ended::Succeeded);
            }
            let decision = decide(&request, &facts, now());
            let expected = moment == Moment::Waiting && variant == 0;
            assert_eq!(judged(&decision), expected, "{moment:?} {variant:04b}");
        }
    }
}

#[test]
fn no_answer_is_handed_over_while_a_cancel_may_count() {
    let mut facts = running(vec![stage(Moment::Waiting)], vec![alice()]);
    let mut request = request(Some(Phase::Running));
    request.spec.cancel = Some(Cancel {
        reason: None,
        by: None,
    });
    facts.gates.cancel = Some(Err(Refusal::passing(
        WaitingFor::Authorization,
        Reason::AccessUnknown,
        "who wants it cancelled can't be looked up.",
    )));
    let waits = decide(&request, &facts, now() + Duration::from_hours(3));
    assert_eq!(waits.effect, None);
    assert!(waits.requeue.unwrap() > 10 * LOOK, "{:?}", waits.requeue);
    assert_eq!(
        waits.status.message.as_deref(),
        Some(
            "`alice` answered stage \"Looks good?\", which is not handed over before that is settled: who wants it cancelled can't be looked up."
        )
    );
    request.status = Some(waits.status);
    facts.gates.cancel = Some(Err(Refusal::permanent(
        Reason::CancelRefused,
        "they may not.",
    )));
    assert!(judged(&decide(&request, &facts, now())));
}

#[test]
fn an_answer_that_was_lost_is_handed_over_again_and_no_sooner_than_after_a_second() {
    let mut facts = running(vec![stage(Moment::Waiting)], vec![alice()]);
    let request = marked(&facts);
    // In the same pass, after the call.
    facts.trouble = Some(handed_over());
    let after = decide(&request, &facts, now());
    assert!(!judged(&after));
    assert!(after.requeue.unwrap() <= LOOK, "{:?}", after.requeue);
    let shown = after.status.judgment.as_ref().unwrap();
    assert_eq!(shown.answer.as_ref().unwrap().by, "alice");
    let message = after.status.message.clone().unwrap();
    assert!(message.contains("`alice` answered stage"), "{message}");
    let request = recorded(after);
    // Whoever wakes it in between brings nothing forward.
    facts.trouble = None;
    let early = decide(&request, &facts, now() + Duration::from_millis(1_500));
    assert!(!judged(&early) && early.requeue.unwrap() <= LOOK);
    assert_eq!(
        early.status.next_attempt_at,
        request.status.as_ref().unwrap().next_attempt_at
    );
    let later = decide(&request, &facts, now() + AGAIN);
    assert!(judged(&later));
}

#[test]
fn what_spinnaker_refused_or_took_back_is_said_and_tried_again_later() {
    let mut facts = running(vec![stage(Moment::Waiting)], vec![alice()]);
    facts.trouble = Some(Refusal::passing(
        WaitingFor::Spinnaker,
        Reason::GateUnreachable,
        "Gate can't be reached.",
    ));
    let refused = decide(&request(Some(Phase::Running)), &facts, now());
    let shown = refused.status.judgment.as_ref().unwrap();
    assert_eq!(shown.answer, None, "it was not handed over");
    let waiting = refused.status.waiting.as_ref().unwrap();
    assert_eq!(waiting.subject, WaitingFor::Judgment);
    assert_eq!(
        waiting.message,
        "`alice` answered stage \"Looks good?\", but Gate can't be reached."
    );
    facts.trouble = None;
    let request = recorded(refused);
    assert!(!judged(&decide(&request, &facts, now() + AGAIN)));
    assert!(judged(&decide(&request, &facts, now() + REFUSED_AGAIN)));

    let taken_back = JudgmentStage {
        shown: Some(ShownAnswer {
            approval: Some("alice".to_owned()),
            ..ShownAnswer::default()
        }),
        ..stage(Moment::Waiting)
    };
    let facts = running(vec![taken_back], vec![alice()]);
    let time = now() + REFUSED_AGAIN;
    let told = decide(&request, &facts, time);
    assert!(!judged(&told), "it is said first");
    let message = told.status.message.clone().unwrap();
    assert!(message.contains("Spinnaker does not let"), "{message}");
    let request = recorded(told);
    assert!(!judged(&decide(&request, &facts, time + AGAIN)));
    assert!(judged(&decide(&request, &facts, time + REFUSED_AGAIN)));
}

#[test]
fn of_two_stages_that_wait_the_answered_one_is_shown_and_handed_over() {
    let mut other = stage(Moment::Waiting);
    other.judgment.stage = "A".to_owned();
    let stages = vec![other, stage(Moment::Waiting)];
    let none = decide(
        &request(Some(Phase::Running)),
        &running(stages.clone(), Vec::new()),
        now(),
    );
    assert_eq!(none.status.judgment.as_ref().unwrap().stage, "A");
    let facts = running(stages, vec![alice()]);
    let Some(Effect::Judge(handover)) = decide(&recorded(none), &facts, now()).effect else {
        panic!("it is not handed over")
    };
    assert_eq!(handover.stage.stage, "S");
    assert_eq!(
        (handover.by.as_str(), handover.answer.input.as_deref()),
        ("alice", Some("eu"))
    );
}

#[test]
fn an_answer_in_deck_is_remembered_when_the_execution_ends_with_it() {
    let facts = running(vec![stage(Moment::Waiting)], Vec::new());
    let waits = recorded(decide(&request(Some(Phase::Running)), &facts, now()));
    let stopped = JudgmentStage {
        shown: Some(ShownAnswer {
            decision: Some(crate::api::deploy_approval::ApprovalDecision::Reject),
            by: Some("carol".to_owned()),
            ..ShownAnswer::default()
        }),
        ..stage(Moment::Over)
    };
    let mut facts = running(vec![stopped], vec![alice()]);
    let Sighting::Seen(seen) = &mut facts.sighting else {
        unreachable!()
    };
    seen.ended = Some(crate::domain::outcome::Ended::Failed);
    let Some(Effect::Finish(run)) = decide(&waits, &facts, now()).effect else {
        panic!("it did not end")
    };
    let mut target = match &facts.target {
        super::super::TargetFact::Ready(status) => status.clone(),
        _ => unreachable!(),
    };
    *target = crate::domain::target::finished(&target, *run).unwrap();
    facts.target = super::super::TargetFact::Ready(target);
    let ended = decide(&waits, &facts, now());
    assert_eq!(ended.status.phase, Some(Phase::Failed));
    assert_eq!(ended.status.judgment, None);
    let mut decisions = ended.status.decisions.iter();
    let answered = decisions.find(|record| record.what == DecisionKind::Judged);
    let why = answered.and_then(|record| record.why.as_deref());
    assert_eq!(
        why,
        Some("stop, by carol in Spinnaker at stage \"Looks good?\"")
    );
    let told = verdicts(&waits, &facts);
    assert_eq!(
        (told[0].counts, told[0].reason),
        (Some(false), Reason::JudgmentOver)
    );
}
