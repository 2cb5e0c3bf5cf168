//! Writes what was decided, and tells the story in events. Touches the API server.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Resource, ResourceExt,
    runtime::events::{Event, EventType, Recorder},
};

use super::{context::Context, dereference::about, error::ControllerError, objects};
use crate::{
    api::{
        DeployRequest,
        conditions::{self, ConditionType},
        deploy_request::{DeployRequestStatus, Phase},
    },
    domain::backoff,
    runtime::{
        crash, telemetry,
        traces::{self, Value},
    },
};

/// The API server's own bound on an event's text, in bytes.
const NOTE: usize = 1000;

/// Writes the status where it differs from what the request says now, and gives the request as it was written.
pub(super) async fn record(
    context: &Context,
    request: &DeployRequest,
    status: &DeployRequestStatus,
) -> Result<Option<DeployRequest>, ControllerError> {
    let known = request.status.as_ref();
    if known.is_some_and(|known| known == status) {
        return Ok(None);
    }
    crash::point("before-status");
    let mut span = None;
    if known.and_then(|known| known.phase) != status.phase {
        span = traces::step("status.write", request);
    }
    if let Some(span) = &mut span {
        let phase = status.phase.unwrap_or_default().word();
        span.say("foredeck.phase", Value::Word(phase));
    }
    let writing = objects::write_status(
        &context.client,
        request,
        status,
        "write a DeployRequest's status",
    );
    let written = writing.await;
    if let Some(span) = span {
        span.ended(written.as_ref().err().map(ControllerError::reason));
    }
    let written = match written {
        // Better a status without detail than none: whatever of it the schema refused came from outside.
        Err(ControllerError::Api { source, .. }) if matches!(&*source, kube::Error::Api(answer) if answer.code == 422) =>
        {
            tracing::error!(error = %source, "the API server refused a status; its minimum is written");
            objects::write_status(
                &context.client,
                request,
                &minimum(known, status),
                "write a DeployRequest's status",
            )
            .await?
        }
        other => other?,
    };
    crash::point("after-status");
    if written.is_some() {
        tell(context, request, known, status).await;
    }
    Ok(written)
}

/// What can't be refused: our own words, and what the API server had accepted before.
fn minimum(
    known: Option<&DeployRequestStatus>,
    status: &DeployRequestStatus,
) -> DeployRequestStatus {
    let known = known.cloned().unwrap_or_default();
    DeployRequestStatus {
        phase: status.phase,
        observed_generation: status.observed_generation,
        conditions: status.conditions.clone(),
        attempt: status.attempt.clone(),
        finished_at: status.finished_at.clone(),
        trace_id: status.trace_id.clone(),
        ..known
    }
}

/// One event when the phase changes, or what it waits for.
async fn tell(
    context: &Context,
    request: &DeployRequest,
    known: Option<&DeployRequestStatus>,
    status: &DeployRequestStatus,
) {
    let reason = |status: &DeployRequestStatus| {
        let kind = match status.phase {
            Some(phase) if phase.is_terminal() => ConditionType::Succeeded,
            _ => ConditionType::Reconciling,
        };
        conditions::find(&status.conditions, kind)
            .map(|condition| condition.reason.clone())
            .unwrap_or_default()
    };
    let (before, now) = (known.map(reason).unwrap_or_default(), reason(status));
    let rerun = |status: Option<&DeployRequestStatus>| {
        status
            .and_then(|status| status.execution.as_ref())
            .and_then(|execution| execution.rerun.clone())
    };
    let run_again = rerun(Some(status)).filter(|word| rerun(known).as_ref() != Some(word));
    if let Some(word) = run_again {
        let note =
            format!("its execution runs again after its end, and is {word}; the phase stays.");
        publish(context, request, true, "ExecutionRerun", &note).await;
    }
    if known.and_then(|known| known.phase) == status.phase && before == now {
        return;
    }
    let phase = status.phase.unwrap_or_default();
    let had_ended = known
        .and_then(|known| known.phase)
        .is_some_and(Phase::is_terminal);
    if phase.is_terminal() && !had_ended {
        context.metrics.ended(request, phase, now.clone());
        let took = request.creation_timestamp().map_or(0, |created| {
            telemetry::milliseconds(backoff::elapsed(created.0, Timestamp::now()))
        });
        tracing::info!(
            phase = phase.word(),
            reason = now,
            duration_ms = took,
            "the request has ended"
        );
        if let Some(mut span) = traces::whole(request) {
            span.say("foredeck.phase", Value::Word(phase.word()));
            span.ended((phase == Phase::Failed).then_some("Failed"));
        }
    }
    let bad = matches!(
        phase,
        Phase::Failed | Phase::Denied | Phase::Expired | Phase::Unknown
    );
    publish(
        context,
        request,
        bad,
        &now,
        status.message.as_deref().unwrap_or_default(),
    )
    .await;
}

/// An event about an object. One that can't be published is only logged.
pub(super) async fn publish<K: Resource<DynamicType = ()>>(
    context: &Context,
    object: &K,
    warning: bool,
    reason: &str,
    note: &str,
) {
    publish_by(&context.recorder, &about(object), warning, reason, note).await;
}

/// As [`publish`], for who has no context.
pub(super) async fn publish_by(
    recorder: &Recorder,
    about: &ObjectReference,
    warning: bool,
    reason: &str,
    note: &str,
) {
    let event = Event {
        type_: if warning {
            EventType::Warning
        } else {
            EventType::Normal
        },
        reason: if reason.is_empty() {
            "Changed".to_owned()
        } else {
            reason.to_owned()
        },
        note: Some(fitting(note)),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    if let Err(error) = recorder.publish(&event, about).await {
        tracing::debug!(error = %crate::runtime::telemetry::chain(&error), "an event could not be published");
    }
}

/// As much of a note as an event holds: what there is to do stands at its end.
pub(super) fn fitting(note: &str) -> String {
    if note.len() <= NOTE {
        return note.to_owned();
    }
    let room = NOTE - '…'.len_utf8();
    format!("{}…", &note[..note.floor_char_boundary(room)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_cut_only_where_the_api_server_would_refuse_it() {
        for (one, whole) in [("a", 1000), ("ü", 500), ("…", 333), ("🚢", 250)] {
            assert_eq!(fitting(&one.repeat(whole)), one.repeat(whole));
            let cut = fitting(&one.repeat(whole + 1));
            assert!(cut.len() <= NOTE && cut.len() > NOTE - 8, "{}", cut.len());
            assert!(cut.ends_with('…') && cut.starts_with(one));
        }
    }
}
