//! Every phase × every kind of fact, exhaustively: what must hold whatever is seen.

mod cancels;
mod frozen;
mod gates;
mod pairs;
mod times;
mod walk;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use super::*;
use crate::{
    api::{
        conditions::{self, ConditionType},
        connection::{OnUnknown, TriggerMode},
        deploy_request::{Attempt, ExecutionStatus, Pinned, PipelineRef, Place, Resolved},
        deploy_target::{DeployTargetStatus, KeyRecord},
        environment::Concurrency,
    },
    domain::{
        gates::Gates,
        judgment::JudgmentFacts,
        outcome::{Ended, Mark, Observation},
    },
};

const UID: &str = "0000-own";
const OTHER: &str = "1111-other";

pub(super) fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

pub(super) fn request(phase: Option<Phase>) -> DeployRequest {
    let mut request: DeployRequest = serde_json::from_value(json!({
        "metadata": {
            "name": "checkout-main", "namespace": "shop", "uid": UID, "generation": 1,
            "creationTimestamp": "2026-11-22T11:59:00Z", "annotations": {SEEN_ANNOTATION: UID},
        },
        "spec": {"application": "checkout", "environment": "staging", "version": "main"},
    }))
    .unwrap();
    if let Some(phase) = phase {
        let finished = phase.is_terminal().then(|| Time(now()));
        request.status = Some(DeployRequestStatus {
            phase: Some(phase),
            finished_at: finished,
            ..DeployRequestStatus::default()
        });
    }
    request
}

fn attempt(sent: bool) -> Attempt {
    Attempt {
        execution_id: "01EXECUTION".to_owned(),
        correlation_id: "fd-1".to_owned(),
        holder: "me".to_owned(),
        pinned: Pinned {
            connection: "gate".to_owned(),
            connection_uid: "c".to_owned(),
            gate_url: "http://gate".to_owned(),
            trigger: TriggerMode::Start,
            pipeline: pipeline(),
            body_digest: "b".to_owned(),
        },
        claimed_at: Time(now()),
        sent_at: sent.then(|| Time(now())),
    }
}

fn pipeline() -> PipelineRef {
    PipelineRef {
        application: "checkout".to_owned(),
        name: "Deploy".to_owned(),
        id: "p".to_owned(),
    }
}

pub(super) fn plan() -> Plan {
    Plan {
        resolved: Resolved {
            connection: "gate".to_owned(),
            pipeline: pipeline(),
            revision: None,
            parameters: BTreeMap::new(),
            version: Some("main".to_owned()),
            commit: None,
            artifacts: Vec::new(),
            target: Place {
                account: "eks".to_owned(),
                namespace: "shop".to_owned(),
            },
            deploy_target: "checkout.staging.1".to_owned(),
            digest: "d".to_owned(),
        },
        changes: None,
        found: false,
        concurrency: Concurrency::Queue,
        start: Some(Start {
            attempt: attempt(false),
            body: Arc::from(*b"{}"),
        }),
    }
}

fn changed_plan() -> Plan {
    let mut attempt = attempt(false);
    attempt.pinned.body_digest = "new".to_owned();
    Plan {
        start: Some(Start {
            attempt,
            body: Arc::from(*b"{1}"),
        }),
        ..plan()
    }
}

pub(super) fn shown(build_time: Option<i64>) -> Seen {
    Seen {
        id: "01EXECUTION".to_owned(),
        build_time,
    }
}

pub(super) fn active(uid: &str, sent: bool, seen: Option<Seen>) -> Active {
    Active {
        uid: uid.to_owned(),
        name: format!("name-{uid}"),
        key: format!("key-{uid}"),
        digest: "d".to_owned(),
        action: "deploy".to_owned(),
        version: None,
        commit: None,
        artifacts: Vec::new(),
        requester: None,
        attempt: attempt(sent),
        sends: u32::from(sent),
        execution: seen,
        cancel_requested_at: None,
        frozen: None,
        overridden_by: None,
    }
}

pub(super) fn observation(uid: &str, ended: Option<Ended>, build_time: i64) -> Sighting {
    Sighting::Seen(Box::new(Observation {
        execution: ExecutionStatus {
            id: "01EXECUTION".to_owned(),
            status: "RUNNING".to_owned(),
            build_time: Some(build_time),
            ..ExecutionStatus::default()
        },
        pipeline: pipeline(),
        mark: Some(Mark {
            uid: uid.to_owned(),
            digest: "d".to_owned(),
            namespace: None,
            target: "checkout.staging.1".to_owned(),
            name: String::new(),
            key: String::new(),
            ask: String::new(),
            action: String::new(),
            version: None,
            commit: None,
        }),
        ended,
        cancellation: None,
        looks_started_twice: false,
        judgments: Vec::new(),
        stage: None,
        worked: Duration::ZERO,
        changed: now(),
    }))
}

