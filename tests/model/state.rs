//! What one state of the model is: small and finite, so that each is met once. Pure.

/// How many requests there are, for the one target.
pub(crate) const REQUESTS: usize = 2;

/// A status that stands in the [`Book`](crate::book::Book).
pub(crate) type Id = u16;

/// What people do from outside, as it stands.
#[expect(clippy::struct_excessive_bools, reason = "each is somebody's switch")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Outside {
    /// A `DeployFreeze` holds everything.
    pub freeze: bool,
    /// `DeployTarget.spec.lock`.
    pub lock: bool,
    /// `DeployTarget.spec.unhold`, of the rollback.
    pub unheld: bool,
    /// Somebody said yes to the requests that want it.
    pub approved: bool,
    /// Whoever overrides has the verb for it.
    pub may_override: bool,
    /// `spec.override` of each request.
    pub overriding: [bool; REQUESTS],
    /// `spec.cancel` of each.
    pub cancel: [bool; REQUESTS],
}

/// One thing that people do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Event {
    Freeze,
    Lock,
    Unhold,
    Approve,
    MayOverride,
    Override(usize),
    Cancel(usize),
}

impl Outside {
    /// As it stands after that; `None` where that is no change or can't be done.
    pub(crate) fn after(self, event: Event) -> Option<Self> {
        let mut next = self;
        match event {
            Event::Freeze => next.freeze = !self.freeze,
            Event::Lock => next.lock = !self.lock,
            Event::Unhold => next.unheld = true,
            Event::Approve => next.approved = !self.approved,
            Event::MayOverride => next.may_override = !self.may_override,
            Event::Override(request) => next.overriding[request] = true,
            Event::Cancel(request) => next.cancel[request] = true,
        }
        (next != self).then_some(next)
    }

    /// Whether the request's object is another one since.
    pub(crate) fn differs_for(&self, other: &Self, request: usize) -> bool {
        self.overriding[request] != other.overriding[request]
            || self.cancel[request] != other.cancel[request]
    }

    /// Whether the target's object is.
    pub(crate) fn differs_at_target(&self, other: &Self) -> bool {
        (self.lock, self.unheld) != (other.lock, other.unheld)
    }
}

/// What Spinnaker has of one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Execution {
    #[default]
    None,
    Running,
    Succeeded,
    Canceled,
}

/// Spinnaker, for one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct AtGate {
    /// POSTs whose answer is lost, and which Gate may still do.
    pub flying: u8,
    pub execution: Execution,
    /// How often it was started.
    pub launches: u8,
}

/// Since when a controller has been told "not found", of which send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Absent {
    pub sends: u32,
    pub sent_at: i64,
    pub since: u8,
}

/// The next step of a pass. Each is one call to the API server or to Gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Act {
    /// The request's status.
    Record(Id),
    /// The target's.
    Write(Id),
    /// The target's, and then a cancel at Gate.
    Forbid(Id),
    CancelAtGate,
    MarkRequest(Id),
    MarkTarget,
    /// Everything that may forbid the start is read anew.
    Check,
    /// Whether everything was open when it was read.
    Post {
        open: bool,
    },
    /// Gate said that it has it.
    Adopt,
    /// Nothing was sent.
    Unmark,
}

/// A pass between two steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Doing {
    pub request: usize,
    pub act: Act,
    /// What it goes by, where it is to start: as it was told with the mark.
    pub told: Outside,
    /// Somebody else wrote the request since this pass read it.
    pub request_moved: bool,
    /// Somebody else wrote the target.
    pub target_moved: bool,
    /// The settle time has passed since: its claim is over.
    pub late: bool,
}

/// A controller: what it does, and what it has in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Controller {
    pub doing: Option<Doing>,
    pub absent: [Option<Absent>; REQUESTS],
}

/// How much may still happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Left {
    /// Things that people do.
    pub events: u8,
    /// Crashes.
    pub crashes: u8,
    /// Faults of Gate.
    pub faults: u8,
}

/// What must never happen, once it did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Broken {
    /// It was sent although something was closed when that was read for the last time.
    pub sent_through_a_closed_gate: bool,
    /// A phase that had ended changed.
    pub an_end_changed: bool,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub outside: Outside,
    /// As it stood before the last event: what caches may still say.
    pub before: Outside,
    pub statuses: [Id; REQUESTS],
    pub target: Id,
    pub gate: [AtGate; REQUESTS],
    /// In settle times.
    pub clock: u8,
    pub controllers: [Controller; 2],
    pub left: Left,
    pub broken: Broken,
}
