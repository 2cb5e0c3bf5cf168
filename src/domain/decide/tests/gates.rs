//! Every phase × every gate × every target × every sighting: nothing starts while one is closed, and the status says so.

use super::*;
use crate::{
    api::{
        actor::Actor,
        conditions::{self, ConditionType},
        deploy_request::{Approvals, Cancel, GivenApproval},
        gate::Override,
    },
    domain::{
        gates::{Access, Approval},
        guards::{Closed, Guards, Overrider},
    },
};

pub(super) fn granted() -> Gates {
    Gates {
        access: Access::Granted {
            username: "alice@corp.example".to_owned(),
            rule: "RBAC: allowed by RoleBinding \"deployers/shop\"".to_owned(),
        },
        ..Gates::open()
    }
}

pub(super) fn approvals(given: u32, until: Option<Timestamp>) -> Approvals {
    let given = (0..given).map(|number| GivenApproval {
        name: format!("approval-{number}"),
        by: format!("approver-{number}@corp.example"),
        at: Time(now()),
        comment: None,
    });
    Approvals {
        required: 2,
        given: given.collect(),
        missing_groups: Vec::new(),
        until: until.map(Time),
    }
}

pub(super) fn permanent(reason: Reason) -> Refusal {
    Refusal::permanent(reason, format!("it is {reason}."))
}

pub(super) fn passing(subject: WaitingFor, reason: Reason) -> Refusal {
    Refusal::passing(subject, reason, format!("it is {reason}."))
}

pub(super) fn shut(subject: WaitingFor, reason: Reason) -> Closed {
    Closed {
        refusal: passing(subject, reason),
        until: None,
    }
}

pub(super) fn overrider() -> Overrider {
    Overrider {
        username: "olga@corp.example".to_owned(),
        rule: String::new(),
        reason: "the site is down".to_owned(),
    }
}

/// As what a request ends, or for what it waits, that holds nothing and finds a free target.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Expected {
    Claims,
    Ends(Phase, Reason),
    Waits(Phase, WaitingFor, Reason),
}

pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) gates: Gates,
    /// Whether somebody wrote `spec.cancel`.
    pub(super) cancel: bool,
    expected: Expected,
}

impl Row {
    pub(super) fn open(&self) -> bool {
        self.expected == Expected::Claims
    }
}

/// Every state of every gate.
pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let mut row = |name, cancel, expected, change: &dyn Fn(&mut Gates)| {
        let mut gates = granted();
        change(&mut gates);
        rows.push(Row {
            name,
            gates,
            cancel,
            expected,
        });
    };
    row("all open", false, Expected::Claims, &|_| {});
    let enough = |gates: &mut Gates| gates.approval = Approval::Enough(approvals(2, None));
    row("approved", false, Expected::Claims, &enough);
    let waits = Expected::Waits;
    let missing = waits(
        Phase::Pending,
        WaitingFor::Configuration,
        Reason::ConnectionInvalid,
    );
    row("not vouched for", false, missing, &|gates| {
        gates.vouched = Err(passing(
            WaitingFor::Configuration,
            Reason::ConnectionInvalid,
        ));
    });
    row(
        "older than what vouches",
        false,
        Expected::Ends(Phase::Denied, Reason::PoliciesMissing),
        &|gates| gates.vouched = Err(permanent(Reason::PoliciesMissing)),
    );
    let unknown = waits(
        Phase::Pending,
        WaitingFor::Authorization,
        Reason::GroupsUnknown,
    );
    row("access unknown", false, unknown, &|gates| {
        gates.access = Access::Unknown(passing(WaitingFor::Authorization, Reason::GroupsUnknown));
    });
    for reason in [Reason::NotAuthorized, Reason::Nobody, Reason::IdentityStale] {
        row(
            "access denied",
            false,
            Expected::Ends(Phase::Denied, reason),
            &|gates| {
                gates.access = Access::Denied(permanent(reason));
            },
        );
    }
    let missing = waits(
        Phase::AwaitingApproval,
        WaitingFor::Approval,
        Reason::ApprovalMissing,
    );
    row("approval missing", false, missing, &|gates| {
        let refusal = passing(WaitingFor::Approval, Reason::ApprovalMissing);
        gates.approval = Approval::Missing(approvals(1, None), refusal);
    });
    let unknown = waits(
        Phase::AwaitingApproval,
        WaitingFor::Authorization,
        Reason::AccessUnknown,
    );
    row("approval unknown", false, unknown, &|gates| {
        let refusal = passing(WaitingFor::Authorization, Reason::AccessUnknown);
        gates.approval = Approval::Missing(approvals(1, None), refusal);
    });
    row(
        "rejected",
        false,
        Expected::Ends(Phase::Denied, Reason::Rejected),
        &|gates| {
            gates.approval = Approval::Rejected {
                by: "bob@corp.example".to_owned(),
                comment: "not today".to_owned(),
            };
        },
    );
    row(
        "cancelled",
        true,
        Expected::Ends(Phase::Canceled, Reason::Canceled),
        &|_| {},
    );
    row(
        "cancelled by a stranger",
        true,
        Expected::Claims,
        &|gates| {
            gates.cancel = Some(Err(permanent(Reason::CancelRefused)));
        },
    );
    let mut held = |name, expected, change: &dyn Fn(&mut Guards)| {
        row(name, false, expected, &|gates| change(&mut gates.guards));
    };
    let queued = |subject, reason| waits(Phase::Queued, subject, reason);
    held(
        "too early",
        queued(WaitingFor::Time, Reason::NotYet),
        &|guards| guards.time = Some(shut(WaitingFor::Time, Reason::NotYet)),
    );
    held(
        "frozen",
        queued(WaitingFor::Freeze, Reason::Frozen),
        &|guards| guards.freeze = Some(shut(WaitingFor::Freeze, Reason::Frozen)),
    );
    held("frozen, and let pass", Expected::Claims, &|guards| {
        guards.freeze = Some(shut(WaitingFor::Freeze, Reason::Frozen));
        guards.overriding = Some(Ok(overrider()));
    });
    held(
        "locked, and not let pass",
        queued(WaitingFor::Lock, Reason::Locked),
        &|guards| {
            guards.lock = Some(shut(WaitingFor::Lock, Reason::Locked));
            guards.overriding = Some(Err(permanent(Reason::OverrideRefused)));
        },
    );
    let unknown = waits(
        Phase::Pending,
        WaitingFor::Authorization,
        Reason::AccessUnknown,
    );
    row("cancel unknown", true, unknown, &|gates| {
        gates.cancel = Some(Err(passing(
            WaitingFor::Authorization,
            Reason::AccessUnknown,
        )));
    });
    rows
}

