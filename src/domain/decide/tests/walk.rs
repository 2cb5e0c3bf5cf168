//! Every walk of some steps through gates that open and close: what is decided over time.

use super::{
    gates::{Row, asked, rows},
    *,
};
use crate::{api::deploy_request::DecisionKind, domain::gates::Approval};

/// Steps of a walk; in each the gates are as one of the rows says.
const STEPS: usize = 3;
/// Effects between two records.
const EFFECTS: usize = 6;

/// A request, its target and Spinnaker.
#[derive(Clone)]
pub(super) struct World {
    pub(super) request: DeployRequest,
    pub(super) target: DeployTargetStatus,
    /// How often it was sent; none of them ever arrives.
    pub(super) sent: u32,
}

impl World {
    pub(super) fn new(row: &Row) -> Self {
        Self {
            request: asked(None, row),
            target: DeployTargetStatus {
                initialized: Some(Time(now())),
                ..DeployTargetStatus::default()
            },
            sent: 0,
        }
    }

    pub(super) fn facts(&self, row: &Row, absent: Duration) -> Facts {
        let mut facts = facts(
            TargetFact::Ready(Box::new(self.target.clone())),
            Sighting::Absent(absent),
        );
        facts.gates = row.gates.clone();
        facts
    }

    /// One pass under these gates, to its record.
    pub(super) fn pass(&mut self, row: &Row, name: &str) {
        // A cancel comes, and is never taken back.
        if row.cancel && self.request.spec.cancel.is_none() {
            self.request.spec.cancel = asked(None, row).spec.cancel;
        }
        if row.gates.guards.overriding.is_some() {
            let wanted = asked(None, row).spec.override_;
            self.request.spec.override_ = self.request.spec.override_.take().or(wanted);
        }
        for _ in 0..EFFECTS {
            let facts = self.facts(row, SHORTEST_SETTLE);
            let decision = decide(&self.request, &facts, now());
            let Some(effect) = decision.effect else {
                self.request.status = Some(decision.status);
                self.settled(row, name);
                return;
            };
            let closed = row.gates.closed(&self.request).is_some();
            let next = match effect {
                Effect::Claim(claim) => {
                    assert!(!closed, "{name}: it claims");
                    Some(DeployTargetStatus {
                        active: Some(*claim),
                        ..self.target.clone()
                    })
                }
                Effect::Send(start) => {
                    assert!(!closed, "{name}: it sends");
                    self.sent += 1;
                    let status = Next::of(&self.request, now()).starting(
                        &self.request,
                        &row.gates,
                        &plan().resolved,
                        start.attempt,
                        "me",
                    );
                    self.request.status = Some(status);
                    let overrider = row.gates.overrider();
                    target::sent(&self.target, UID, "me", "ask", overrider, now())
                }
                Effect::Release => target::released(&self.target, UID),
                Effect::Cancel { frozen, reason, .. } => {
                    target::forbidden(&self.target, UID, frozen.then_some(reason.as_str()), now())
                }
                Effect::Finish(run) => target::finished(&self.target, *run),
                other => panic!("{name}: {other:?}"),
            };
            self.target = next.unwrap_or_else(|| panic!("{name}: it is not its own"));
            if self.sent > 0 && !self.done() && self.target.active.is_some() {
                // What was sent is looked for before anything else is done.
                let facts = self.facts(row, Duration::ZERO);
                let decision = decide(&self.request, &facts, now());
                if decision.effect.is_none() {
                    self.request.status = Some(decision.status);
                    return;
                }
            }
        }
        panic!("{name}: it never comes to rest");
    }

    fn done(&self) -> bool {
        let phase = self.request.status.as_ref().and_then(|status| status.phase);
        phase.is_some_and(Phase::is_terminal)
    }

    /// To decide again on what was just recorded says nothing new: else each write would wake the next.
    fn settled(&self, row: &Row, name: &str) {
        let again = decide(&self.request, &self.facts(row, SHORTEST_SETTLE), now());
        assert_eq!(again.effect, None, "{name}");
        assert_eq!(Some(&again.status), self.request.status.as_ref(), "{name}");
    }

    pub(super) fn count(&self, kind: DecisionKind) -> usize {
        let status = self.request.status.as_ref();
        let decisions = status
            .map(|status| status.decisions.as_slice())
            .unwrap_or_default();
        decisions
            .iter()
            .filter(|decision| decision.what == kind)
            .count()
    }
}

