//! What comes of a state in which nothing else happens: one controller works, Gate ends what it has, time passes; and each
//! time there is nothing left to do, every request has ended or names what keeps it. Pure.

use std::sync::PoisonError;

use foredeck::{
    api::{
        deploy_request::{Phase, WaitingFor},
        gate::{GateKind, GateState},
    },
    domain::target,
};

use crate::{
    facts,
    state::{AtGate, Controller, Execution, Id, Left, Outside, REQUESTS, State},
    world::{Answer, World, tick},
};

/// More steps than anything takes.
const STEPS: usize = 100;

/// All that the future of a state hangs on, where nobody is in the middle of anything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Alone {
    outside: Outside,
    statuses: [Id; REQUESTS],
    target: Id,
    gate: [AtGate; REQUESTS],
    clock: u8,
}

/// Whether it comes to rest, and each rest is one.
pub(crate) fn is_reached(world: &World, state: &State) -> bool {
    if state.controllers.iter().any(|one| one.doing.is_some()) {
        return true;
    }
    let alone = Alone {
        outside: state.outside,
        statuses: state.statuses,
        target: state.target,
        gate: state.gate,
        clock: state.clock,
    };
    let known = |world: &World| {
        let all = world.rests.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&alone).copied()
    };
    if let Some(known) = known(world) {
        return known;
    }
    let reached = settles(world, state.clone());
    let mut all = world.rests.lock().unwrap_or_else(PoisonError::into_inner);
    all.insert(alone, reached);
    reached
}

fn settles(world: &World, mut state: State) -> bool {
    state.left = Left {
        events: 0,
        crashes: 0,
        faults: 0,
    };
    state.controllers = [Controller::default(); 2];
    for _ in 0..STEPS {
        let before = state.clone();
        for request in 0..REQUESTS {
            world.look(&mut state, (0, request), false, false);
            while state.controllers[0].doing.is_some() {
                world.step(&mut state, 0, Answer::Done);
            }
        }
        if (&state.statuses, state.target, &state.gate)
            != (&before.statuses, before.target, &before.gate)
        {
            continue;
        }
        // Nothing more happens by itself.
        if !(0..REQUESTS).all(|request| is_named(world, &state, request)) {
            return false;
        }
        let mut moved = false;
        for gate in &mut state.gate {
            moved |= gate.flying > 0 || gate.execution == Execution::Running;
            gate.flying = 0;
            if gate.execution == Execution::Running {
                gate.execution = Execution::Succeeded;
            }
        }
        if moved {
            continue;
        }
        if state.clock == world.setting.end {
            return true;
        }
        tick(&mut state);
    }
    false
}

/// Whether it has ended, runs, or names what keeps it, and only that.
fn is_named(world: &World, state: &State, request: usize) -> bool {
    let uid = facts::uid(request);
    let outside = &state.outside;
    let status = world.book.status(state.statuses[request]);
    let target = world.book.target(state.target);
    let own = target::held_by(&target, uid).is_some();
    let phase = status.phase.unwrap_or_default();
    if phase.is_terminal() {
        return !own;
    }
    if phase == Phase::Running {
        return own;
    }
    let Some(waiting) = &status.waiting else {
        return false;
    };
    let passes = World::is_overridden(outside, request);
    let approved = !world.setting.approval[request] || outside.approved;
    let locked = outside.lock || world.is_held(state, request);
    let kept = match waiting.subject {
        WaitingFor::Approval => !approved,
        WaitingFor::Freeze => approved && outside.freeze && !passes,
        WaitingFor::Lock => approved && locked && !passes,
        WaitingFor::Queue => {
            let taken = target.active.is_some() && !own;
            world.may_start(state, request) && (taken || world.comes_after(state, request))
        }
        WaitingFor::Spinnaker => own && phase == Phase::Unknown,
        _ => false,
    };
    let told = |gate: GateKind| {
        let found = status.gates.iter().find(|told| told.gate == gate);
        found.map(|told| told.state)
    };
    let stands = |closed: bool, passes: bool| match (closed, passes) {
        (false, _) => Some(GateState::Open),
        (true, false) => Some(GateState::Closed),
        (true, true) => Some(GateState::Overridden),
    };
    // One that may have been sent is followed whatever the gates say.
    let whole = own
        || (told(GateKind::Approval) == stands(!approved, false)
            && told(GateKind::Freeze) == stands(outside.freeze, passes)
            && told(GateKind::Lock) == stands(locked, passes));
    kept && whole
}