fn refusal(waiting_for: Option<WaitingFor>) -> Refusal {
    Refusal {
        reason: Reason::GateUnreachable,
        message: "no".to_owned(),
        waiting_for,
        retry_after: None,
    }
}

pub(super) fn facts(target: TargetFact, sighting: Sighting) -> Facts {
    Facts {
        plan: Ok(plan()),
        expire_after: Duration::from_hours(1),
        gates: Gates::open(),
        on_unknown: OnUnknown::Retry,
        settle: SHORTEST_SETTLE,
        target,
        target_name: Some(plan().resolved.deploy_target),
        ahead: None,
        newer: None,
        rerun: None,
        sighting,
        judgments: JudgmentFacts::default(),
        trouble: None,
        gone: false,
        release_order: None,
        unlisted: None,
    }
}

pub(super) fn ready(active: Option<Active>) -> TargetFact {
    TargetFact::Ready(Box::new(DeployTargetStatus {
        initialized: Some(Time(now())),
        active,
        ..DeployTargetStatus::default()
    }))
}

fn targets() -> Vec<(&'static str, TargetFact)> {
    let mut ended = DeployTargetStatus {
        initialized: Some(Time(now())),
        ..DeployTargetStatus::default()
    };
    ended.active = Some(active(UID, true, None));
    let run = Outcome::new(Phase::Succeeded, Reason::Succeeded, "done").run(
        &active(UID, true, None),
        None,
        now(),
    );
    let mut keyed = DeployTargetStatus {
        initialized: Some(Time(now())),
        ..DeployTargetStatus::default()
    };
    keyed.keys.push(KeyRecord {
        key: ids::idempotency_key("shop", "checkout-main", &request(None).spec),
        digest: ids::ask_digest(&request(None).spec),
        uid: OTHER.to_owned(),
        name: "earlier".to_owned(),
        outcome: Some(Phase::Failed),
        execution_id: None,
        at: Time(now()),
    });
    vec![
        ("unresolved", TargetFact::Unresolved),
        ("unprepared", TargetFact::Unprepared),
        ("unreadable", TargetFact::Unreadable("odd".to_owned())),
        ("free", ready(None)),
        ("taken", ready(Some(active(OTHER, true, None)))),
        ("claimed", ready(Some(active(UID, false, None)))),
        ("sent", ready(Some(active(UID, true, None)))),
        (
            "accepted",
            ready(Some(active(UID, true, Some(shown(None))))),
        ),
        (
            "running",
            ready(Some(active(UID, true, Some(shown(Some(1)))))),
        ),
        (
            "ended",
            TargetFact::Ready(Box::new(target::finished(&ended, run).unwrap())),
        ),
        ("key used", TargetFact::Ready(Box::new(keyed))),
    ]
}

fn sightings() -> Vec<(&'static str, Sighting)> {
    vec![
        ("not asked", Sighting::NotAsked),
        ("runs", observation(UID, None, 1)),
        ("succeeded", observation(UID, Some(Ended::Succeeded), 1)),
        ("failed", observation(UID, Some(Ended::Failed), 1)),
        ("canceled", observation(UID, Some(Ended::Canceled), 1)),
        ("started again", observation(UID, Some(Ended::Succeeded), 2)),
        ("foreign", observation(OTHER, None, 1)),
        ("absent", Sighting::Absent(Duration::from_secs(1))),
        ("settled", Sighting::Absent(SHORTEST_SETTLE)),
        (
            "unclear",
            Sighting::Unclear(refusal(Some(WaitingFor::Spinnaker))),
        ),
    ]
}

