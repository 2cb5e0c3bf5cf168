//! From the model's small state to the facts that `decide` is asked about, and from its answer back to a step. Pure.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use foredeck::{
    api::{
        DeployRequest, DeployTarget, SEEN_ANNOTATION,
        conditions::Reason,
        connection::{OnUnknown, TriggerMode},
        deploy_request::{
            Approvals, Attempt, DeployRequestStatus, ExecutionStatus, GivenApproval, Pinned,
            PipelineRef, Place, Resolved, WaitingFor,
        },
        deploy_target::{DeployTargetStatus, Seen},
        environment::Concurrency,
    },
    domain::{
        Effect, Facts, decide,
        decide::{Plan, SHORTEST_SETTLE, Sighting, Start, TargetFact},
        gates::{Access, Approval, Gates},
        guards::{Closed, Guards, Overrider, lock},
        ids,
        judgment::JudgmentFacts,
        outcome::{Ended, Mark, Observation},
        refusal::Refusal,
        status::Next,
        target,
    },
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use crate::{
    book::Book,
    flaw::Flaw,
    state::{Act, Id, Outside},
};

/// What a model's requests are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    /// What the first asks for; the second deploys.
    pub action: &'static str,
    /// Which of them want somebody's yes.
    pub approval: [bool; 2],
    /// After how many settle times they expire.
    pub end: u8,
}

/// What Gate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Sight {
    NotAsked,
    Running,
    Succeeded,
    Canceled,
    /// For the settle time, or not yet.
    Absent(bool),
    Unclear,
}

/// All that a decision hangs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    pub request: usize,
    pub status: Id,
    pub target: Id,
    pub outside: Outside,
    /// The other request comes first.
    pub ahead: bool,
    pub sight: Sight,
    pub clock: u8,
}

/// The moment, so many settle times after the requests were made.
pub(crate) fn moment(clock: u8) -> Timestamp {
    created() + Duration::from_secs(10) + SHORTEST_SETTLE * u32::from(clock)
}

fn created() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

/// The uid of a request, which is its name, too.
pub(crate) fn uid(request: usize) -> &'static str {
    ["first", "second"][request]
}

/// A request as the API server has it.
pub(crate) fn request(
    setting: &Setting,
    index: usize,
    outside: &Outside,
    status: DeployRequestStatus,
) -> DeployRequest {
    let by = |name: &str| json!({"username": name});
    let mut spec = json!({
        "application": "checkout", "environment": "staging", "version": format!("v{index}"),
        "action": if index == 0 { setting.action } else { "deploy" },
    });
    if outside.overriding[index] {
        spec["override"] = json!({"reason": "the shop is down", "by": by("olivia")});
    }
    if outside.cancel[index] {
        spec["cancel"] = json!({"by": by("carol")});
    }
    let created = created() + Duration::from_secs(index as u64);
    let mut request: DeployRequest = serde_json::from_value(json!({
        "metadata": {
            "name": uid(index), "namespace": "shop", "uid": uid(index), "generation": 1,
            "creationTimestamp": created.to_string(), "annotations": {SEEN_ANNOTATION: uid(index)},
        },
        "spec": spec,
    }))
    .unwrap();
    request.status = Some(status);
    request
}

/// The target as the API server has it.
fn whole_target(outside: &Outside, status: &DeployTargetStatus) -> DeployTarget {
    let mut spec = json!({
        "application": "checkout", "environment": "staging", "place": {"account": "eks", "namespace": "shop"},
    });
    if outside.lock {
        spec["lock"] = json!({"reason": "the database moves"});
    }
    if outside.unheld {
        spec["unhold"] = json!({"uid": uid(0)});
    }
    let metadata = json!({"name": TARGET, "namespace": "shop", "uid": TARGET});
    let mut target: DeployTarget =
        serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap();
    target.status = Some(status.clone());
    target
}

const TARGET: &str = "checkout.staging.1";