pub(super) fn asked(phase: Option<Phase>, row: &Row) -> DeployRequest {
    let mut request = request(phase);
    let actor = |username: &str| Actor {
        username: username.to_owned(),
        ..Actor::default()
    };
    request.spec.requester = Some(actor("alice@corp.example"));
    request.spec.cancel = row.cancel.then(|| Cancel {
        reason: None,
        by: Some(actor("mallory@corp.example")),
    });
    let overrides = row.gates.guards.overriding.is_some();
    request.spec.override_ = overrides.then(|| Override {
        reason: "the site is down".to_owned(),
        by: Some(actor("olga@corp.example")),
    });
    request
}

/// Calls `check` for every combination, with its name.
fn every_gate(mut check: impl FnMut(&str, &DeployRequest, &Row, &Facts, &Decision)) {
    let mut count = 0_u32;
    for phase in std::iter::once(None).chain(Phase::ALL.map(Some)) {
        for row in rows() {
            let request = asked(phase, &row);
            for (target_name, target) in targets() {
                for (sighting_name, sighting) in sightings() {
                    for variant in 0..4_u8 {
                        let mut facts = facts(target.clone(), sighting.clone());
                        facts.gates = row.gates.clone();
                        facts.gone = variant & 1 != 0;
                        if variant & 2 != 0 {
                            facts.ahead = Some("first".to_owned());
                        }
                        let decision = decide(&request, &facts, now());
                        count += 1;
                        check(
                            &format!(
                                "{phase:?}, {}, target {target_name}, {sighting_name}, variant {variant:02b}",
                                row.name
                            ),
                            &request,
                            &row,
                            &facts,
                            &decision,
                        );
                    }
                }
            }
        }
    }
    assert!(count > 50_000, "{count}");
}

pub(super) fn reason(decision: &Decision, kind: ConditionType) -> Option<(String, String)> {
    conditions::find(&decision.status.conditions, kind)
        .map(|condition| (condition.status.clone(), condition.reason.clone()))
}

#[test]
fn nothing_is_claimed_or_sent_while_a_gate_is_closed() {
    let mut starts = 0;
    every_gate(|name, _, row, _, decision| {
        if matches!(decision.effect, Some(Effect::Claim(_) | Effect::Send(_))) {
            starts += 1;
            assert!(row.open(), "{name}: {:?}", decision.effect);
        }
    });
    assert!(starts > 0, "the table never starts anything");
}