/// Calls `check` for every combination, with its name.
fn every(mut check: impl FnMut(&str, &DeployRequest, &Facts, &Decision)) {
    let phases = std::iter::once(None).chain(Phase::ALL.map(Some));
    let mut count = 0_u32;
    for phase in phases {
        for (target_name, target) in targets() {
            for (sighting_name, sighting) in sightings() {
                for variant in 0..64_u8 {
                    let on = |bit: u8| variant & (1 << bit) != 0;
                    let mut request = request(phase);
                    let mut facts = facts(target.clone(), sighting.clone());
                    if on(0) {
                        request.spec.cancel = Some(crate::api::deploy_request::Cancel {
                            reason: None,
                            by: None,
                        });
                    }
                    facts.plan = match (on(1), on(2)) {
                        (false, false) => Ok(plan()),
                        (true, false) => Err(refusal(None)),
                        (false, true) => Err(refusal(Some(WaitingFor::Spinnaker))),
                        (true, true) => Ok(changed_plan()),
                    };
                    facts.gone = on(3);
                    if on(4) {
                        facts.expire_after = Duration::from_secs(1);
                    }
                    if on(5) {
                        facts.on_unknown = OnUnknown::Hold;
                        facts.trouble = Some(refusal(Some(WaitingFor::Spinnaker)));
                    }
                    let decision = decide(&request, &facts, now());
                    count += 1;
                    check(
                        &format!(
                            "{phase:?}, target {target_name}, {sighting_name}, variant {variant:06b}"
                        ),
                        &request,
                        &facts,
                        &decision,
                    );
                }
            }
        }
    }
    assert!(count > 60_000, "{count}");
}

fn held(facts: &Facts) -> Option<&Active> {
    match &facts.target {
        TargetFact::Ready(status) => target::held_by(status, UID),
        _ => None,
    }
}

#[test]
fn terminal_phases_are_absorbing_and_start_nothing() {
    every(|name, request, _, decision| {
        let Some(phase) = request
            .status
            .as_ref()
            .and_then(|status| status.phase)
            .filter(|phase| phase.is_terminal())
        else {
            return;
        };
        assert_eq!(decision.status.phase, Some(phase), "{name}");
        assert!(
            matches!(
                decision.effect,
                None | Some(Effect::Finish(_) | Effect::Release | Effect::Delete)
            ),
            "{name}: {:?}",
            decision.effect
        );
    });
}

#[test]
fn nothing_is_sent_but_by_a_holder_whose_id_is_cleanly_absent_and_whom_nothing_forbids() {
    let mut sends = 0;
    every(|name, request, facts, decision| {
        let Some(Effect::Send(start)) = &decision.effect else {
            return;
        };
        sends += 1;
        let active = held(facts).unwrap_or_else(|| panic!("{name}: it does not hold its target"));
        assert!(
            request.spec.cancel.is_none(),
            "{name}: it is to be cancelled"
        );
        assert!(!facts.gone, "{name}: it was deleted");
        assert!(active.execution.is_none(), "{name}: its execution was seen");
        assert_eq!(
            active.attempt.pinned, start.attempt.pinned,
            "{name}: it is not what was claimed"
        );
        match (&active.attempt.sent_at, &facts.sighting) {
            (None, Sighting::Absent(_)) => assert!(
                facts.expire_after > Duration::from_mins(1),
                "{name}: it expired"
            ),
            (Some(_), Sighting::Absent(time)) => {
                assert!(
                    *time >= facts.settle && facts.on_unknown == OnUnknown::Retry,
                    "{name}: it may still run"
                );
            }
            _ => panic!("{name}: it is not absent"),
        }
    });
    assert!(sends > 0, "the table never sends anything");
}

#[test]
fn a_target_is_claimed_only_when_it_is_free_and_let_go_only_by_who_holds_it() {
    every(|name, _, facts, decision| match &decision.effect {
        Some(Effect::Claim(claim)) => {
            let TargetFact::Ready(status) = &facts.target else {
                panic!("{name}: it is not ready")
            };
            let unsent = status
                .active
                .as_ref()
                .is_none_or(|active| active.uid == UID && active.attempt.sent_at.is_none());
            assert!(unsent, "{name}: somebody holds it");
            assert_eq!(claim.attempt.sent_at, None, "{name}");
        }
        Some(Effect::Release) => {
            assert!(
                held(facts).is_some_and(|active| active.attempt.sent_at.is_none()),
                "{name}: it may have been sent"
            );
        }
        Some(Effect::Finish(run)) => {
            let active = held(facts).unwrap_or_else(|| panic!("{name}: it does not hold it"));
            let foreign = matches!(&facts.sighting, Sighting::Seen(seen) if !crate::domain::outcome::is_ours(active, seen));
            assert!(
                active.attempt.sent_at.is_some() || foreign,
                "{name}: it was never sent"
            );
            assert!(run.phase.is_terminal(), "{name}: {run:?}");
        }
        _ => {}
    });
}

#[test]
fn a_holder_whose_environment_leads_elsewhere_lets_go_and_sends_nothing() {
    for (name, sighting) in sightings() {
        let mut facts = facts(ready(Some(active(UID, false, None))), sighting);
        facts.target_name = Some("checkout.staging.2".to_owned());
        let decision = decide(&request(Some(Phase::Starting)), &facts, now());
        assert_eq!(decision.effect, Some(Effect::Release), "{name}");
    }
}