fn pipeline() -> PipelineRef {
    PipelineRef {
        application: "checkout".to_owned(),
        name: "Deploy".to_owned(),
        id: "p".to_owned(),
    }
}

fn execution_id(request: usize) -> String {
    format!("01{}", uid(request))
}

fn attempt(request: usize) -> Attempt {
    Attempt {
        execution_id: execution_id(request),
        correlation_id: format!("fd-{}", uid(request)),
        holder: String::new(),
        pinned: Pinned {
            connection: "gate".to_owned(),
            connection_uid: "c".to_owned(),
            gate_url: "http://gate".to_owned(),
            trigger: TriggerMode::Start,
            pipeline: pipeline(),
            body_digest: "b".to_owned(),
        },
        claimed_at: Time(created()),
        sent_at: None,
    }
}

fn resolved(request: usize) -> Resolved {
    Resolved {
        connection: "gate".to_owned(),
        pipeline: pipeline(),
        revision: None,
        parameters: BTreeMap::new(),
        version: Some(format!("v{request}")),
        commit: None,
        artifacts: Vec::new(),
        target: Place {
            account: "eks".to_owned(),
            namespace: "shop".to_owned(),
        },
        deploy_target: TARGET.to_owned(),
        digest: uid(request).to_owned(),
    }
}

/// The gates of a request, as they stand outside and on its target.
pub(crate) fn gates(
    setting: &Setting,
    index: usize,
    outside: &Outside,
    target: &DeployTargetStatus,
    flaw: Flaw,
) -> Gates {
    let given = GivenApproval {
        name: "yes".to_owned(),
        by: "dora".to_owned(),
        at: Time(created()),
        comment: None,
    };
    let approvals = |given: Vec<GivenApproval>| Approvals {
        required: 1,
        given,
        missing_groups: Vec::new(),
        until: None,
    };
    let missing = Refusal::passing(
        WaitingFor::Approval,
        Reason::ApprovalMissing,
        "somebody has to say yes.",
    );
    let approval = match (setting.approval[index], outside.approved) {
        (false, _) => Approval::NotNeeded,
        (true, true) => Approval::Enough(approvals(vec![given])),
        (true, false) => Approval::Missing(approvals(Vec::new()), missing),
    };
    let overriding = outside.overriding[index].then(|| {
        if outside.may_override {
            return Ok(Overrider {
                username: "olivia".to_owned(),
                rule: String::new(),
                reason: "the shop is down".to_owned(),
            });
        }
        Err(Refusal::permanent(
            Reason::OverrideRefused,
            "`olivia` has no verb `override`.",
        ))
    });
    let frozen = outside.freeze && flaw != Flaw::FreezesAreForgotten;
    let action = if index == 0 { setting.action } else { "deploy" };
    let target = whole_target(outside, target);
    Gates {
        approval,
        guards: Guards {
            freeze: frozen.then(|| Closed {
                refusal: Refusal::passing(WaitingFor::Freeze, Reason::Frozen, "it is frozen."),
                until: None,
            }),
            lock: lock::closed(None, Some(&target), action, created()),
            overriding,
            ..Guards::default()
        },
        cancel: Some(Ok(())),
        access: Access::Granted {
            username: "alice".to_owned(),
            rule: String::new(),
        },
        ..Gates::open()
    }
}