fn walk(world: &World, rows: &[Row], left: usize, name: &str, ends: &mut u32) {
    let passed = name.contains("let pass") && name.contains("frozen, and");
    assert!(
        passed || world.count(DecisionKind::Overridden) == 0,
        "{name}"
    );
    if left == 0 {
        *ends += 1;
        for kind in [
            DecisionKind::Requested,
            DecisionKind::Authorized,
            DecisionKind::Denied,
            DecisionKind::Rejected,
            DecisionKind::Started,
            DecisionKind::Overridden,
            DecisionKind::Canceled,
        ] {
            assert!(
                world.count(kind) <= 1,
                "{name}: {kind:?} {:?}",
                world.request.status
            );
        }
        assert_eq!(world.count(DecisionKind::Requested), 1, "{name}");
        assert_eq!(
            world.count(DecisionKind::Started),
            usize::from(world.sent > 0),
            "{name}"
        );
        return;
    }
    for row in rows {
        let mut next = world.clone();
        // Nobody unwrites a cancel: where there is one, gates that know of none say that it counts.
        let name = format!("{name} > {}", row.name);
        let before = next.request.status.as_ref().and_then(|status| status.phase);
        next.pass(row, &name);
        let after = next.request.status.as_ref().and_then(|status| status.phase);
        if before.is_some_and(Phase::is_terminal) {
            assert_eq!(before, after, "{name}: it had ended");
        }
        walk(&next, rows, left - 1, &name, ends);
    }
}

#[test]
fn however_gates_open_and_close_each_fact_is_told_once_and_nothing_passes_a_closed_one() {
    let rows = rows();
    let mut ends = 0;
    walk(&World::new(&rows[0]), &rows, STEPS, "", &mut ends);
    assert!(ends > 2_000, "{ends}");
}

#[test]
fn approvals_are_told_when_given_and_when_they_lapse_and_again_when_given_anew() {
    let rows = rows();
    let named = |name: &str| rows.iter().find(|row| row.name == name).unwrap();
    let mut world = World::new(&rows[0]);
    // Somebody else holds the target all along.
    world.target.active = Some(active(OTHER, true, None));
    let steps = [
        ("approval missing", 1, 0),
        ("approved", 2, 0),
        ("approval unknown", 2, 0),
        ("access unknown", 2, 0),
        ("approved", 2, 0),
        ("approval missing", 2, 1),
        ("approved", 3, 1),
    ];
    for (name, approved, lapsed) in steps {
        world.pass(named(name), name);
        assert_eq!(world.count(DecisionKind::Approved), approved, "{name}");
        assert_eq!(world.count(DecisionKind::Lapsed), lapsed, "{name}");
    }
    assert_eq!(world.count(DecisionKind::Authorized), 1);
}

#[test]
fn the_record_is_bounded_and_keeps_who_asked() {
    let rows = rows();
    let mut world = World::new(&rows[0]);
    world.target.active = Some(active(OTHER, true, None));
    let named = |name: &str| rows.iter().find(|row| row.name == name).unwrap();
    for _ in 0..40 {
        world.pass(named("approved"), "approved");
        world.pass(named("approval missing"), "approval missing");
    }
    let decisions = world.request.status.unwrap().decisions;
    assert_eq!(decisions.len(), crate::api::bounds::DECISIONS);
    assert_eq!(decisions[0].what, DecisionKind::Requested);
    assert_eq!(decisions.last().unwrap().what, DecisionKind::Lapsed);
}

#[test]
fn what_fell_off_the_full_record_is_not_told_again() {
    let rows = rows();
    let mut world = World::new(&rows[0]);
    world.target.active = Some(active(OTHER, true, None));
    let named = |name: &str| rows.iter().find(|row| row.name == name).unwrap();
    let (approved, missing) = (named("approved"), named("approval missing"));
    let voice = crate::domain::gates::RefusedVoice {
        by: Some("mallory@corp.example".to_owned()),
        at: now() - Duration::from_mins(1),
        why: "no verb.".to_owned(),
    };
    let with_voice = |row: &Row| Gates {
        refused: vec![voice.clone()],
        ..row.gates.clone()
    };
    for row in [missing].into_iter().chain([approved, missing].repeat(40)) {
        let mut facts = world.facts(row, SHORTEST_SETTLE);
        facts.gates = with_voice(row);
        let decision = decide(&world.request, &facts, now());
        world.request.status = Some(decision.status);
        let again = decide(&world.request, &facts, now());
        assert_eq!(Some(&again.status), world.request.status.as_ref());
    }
    assert_eq!(world.count(DecisionKind::Requested), 1);
    assert_eq!(world.count(DecisionKind::Refused), 0);
    // That it was cancelled stays, whatever comes after.
    let mut status = world.request.status.clone().unwrap();
    status.decisions[1].what = DecisionKind::Canceled;
    world.request.status = Some(status);
    for row in [approved, missing].repeat(30) {
        let decision = decide(&world.request, &world.facts(row, SHORTEST_SETTLE), now());
        world.request.status = Some(decision.status);
    }
    assert_eq!(world.count(DecisionKind::Canceled), 1);
}

#[test]
fn a_refused_word_is_told_once() {
    let mut rows = rows();
    let row = rows
        .iter_mut()
        .find(|row| row.name == "approval missing")
        .unwrap();
    row.gates.refused = vec![crate::domain::gates::RefusedVoice {
        by: Some("mallory@corp.example".to_owned()),
        at: now(),
        why: "no verb.".to_owned(),
    }];
    assert!(matches!(row.gates.approval, Approval::Missing(..)));
    let mut world = World::new(row);
    for _ in 0..3 {
        world.pass(row, "refused");
    }
    assert_eq!(world.count(DecisionKind::Refused), 1);
}