#[test]
fn a_mark_that_was_taken_back_is_gone_from_the_status_and_the_wait_has_its_end_again() {
    let mut marked = request(Some(Phase::Starting));
    if let Some(status) = &mut marked.status {
        status.attempt = Some(attempt(true));
    }
    for target in [ready(None), ready(Some(active(UID, false, None)))] {
        let mut facts = facts(target, Sighting::Absent(Duration::ZERO));
        facts.trouble = Some(refusal(Some(WaitingFor::Spinnaker)));
        let status = decide(&marked, &facts, now()).status;
        let sent = status.attempt.and_then(|attempt| attempt.sent_at);
        assert_eq!(sent, None, "{:?}", facts.target);
        let until = status.waiting.and_then(|waiting| waiting.until);
        assert!(until.is_some(), "{:?}", facts.target);
    }
}

#[test]
fn whatever_has_not_ended_is_looked_at_again_and_says_for_what_it_waits() {
    every(|name, _, facts, decision| {
        let phase = decision.status.phase;
        if decision.effect.is_some() || phase.is_some_and(Phase::is_terminal) {
            return;
        }
        assert!(decision.requeue.is_some(), "{name}: nobody looks again");
        let looked = !matches!(facts.sighting, Sighting::NotAsked) && !facts.gone;
        if looked && phase != Some(Phase::Running) {
            assert!(
                decision.status.waiting.is_some(),
                "{name}: {:?} for no reason",
                decision.status
            );
        }
    });
}

#[test]
fn success_is_only_said_of_one_run_that_spinnaker_calls_succeeded() {
    every(|name, request, facts, decision| {
        let Some(Effect::Finish(run)) = &decision.effect else {
            return;
        };
        if run.phase == Phase::Succeeded
            && !request
                .status
                .as_ref()
                .and_then(|status| status.phase)
                .is_some_and(Phase::is_terminal)
        {
            let Sighting::Seen(observation) = &facts.sighting else {
                panic!("{name}: nothing was seen")
            };
            assert_eq!(observation.ended, Some(Ended::Succeeded), "{name}");
            let first = held(facts)
                .and_then(|active| active.execution.as_ref())
                .and_then(|seen| seen.build_time);
            assert!(
                !crate::domain::outcome::started_again(first, observation),
                "{name}: it was started twice"
            );
        }
    });
}

#[test]
fn a_copy_starts_nothing() {
    let mut copy = request(None);
    copy.metadata.annotations = Some(BTreeMap::from([(
        SEEN_ANNOTATION.to_owned(),
        OTHER.to_owned(),
    )]));
    let decision = decide(&copy, &facts(ready(None), Sighting::NotAsked), now());
    assert_eq!(decision.status.phase, Some(Phase::Expired));
    assert_eq!(decision.effect, None);
}

#[test]
fn a_request_that_ran_under_another_name_takes_its_outcome() {
    let (_, target) = targets().pop().unwrap();
    let decision = decide(&request(None), &facts(target, Sighting::NotAsked), now());
    assert_eq!(decision.status.phase, Some(Phase::Failed));
    assert!(
        decision
            .status
            .message
            .is_some_and(|message| message.contains("earlier"))
    );
}

#[test]
fn a_channel_in_which_nothing_is_told_is_named_until_it_is_listed_or_over() {
    let says = |phase: Option<Phase>, unlisted: Option<&str>| {
        let mut request = request(phase);
        let mut said_before = Vec::new();
        speaking::note(&mut said_before, &request, Some("C0BEFORE"), now());
        request.status.get_or_insert_default().conditions = said_before;
        let mut facts = facts(TargetFact::Unresolved, Sighting::NotAsked);
        facts.unlisted = unlisted.map(str::to_owned);
        // Nothing to do but to say where it stands.
        facts.plan = Err(Refusal::passing(
            WaitingFor::Configuration,
            Reason::ApplicationNotFound,
            "there is no such Application",
        ));
        let conditions = decide(&request, &facts, now()).status.conditions;
        let said = conditions::find(&conditions, ConditionType::Notified);
        said.map(|said| said.message.contains("C0BEFORE"))
    };
    assert_eq!(says(Some(Phase::Pending), Some("C0NAMED")), Some(false));
    assert_eq!(says(Some(Phase::Pending), None), None);
    assert_eq!(
        says(Some(Phase::Failed), None),
        Some(true),
        "what ended stays as it is"
    );
}

