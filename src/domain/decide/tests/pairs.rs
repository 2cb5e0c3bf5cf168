//! Every pair of gates, made from the table's own order: which is told, and that nothing starts.

use proptest::prelude::*;

use super::{
    gates::{approvals, asked, granted, overrider, passing, permanent, rows, shut},
    walk::World,
    *,
};
use crate::{
    api::{
        bounds,
        conditions::{self, ConditionType},
        deploy_request::DecisionKind,
        gate::GateKind,
    },
    domain::gates::{Access, Approval},
};

/// How one gate stands by itself.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Stands {
    Open,
    Closed,
    Unknown,
}

/// What becomes of an override.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Overriding {
    None,
    Counts,
    Refused,
    Unknown,
}

const OVERRIDING: [Overriding; 4] = [
    Overriding::None,
    Overriding::Counts,
    Overriding::Refused,
    Overriding::Unknown,
];

/// What a gate waits for while it is closed, and by which word.
fn word(gate: GateKind, stands: Stands) -> (WaitingFor, Reason) {
    let unknown = stands == Stands::Unknown;
    let of = |subject, closed, open: Reason| (subject, if unknown { open } else { closed });
    match gate {
        GateKind::Policies | GateKind::Approval if unknown => {
            (WaitingFor::Authorization, Reason::AccessUnknown)
        }
        GateKind::Policies => (WaitingFor::Configuration, Reason::PoliciesMissing),
        // Who may not is denied at once; that can't be said is all that waits.
        GateKind::Authorization => (WaitingFor::Authorization, Reason::GroupsUnknown),
        GateKind::Approval => (WaitingFor::Approval, Reason::ApprovalMissing),
        GateKind::Time => of(WaitingFor::Time, Reason::NotYet, Reason::GuardsUnknown),
        GateKind::Order => of(WaitingFor::Order, Reason::OrderUnmet, Reason::GuardsUnknown),
        GateKind::Freeze => of(WaitingFor::Freeze, Reason::Frozen, Reason::GuardsUnknown),
        GateKind::Lock => of(WaitingFor::Lock, Reason::Locked, Reason::GuardsUnknown),
        GateKind::Queue if unknown => (WaitingFor::Person, Reason::TargetUnreadable),
        GateKind::Queue => (WaitingFor::Queue, Reason::Queued),
    }
}

fn set(facts: &mut Facts, gate: GateKind, stands: Stands) {
    if stands == Stands::Open {
        return;
    }
    let (subject, reason) = word(gate, stands);
    let gates = &mut facts.gates;
    match gate {
        GateKind::Policies => gates.vouched = Err(passing(subject, reason)),
        GateKind::Authorization => gates.access = Access::Unknown(passing(subject, reason)),
        GateKind::Approval => {
            gates.approval = Approval::Missing(approvals(1, None), passing(subject, reason));
        }
        GateKind::Time => gates.guards.time = Some(shut(subject, reason)),
        GateKind::Order => gates.guards.order = Some(shut(subject, reason)),
        GateKind::Freeze => gates.guards.freeze = Some(shut(subject, reason)),
        GateKind::Lock => gates.guards.lock = Some(shut(subject, reason)),
        GateKind::Queue if stands == Stands::Unknown => {
            facts.target = TargetFact::Unreadable("odd".to_owned());
        }
        GateKind::Queue => facts.target = ready(Some(active(OTHER, true, None))),
    }
}

fn overriding(facts: &mut Facts, request: &mut DeployRequest, overriding: Overriding) {
    facts.gates.guards.overriding = match overriding {
        Overriding::None => None,
        Overriding::Counts => Some(Ok(overrider())),
        Overriding::Refused => Some(Err(permanent(Reason::OverrideRefused))),
        Overriding::Unknown => Some(Err(passing(
            WaitingFor::Authorization,
            Reason::AccessUnknown,
        ))),
    };
    if overriding != Overriding::None {
        request.spec.override_ = Some(crate::api::gate::Override {
            reason: overrider().reason,
            by: None,
        });
    }
}

fn told(stands: Stands, gate: GateKind, overriding: Overriding) -> GateState {
    match stands {
        Stands::Open => GateState::Open,
        _ if overriding == Overriding::Counts && gate.is_passed_by_override() => {
            GateState::Overridden
        }
        // That somebody may not has no state of its own here: it ends at once.
        Stands::Unknown => GateState::Unknown,
        Stands::Closed if gate == GateKind::Authorization => GateState::Unknown,
        Stands::Closed => GateState::Closed,
    }
}

