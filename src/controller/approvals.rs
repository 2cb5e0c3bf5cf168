//! What is said of an approval: whether it counts, and why not. And whom approvals and people wake. Touches the API server.
//!
//! Whether an approval to a start counts is found by its request's pass, which needs it anyway; what has no request any
//! more, or one that no longer asks, has a reconcile of its own.

use std::sync::Arc;

use jiff::Timestamp;
use kube::{Resource, ResourceExt, runtime::controller::Action};

use super::{context::Context, error::ControllerError, objects, record};
use crate::{
    api::{
        DeployApproval, DeployRequest, Person,
        actor::Actor,
        conditions::{self, ConditionType, Reason},
        deploy_approval::ApprovalSubject,
        deploy_request::Phase,
    },
    domain::{approvals::Verdict, judgment, people::People},
    runtime::{
        cache::{Guarded, named, reference},
        telemetry,
    },
};

/// Writes what a request's pass found of its approvals. What can't be written stops nothing, and is found again by the
/// next pass.
pub(super) async fn say_all(context: &Context, verdicts: &[(DeployApproval, Verdict)]) {
    for (approval, verdict) in verdicts {
        if let Err(error) = say(context, approval, verdict).await {
            let namespace = approval.namespace();
            tracing::warn!(approval.name = %approval.name_any(), approval.namespace = namespace, error = %telemetry::chain(&error), "can't say of an approval whether it counts");
        }
    }
}

/// Writes what is to be said of an approval, where it says anything else.
async fn say(
    context: &Context,
    approval: &DeployApproval,
    verdict: &Verdict,
) -> Result<(), ControllerError> {
    let generation = approval.metadata.generation;
    let mut status = approval.status.clone().unwrap_or_default();
    status.observed_generation = generation;
    conditions::set(
        &mut status.conditions,
        ConditionType::Counts,
        verdict.counts,
        verdict.reason,
        &verdict.message,
        generation,
        Timestamp::now(),
    );
    let written = objects::write_status(
        &context.client,
        approval,
        &status,
        "write a DeployApproval's status",
    );
    match written.await {
        // Changed or revoked meanwhile: whatever it is now wakes its request.
        Err(ControllerError::Conflict { .. }) => Ok(()),
        other => other.map(drop),
    }
}

/// One pass over an approval: says that it counts for nothing, where no request's pass will say anything.
pub(super) async fn reconcile(
    object: Arc<Guarded<DeployApproval>>,
    context: Arc<Context>,
) -> Result<Action, ControllerError> {
    let approval = match &object.0 {
        Ok(approval) => approval,
        Err(invalid) => {
            let note = format!(
                "this object can't be read and counts for nothing: {}",
                invalid.error
            );
            record::publish(&context, &*object, true, "Invalid", &note).await;
            return Ok(Action::await_change());
        }
    };
    if approval.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let said = approval.status.as_ref().is_some_and(|status| {
        conditions::find(&status.conditions, ConditionType::Counts).is_some()
    });
    let wanted = &approval.spec.request;
    let namespace = approval.namespace().unwrap_or_default();
    let known = context.caches.requests.get(&namespace, &wanted.name);
    let request = match known.filter(|request| request.uid().as_deref() == Some(&wanted.uid)) {
        Some(request) => Some(request),
        // The cache may be behind: ask.
        None => objects::read::<DeployRequest>(&context.client, &namespace, &wanted.name)
            .await?
            .filter(|request| request.uid().as_deref() == Some(&wanted.uid)),
    };
    let gone = |message| Verdict {
        name: approval.name_any(),
        counts: Some(false),
        reason: Reason::RequestGone,
        message,
    };
    let name = &wanted.name;
    let verdict = match request {
        None => gone(format!(
            "there is no request {name:?} of that uid any more."
        )),
        // It stays what it was when it mattered.
        Some(_) if said => return Ok(Action::await_change()),
        Some(request) if approval.spec.subject == ApprovalSubject::Start && is_past(&request) => {
            if counted(&request, approval) {
                // Whoever started it died before this was said.
                Verdict {
                    counts: Some(true),
                    reason: Reason::Counts,
                    ..gone("it was among those that let it start.".to_owned())
                }
            } else {
                gone(format!(
                    "{name:?} had started or ended before this was given; it changes nothing."
                ))
            }
        }
        Some(request)
            if approval.spec.subject == ApprovalSubject::Judgment && has_ended(&request) =>
        {
            match judgment::too_late(&[], approval) {
                Some(verdict) => verdict,
                None => return Ok(Action::await_change()),
            }
        }
        Some(_) => return Ok(Action::await_change()),
    };
    say(&context, approval, &verdict).await?;
    Ok(Action::await_change())
}

