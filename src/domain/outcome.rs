//! What Spinnaker shows of an execution, and what that means for its request. Touches nothing.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::judgment::JudgmentStage;
use crate::api::{
    bounds,
    conditions::Reason,
    deploy_request::{ExecutionStatus, Phase, PipelineRef},
    deploy_target::{Active, Run},
};

/// The mark that our trigger carries (`trigger.foredeck`), by which we know our own.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Mark {
    /// The request's uid.
    pub uid: String,
    /// The digest of what it runs.
    pub digest: String,
    /// The `DeployTarget`'s name.
    pub target: String,
    /// Its namespace: two that share a connection may have targets of one name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The request's name.
    #[serde(default)]
    pub name: String,
    /// The request's idempotency key.
    #[serde(default)]
    pub key: String,
    /// The digest of what it asks for.
    #[serde(default)]
    pub ask: String,
    /// The action.
    #[serde(default)]
    pub action: String,
    /// The version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The commit that it stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// An execution as Spinnaker shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// For the request's status.
    pub execution: ExecutionStatus,
    /// Where it belongs, in Gate's own words.
    pub pipeline: PipelineRef,
    /// Our mark, if it carries one.
    pub mark: Option<Mark>,
    /// How it ended, if it did. Only Spinnaker's status word says so, never `canceled`.
    pub ended: Option<Ended>,
    /// Who cancelled it and why, as far as Spinnaker knows.
    pub cancellation: Option<String>,
    /// Its remains look like two starts of one id.
    pub looks_started_twice: bool,
    /// Its manual judgment stages, in the pipeline's order.
    pub judgments: Vec<JudgmentStage>,
    /// The stages that run, or the one that failed.
    pub stage: Option<String>,
    /// How long it has run, without the time that it waited for a judgment or was paused.
    pub worked: Duration,
    /// When it last changed.
    pub changed: Timestamp,
}

/// How an execution ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// SUCCEEDED.
    Succeeded,
    /// SUCCEEDED, with stages that failed and were told not to matter.
    SucceededWithFailedStages,
    /// TERMINAL, or any other word for an end.
    Failed,
    /// CANCELED.
    Canceled,
}

/// How a request ended, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The terminal phase.
    pub phase: Phase,
    /// The fixed word.
    pub reason: Reason,
    /// One sentence.
    pub message: String,
}

impl Outcome {
    /// An outcome.
    pub fn new(phase: Phase, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            phase,
            reason,
            message: message.into(),
        }
    }

    /// The history's entry for the active request.
    pub fn run(self, active: &Active, seen: Option<&Observation>, now: Timestamp) -> Run {
        let execution = seen.map(|observation| &observation.execution);
        Run {
            uid: active.uid.clone(),
            name: active.name.clone(),
            action: active.action.clone(),
            version: active.version.clone(),
            commit: active.commit.clone(),
            artifacts: active.artifacts.clone(),
            requester: active.requester.clone(),
            execution_id: execution
                .map(|execution| execution.id.clone())
                .or_else(|| active.execution.as_ref().map(|seen| seen.id.clone())),
            build_time: execution
                .and_then(|execution| execution.build_time)
                .or_else(|| active.execution.as_ref().and_then(|seen| seen.build_time)),
            connection: active.attempt.pinned.connection.clone(),
            pipeline: Some(active.attempt.pinned.pipeline.clone()),
            phase: self.phase,
            reason: self.reason.to_string(),
            message: Some(bounds::cut(&self.message, bounds::MESSAGE)),
            sent_at: active.attempt.sent_at.clone().unwrap_or(Time(now)),
            finished_at: Time(now),
        }
    }
}

/// Whether this is the execution that the active request started: same application, same pipeline, our mark.
pub fn is_ours(active: &Active, observation: &Observation) -> bool {
    let pinned = &active.attempt.pinned.pipeline;
    observation
        .pipeline
        .application
        .eq_ignore_ascii_case(&pinned.application)
        && observation.pipeline.id == pinned.id
        && observation
            .mark
            .as_ref()
            .is_some_and(|mark| mark.uid == active.uid && mark.digest == active.digest)
}

/// Whether the id was started again since it was first seen.
pub fn started_again(first: Option<i64>, observation: &Observation) -> bool {
    matches!((first, observation.execution.build_time), (Some(first), Some(now)) if first != now)
}

/// What the end of an execution means. `canceled_for` says why we asked for it, if we did.
pub fn of(
    active: &Active,
    observation: &Observation,
    ended: Ended,
    canceled_for: Option<Outcome>,
) -> Outcome {
    let first = active.execution.as_ref().and_then(|seen| seen.build_time);
    if started_again(first, observation) || observation.looks_started_twice {
        return Outcome::new(
            Phase::Failed,
            Reason::StartedTwice,
            format!(
                "Spinnaker was made to start execution {} twice: what it shows is not one run. Look at what runs there before asking again.",
                observation.execution.id
            ),
        );
    }
    let failure = observation.execution.failure.as_ref();
    match ended {
        Ended::Succeeded => Outcome::new(
            Phase::Succeeded,
            Reason::Succeeded,
            "the execution succeeded.",
        ),
        Ended::SucceededWithFailedStages => Outcome::new(
            Phase::Succeeded,
            Reason::SucceededWithFailedStages,
            format!(
                "the execution succeeded, with failed stages{}.",
                failure
                    .and_then(|failure| failure.stage.as_deref())
                    .map(|stage| format!(": {stage}"))
                    .unwrap_or_default()
            ),
        ),
        Ended::Canceled => canceled_for.unwrap_or_else(|| {
            let by = observation
                .cancellation
                .as_deref()
                .unwrap_or("Spinnaker does not say by whom");
            Outcome::new(
                Phase::Canceled,
                Reason::ExecutionCanceled,
                format!("the execution was cancelled in Spinnaker: {by}."),
            )
        }),
        Ended::Failed => {
            let message = match failure {
                Some(failure) => match &failure.stage {
                    Some(stage) => format!("stage {stage:?} failed: {}", failure.message),
                    None => failure.message.clone(),
                },
                None => format!("the execution ended as {}.", observation.execution.status),
            };
            Outcome::new(Phase::Failed, Reason::ExecutionFailed, message)
        }
    }
}
