//! The world that `decide` works in: an API server that compares and swaps, a Gate, people, a clock, and two controllers
//! that take the steps of `controller::act`, each of which may interleave with all else, or be their last.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use foredeck::{
    api::{
        deploy_request::{DeployRequestStatus, Phase, ROLLBACK_ACTION},
        deploy_target::DeployTargetStatus,
    },
    domain::target,
};
use stateright::{Model, Property};

use crate::{
    book::Book,
    facts::{self, Question, Setting, Sight},
    flaw::Flaw,
    rest,
    state::{
        Absent, Act, Broken, Controller, Doing, Event, Execution, Id, Left, Outside, REQUESTS,
        State,
    },
};

/// What is promised, where a mistake can break it.
pub(crate) const ONCE: &str = "one launch for each request";
pub(crate) const CLOSED: &str = "nothing is sent through a closed gate";
pub(crate) const END: &str = "an end is an end";
pub(crate) const NAMED: &str = "left alone every request ends or names its gate";

/// What is checked.
#[derive(Debug)]
pub(crate) struct World {
    pub setting: Setting,
    pub flaw: Flaw,
    /// What people may do.
    pub events: Vec<Event>,
    pub left: Left,
    /// How many passes may be under way at once.
    pub at_once: usize,
    pub start: Outside,
    pub book: Book,
    /// What comes of a state that is left alone.
    pub rests: Mutex<HashMap<rest::Alone, bool>>,
}

/// What a call came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    Done,
    /// Nobody knows whether it was done.
    Lost,
    /// It certainly wasn't.
    NotProcessed,
}

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Happening {
    People(Event),
    /// A controller gathers and decides, on caches that may lag by what people did last.
    Look {
        controller: usize,
        request: usize,
        lagging: bool,
        unclear: bool,
    },
    Step(usize, Answer),
    /// A controller ends, and another begins with nothing in memory.
    Crash(usize),
    /// Gate does a POST whose answer was lost.
    Lands(usize),
    /// It never will.
    IsLost(usize),
    Ends(usize),
    /// The settle time passes.
    Tick,
}

impl World {
    pub(crate) fn new(setting: Setting, left: Left, events: &[Event]) -> Self {
        Self {
            setting,
            flaw: Flaw::None,
            events: events.to_vec(),
            left,
            at_once: 2,
            start: Outside {
                may_override: true,
                ..Outside::default()
            },
            book: Book::new(),
            rests: Mutex::new(HashMap::new()),
        }
    }

    pub(crate) fn flawed(self, flaw: Flaw) -> Self {
        Self { flaw, ..self }
    }

    /// No pass begins before the other has come to its end, or was cut off.
    pub(crate) fn one_at_a_time(self) -> Self {
        Self { at_once: 1, ..self }
    }

    fn can(&self, event: Event) -> bool {
        self.left.events > 0 && self.events.contains(&event)
    }

    pub(crate) fn phase(&self, status: Id) -> Option<Phase> {
        self.book.with_status(status, |status| status.phase)
    }

    pub(crate) fn has_ended(&self, status: Id) -> bool {
        self.phase(status).is_some_and(Phase::is_terminal)
    }

    /// Whether a rollback's hold keeps this request.
    pub(crate) fn is_held(&self, state: &State, request: usize) -> bool {
        let passes = request == 0 && self.setting.action == ROLLBACK_ACTION;
        let hold = |target: &DeployTargetStatus| target.hold.is_some();
        !passes && !state.outside.unheld && self.book.with_target(state.target, hold)
    }

    /// Whether an override of it counts.
    pub(crate) fn is_overridden(outside: &Outside, request: usize) -> bool {
        outside.overriding[request] && outside.may_override
    }

    /// Whether it stands behind something that an override passes.
    pub(crate) fn is_stopped(&self, state: &State, request: usize) -> bool {
        state.outside.freeze || state.outside.lock || self.is_held(state, request)
    }