#[test]
fn each_gate_leads_a_request_that_holds_nothing_where_it_should() {
    let open = [
        None,
        Some(Phase::Pending),
        Some(Phase::AwaitingApproval),
        Some(Phase::Queued),
        Some(Phase::Starting),
    ];
    for phase in open {
        for row in rows() {
            let mut facts = facts(ready(None), Sighting::NotAsked);
            facts.gates = row.gates.clone();
            let decision = decide(&asked(phase, &row), &facts, now());
            let name = format!("{phase:?}, {}: {decision:?}", row.name);
            match row.expected {
                Expected::Claims => {
                    assert!(matches!(decision.effect, Some(Effect::Claim(_))), "{name}");
                    continue;
                }
                Expected::Ends(end, why) => {
                    assert_eq!(decision.status.phase, Some(end), "{name}");
                    let succeeded = reason(&decision, ConditionType::Succeeded);
                    assert_eq!(
                        succeeded,
                        Some(("False".to_owned(), why.to_string())),
                        "{name}"
                    );
                }
                Expected::Waits(stage, subject, why) => {
                    assert_eq!(decision.status.phase, Some(stage), "{name}");
                    let waiting = decision.status.waiting.as_ref();
                    assert_eq!(
                        waiting.map(|waiting| waiting.subject),
                        Some(subject),
                        "{name}"
                    );
                    assert!(
                        waiting.is_some_and(|waiting| waiting.until.is_some()),
                        "{name}"
                    );
                    let reconciling = reason(&decision, ConditionType::Reconciling);
                    assert_eq!(
                        reconciling.map(|(_, reason)| reason),
                        Some(why.to_string()),
                        "{name}"
                    );
                    assert!(decision.requeue.is_some(), "{name}");
                }
            }
            assert_eq!(decision.effect, None, "{name}");
        }
    }
}

#[test]
fn a_request_that_is_being_deleted_starts_nothing_and_lets_go() {
    let mut request = asked(Some(Phase::Queued), &rows()[0]);
    request.metadata.deletion_timestamp = Some(Time(now()));
    let decision = decide(&request, &facts(ready(None), Sighting::NotAsked), now());
    assert_eq!(decision.effect, None);
    let held = ready(Some(active(UID, false, None)));
    let decision = decide(&request, &facts(held, Sighting::NotAsked), now());
    assert_eq!(decision.effect, Some(Effect::Release));
}

#[test]
fn a_closed_gate_expires_with_the_request_and_says_for_what_it_waited() {
    for row in rows() {
        let Expected::Waits(phase, ..) = row.expected else {
            continue;
        };
        let mut facts = facts(ready(None), Sighting::NotAsked);
        facts.gates = row.gates.clone();
        let mut request = asked(Some(phase), &row);
        request.status = Some(decide(&request, &facts, now()).status);
        facts.expire_after = Duration::from_secs(1);
        let decision = decide(&request, &facts, now());
        assert_eq!(decision.status.phase, Some(Phase::Expired), "{}", row.name);
        let message = decision.status.message.unwrap_or_default();
        assert!(
            message.contains("It last waited for this: it is "),
            "{message}"
        );
    }
}

#[test]
fn who_is_refused_learns_nothing_by_a_dry_run_and_who_may_needs_no_approval_for_one() {
    for row in rows() {
        let mut request = asked(None, &row);
        request.spec.dry_run = true;
        let mut facts = facts(TargetFact::Unprepared, Sighting::NotAsked);
        facts.gates = row.gates.clone();
        let decision = decide(&request, &facts, now());
        let expected = match row.expected {
            Expected::Ends(_, Reason::Rejected)
            | Expected::Waits(Phase::AwaitingApproval | Phase::Queued, ..)
            | Expected::Claims => Phase::Succeeded,
            Expected::Ends(phase, _) | Expected::Waits(phase, ..) => phase,
        };
        assert_eq!(decision.status.phase, Some(expected), "{}", row.name);
        assert_eq!(
            reason(&decision, ConditionType::Approved),
            None,
            "{}",
            row.name
        );
    }
}