fn phase(gate: GateKind) -> Phase {
    match gate {
        GateKind::Policies | GateKind::Authorization => Phase::Pending,
        GateKind::Approval => Phase::AwaitingApproval,
        _ => Phase::Queued,
    }
}

/// Every pair, each of the two closed or unknown, with every override; and each gate alone, as a pair with an open one.
fn pairs() -> Vec<([(GateKind, Stands); 2], Overriding)> {
    let mut pairs = Vec::new();
    for (place, first) in GateKind::ALL.into_iter().enumerate() {
        for second in GateKind::ALL.into_iter().skip(place + 1) {
            for one in [Stands::Open, Stands::Closed, Stands::Unknown] {
                for two in [Stands::Open, Stands::Closed, Stands::Unknown] {
                    for overriding in OVERRIDING {
                        pairs.push(([(first, one), (second, two)], overriding));
                    }
                }
            }
        }
    }
    pairs
}

#[test]
fn of_every_pair_of_gates_both_stand_in_the_table_and_the_first_is_waited_for() {
    let mut passed = 0;
    for (pair, way) in pairs() {
        let name = format!("{pair:?}, override {way:?}");
        let mut request = request(None);
        let mut facts = facts(ready(None), Sighting::NotAsked);
        facts.gates = granted();
        for (gate, stands) in pair {
            set(&mut facts, gate, stands);
        }
        overriding(&mut facts, &mut request, way);
        let decision = decide(&request, &facts, now());
        let status = &decision.status;
        let kinds: Vec<GateKind> = status.gates.iter().map(|told| told.gate).collect();
        assert_eq!(kinds, GateKind::ALL, "{name}");
        let mut closed = Vec::new();
        for gate in &status.gates {
            let own = pair.iter().find(|(kind, _)| *kind == gate.gate);
            let stands = own.map_or(Stands::Open, |(_, stands)| *stands);
            let state = told(stands, gate.gate, way);
            assert_eq!(gate.state, state, "{name}: {gate:?}");
            let why = (stands != Stands::Open).then(|| word(gate.gate, stands).1.to_string());
            assert_eq!(gate.reason, why, "{name}: {gate:?}");
            assert_eq!(gate.message.is_some(), why.is_some(), "{name}: {gate:?}");
            if matches!(state, GateState::Closed | GateState::Unknown) {
                closed.push((gate.gate, stands));
            }
        }
        let condition = conditions::find(&status.conditions, ConditionType::Overridden);
        let condition = condition.map(|condition| condition.status.as_str());
        let expected = match way {
            Overriding::None => None,
            Overriding::Counts => Some("True"),
            Overriding::Refused => Some("False"),
            Overriding::Unknown => Some("Unknown"),
        };
        assert_eq!(condition, expected, "{name}");
        let Some((first, stands)) = closed.first() else {
            passed += 1;
            assert!(matches!(decision.effect, Some(Effect::Claim(_))), "{name}");
            continue;
        };
        assert_eq!(decision.effect, None, "{name}");
        assert!(decision.requeue.is_some(), "{name}");
        let waiting = status.waiting.as_ref().unwrap();
        assert_eq!(waiting.subject, word(*first, *stands).0, "{name}");
        assert!(waiting.until.is_some(), "{name}");
        assert_eq!(status.phase, Some(phase(*first)), "{name}");
        let also = closed
            .get(1)
            .map(|(gate, _)| format!(" Also closed: {}.", gate.word()));
        match also {
            Some(also) => assert!(waiting.message.ends_with(&also), "{name}: {waiting:?}"),
            None => assert!(
                !waiting.message.contains("Also closed"),
                "{name}: {waiting:?}"
            ),
        }
        // What doesn't count is told where it would have helped.
        let helps = closed.iter().any(|(gate, _)| gate.is_passed_by_override());
        let mut sentences = status.gates.iter().filter_map(|gate| gate.message.as_ref());
        let says = sentences.any(|text| text.ends_with("it is OverrideRefused."));
        assert_eq!(says, helps && way == Overriding::Refused, "{name}");
    }
    assert!(passed > 50, "{passed}");
}