    /// Whether it may start, said without anything of foredeck's.
    pub(crate) fn may_start(&self, state: &State, request: usize) -> bool {
        let approved = !self.setting.approval[request] || state.outside.approved;
        approved
            && (!self.is_stopped(state, request) || Self::is_overridden(&state.outside, request))
    }

    /// Whether the other request comes first: it is older, stands in line, and nothing else holds it.
    pub(crate) fn comes_after(&self, state: &State, request: usize) -> bool {
        request == 1
            && self.phase(state.statuses[0]) == Some(Phase::Queued)
            && self.may_start(state, 0)
    }

    fn sight(&self, state: &State, request: usize, unclear: bool) -> Sight {
        let uid = facts::uid(request);
        let looked_for = self.has_ended(state.statuses[request])
            || self.book.with_target(state.target, |target| {
                target::held_by(target, uid).is_some() || target::run_of(target, uid).is_some()
            });
        match state.gate[request].execution {
            _ if !looked_for => Sight::NotAsked,
            _ if unclear => Sight::Unclear,
            Execution::None => Sight::Absent(self.flaw == Flaw::SendsAgainAtOnce),
            Execution::Running => Sight::Running,
            Execution::Succeeded => Sight::Succeeded,
            Execution::Canceled => Sight::Canceled,
        }
    }

    /// One more "not found": whether they have been coming for the settle time, of this send.
    fn absent(&self, state: &mut State, controller: usize, request: usize) -> bool {
        let uid = facts::uid(request);
        let send = self.book.with_target(state.target, |target| {
            let active = target::held_by(target, uid)?;
            let sent_at = active.attempt.sent_at.as_ref()?;
            Some((active.sends, sent_at.0.as_second()))
        });
        let memory = &mut state.controllers[controller].absent[request];
        let Some((sends, sent_at)) = send else {
            *memory = None;
            return false;
        };
        let known = memory.filter(|known| (known.sends, known.sent_at) == (sends, sent_at));
        let since = known.map_or(state.clock, |known| known.since);
        *memory = Some(Absent {
            sends,
            sent_at,
            since,
        });
        state.clock > since
    }

    pub(crate) fn look(
        &self,
        state: &mut State,
        (controller, request): (usize, usize),
        lagging: bool,
        unclear: bool,
    ) {
        let outside = if lagging { state.before } else { state.outside };
        let mut sight = self.sight(state, request, unclear);
        if sight == Sight::Absent(false) {
            sight = Sight::Absent(self.absent(state, controller, request));
        } else {
            state.controllers[controller].absent[request] = None;
        }
        let lagged = State {
            outside,
            ..state.clone()
        };
        let question = Question {
            request,
            status: state.statuses[request],
            target: state.target,
            outside,
            ahead: self.comes_after(&lagged, request),
            sight,
            clock: state.clock,
        };
        let act = self.book.answer(question, || {
            facts::ask(&self.setting, self.flaw, &self.book, &question)
        });
        state.controllers[controller].doing = act.map(|act| Doing {
            request,
            act,
            told: match act {
                Act::MarkRequest(_) => self.word(&outside, request),
                _ => Outside::default(),
            },
            request_moved: outside.differs_for(&state.outside, request),
            target_moved: outside.differs_at_target(&state.outside),
            late: false,
        });
    }

    /// The target is another one: whoever else read it has lost the race.
    fn write_target(state: &mut State, by: usize, next: Id) {
        state.target = next;
        Self::target_moved(state, Some(by));
    }

    fn target_moved(state: &mut State, by: Option<usize>) {
        for (index, controller) in state.controllers.iter_mut().enumerate() {
            if let Some(doing) = controller.doing.as_mut().filter(|_| Some(index) != by) {
                doing.target_moved = true;
            }
        }
    }

    fn write_request(&self, state: &mut State, by: usize, request: usize, next: Id) {
        let before = self.phase(state.statuses[request]);
        if before.is_some_and(Phase::is_terminal) && before != self.phase(next) {
            state.broken.an_end_changed = true;
        }
        state.statuses[request] = next;
        Self::request_moved(state, Some(by), request);
    }

