//! What a repository is to be told of a request: which deployment, in which state, in which words. Touches nothing.
//!
//! Only fixed sentences and names are told: what Spinnaker or a person said may hold what strangers are not to read, and a
//! repository can be public.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use crate::{
    api::{
        DeployRequest, DeployTarget,
        bounds::cut,
        conditions::{self, ConditionType, Reason},
        deploy_request::{Phase, Place},
        deploy_target::{Active, Run},
    },
    domain::{commits, ids},
    git::{Announcement, State, Told},
};

/// The longest sentence that GitHub takes, in characters.
const SENTENCE: usize = 140;
/// The longest name of an environment that GitHub takes, in characters.
const ENVIRONMENT: usize = 255;

/// What is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Of which deployment.
    pub announcement: Announcement,
    /// How it goes.
    pub told: Told,
}

/// All that matters here of a request, whether it still exists or its target alone remembers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Case {
    /// The request's uid.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its application.
    pub application: String,
    /// Its environment.
    pub environment: String,
    /// Where it goes.
    pub place: Place,
    /// The `DeployTarget`.
    pub deploy_target: String,
    /// The action.
    pub action: String,
    /// The version.
    pub version: Option<String>,
    /// The commit.
    pub commit: String,
    /// Where it stands.
    pub phase: Phase,
    /// The fixed reason beside its end, or why it waits in line for somebody to mend something.
    pub reason: String,
    /// Whether anything was told of it, or may have been.
    pub begun: bool,
    /// Whether it was sent to Spinnaker.
    pub sent: bool,
    /// Whether Spinnaker showed an execution.
    pub executed: bool,
    /// Where people see it run.
    pub url: Option<String>,
    /// When it ended.
    pub finished_at: Option<Time>,
}

impl Case {
    /// Of a request; none of one without a commit, and of one that starts nothing.
    pub(super) fn of(request: &DeployRequest) -> Option<Self> {
        let status = request.status.as_ref()?;
        let resolved = status.resolved.as_ref()?;
        if request.spec.dry_run {
            return None;
        }
        let git = status.git.as_deref();
        let phase = status.phase.unwrap_or_default();
        let beside = if phase == Phase::Queued {
            ConditionType::Stalled
        } else {
            ConditionType::Succeeded
        };
        let beside = conditions::find(&status.conditions, beside);
        Some(Self {
            uid: request.uid()?,
            name: request.name_any(),
            namespace: request.namespace().unwrap_or_default(),
            application: request.spec.application.clone(),
            environment: request.spec.environment.clone(),
            place: resolved.target.clone(),
            deploy_target: resolved.deploy_target.clone(),
            action: request.spec.action.clone(),
            version: resolved.version.clone(),
            commit: resolved.commit.clone()?,
            phase,
            reason: beside
                .map(|condition| condition.reason.clone())
                .unwrap_or_default(),
            begun: git.is_some_and(|git| git.deployment.is_some() || git.telling_since.is_some()),
            sent: status
                .attempt
                .as_ref()
                .is_some_and(|attempt| attempt.sent_at.is_some()),
            executed: status.execution.is_some(),
            url: status
                .execution
                .as_ref()
                .and_then(|execution| execution.url.clone()),
            finished_at: status.finished_at.clone(),
        })
    }

    /// Of what its target is held by.
    pub(super) fn of_active(target: &DeployTarget, active: &Active) -> Option<Self> {
        Some(Self {
            uid: active.uid.clone(),
            name: active.name.clone(),
            namespace: target.namespace().unwrap_or_default(),
            application: target.spec.application.clone(),
            environment: target.spec.environment.clone(),
            place: target.spec.place.clone(),
            deploy_target: target.name_any(),
            action: active.action.clone(),
            version: active.version.clone(),
            commit: active.commit.clone()?,
            phase: Phase::Running,
            reason: String::new(),
            begun: true,
            sent: active.attempt.sent_at.is_some(),
            executed: active.execution.is_some(),
            url: None,
            finished_at: None,
        })
    }

    /// Of a run that its target remembers.
    pub(super) fn of_run(target: &DeployTarget, run: &Run) -> Option<Self> {
        Some(Self {
            uid: run.uid.clone(),
            name: run.name.clone(),
            namespace: target.namespace().unwrap_or_default(),
            application: target.spec.application.clone(),
            environment: target.spec.environment.clone(),
            place: target.spec.place.clone(),
            deploy_target: target.name_any(),
            action: run.action.clone(),
            version: run.version.clone(),
            commit: run.commit.clone()?,
            phase: run.phase,
            reason: run.reason.clone(),
            begun: true,
            sent: true,
            executed: run.execution_id.is_some(),
            url: None,
            finished_at: Some(run.finished_at.clone()),
        })
    }