#[test]
fn of_every_pair_of_gates_either_keeps_an_unsent_holder_from_its_target_and_a_sent_one_from_a_second_send()
 {
    let mut sends = 0;
    for (pair, way) in pairs() {
        let name = format!("{pair:?}, override {way:?}");
        if pair.iter().any(|(gate, _)| *gate == GateKind::Queue) {
            continue;
        }
        let closed = pair.iter().find(|(gate, stands)| {
            let state = told(*stands, *gate, way);
            matches!(state, GateState::Closed | GateState::Unknown)
        });
        let mut request = request(Some(Phase::Starting));
        let mut facts = facts(ready(None), Sighting::Absent(SHORTEST_SETTLE));
        facts.gates = granted();
        for (gate, stands) in pair {
            set(&mut facts, gate, stands);
        }
        overriding(&mut facts, &mut request, way);
        for sent in [false, true] {
            let mut holder = active(UID, sent, None);
            holder.overridden_by = facts.gates.overrider().map(str::to_owned);
            facts.target = ready(Some(holder));
            let decision = decide(&request, &facts, now());
            let Some((gate, stands)) = closed else {
                sends += 1;
                assert!(matches!(decision.effect, Some(Effect::Send(_))), "{name}");
                continue;
            };
            if !sent {
                assert_eq!(decision.effect, Some(Effect::Release), "{name}");
                continue;
            }
            assert_eq!(decision.effect, None, "{name}");
            assert_eq!(decision.status.phase, Some(Phase::Unknown), "{name}");
            let waiting = decision.status.waiting.unwrap();
            assert_eq!(waiting.subject, word(*gate, *stands).0, "{name}");
            let mut gates = decision.status.gates.iter();
            let state = gates.find(|row| row.gate == *gate).map(|row| row.state);
            assert_eq!(state, Some(told(*stands, *gate, way)), "{name}");
            let conditions = &decision.status.conditions;
            let says = conditions::find(conditions, ConditionType::Overridden).is_some();
            assert_eq!(says, way != Overriding::None, "{name}");
        }
    }
    assert!(sends > 0);
}

#[test]
fn each_gate_that_is_set_and_lifted_holds_a_request_and_lets_it_go_on_in_each_phase() {
    let rows = rows();
    let named = |name: &str| rows.iter().find(|row| row.name == name).unwrap();
    let open = named("all open");
    for name in ["too early", "frozen", "locked, and not let pass"] {
        let row = named(name);
        let phase = |world: &World| world.request.status.as_ref().unwrap().phase;
        let subject = |world: &World| {
            let status = world.request.status.as_ref().unwrap();
            status.waiting.as_ref().map(|waiting| waiting.subject)
        };
        // While it waits behind another, and then alone.
        let mut world = World::new(row);
        world.target.active = Some(active(OTHER, true, None));
        world.pass(open, name);
        assert_eq!(subject(&world), Some(WaitingFor::Queue), "{name}");
        world.pass(row, name);
        assert_ne!(subject(&world), Some(WaitingFor::Queue), "{name}");
        world.target.active = None;
        world.pass(row, name);
        assert_eq!(
            (phase(&world), world.sent),
            (Some(Phase::Queued), 0),
            "{name}"
        );
        // While it holds its target and sent nothing: it lets go.
        world.target.active = Some(active(UID, false, None));
        world.pass(row, name);
        assert_eq!(world.target.active, None, "{name}");
        // Lifted: it is sent, once; set again, it isn't sent again, and says why.
        world.pass(open, name);
        assert_eq!(world.sent, 1, "{name}");
        let gates = |world: &World| world.request.status.as_ref().unwrap().gates.clone();
        let at_the_mark = gates(&world);
        world.pass(row, name);
        let judged_last = gates(&world);
        assert_ne!(
            judged_last, at_the_mark,
            "{name}: what keeps it from a second send"
        );
        assert_eq!(
            (phase(&world), world.sent),
            (Some(Phase::Unknown), 1),
            "{name}"
        );
        let Expected { subject: wanted } = expected(row);
        assert_eq!(subject(&world), Some(wanted), "{name}");
        // While it runs, it goes on, and its table is as it was before that was seen.
        world.target.active.as_mut().unwrap().execution = Some(shown(Some(1)));
        let mut facts = world.facts(row, Duration::ZERO);
        facts.sighting = observation(UID, None, 1);
        let decision = decide(&world.request, &facts, now());
        assert_eq!(decision.effect, None, "{name}");
        assert_eq!(decision.status.phase, Some(Phase::Running), "{name}");
        assert_eq!(decision.status.gates, judged_last, "{name}");
    }
}