    fn request_moved(state: &mut State, by: Option<usize>, request: usize) {
        for (index, controller) in state.controllers.iter_mut().enumerate() {
            if let Some(doing) = controller.doing.as_mut().filter(|_| Some(index) != by)
                && doing.request == request
            {
                doing.request_moved = true;
            }
        }
    }

    /// One step of a pass: what it does, and the next, if there is one.
    pub(crate) fn step(&self, state: &mut State, controller: usize, answer: Answer) {
        let Some(doing) = state.controllers[controller].doing else {
            return;
        };
        let request = doing.request;
        let (open, stopped) = (
            self.may_start(state, request),
            self.is_stopped(state, request),
        );
        let (outside, clock, target) = (state.outside, state.clock, state.target);
        let mark = |act| {
            self.book
                .marked((request, outside, clock, target, act), || {
                    let of = (request, &outside, clock);
                    facts::marked(&self.setting, &self.book, of, (target, act))
                })
        };
        let next = match doing.act {
            Act::Record(next) => {
                if !doing.request_moved || self.flaw == Flaw::OverwritesEnds {
                    self.write_request(state, controller, request, next);
                }
                None
            }
            Act::Write(next) | Act::Forbid(next) => {
                if !doing.target_moved {
                    Self::write_target(state, controller, next);
                }
                let goes_on = matches!(doing.act, Act::Forbid(_)) && !doing.target_moved;
                goes_on.then_some(Act::CancelAtGate)
            }
            Act::CancelAtGate => {
                let execution = &mut state.gate[request].execution;
                if *execution == Execution::Running && answer == Answer::Done {
                    *execution = Execution::Canceled;
                }
                None
            }
            Act::MarkRequest(_) if doing.request_moved => None,
            Act::MarkRequest(next) => {
                self.write_request(state, controller, request, next);
                Some(if self.flaw == Flaw::SendsUnmarked {
                    Act::Check
                } else {
                    Act::MarkTarget
                })
            }
            Act::MarkTarget => {
                let marked = mark(doing.act).filter(|_| !doing.target_moved && !doing.late);
                marked.map(|next| {
                    Self::write_target(state, controller, next);
                    state.controllers[controller].absent[request] = None;
                    Act::Check
                })
            }
            Act::Check => Some(if self.passes(state, doing) && !doing.late {
                Act::Post { open }
            } else {
                Act::Unmark
            }),
            Act::Post { open } => {
                state.broken.sent_through_a_closed_gate |= !open;
                saw(
                    &self.book.seen.overridden,
                    stopped && answer == Answer::Done,
                );
                let sends = self.book.with_target(state.target, |target| {
                    target::held_by(target, facts::uid(request)).map_or(0, |active| active.sends)
                });
                let gate = &mut state.gate[request];
                match answer {
                    Answer::Done => {
                        gate.start();
                        saw(&self.book.seen.sent_again, sends > 1);
                        Some(Act::Adopt)
                    }
                    Answer::Lost => {
                        gate.flying += 1;
                        None
                    }
                    Answer::NotProcessed => Some(Act::Unmark),
                }
            }
            Act::Adopt | Act::Unmark => {
                if let Some(next) = mark(doing.act).filter(|_| !doing.target_moved) {
                    saw(&self.book.seen.taken_back, doing.act == Act::Unmark);
                    Self::write_target(state, controller, next);
                }
                None
            }
        };
        let doing = next.map(|act| {
            // Whoever wrote last has what is there; others may have come since.
            let now = state.controllers[controller].doing.unwrap_or(doing);
            Doing { act, ..now }
        });
        state.controllers[controller].doing = doing;
    }