/// What the controller gathers, in the same order and with the same things left out.
fn gathered(
    setting: &Setting,
    question: &Question,
    request: &DeployRequest,
    target: &DeployTargetStatus,
    flaw: Flaw,
) -> Facts {
    let index = question.request;
    let active = target::held_by(target, uid(index));
    let ended = request
        .status
        .as_ref()
        .and_then(|status| status.phase)
        .is_some_and(foredeck::api::deploy_request::Phase::is_terminal)
        || target::run_of(target, uid(index)).is_some();
    let following = active.is_some_and(|active| active.execution.is_some());
    let canceled = question.outside.cancel[index] && active.is_none();
    let unseen = || {
        Err(Refusal::passing(
            WaitingFor::Configuration,
            Reason::Accepted,
            "it was not looked at",
        ))
    };
    let (mut plan, mut judged) = (unseen(), Gates::open());
    if !ended && !following && !canceled {
        let waits = active.is_none() && (target.active.is_some() || question.ahead);
        judged = gates(setting, index, &question.outside, target, flaw);
        plan = Ok(Plan {
            resolved: resolved(index),
            changes: None,
            found: false,
            concurrency: Concurrency::Queue,
            start: (!waits).then(|| Start {
                attempt: attempt(index),
                body: Arc::from(*b"{}"),
            }),
        });
    }
    judged.cancel = Some(Ok(()));
    Facts {
        plan,
        expire_after: SHORTEST_SETTLE * u32::from(setting.end),
        gates: judged,
        on_unknown: OnUnknown::Retry,
        settle: SHORTEST_SETTLE,
        target: TargetFact::Ready(Box::new(target.clone())),
        target_name: Some(TARGET.to_owned()),
        ahead: question.ahead.then(|| uid(1 - index).to_owned()),
        newer: None,
        rerun: None,
        sighting: sighting(question),
        judgments: JudgmentFacts::default(),
        trouble: None,
        gone: false,
        release_order: None,
        unlisted: None,
    }
}

fn sighting(question: &Question) -> Sighting {
    let shown =
        |status: &str, ended| Sighting::Seen(Box::new(shown(question.request, status, ended)));
    match question.sight {
        Sight::NotAsked => Sighting::NotAsked,
        Sight::Running => shown("RUNNING", None),
        Sight::Succeeded => shown("SUCCEEDED", Some(Ended::Succeeded)),
        Sight::Canceled => shown("CANCELED", Some(Ended::Canceled)),
        Sight::Absent(true) => Sighting::Absent(SHORTEST_SETTLE),
        Sight::Absent(false) => Sighting::Absent(Duration::ZERO),
        Sight::Unclear => Sighting::Unclear(Refusal::passing(
            WaitingFor::Spinnaker,
            Reason::SpinnakerUnclear,
            "Gate doesn't answer.",
        )),
    }
}