struct Expected {
    subject: WaitingFor,
}

fn expected(row: &super::gates::Row) -> Expected {
    let (_, refusal) = row.gates.table(None).first().unwrap();
    Expected {
        subject: refusal.waiting_for.unwrap(),
    }
}

#[test]
fn what_an_override_passes_is_told_once_with_who_and_why_and_stays_in_the_table_of_the_start() {
    let rows = rows();
    let named = |name: &str| rows.iter().find(|row| row.name == name).unwrap();
    let passed = named("frozen, and let pass");
    let mut world = World::new(named("frozen"));
    world.pass(named("frozen"), "frozen");
    assert_eq!(world.count(DecisionKind::Overridden), 0);
    world.pass(passed, "passed");
    assert_eq!(world.sent, 1);
    world.target.active.as_mut().unwrap().execution = Some(shown(Some(1)));
    let mut later = world.facts(named("all open"), Duration::ZERO);
    later.sighting = observation(UID, None, 1);
    let status = decide(&world.request, &later, now()).status;
    let record = status
        .decisions
        .iter()
        .filter(|record| record.what == DecisionKind::Overridden);
    let record: Vec<_> = record.collect();
    assert_eq!(record.len(), 1);
    assert_eq!(record[0].by.as_deref(), Some("olga@corp.example"));
    assert_eq!(record[0].why.as_deref(), Some("the site is down"));
    let freeze = status
        .gates
        .iter()
        .find(|told| told.gate == GateKind::Freeze)
        .unwrap();
    assert_eq!(freeze.state, GateState::Overridden);
    assert!(
        freeze
            .message
            .as_ref()
            .unwrap()
            .contains("`olga@corp.example` passes it, saying “the site is down”."),
        "{freeze:?}"
    );
    let claim = world.target.active.as_ref().unwrap();
    assert_eq!(claim.overridden_by.as_deref(), Some("olga@corp.example"));
}

#[test]
fn an_override_without_anything_to_pass_and_one_behind_a_closed_gate_is_no_decision() {
    for approval in [false, true] {
        let mut request = request(None);
        let mut facts = facts(ready(Some(active(OTHER, true, None))), Sighting::NotAsked);
        facts.gates = granted();
        if approval {
            set(&mut facts, GateKind::Freeze, Stands::Closed);
            set(&mut facts, GateKind::Approval, Stands::Closed);
        }
        overriding(&mut facts, &mut request, Overriding::Counts);
        let status = decide(&request, &facts, now()).status;
        let mut kinds = status.decisions.iter().map(|record| record.what);
        assert!(
            !kinds.any(|kind| kind == DecisionKind::Overridden),
            "{approval}"
        );
    }
}

#[test]
fn a_holder_by_another_word_than_it_was_claimed_by_is_claimed_anew() {
    let mut request = request(Some(Phase::Starting));
    let mut facts = facts(
        ready(Some(active(UID, false, None))),
        Sighting::Absent(Duration::ZERO),
    );
    overriding(&mut facts, &mut request, Overriding::Counts);
    let Some(Effect::Claim(claim)) = decide(&request, &facts, now()).effect else {
        panic!("it isn't claimed anew");
    };
    assert_eq!(claim.overridden_by.as_deref(), Some("olga@corp.example"));
}

#[test]
fn a_held_request_is_not_turned_away_but_gives_its_place_to_a_newer_one() {
    for gate in [
        GateKind::Time,
        GateKind::Order,
        GateKind::Freeze,
        GateKind::Lock,
    ] {
        let mut facts = facts(ready(None), Sighting::NotAsked);
        set(&mut facts, gate, Stands::Closed);
        let with = |concurrency| {
            Ok(Plan {
                concurrency,
                ..plan()
            })
        };
        facts.plan = with(Concurrency::Reject);
        for holder in [None, Some(active(OTHER, true, None))] {
            facts.target = ready(holder);
            let decision = decide(&request(None), &facts, now());
            assert_eq!(decision.status.phase, Some(Phase::Queued), "{gate:?}");
        }
        facts.plan = with(Concurrency::Supersede);
        facts.newer = Some("newer".to_owned());
        facts.target = ready(None);
        // Nobody takes the place of one whose time has not come.
        if gate != GateKind::Time {
            let status = decide(&request(None), &facts, now()).status;
            assert_eq!(status.phase, Some(Phase::Canceled), "{gate:?}");
        }
        facts.plan = with(Concurrency::Queue);
        let status = decide(&request(None), &facts, now()).status;
        assert_eq!(status.phase, Some(Phase::Queued), "{gate:?}");
    }
}

