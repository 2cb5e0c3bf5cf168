//! From what Gate answers to what decisions are made on. Touches Gate.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    absences::Search,
    connections::{Gate, refusal},
    context::Context,
};
use crate::{
    api::{
        bounds,
        conditions::Reason,
        connection::TriggerMode,
        deploy_request::{Attempt, PipelineRef, WaitingFor},
        deploy_target::Active,
    },
    domain::{
        decide::Sighting,
        judgment::{JudgmentStage, Moment, ShownAnswer},
        outcome::{Ended, Mark, Observation},
        refusal::Refusal,
    },
    spinnaker::{self, Execution, Lookup, Status},
};

/// How many of a pipeline's executions are looked through for a correlation id.
const V1_PAGES: [usize; 3] = [50, 200, 1000];

/// How closely to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// By a call of its own: a start hangs on the answer.
    Alone,
    /// Together with many others.
    Batched,
}

/// What Spinnaker shows under an attempt's ids.
pub(super) async fn attempt(
    gate: &Gate,
    attempt: &Attempt,
    known: Option<&str>,
    look: Look,
) -> Lookup {
    match (known, attempt.pinned.trigger) {
        (Some(id), _) => execution(gate, id, look).await,
        (None, TriggerMode::Start) => execution(gate, &attempt.execution_id, look).await,
        (None, TriggerMode::V1) => correlated(gate, attempt).await,
    }
}

/// What Spinnaker shows under an execution's id.
pub(super) async fn execution(gate: &Gate, id: &str, look: Look) -> Lookup {
    match look {
        Look::Alone => gate.client.execution(id).await,
        Look::Batched => gate.poller.look(id).await,
    }
}

/// The execution of our correlation id, among the pipeline's newest. "Not found" only when the list reaches back to
/// before the attempt was claimed.
async fn correlated(gate: &Gate, attempt: &Attempt) -> Lookup {
    for limit in V1_PAGES {
        let executions = match gate
            .client
            .executions_of(&[&attempt.pinned.pipeline.id], limit)
            .await
        {
            Ok(executions) => executions,
            Err(error) => return Lookup::Unclear(error),
        };
        let count = executions.len();
        let oldest = executions
            .iter()
            .filter_map(|execution| execution.build_time)
            .min();
        if let Some(ours) = executions
            .into_iter()
            .find(|execution| execution.correlation_id() == Some(&attempt.correlation_id))
        {
            return Lookup::Found(Box::new(ours));
        }
        let claimed = attempt.claimed_at.0.as_millisecond();
        // An hour for clocks that disagree.
        let reaches_back = oldest.is_some_and(|oldest| oldest < claimed - 3_600_000);
        if count < limit || reaches_back {
            return Lookup::Absent;
        }
    }
    Lookup::Unclear(spinnaker::GateError::Unclear {
        status: None,
        detail: "too many executions since the attempt to find ours among them".to_owned(),
    })
}

/// An answer as a sighting; clean "not found" answers are counted while everything else that it takes answers too.
pub(super) async fn sighting(
    context: &Context,
    gate: &Gate,
    active: &Active,
    lookup: Lookup,
    path_answers: bool,
) -> Sighting {
    let uid = active.uid.as_str();
    match lookup {
        Lookup::Found(execution) => {
            context.absences.over(uid);
            Sighting::Seen(Box::new(observe(gate, &execution).await))
        }
        Lookup::Absent if path_answers => {
            let search = Search {
                gate_url: gate.url.clone(),
                sent_at: active.attempt.sent_at.as_ref().map(|sent| sent.0),
                sends: active.sends,
            };
            Sighting::Absent(context.absences.another(uid, search))
        }
        Lookup::Absent => {
            context.absences.over(uid);
            Sighting::Unclear(Refusal::passing(
                WaitingFor::Spinnaker,
                Reason::SpinnakerUnclear,
                "Gate does not show it, but what stands behind Gate does not answer either.",
            ))
        }
        Lookup::Unclear(error) => {
            context.absences.over(uid);
            Sighting::Unclear(refusal(&active.attempt.pinned.connection, &error))
        }
    }
}