    /// What is to be told, where the environment usually means the place `usual`.
    pub(super) fn wanted(&self, usual: Option<&Place>) -> Option<Wanted> {
        let state = self.state()?;
        let environment = self.environment_name(usual);
        Some(Wanted {
            announcement: Announcement {
                commit: self.commit.clone(),
                action: self.action.clone(),
                description: self.sentence(""),
                uid: self.uid.clone(),
                environment,
            },
            told: Told {
                state,
                description: self.sentence(self.how(state)),
                log_url: self
                    .url
                    .as_deref()
                    .filter(|url| is_shown(url))
                    .map(str::to_owned),
            },
        })
    }

    /// GitHub's state. What was never accepted and approved is never told; what was told comes to an end.
    fn state(&self) -> Option<State> {
        let known = self.begun || self.sent;
        match self.phase {
            // Nothing is told before whoever asked may and others said yes: a deployment that is made starts the workflows that
            // stand in its commit.
            Phase::Pending | Phase::AwaitingApproval => self.begun.then_some(State::Queued),
            // Whether it is approved wasn't asked yet.
            Phase::Queued if self.reason == Reason::TargetUnreadable.to_string() => {
                self.begun.then_some(State::Queued)
            }
            Phase::Queued | Phase::Starting => Some(State::Queued),
            // Whether it runs can't be known *yet*: it still holds its target, and GitHub takes `error` for an end.
            Phase::Running | Phase::Unknown => Some(State::InProgress),
            // A copy of what ran before ends as that did, and is told of nobody.
            Phase::Succeeded => known.then_some(State::Success),
            Phase::Failed if self.is_unknown() => known.then_some(State::Error),
            Phase::Failed => known.then_some(State::Failure),
            // Part of it may have happened.
            Phase::Canceled if self.executed => known.then_some(State::Failure),
            Phase::Canceled => known.then_some(State::Inactive),
            Phase::Denied | Phase::Expired => self.begun.then_some(State::Inactive),
        }
    }

    /// Whether it ended without anybody knowing how it went.
    fn is_unknown(&self) -> bool {
        [
            Reason::Released,
            Reason::ExecutionLost,
            Reason::StartUnknown,
        ]
        .iter()
        .any(|reason| self.reason == reason.to_string())
    }

    fn how(&self, state: State) -> &'static str {
        match (state, self.phase) {
            (_, Phase::AwaitingApproval) => ": waits for approval",
            (_, Phase::Starting) => ": is being started",
            (_, Phase::Unknown) => ": whether it runs isn't known yet",
            (_, Phase::Denied) => ": was denied, nothing was started",
            (_, Phase::Expired) => ": waited too long, nothing was started",
            (State::Queued, _) => ": waits for its turn",
            (State::InProgress, _) => ": runs",
            (State::Success, _) => ": succeeded",
            (State::Failure, Phase::Canceled) => ": was cancelled while it ran",
            (State::Failure, _) if !self.sent => ": could not be started",
            (State::Failure, _) => ": failed",
            (State::Error, _) => ": how it went can't be known",
            (State::Inactive, _) => ": was cancelled, nothing was started",
        }
    }

    /// One sentence, whose end is never cut away.
    fn sentence(&self, how: &str) -> String {
        let clean = |text: &str| commits::plain(text, SENTENCE);
        let place = clean(&self.environment);
        let what = match &self.version {
            Some(version) => format!("{} of {} to {place}", clean(&self.action), clean(version)),
            None => format!("{} to {place}", clean(&self.action)),
        };
        let room = SENTENCE - how.chars().count() - 1;
        format!("{}{how}.", cut(&what, room))
    }

    /// The team, the application and the environment: of those that share a repository none overwrites another's. What goes
    /// elsewhere than its environment says has its place in the name too.
    fn environment_name(&self, usual: Option<&Place>) -> String {
        let mut name = format!(
            "{}/{}/{}",
            self.namespace, self.application, self.environment
        );
        if usual.is_some_and(|usual| *usual != self.place) {
            name = format!("{name}/{}/{}", self.place.account, self.place.namespace);
        }
        if name.chars().count() <= ENVIRONMENT {
            return name;
        }
        let digest = ids::sha256(name.as_bytes());
        let kept: String = name.chars().take(ENVIRONMENT - 13).collect();
        format!("{kept}-{}", &digest[..12])
    }
}

/// Whether the state that a repository was told is one that nothing follows.
pub(super) fn is_final(word: &str) -> bool {
    [
        State::Success,
        State::Failure,
        State::Error,
        State::Inactive,
    ]
    .iter()
    .any(|state| state.word() == word)
}

/// Whether GitHub may show it: encrypted, and without a login in it.
fn is_shown(url: &str) -> bool {
    url.strip_prefix("https://").is_some_and(|rest| {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        !host.is_empty() && !host.contains('@')
    })
}

#[cfg(test)]
#[path = "wanted_tests.rs"]
mod tests;