    /// Whether everything is open, as the controller finds it when it reads all of it anew.
    fn passes(&self, state: &State, doing: Doing) -> bool {
        if self.flaw == Flaw::ReadsNothingAnew {
            return true;
        }
        // The request is as it was when it was marked: a cancel that came since ends what runs, an override passes nothing.
        let (request, told) = (doing.request, doing.told);
        let now = Outside {
            cancel: [false; REQUESTS],
            overriding: told.overriding,
            ..state.outside
        };
        let (target, clock) = (state.target, state.clock);
        self.book
            .is_open((request, [told, now], target, clock), || {
                let target = self.book.target(target);
                let of = |outside: &Outside| {
                    facts::gates(&self.setting, request, outside, &target, self.flaw)
                };
                let (told, gates) = (of(&told), of(&now));
                let request =
                    facts::request(&self.setting, request, &now, DeployRequestStatus::default());
                gates.are_open(&request, facts::moment(clock)) && gates.go_by_the_word_of(&told)
            })
    }

    /// By whose word a request was to start, of what stood outside: who said yes, who overrides, and what that passes.
    fn word(&self, outside: &Outside, request: usize) -> Outside {
        let mut overriding = [false; REQUESTS];
        overriding[request] = outside.overriding[request];
        let passes = Self::is_overridden(outside, request);
        Outside {
            freeze: passes && outside.freeze,
            lock: passes && outside.lock,
            unheld: !passes || outside.unheld,
            approved: self.setting.approval[request] && outside.approved,
            may_override: passes,
            overriding,
            cancel: [false; REQUESTS],
        }
    }

    fn after(&self, last: &State, happening: Happening) -> Option<State> {
        let mut state = last.clone();
        match happening {
            Happening::People(event) => {
                let next = state.outside.after(event)?;
                state.left.events -= 1;
                state.before = state.outside;
                state.outside = next;
                for request in 0..REQUESTS {
                    if next.differs_for(&state.before, request) {
                        Self::request_moved(&mut state, None, request);
                    }
                }
                if next.differs_at_target(&state.before) {
                    Self::target_moved(&mut state, None);
                }
            }
            Happening::Look {
                controller,
                request,
                lagging,
                unclear,
            } => {
                state.left.faults -= u8::from(unclear);
                self.look(&mut state, (controller, request), lagging, unclear);
            }
            Happening::Step(controller, answer) => {
                state.left.faults -= u8::from(answer != Answer::Done);
                self.step(&mut state, controller, answer);
            }
            Happening::Crash(controller) => {
                state.left.crashes -= 1;
                state.controllers[controller] = Controller::default();
            }
            Happening::Lands(request) => {
                state.gate[request].flying -= 1;
                state.gate[request].start();
            }
            Happening::IsLost(request) => state.gate[request].flying -= 1,
            Happening::Ends(request) => state.gate[request].execution = Execution::Succeeded,
            Happening::Tick => tick(&mut state),
        }
        // Which of the two is which makes no difference.
        state.controllers.sort_unstable();
        (state != *last).then_some(state)
    }
}

/// It happened, if it did.
fn saw(seen: &AtomicBool, now: bool) {
    if now {
        seen.store(true, Relaxed);
    }
}

/// The settle time passes. Whoever is in the middle of a pass has lost its claim by then.
pub(crate) fn tick(state: &mut State) {
    state.clock += 1;
    for doing in state
        .controllers
        .iter_mut()
        .filter_map(|one| one.doing.as_mut())
    {
        doing.late = true;
    }
}

impl crate::state::AtGate {
    fn start(&mut self) {
        self.launches += 1;
        self.execution = Execution::Running;
    }
}

impl Model for World {
    type State = State;
    type Action = Happening;