#[test]
fn which_commit_it_is_is_written_before_anything_is_claimed() {
    const COMMIT: &str = "3f2a1bc3f2a1bc3f2a1bc3f2a1bc3f2a1bc3f2a1";
    let mut found = plan();
    found.found = true;
    found.resolved.commit = Some(COMMIT.to_owned());
    let problem = serde_json::json!({"problem": "what changes isn't known."});
    found.changes = serde_json::from_value(problem).unwrap();
    for phase in [
        None,
        Some(Phase::Pending),
        Some(Phase::AwaitingApproval),
        Some(Phase::Queued),
    ] {
        let request = request(phase);
        let mut facts = facts(ready(None), Sighting::NotAsked);
        facts.plan = Ok(found.clone());
        let decision = decide(&request, &facts, now());
        assert_eq!(decision.effect, Some(Effect::Accept), "{phase:?}");
        let status = decision.status;
        assert_eq!(status.resolved.as_ref(), Some(&found.resolved), "{phase:?}");
        assert_eq!(status.changes, found.changes, "{phase:?}");
        assert_eq!(status.phase, phase.or(Some(Phase::Pending)));
        assert!(
            status
                .message
                .as_ref()
                .is_some_and(|text| text.contains("3f2a1bc")),
            "{:?}",
            status.message
        );
        assert!(
            !status.decisions.is_empty(),
            "the write tells what it decides"
        );

        // Once that stands, it is claimed as that.
        let mut accepted = request.clone();
        accepted.status = Some(status);
        facts.plan = Ok(Plan {
            found: false,
            ..found.clone()
        });
        let Some(Effect::Claim(claim)) = decide(&accepted, &facts, now()).effect else {
            panic!("{phase:?}: it isn't claimed");
        };
        assert_eq!(claim.commit.as_deref(), Some(COMMIT));

        // Who waits writes it down with what it waits for.
        facts.plan = Ok(found.clone());
        facts.ahead = Some("another".to_owned());
        let waits = decide(&request, &facts, now());
        assert_eq!(waits.effect, None, "{phase:?}");
        assert_eq!(waits.status.resolved.as_ref(), Some(&found.resolved));
        assert_eq!(waits.status.changes, found.changes);
    }
}

#[test]
fn who_waits_for_a_repository_holds_nothing_and_expires() {
    let unknown = Refusal::passing(
        WaitingFor::Repository,
        Reason::CommitUnknown,
        "GitHub is down.",
    );
    let mut facts = facts(
        ready(Some(active(UID, false, None))),
        Sighting::Absent(Duration::ZERO),
    );
    facts.plan = Err(unknown.clone());
    assert_eq!(
        decide(&request(Some(Phase::Starting)), &facts, now()).effect,
        Some(Effect::Release)
    );
    facts.target = ready(None);
    let waits = decide(&request(Some(Phase::Pending)), &facts, now());
    let waiting = waits.status.waiting.unwrap();
    assert_eq!(
        (waits.effect, waiting.subject),
        (None, WaitingFor::Repository)
    );
    assert_eq!(waiting.message, "GitHub is down.");
    assert_eq!(
        waits.status.next_attempt_at, None,
        "each write would wake the next"
    );
    facts.plan = Err(Refusal {
        retry_after: Some(Duration::from_mins(10)),
        ..unknown
    });
    let limited = decide(&request(Some(Phase::Pending)), &facts, now());
    assert!(limited.requeue.unwrap() >= Duration::from_mins(10));
    facts.expire_after = Duration::from_secs(1);
    let ended = decide(&request(Some(Phase::Pending)), &facts, now());
    assert_eq!(ended.status.phase, Some(Phase::Expired));
}

#[test]
fn that_nothing_succeeded_there_is_for_the_target_to_say() {
    let decided = |target| {
        let mut facts = facts(target, Sighting::NotAsked);
        facts.plan = Err(Refusal::permanent(Reason::NoEarlierVersion, "none."));
        decide(&request(Some(Phase::Pending)), &facts, now())
    };
    let unprepared = decided(TargetFact::Unprepared);
    assert_eq!(unprepared.effect, Some(Effect::PrepareTarget));
    let unreadable = decided(TargetFact::Unreadable("odd".to_owned())).status;
    assert_eq!(unreadable.phase, Some(Phase::Pending));
    assert!(unreadable.waiting.unwrap().message.contains("odd"));
    let ready = decided(ready(None)).status;
    assert_eq!(ready.phase, Some(Phase::Failed));
}