fn shown(request: usize, status: &str, ended: Option<Ended>) -> Observation {
    Observation {
        execution: ExecutionStatus {
            id: execution_id(request),
            url: None,
            status: status.to_owned(),
            build_time: Some(1),
            started_at: None,
            finished_at: ended.map(|_| Time(created())),
            stages: Vec::new(),
            failure: None,
            rerun: None,
        },
        pipeline: pipeline(),
        mark: Some(Mark {
            uid: uid(request).to_owned(),
            digest: uid(request).to_owned(),
            target: TARGET.to_owned(),
            namespace: None,
            name: uid(request).to_owned(),
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
        changed: created(),
    }
}

/// Asks `decide`, and says which step its answer begins with; `None` where there is nothing to do and nothing new to say.
pub(crate) fn ask(setting: &Setting, flaw: Flaw, book: &Book, question: &Question) -> Option<Act> {
    let index = question.request;
    let target = book.target(question.target);
    let status = book.status(question.status);
    let request = request(setting, index, &question.outside, status);
    let facts = gathered(setting, question, &request, &target, flaw);
    let now = moment(question.clock);
    let decision = decide(&request, &facts, now);
    let uid = uid(index);
    let write =
        |next: Option<DeployTargetStatus>| next.map(|next| Act::Write(book.target_id(next)));
    match decision.effect {
        None => {
            let mut status = decision.status;
            if flaw == Flaw::NamesNoGate {
                status.gates = Vec::new();
            }
            let next = book.status_id(status);
            (next != question.status).then_some(Act::Record(next))
        }
        Some(Effect::Claim(active)) => write(Some(DeployTargetStatus {
            active: Some(*active),
            ..target
        })),
        Some(Effect::Send(start)) => {
            let next = Next::of(&request, now).starting(
                &request,
                &facts.gates,
                &resolved(index),
                target::held_by(&target, uid)
                    .map_or(start.attempt, |active| active.attempt.clone()),
                "",
            );
            Some(Act::MarkRequest(book.status_id(next)))
        }
        Some(Effect::Adopt(seen)) => {
            let ask = ids::ask_digest(&request.spec);
            write(target::adopted(&target, uid, &ask, seen, now))
        }
        Some(Effect::Cancel { execution, .. }) => {
            let next = book.target_id(target::forbidden(&target, uid, None, now)?);
            Some(match (execution, next == question.target) {
                (None, true) => return None,
                (None, false) => Act::Write(next),
                (Some(_), true) => Act::CancelAtGate,
                (Some(_), false) => Act::Forbid(next),
            })
        }
        Some(Effect::Finish(run)) => write(target::finished(&target, *run)),
        Some(Effect::Release) => write(target::released(&target, uid)),
        Some(Effect::CancelStray(_)) => Some(Act::CancelAtGate),
        Some(other) => panic!("{uid} has no need of {other:?}"),
    }
}

/// The target once a start is marked, taken back, or known to Gate.
pub(crate) fn marked(
    setting: &Setting,
    book: &Book,
    (index, outside, clock): (usize, &Outside, u8),
    (target, act): (Id, Act),
) -> Option<Id> {
    let status = book.target(target);
    let request = request(setting, index, outside, DeployRequestStatus::default());
    let (now, ask) = (moment(clock), ids::ask_digest(&request.spec));
    let next = match act {
        Act::MarkTarget => target::sent(&status, uid(index), "", &ask, None, now),
        Act::Unmark => target::unsent(&status, uid(index)),
        Act::Adopt => {
            let seen = Seen {
                id: execution_id(index),
                build_time: None,
            };
            target::adopted(&status, uid(index), &ask, seen, now)
        }
        _ => None,
    };
    next.map(|next| book.target_id(next))
}

/// A status without words and times: nothing is decided by them here.
pub(crate) fn bare_status(mut status: DeployRequestStatus) -> DeployRequestStatus {
    let some_day = || Time(created());
    status.message = None;
    status.decisions = Vec::new();
    status.next_attempt_at = None;
    status.trace_id = None;
    status.stage = None;
    status.approvals = None;
    for condition in &mut status.conditions {
        condition.message = String::new();
        condition.last_transition_time = some_day();
        condition.observed_generation = None;
    }
    for gate in &mut status.gates {
        gate.message = None;
        gate.until = None;
    }
    if let Some(waiting) = &mut status.waiting {
        waiting.message = String::new();
        waiting.since = some_day();
        waiting.until = None;
    }
    if let Some(attempt) = &mut status.attempt {
        attempt.claimed_at = some_day();
        attempt.sent_at = attempt.sent_at.as_ref().map(|_| some_day());
    }
    status.started_at = status.started_at.map(|_| some_day());
    status.finished_at = status.finished_at.map(|_| some_day());
    status
}

/// The same of a target. When it was sent stays: absence is counted from there.
pub(crate) fn bare_target(mut status: DeployTargetStatus) -> DeployTargetStatus {
    let some_day = || Time(created());
    if let Some(active) = &mut status.active {
        active.attempt.claimed_at = some_day();
        active.cancel_requested_at = active.cancel_requested_at.as_ref().map(|_| some_day());
    }
    for key in &mut status.keys {
        key.at = some_day();
    }
    for run in status.history.iter_mut().chain(&mut status.current) {
        run.message = None;
        run.sent_at = some_day();
        run.finished_at = some_day();
    }
    if let Some(hold) = &mut status.hold {
        hold.since = some_day();
    }
    status
}