    fn init_states(&self) -> Vec<State> {
        let new = self.book.status_id(DeployRequestStatus::default());
        let target = DeployTargetStatus {
            initialized: Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
                facts::moment(0),
            )),
            ..DeployTargetStatus::default()
        };
        vec![State {
            outside: self.start,
            before: self.start,
            statuses: [new; REQUESTS],
            target: self.book.target_id(target),
            gate: Default::default(),
            clock: 0,
            controllers: Default::default(),
            left: self.left,
            broken: Broken::default(),
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Happening>) {
        if state.left.events > 0 {
            actions.extend(self.events.iter().copied().map(Happening::People));
        }
        let faulty = state.left.faults > 0;
        let mut about_to_post = false;
        let twins = state.controllers[0] == state.controllers[1];
        let under_way = state.controllers.iter().filter(|one| one.doing.is_some());
        let all_busy = under_way.count() >= self.at_once;
        for (index, controller) in state.controllers.iter().enumerate() {
            if twins && index > 0 {
                break;
            }
            match controller.doing {
                None if all_busy => {}
                None => {
                    for request in 0..REQUESTS {
                        for (lagging, unclear) in [(false, false), (true, false), (false, true)] {
                            let differs = state.before != state.outside;
                            if (!lagging || differs) && (!unclear || faulty) {
                                actions.push(Happening::Look {
                                    controller: index,
                                    request,
                                    lagging,
                                    unclear,
                                });
                            }
                        }
                    }
                }
                Some(doing) => {
                    actions.push(Happening::Step(index, Answer::Done));
                    match doing.act {
                        Act::Post { .. } => {
                            about_to_post = true;
                            if faulty {
                                actions.push(Happening::Step(index, Answer::Lost));
                                actions.push(Happening::Step(index, Answer::NotProcessed));
                            }
                        }
                        Act::CancelAtGate if faulty => {
                            actions.push(Happening::Step(index, Answer::Lost));
                        }
                        _ => {}
                    }
                }
            }
            if state.left.crashes > 0 && *controller != Controller::default() {
                actions.push(Happening::Crash(index));
            }
        }
        let mut flying = false;
        for (request, gate) in state.gate.iter().enumerate() {
            if gate.flying > 0 {
                flying = true;
                actions.extend([Happening::Lands(request), Happening::IsLost(request)]);
            }
            if gate.execution == Execution::Running {
                actions.push(Happening::Ends(request));
            }
        }
        // Gate does what it has, or never, within the settle time; and nobody is frozen for so long between the last look at
        // the claim and the POST: that is the gap which the architecture names.
        if state.clock < self.setting.end && !flying && !about_to_post {
            actions.push(Happening::Tick);
        }
    }

    fn next_state(&self, last: &State, happening: Happening) -> Option<State> {
        self.after(last, happening)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONCE, |_, state: &State| {
                state.gate.iter().all(|gate| gate.launches <= 1)
            }),
            Property::always("one execution at a time", |_, state: &State| {
                let runs = |gate: &&crate::state::AtGate| gate.execution == Execution::Running;
                state.gate.iter().filter(runs).count() <= 1
            }),
            Property::always(CLOSED, |_, state: &State| {
                !state.broken.sent_through_a_closed_gate
            }),
            Property::always(END, |_, state: &State| !state.broken.an_end_changed),
            Property::always(NAMED, |world: &Self, state: &State| {
                rest::is_reached(world, state)
            }),
            // Where nothing happens that could bring it about, it need not be.
            Property::sometimes("a mark is taken back", |world: &Self, _| {
                let wanted = world.left.events + world.left.faults > 0;
                !wanted || world.book.seen.taken_back.load(Relaxed)
            }),
            Property::sometimes("one succeeds", |world: &Self, state: &State| {
                let succeeded = |status: &Id| world.phase(*status) == Some(Phase::Succeeded);
                state.statuses.iter().any(succeeded)
            }),
            Property::sometimes("one expires", |world: &Self, state: &State| {
                let expired = |status: &Id| world.phase(*status) == Some(Phase::Expired);
                state.statuses.iter().any(expired)
            }),
            Property::sometimes("one that was lost is sent again", |world: &Self, _| {
                let wanted = world.left.faults > 0 && world.setting.end > 1;
                !wanted || world.book.seen.sent_again.load(Relaxed)
            }),
            Property::sometimes("one is cancelled", |world: &Self, state: &State| {
                let canceled = |status: &Id| world.phase(*status) == Some(Phase::Canceled);
                !world.can(Event::Cancel(0)) || state.statuses.iter().any(canceled)
            }),
            Property::sometimes("one passes by an override", |world: &Self, _| {
                !world.can(Event::Override(1)) || world.book.seen.overridden.load(Relaxed)
            }),
        ]
    }
}