/// An execution as decisions see it; of a failed one the reason is looked for, in child pipelines too.
pub(super) async fn observe(gate: &Gate, execution: &Execution) -> Observation {
    let ended = ended(execution);
    let mut summary = execution.summary(gate.deck_url.as_deref());
    if matches!(
        ended,
        Some(Ended::Failed | Ended::SucceededWithFailedStages)
    ) {
        // Batched answers come without the stages' contexts, where the reason stands.
        let whole = match gate.client.execution(&execution.id).await {
            Lookup::Found(whole) => whole,
            Lookup::Absent | Lookup::Unclear(_) => Box::new(execution.clone()),
        };
        summary.failure = Some(gate.client.failure(&whole).await);
    }
    let stage = match (&summary.failure, ended) {
        (Some(failure), Some(Ended::Failed)) => failure.stage.clone(),
        (_, None) => {
            let names: Vec<&str> = execution
                .current_stages()
                .into_iter()
                .map(spinnaker::Stage::label)
                .collect();
            (!names.is_empty()).then(|| bounds::cut(&names.join(", "), bounds::NAME))
        }
        _ => None,
    };
    let now = Timestamp::now();
    let milliseconds = |time: Option<i64>| time.and_then(bounds::date);
    let worked = milliseconds(execution.start_time).map_or(Duration::ZERO, |started| {
        let end = if ended.is_some() {
            milliseconds(execution.end_time).unwrap_or(now)
        } else {
            now
        };
        crate::domain::backoff::elapsed(started, end)
            .saturating_sub(execution.held_time(now.as_millisecond()))
    });
    let changed = execution
        .stages
        .iter()
        .flat_map(|stage| [stage.start_time, stage.end_time])
        .chain([execution.build_time, execution.start_time])
        .flatten()
        .max();
    Observation {
        pipeline: PipelineRef {
            application: execution.application.clone(),
            name: execution.name.clone().unwrap_or_default(),
            id: execution.pipeline_config_id.clone().unwrap_or_default(),
        },
        mark: mark(execution),
        ended,
        cancellation: cancellation(execution),
        looks_started_twice: execution.looks_started_twice(),
        judgments: execution.judgments().into_iter().map(judgment).collect(),
        stage,
        worked,
        changed: milliseconds(changed).unwrap_or(now),
        execution: summary,
    }
}

/// A judgment stage as decisions see it.
fn judgment(stage: spinnaker::JudgmentStage) -> JudgmentStage {
    JudgmentStage {
        judgment: stage.judgment,
        moment: match stage.moment {
            spinnaker::Moment::Ahead => Moment::Ahead,
            spinnaker::Moment::Unread => Moment::Unread,
            spinnaker::Moment::Opening => Moment::Opening,
            spinnaker::Moment::Waiting => Moment::Waiting,
            spinnaker::Moment::Answered => Moment::Answered,
            spinnaker::Moment::Over => Moment::Over,
        },
        shown: stage.given.map(|given| ShownAnswer {
            decision: given.decision,
            input: given.input,
            by: given.by,
            approval: given.approval,
        }),
        restarted_at: stage.restarted_at.and_then(bounds::date),
    }
}

/// Our mark, if the trigger carries one that decodes.
pub(super) fn mark(execution: &Execution) -> Option<Mark> {
    serde_json::from_value(execution.trigger.get("foredeck")?.clone()).ok()
}

fn ended(execution: &Execution) -> Option<Ended> {
    if !execution.status.is_complete() {
        return None;
    }
    Some(match &execution.status {
        Status::Succeeded
            if execution
                .top_level()
                .any(|stage| stage.status == Status::FailedContinue) =>
        {
            Ended::SucceededWithFailedStages
        }
        Status::Succeeded => Ended::Succeeded,
        Status::Canceled => Ended::Canceled,
        _ => Ended::Failed,
    })
}

fn cancellation(execution: &Execution) -> Option<String> {
    let by = execution.canceled_by.as_deref();
    let why = execution
        .cancellation_reason
        .as_deref()
        .map(spinnaker::clean);
    match (by, why) {
        (None, None) => None,
        (Some(by), None) => Some(format!("by {by}")),
        (None, Some(why)) => Some(why),
        (Some(by), Some(why)) => Some(format!("by {by}: {why}")),
    }
}
