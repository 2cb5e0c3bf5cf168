//! What is seen: everything that a decision is made of. Touches nothing.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    api::{
        connection::OnUnknown,
        deploy_request::{Attempt, Resolved},
        deploy_target::DeployTargetStatus,
        environment::Concurrency,
        version::Changes,
    },
    domain::{gates::Gates, judgment::JudgmentFacts, outcome::Observation, refusal::Refusal},
};

/// What was gathered for one run.
#[derive(Debug, Clone)]
pub struct Facts {
    /// What exactly would run, or why that can't be said.
    pub plan: Result<Plan, Refusal>,
    /// How long the request may wait for its start.
    pub expire_after: Duration,
    /// What stands before its start. Looked at where something may start; whether a cancel counts, and whether a freeze
    /// cancels what runs, always.
    pub gates: Gates,
    /// What to do when a start's outcome can't be known.
    pub on_unknown: OnUnknown,
    /// How long Gate has to answer "not found" before it is sent again.
    pub settle: Duration,
    /// Its target.
    pub target: TargetFact,
    /// The target's name, once anybody can say.
    pub target_name: Option<String>,
    /// The request that comes before it in the target's queue: none that its time, order, a freeze or a lock holds.
    pub ahead: Option<String>,
    /// A request that came after it and takes its place where only the newest counts: see
    /// [`Guards::supersedes`](crate::domain::guards::Guards::supersedes).
    pub newer: Option<String>,
    /// Whether an execution that had ended on this target runs again: its id and Spinnaker's word.
    pub rerun: Option<String>,
    /// What Spinnaker shows under its ids.
    pub sighting: Sighting,
    /// What people answered where its execution waits for a judgment.
    pub judgments: JudgmentFacts,
    /// What the last effect of this pass met.
    pub trouble: Option<Refusal>,
    /// The object was deleted; only its target remembers it.
    pub gone: bool,
    /// A person's order to let the target go.
    pub release_order: Option<String>,
    /// A channel that it names and in which nothing is told.
    pub unlisted: Option<String>,
}

/// What exactly would run, and how.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What.
    pub resolved: Resolved,
    /// What changes on the target, where a repository says.
    pub changes: Option<Box<Changes>>,
    /// Its commit, or that it goes without one, was only just found, and stands nowhere yet.
    pub found: bool,
    /// What happens to requests whose target is taken.
    pub concurrency: Concurrency,
    /// How it would be started now; left out while it is not its turn.
    pub start: Option<Start>,
}

/// How it would be started now.
#[derive(Clone)]
pub struct Start {
    /// The attempt as it would be claimed.
    pub attempt: Attempt,
    /// The bytes that are sent; `attempt.pinned.body_digest` is theirs.
    pub body: Arc<[u8]>,
}

/// The bytes hold what is secret.
impl fmt::Debug for Start {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Start")
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Start {
    fn eq(&self, other: &Self) -> bool {
        self.attempt == other.attempt
    }
}

/// The request's target.
#[derive(Debug, Clone)]
pub enum TargetFact {
    /// Nobody can say yet which it is.
    Unresolved,
    /// It doesn't exist, or has no status: it has to be made from what is known.
    Unprepared,
    /// It doesn't decode, or isn't what its name says.
    Unreadable(String),
    /// As it stands.
    Ready(Box<DeployTargetStatus>),
}

/// What Spinnaker shows.
#[derive(Debug, Clone)]
pub enum Sighting {
    /// It wasn't asked.
    NotAsked,
    /// The execution.
    Seen(Box<Observation>),
    /// Clean "not found" answers, for so long, while everything behind Gate answered.
    Absent(Duration),
    /// Anything else: it says nothing.
    Unclear(Refusal),
}