#[test]
fn who_is_held_is_in_nobodys_way() {
    let guards = |gate: Option<GateKind>| {
        let mut facts = facts(ready(None), Sighting::NotAsked);
        if let Some(gate) = gate {
            set(&mut facts, gate, Stands::Closed);
        }
        facts.gates.guards
    };
    let (free, frozen, early) = (
        guards(None),
        guards(Some(GateKind::Freeze)),
        guards(Some(GateKind::Time)),
    );
    assert!(!free.holds() && frozen.holds() && early.holds());
    // Newer, older, whether the newer takes the place.
    for (newer, older, takes) in [
        (&free, &free, true),
        (&free, &frozen, true),
        (&frozen, &free, false),
        (&frozen, &frozen, true),
        (&early, &frozen, false),
        (&free, &early, false),
        (&frozen, &early, false),
        (&early, &early, false),
    ] {
        assert_eq!(newer.supersedes(older), takes, "{newer:?}, {older:?}");
    }
}

#[test]
fn however_much_a_gate_says_what_becomes_of_an_override_is_told_after_it() {
    let mut request = request(None);
    let mut facts = facts(ready(None), Sighting::NotAsked);
    set(&mut facts, GateKind::Freeze, Stands::Closed);
    set(&mut facts, GateKind::Lock, Stands::Closed);
    if let Some(freeze) = &mut facts.gates.guards.freeze {
        freeze.refusal.message = "ö".repeat(2 * bounds::MESSAGE);
    }
    for (way, words) in [
        (Overriding::Refused, "ö… it is OverrideRefused."),
        (Overriding::Counts, "saying “the site is down”."),
    ] {
        overriding(&mut facts, &mut request, way);
        let status = decide(&request, &facts, now()).status;
        let freeze = status.gates.iter().find(|row| row.gate == GateKind::Freeze);
        let message = freeze.unwrap().message.as_ref().unwrap();
        assert_eq!(message.chars().count(), bounds::VALUE, "{way:?}");
        assert!(message.ends_with(words), "{message}");
        if let Some(waiting) = status.waiting.filter(|_| way == Overriding::Refused) {
            assert_eq!(waiting.message.chars().count(), bounds::MESSAGE);
            let end = format!("{words} Also closed: Lock.");
            assert!(waiting.message.ends_with(&end), "{}", waiting.message);
        }
    }
}

#[test]
fn a_dry_run_tells_the_table_and_starts_nothing() {
    for gate in [
        GateKind::Approval,
        GateKind::Time,
        GateKind::Freeze,
        GateKind::Queue,
    ] {
        let mut facts = facts(ready(None), Sighting::NotAsked);
        set(&mut facts, gate, Stands::Closed);
        let mut request = request(None);
        request.spec.dry_run = true;
        let decision = decide(&request, &facts, now());
        assert_eq!(decision.effect, None);
        assert_eq!(decision.status.phase, Some(Phase::Succeeded), "{gate:?}");
        let message = decision.status.message.unwrap();
        assert!(message.contains("would not start now: "), "{message}");
        let told = decision.status.gates.iter().find(|told| told.gate == gate);
        assert_eq!(told.unwrap().state, GateState::Closed, "{gate:?}");
    }
}

#[test]
fn a_long_sentence_leaves_room_for_the_names_of_the_other_gates() {
    let mut facts = facts(ready(None), Sighting::NotAsked);
    set(&mut facts, GateKind::Freeze, Stands::Closed);
    set(&mut facts, GateKind::Lock, Stands::Closed);
    let freeze = facts.gates.guards.freeze.as_mut().unwrap();
    freeze.refusal.message = "ü".repeat(5000);
    let status = decide(&request(None), &facts, now()).status;
    let message = status.waiting.unwrap().message;
    assert_eq!(message.chars().count(), crate::api::bounds::MESSAGE);
    assert!(
        message.ends_with("… Also closed: Lock."),
        "{}",
        &message[..40]
    );
    let told = status
        .gates
        .iter()
        .find(|told| told.gate == GateKind::Freeze);
    let told = told.unwrap().message.as_ref().unwrap();
    assert_eq!(told.chars().count(), crate::api::bounds::VALUE);
}