fn has_ended(request: &DeployRequest) -> bool {
    let phase = request.status.as_ref().and_then(|status| status.phase);
    phase.is_some_and(Phase::is_terminal)
}

/// Whether nothing that is said of its start matters any more.
fn is_past(request: &DeployRequest) -> bool {
    let status = request.status.as_ref();
    status.is_some_and(|status| {
        status.phase.is_some_and(Phase::is_terminal) || status.execution.is_some()
    })
}

/// Whether it is among those that let the request start.
fn counted(request: &DeployRequest, approval: &DeployApproval) -> bool {
    let approvals = request
        .status
        .as_ref()
        .and_then(|status| status.approvals.as_ref());
    approvals.is_some_and(|approvals| {
        let mut given = approvals.given.iter();
        given.any(|given| given.name == approval.name_any())
    })
}

// === Who is woken by what ===

/// An approval changed or went: itself, and its request.
pub(super) fn approval_changed(context: &Context, object: &Guarded<DeployApproval>) {
    drop(context.wake_approval.send(reference(object)));
    let Ok(approval) = &object.0 else { return };
    let namespace = approval.namespace().unwrap_or_default();
    drop(
        context
            .wake_request
            .send(named(&namespace, &approval.spec.request.name)),
    );
}

/// A request is gone: what was said of it counts for nothing.
pub(super) fn request_gone(context: &Context, request: &DeployRequest) {
    let uid = request.uid().unwrap_or_default();
    let namespace = request.namespace();
    let own = context
        .caches
        .approvals
        .filter(|approval| approval.spec.request.uid == uid && approval.namespace() == namespace);
    for approval in own {
        drop(context.wake_approval.send(reference(&*approval)));
    }
}

/// A person changed or went: the waiting requests that they made, approved or want cancelled.
pub(super) fn person_changed(context: &Context, object: &Guarded<Person>) {
    context.caches.persons.changed();
    let Ok(person) = &object.0 else { return };
    let alone = [Arc::new(person.clone())];
    let person = People::new(&context.caches.persons.namespace, alone);
    let is_of = |actor: &Actor| {
        let account = actor.slack.as_ref();
        person.of_username(&actor.username).next().is_some()
            || account.is_some_and(|account| person.of_slack(account).is_some())
    };
    let approved = context
        .caches
        .approvals
        .filter(|approval| approval.spec.approver.as_ref().is_some_and(is_of));
    let approved: Vec<&str> = approved
        .iter()
        .filter_map(|approval| approval.0.as_ref().ok())
        .map(|approval| approval.spec.request.uid.as_str())
        .collect();
    let waiting = context.caches.requests.filter(|request| {
        let phase = request.status.as_ref().and_then(|status| status.phase);
        let cancel = request.spec.cancel.as_ref();
        let actors = [
            request.spec.requester.as_ref(),
            cancel.and_then(|cancel| cancel.by.as_ref()),
        ];
        let concerned = actors.into_iter().flatten().any(is_of);
        !phase.is_some_and(Phase::is_terminal)
            && (concerned
                || request
                    .meta()
                    .uid
                    .as_deref()
                    .is_some_and(|uid| approved.contains(&uid)))
    });
    for request in waiting {
        drop(context.wake_request.send(reference(&*request)));
    }
}
