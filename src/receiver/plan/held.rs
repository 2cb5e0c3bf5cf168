//! What holds a plan beside other requests: its time, the order of environments, freezes and locks; what passes them; and
//! what a rollback gives up. Touches nothing.

use jiff::Timestamp;
use serde::Serialize;

use super::{AHEAD, Order, guarding, shown::Problem};
use crate::{
    api::{
        DeployFreeze, conditions::Reason, deploy_request::ROLLBACK_ACTION, deploy_target::Run,
        gate::GateKind,
    },
    domain::{guards::Guards, guards::freeze::Freezes, version::Version},
};

/// What holds a plan, and what doesn't although it would.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Held {
    /// The stop button, while it is on.
    pub stop: Option<Stop>,
    /// What is closed, in the order of the table.
    pub gates: Vec<Gate>,
    /// Why it passes what may be passed, where that is asked.
    pub overriding: Option<String>,
    /// Before when nothing starts.
    pub not_before: Option<Timestamp>,
    /// After when nothing starts any more.
    pub start_before: Option<Timestamp>,
    /// What a rollback gives up.
    pub given_up: Option<GivenUp>,
}

/// The stop button.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stop {
    /// Why.
    pub reason: String,
    /// Who pressed it, by their Kubernetes user name.
    pub by: Option<String>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// Whom to ask, in words.
    pub contact: Option<String>,
}

impl Stop {
    /// As the freeze has it that the button makes.
    pub fn of(freeze: &DeployFreeze) -> Self {
        let by = freeze.spec.by.as_ref();
        let since = freeze.metadata.creation_timestamp.as_ref();
        Self {
            reason: freeze.spec.reason.clone(),
            by: by.map(|by| by.username.clone()),
            since: since.map(|since| since.0),
            contact: freeze.spec.contact.clone(),
        }
    }

    /// Whether it is on.
    pub fn among(freezes: &Freezes, now: Timestamp) -> Option<Self> {
        guarding::stopped(freezes, now).map(Self::of)
    }
}

/// A gate that is closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gate {
    /// Which.
    pub gate: GateKind,
    /// The fixed word for why.
    pub reason: String,
    /// A sentence: what, by which rule, until when, who can do something about it.
    pub message: String,
    /// When it opens by itself, where that is known.
    pub until: Option<Timestamp>,
}

/// What a rollback gives up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GivenUp {
    /// The version that runs.
    pub from: Option<String>,
    /// Its commit, as far as it is known.
    pub from_commit: Option<String>,
    /// The version that it goes back to.
    pub to: Option<String>,
    /// Its commit, as far as it is known.
    pub to_commit: Option<String>,
}

impl Held {
    /// What is closed and isn't passed.
    pub fn closed(&self) -> impl Iterator<Item = &Gate> {
        let passes = self.overriding.is_some();
        let gates = self.gates.iter();
        gates.filter(move |gate| !passes || !gate.gate.is_passed_by_override())
    }

    /// What an override passes.
    pub fn passed(&self) -> impl Iterator<Item = &Gate> {
        let passes = self.overriding.is_some();
        let gates = self.gates.iter();
        gates.filter(move |gate| passes && gate.gate.is_passed_by_override())
    }

    /// Whether an override would pass something that isn't passed.
    pub fn can_be_passed(&self) -> bool {
        self.closed().any(|gate| gate.gate.is_passed_by_override())
    }

    /// As it is compared with what somebody saw. Where a version stands elsewhere is left out: it changes when it starts,
    /// and not what.
    pub(super) fn lasting(&self) -> Self {
        let mut lasting = self.clone();
        // Its time is part of what is asked for, and comes while somebody looks.
        lasting.gates.retain(|gate| gate.gate != GateKind::Time);
        for gate in &mut lasting.gates {
            if gate.gate == GateKind::Order {
                gate.message.clear();
            }
        }
        lasting
    }
}

/// What holds it, where these guards were found.
pub(super) fn held(order: &Order, freezes: &Freezes, guards: &Guards, now: Timestamp) -> Held {
    let gates = GateKind::ALL.into_iter().filter_map(|gate| {
        let closed = guards.bare(gate)?;
        Some(Gate {
            gate,
            reason: closed.refusal.reason.to_string(),
            message: closed.refusal.message.clone(),
            until: closed.until,
        })
    });
    let terms = order.terms.clone();
    Held {
        stop: Stop::among(freezes, now),
        gates: gates.collect(),
        overriding: terms.overriding,
        not_before: terms.not_before,
        start_before: terms.start_before,
        given_up: None,
    }
}

/// What going back from what runs gives up, where it is another version.
pub(super) fn given_up(order: &Order, current: Option<&Run>, version: &Version) -> Option<GivenUp> {
    let current = current.filter(|_| order.action == ROLLBACK_ACTION)?;
    let from = Version::that_ran(current);
    (from != *version).then(|| GivenUp {
        from: from.name,
        from_commit: from.commit,
        to: version.name.clone(),
        to_commit: version.commit.clone(),
    })
}

/// The name that a problem with the first time has in the place of a parameter's: no parameter is called so.
pub const AT: &str = "at:";
/// The same of the second time.
pub const BEFORE: &str = "before:";

/// What is wrong with the times that were asked for. The first one was in the future when it was asked for: whether it still
/// is makes no difference.
pub(super) fn late(order: &Order, asked_at: Timestamp, now: Timestamp) -> Vec<Problem> {
    let terms = &order.terms;
    let problem = |name: &str, message: &str| Problem {
        reason: Reason::Expired.to_string(),
        parameter: Some(name.to_owned()),
        message: message.to_owned(),
    };
    let asked = asked_at.saturating_sub(AHEAD).unwrap_or(Timestamp::MIN);
    let mut problems = Vec::new();
    if terms.not_before.is_some_and(|at| at < asked) {
        problems.push(problem(
            AT,
            "The time before which it is not to start has passed already. Name one that comes, or leave it out to have it \
             start as soon as it may.",
        ));
    }
    if terms.start_before.is_some_and(|before| before <= now) {
        problems.push(problem(
            BEFORE,
            "The time after which it is not to start has passed already, so it would never start. Name one that comes, or \
             leave it out.",
        ));
    }
    let crossed = terms.not_before.zip(terms.start_before);
    if crossed.is_some_and(|(at, before)| before <= at) {
        problems.push(problem(
            BEFORE,
            "The time after which it is not to start has to come after the one before which it is not to.",
        ));
    }
    problems
}
