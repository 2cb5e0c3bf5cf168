//! One cell of the matrix: where the controller dies, beside what, and how its requests may end. Pure.

use std::time::Duration;

use foredeck::api::deploy_request::Phase;

use super::faults::{Class, Trouble};

/// How long executions take where nothing needs them longer.
const QUICK: Duration = Duration::from_millis(600);
/// Where they have to be seen running.
pub(super) const SEEN: Duration = Duration::from_millis(1_600);
/// Where only a cancel ends them.
pub(super) const ENDLESS: Duration = Duration::from_secs(45);

/// Where the first controller dies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kill {
    /// At a crash point, with `@N` the N-th time.
    At(&'static str),
    /// While Gate has its POST.
    WhilePosting,
}

/// When its successor comes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Restart {
    AtOnce,
    /// When everything at Gate has ended.
    Late,
}

/// What happens while no controller runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Disturbance {
    Cancel,
    Delete,
    WipeRequest,
    WipeTarget,
    WipeBoth,
    DeleteTarget,
    /// Its status is put back to when it was claimed, as by a snapshot that was restored.
    RewindTarget,
    DeleteAndWipe,
    MoveConnection,
    KillConnection,
    ChangeTrigger,
    GateDown,
    OrcaDown,
}

impl Disturbance {
    pub(super) const ALL: [Self; 13] = [
        Self::Cancel,
        Self::Delete,
        Self::WipeRequest,
        Self::WipeTarget,
        Self::WipeBoth,
        Self::DeleteTarget,
        Self::RewindTarget,
        Self::DeleteAndWipe,
        Self::MoveConnection,
        Self::KillConnection,
        Self::ChangeTrigger,
        Self::GateDown,
        Self::OrcaDown,
    ];

    /// Whether it is among what has to be borne at each point.
    pub(super) fn is_named(self) -> bool {
        matches!(
            self,
            Self::Cancel | Self::Delete | Self::WipeRequest | Self::MoveConnection
        )
    }

    fn deletes(self) -> bool {
        matches!(self, Self::Delete | Self::DeleteAndWipe)
    }
}

/// What is done to the first request before its controller dies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Story {
    Plain,
    CancelRunning,
    CancelUnknown,
    CancelClaimed,
    DeleteRunning,
    DeleteUnknown,
    DeleteClaimed,
}

impl Story {
    pub(super) fn cancels(self) -> bool {
        matches!(
            self,
            Self::CancelRunning | Self::CancelUnknown | Self::CancelClaimed
        )
    }

    pub(super) fn deletes(self) -> bool {
        matches!(
            self,
            Self::DeleteRunning | Self::DeleteUnknown | Self::DeleteClaimed
        )
    }
}

/// One cell of the matrix.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    pub(super) kill: Kill,
    pub(super) restart: Restart,
    pub(super) trouble: Option<&'static Trouble>,
    pub(super) disturbance: Option<Disturbance>,
    pub(super) story: Story,
    pub(super) v1: bool,
    /// A wipe when all is quiet, with the controller running or not.
    pub(super) epilogue: Option<(Disturbance, bool)>,
}

impl Cell {
    pub(super) fn new(kill: Kill) -> Self {
        Self {
            kill,
            restart: Restart::AtOnce,
            trouble: None,
            disturbance: None,
            story: Story::Plain,
            v1: false,
            epilogue: None,
        }
    }

    pub(super) fn at(point: &'static str) -> Self {
        Self::new(Kill::At(point))
    }

    pub(super) fn restarted(self, restart: Restart) -> Self {
        Self { restart, ..self }
    }

    pub(super) fn with(self, trouble: &'static Trouble) -> Self {
        Self {
            trouble: Some(trouble),
            ..self
        }
    }

    pub(super) fn disturbed(self, disturbance: Disturbance) -> Self {
        Self {
            disturbance: Some(disturbance),
            ..self
        }
    }

    pub(super) fn told(self, story: Story) -> Self {
        Self { story, ..self }
    }

    pub(super) fn by_v1(self) -> Self {
        Self { v1: true, ..self }
    }

    pub(super) fn after_the_end(self, wipe: Disturbance, running: bool) -> Self {
        Self {
            epilogue: Some((wipe, running)),
            ..self
        }
    }

    /// The crash point, without the pass.
    pub(super) fn point(&self) -> Option<&'static str> {
        match self.kill {
            Kill::At(point) => Some(point.split('@').next().unwrap_or(point)),
            Kill::WhilePosting => None,
        }
    }

    pub(super) fn name(&self) -> String {
        let kill = match self.kill {
            Kill::At(point) => point,
            Kill::WhilePosting => "while-posting",
        };
        let parts = [
            Some(format!("{kill} {:?}", self.restart)),
            self.v1.then(|| "v1".to_owned()),
            (self.story != Story::Plain).then(|| format!("{:?}", self.story)),
            self.trouble
                .map(|trouble| format!("fault:{}", trouble.name)),
            self.disturbance
                .map(|disturbance| format!("{disturbance:?}")),
            self.epilogue.map(|(wipe, running)| {
                let running = if running { "running" } else { "down" };
                format!("then:{wipe:?}:{running}")
            }),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        parts.join(" ")
    }

    pub(super) fn work(&self) -> Duration {
        match (self.story, self.kill) {
            (Story::CancelRunning | Story::CancelUnknown, _) => ENDLESS,
            (Story::DeleteRunning, _) => SEEN,
            _ if self.disturbance.is_some() => SEEN,
            (_, Kill::At(point)) if point.ends_with("status@2") => SEEN,
            _ => QUICK,
        }
    }

    pub(super) fn is_deleted(&self) -> bool {
        self.story.deletes() || self.disturbance.is_some_and(Disturbance::deletes)
    }

    fn is_cancelled(&self) -> bool {
        self.story.cancels() || self.disturbance == Some(Disturbance::Cancel)
    }

    /// The phases in which a request may end here.
    pub(super) fn may_end(&self, first: bool, cancelled: bool) -> Vec<Phase> {
        let mut phases = vec![Phase::Succeeded];
        if first && (self.is_cancelled() || cancelled) {
            phases.push(Phase::Canceled);
        }
        if self
            .trouble
            .is_some_and(|trouble| trouble.class == Class::Refused)
        {
            phases.push(Phase::Failed);
        }
        phases
    }
}
