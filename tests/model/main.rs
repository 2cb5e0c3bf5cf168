//! The model check: the real `decide`, asked by two controllers about two requests for one target, in every order in which
//! their steps, people, Gate, crashes and the clock can come.
//!
//! What is real: `domain::decide`, the gates, the functions that change a target's status, and the statuses themselves. What
//! stands for something else: the API server (one object of each, and whether somebody wrote it since it was read), Gate, the
//! caches (which may lag by what people did last), and `controller::act`, whose steps are `world`'s. Time comes in settle
//! times. A controller whose pass lasts longer than one has lost its claim.
//!
//! `cargo test --test model -- --nocapture` prints how many states there are.

#![expect(
    clippy::unwrap_used,
    reason = "a state that can't be written down is a mistake of the model, and there is nobody to tell"
)]

mod book;
mod facts;
mod flaw;
mod rest;
mod schedules;
mod state;
mod world;

use std::time::Instant;

use stateright::{Checker, Expectation, Model};

use self::{
    facts::Setting,
    flaw::Flaw,
    state::{Event, Left},
    world::{CLOSED, END, NAMED, ONCE, World},
};

const DEPLOYS: Setting = Setting {
    action: "deploy",
    approval: [true, false],
    end: 2,
};
const UNASKED: Setting = Setting {
    approval: [false, false],
    ..DEPLOYS
};
/// Shorter, as nothing that is lost has to be sent again.
const LOCKED: Setting = Setting { end: 1, ..UNASKED };
const ROLLS_BACK: Setting = Setting {
    action: "rollback",
    approval: [false, false],
    end: 1,
};

fn left(events: u8, crashes: u8, faults: u8) -> Left {
    Left {
        events,
        crashes,
        faults,
    }
}

/// Meets every state, and holds each promise in each.
fn holds(name: &str, world: World) {
    let began = Instant::now();
    let checker = world.checker().spawn_bfs().join();
    println!(
        "{name}: {} states, {} with those met again, {} steps deep; {} decisions; {:.1} s",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        checker.model().book.decisions(),
        began.elapsed().as_secs_f32()
    );
    checker.assert_properties();
}

/// Finds that a promise is broken.
fn breaks(promise: &'static str, world: World) {
    let checker = world
        .checker()
        .finish_when(stateright::HasDiscoveries::AnyOf([promise].into()))
        .spawn_bfs()
        .join();
    let known = checker.model().property(promise).expectation;
    assert_eq!(known, Expectation::Always);
    let found = checker.discovery(promise);
    let path = found.unwrap_or_else(|| panic!("nobody noticed that {promise:?} is broken"));
    println!("{promise:?} is broken after {:?}", path.into_actions());
}

/// Whether to go on with more than a minute's worth of states: more than anybody has yet waited for.
fn full() -> bool {
    std::env::var_os("FOREDECK_TEST_FULL").is_some_and(|value| value == "1")
}

#[test]
fn whatever_crashes_or_is_lost_a_request_starts_once() {
    holds(
        "crash, lost answer",
        World::new(DEPLOYS, left(0, 1, 1), &[]),
    );
}

#[test]
fn whatever_people_do_a_request_starts_once_and_through_open_gates() {
    let all = [Event::Approve, Event::Freeze, Event::Cancel(0)];
    let (events, left) = if full() {
        (&all[..], left(2, 1, 1))
    } else {
        (&all[..], left(1, 0, 0))
    };
    let setting = Setting { end: 1, ..DEPLOYS };
    holds(
        "approval, freeze, cancel",
        World::new(setting, left, events),
    );
}

/// One pass at a time, as two at once have no end with so much else.
#[test]
fn whatever_people_do_around_a_crash_a_request_starts_once_and_through_open_gates() {
    let events = [Event::Approve, Event::Freeze, Event::Cancel(0)];
    let setting = Setting { end: 1, ..DEPLOYS };
    let mut world = World::new(setting, left(3, 1, 0), &events).one_at_a_time();
    // So that it may be lifted and set again.
    world.start.freeze = true;
    holds("approval, freeze, cancel, crash", world);
}

#[test]
fn an_override_passes_a_lock_as_long_as_whoever_overrides_may() {
    let events = [Event::Override(1), Event::MayOverride, Event::Lock];
    let (events, left) = if full() {
        (&events[..], left(2, 1, 1))
    } else {
        (&events[..1], left(1, 0, 0))
    };
    let mut world = World::new(LOCKED, left, events);
    world.start.lock = true;
    holds("lock, override", world);
}

#[test]
fn nothing_undoes_a_rollback_before_it_is_unheld() {
    let events = [Event::Unhold, Event::Override(1), Event::Cancel(0)];
    let (events, left) = if full() {
        (&events[..], left(1, 1, 1))
    } else {
        (&events[..1], left(1, 0, 0))
    };
    holds("rollback, hold", World::new(ROLLS_BACK, left, events));
}

#[test]
fn a_freeze_that_is_forgotten_is_noticed() {
    let world = World::new(UNASKED, left(1, 0, 0), &[Event::Freeze]);
    breaks(CLOSED, world.flawed(Flaw::FreezesAreForgotten));
}

#[test]
fn a_start_on_what_was_read_before_is_noticed() {
    let world = World::new(UNASKED, left(1, 0, 0), &[Event::Freeze]);
    breaks(CLOSED, world.flawed(Flaw::ReadsNothingAnew));
}

#[test]
fn a_start_without_its_mark_is_noticed() {
    let world = World::new(UNASKED, left(0, 0, 1), &[]);
    breaks(ONCE, world.flawed(Flaw::SendsUnmarked));
}

#[test]
fn a_second_start_before_the_settle_time_is_noticed() {
    let world = World::new(UNASKED, left(0, 0, 1), &[]);
    breaks(ONCE, world.flawed(Flaw::SendsAgainAtOnce));
}

#[test]
fn an_end_that_is_written_over_is_noticed() {
    let world = World::new(UNASKED, left(1, 0, 0), &[Event::Cancel(0)]);
    breaks(END, world.flawed(Flaw::OverwritesEnds));
}

#[test]
fn a_request_that_does_not_say_what_holds_it_is_noticed() {
    let world = World::new(UNASKED, left(1, 0, 0), &[Event::Freeze]);
    breaks(NAMED, world.flawed(Flaw::NamesNoGate));
}