#[test]
fn a_holder_that_sent_nothing_lets_go_when_a_gate_closes_unless_its_execution_is_there() {
    let mut followed = 0;
    every_gate(|name, request, row, facts, decision| {
        let unsent = held(facts).is_some_and(|active| active.attempt.sent_at.is_none());
        let ended = request
            .status
            .as_ref()
            .and_then(|status| status.phase)
            .is_some_and(Phase::is_terminal);
        if !unsent || row.open() || facts.gone || ended {
            return;
        }
        let canceled = row.cancel && row.gates.cancel_counts();
        match &facts.sighting {
            Sighting::Seen(seen) if !canceled => {
                followed += 1;
                let own = seen.mark.as_ref().is_some_and(|mark| mark.uid == UID);
                match &decision.effect {
                    Some(Effect::Adopt(_)) => assert!(own, "{name}"),
                    Some(Effect::Finish(run)) => {
                        assert!(!own && run.reason == "ExecutionConflict", "{name}");
                    }
                    other => panic!("{name}: {other:?}"),
                }
            }
            _ => assert_eq!(decision.effect, Some(Effect::Release), "{name}"),
        }
    });
    assert!(followed > 0);
}

#[test]
fn what_may_have_been_sent_is_followed_whatever_the_gates_say() {
    for row in rows().into_iter().filter(|row| !row.open() && !row.cancel) {
        for (name, sighting) in sightings() {
            for execution in [None, Some(shown(None)), Some(shown(Some(1)))] {
                let target = ready(Some(active(UID, true, execution)));
                let mut with = facts(target.clone(), sighting.clone());
                with.gates = row.gates.clone();
                let without = facts(target, sighting.clone());
                let request = asked(Some(Phase::Unknown), &row);
                let (shut, open) = (
                    decide(&request, &with, now()),
                    decide(&request, &without, now()),
                );
                if matches!(open.effect, Some(Effect::Send(_))) {
                    assert_eq!(shut.effect, None, "{}, {name}", row.name);
                    assert_eq!(
                        shut.status.phase,
                        Some(Phase::Unknown),
                        "{}, {name}",
                        row.name
                    );
                    let message = shut.status.message.unwrap_or_default();
                    assert!(message.contains("it is not sent again: "), "{message}");
                    assert!(shut.requeue.is_some(), "{}, {name}", row.name);
                } else {
                    assert_eq!(shut.effect, open.effect, "{}, {name}", row.name);
                    assert_eq!(shut.status.phase, open.status.phase, "{}, {name}", row.name);
                }
            }
        }
    }
}

#[test]
fn a_deleted_request_needs_no_gates() {
    every_gate(|name, _, row, facts, decision| {
        if !facts.gone || row.cancel {
            return;
        }
        let mut open = facts.clone();
        open.gates = Gates::open();
        let same = decide(&asked(decision.status.phase, row), &open, now());
        if decision.status.phase.is_none() {
            assert_eq!(decision.effect, same.effect, "{name}");
        }
    });
}

#[test]
fn an_approval_that_lapses_wakes_who_waits_behind_others_and_sends_it_back() {
    let row = &rows()[1];
    let request = asked(Some(Phase::Queued), row);
    let mut facts = facts(ready(Some(active(OTHER, true, None))), Sighting::NotAsked);
    facts.gates.approval = Approval::Enough(approvals(2, Some(now() + Duration::from_secs(7))));
    let decision = decide(&request, &facts, now());
    assert_eq!(decision.status.phase, Some(Phase::Queued));
    assert_eq!(decision.requeue, Some(Duration::from_secs(7)));
    let mut queued = request;
    queued.status = Some(decision.status);
    let refusal = passing(WaitingFor::Approval, Reason::ApprovalMissing);
    facts.gates.approval = Approval::Missing(approvals(1, None), refusal);
    let decision = decide(&queued, &facts, now());
    assert_eq!(decision.status.phase, Some(Phase::AwaitingApproval));
    assert_eq!(
        reason(&decision, ConditionType::Approved).unwrap().0,
        "False"
    );
}

#[test]
fn what_ran_under_another_name_is_told_without_an_approval_but_not_to_who_may_not() {
    let (_, target) = targets().pop().unwrap();
    for row in rows() {
        let mut facts = facts(target.clone(), Sighting::NotAsked);
        facts.gates = row.gates.clone();
        let message = decide(&asked(None, &row), &facts, now())
            .status
            .message
            .unwrap_or_default();
        let told = matches!(
            row.expected,
            Expected::Claims
                | Expected::Ends(_, Reason::Rejected)
                | Expected::Waits(Phase::AwaitingApproval | Phase::Queued, ..)
        );
        assert_eq!(message.contains("earlier"), told, "{}: {message}", row.name);
    }
}

#[test]
fn a_life_without_end_is_no_panic() {
    let mut facts = facts(ready(None), Sighting::NotAsked);
    facts.expire_after = Duration::from_secs(u64::MAX);
    facts.gates.approval = Approval::Enough(approvals(1, Some(Timestamp::MAX)));
    let decision = decide(&request(None), &facts, now());
    assert!(matches!(decision.effect, Some(Effect::Claim(_))));
}