fn stands() -> impl Strategy<Value = Stands> {
    prop_oneof![4 => Just(Stands::Open), 1 => Just(Stands::Closed), 1 => Just(Stands::Unknown)]
}

fn any_facts() -> impl Strategy<Value = (DeployRequest, Facts)> {
    let gates = prop::collection::vec(stands(), GateKind::ALL.len());
    let phase = prop::option::of(prop::sample::select(Phase::ALL.to_vec()));
    let targets = prop::sample::select((0..targets().len()).collect::<Vec<_>>());
    let sightings = prop::sample::select((0..sightings().len()).collect::<Vec<_>>());
    let flags = prop::collection::vec(prop::bool::weighted(0.2), 6);
    let way = prop::sample::select(OVERRIDING.to_vec());
    let seconds = (
        prop::option::of(-5..5_i64),
        prop::option::of(-5..5_i64),
        1..200_i64,
    );
    (gates, phase, targets, sightings, flags, way, seconds).prop_map(
        |(gates, phase, target, sighting, flags, way, (begins, before, until))| {
            let mut request = asked(phase, &rows()[0]);
            let at = |seconds: i64| Time(now() + jiff::SignedDuration::from_secs(seconds));
            request.spec.not_before = begins.map(at);
            request.spec.start_before = before.map(at);
            let (_, sighting) = sightings_of(sighting);
            let mut facts = facts(ready(None), sighting);
            facts.gates = granted();
            // The queue is the target's: set last, unless that is to be another.
            for (gate, stands) in GateKind::ALL.into_iter().zip(gates) {
                set(&mut facts, gate, stands);
            }
            if flags[0] {
                facts.target = self::targets_of(target).1;
            }
            if let Some(freeze) = &mut facts.gates.guards.freeze {
                freeze.until = Some(at(until).0);
            }
            if flags[1] {
                facts.gates.guards.running = Some(permanent(Reason::Frozen));
            }
            facts.gone = flags[2];
            if flags[3] {
                facts.ahead = Some("first".to_owned());
            }
            request.spec.dry_run = flags[4];
            if flags[5] {
                facts.target = ready(Some(active(UID, true, None)));
            }
            overriding(&mut facts, &mut request, way);
            (request, facts)
        },
    )
}

fn targets_of(index: usize) -> (&'static str, TargetFact) {
    targets().swap_remove(index)
}

fn sightings_of(index: usize) -> (&'static str, Sighting) {
    sightings().swap_remove(index)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn nothing_starts_through_a_closed_gate_and_whatever_has_not_ended_looks_again_in_time((request, facts) in any_facts()) {
        let decision = decide(&request, &facts, now());
        let late = request.spec.start_before.as_ref().is_some_and(|time| time.0 <= now());
        let closed = facts.gates.closed(&request).is_some() || late;
        let unsent = held(&facts).is_none_or(|active| active.attempt.sent_at.is_none());
        match &decision.effect {
            Some(Effect::Claim(_) | Effect::Send(_)) => {
                prop_assert!(!closed, "{:?}", decision.effect);
                prop_assert!(!facts.gone);
            }
            Some(Effect::Release) => prop_assert!(unsent),
            _ => {}
        }
        let status = &decision.status;
        let ended = status.phase.is_some_and(Phase::is_terminal);
        if decision.effect.is_none() && !ended {
            prop_assert!(decision.requeue.is_some());
            if let Some(change) = facts.gates.next_change(now())
                && matches!(status.phase, Some(Phase::Queued | Phase::AwaitingApproval))
            {
                prop_assert!(decision.requeue.unwrap() <= backoff::elapsed(now(), change));
            }
            let judged = held(&facts).is_none() && !facts.gone && facts.plan.is_ok();
            let open = matches!(facts.target, TargetFact::Ready(_)) || closed;
            if judged && open && !matches!(facts.target, TargetFact::Unresolved | TargetFact::Unprepared) {
                let first = facts.gates.table(None).first();
                if let Some((_, refusal)) = first {
                    let waiting = status.waiting.as_ref();
                    prop_assert_eq!(waiting.map(|waiting| Some(waiting.subject)), Some(refusal.waiting_for));
                }
            }
        }
        let again = DeployRequest { status: Some(decision.status.clone()), ..request.clone() };
        if decision.effect.is_none() {
            // To decide on what was recorded says nothing new.
            let same = decide(&again, &facts, now());
            prop_assert_eq!(same.status.gates, decision.status.gates);
        }
    }
}
