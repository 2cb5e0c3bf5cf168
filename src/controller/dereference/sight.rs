//! What Spinnaker shows of the request's execution, and of the one that ran on its target before. Touches Gate (reads).

use jiff::Timestamp;
use kube::ResourceExt;

use super::{Gathered, judgments};
use crate::{
    api::{
        DeployRequest,
        conditions::Reason,
        deploy_request::{Phase, Pinned, WaitingFor},
        deploy_target::{Active, DeployTargetStatus},
    },
    controller::{
        connections::{Gate, refusal},
        context::Context,
        sighting::{self, Look},
    },
    domain::{
        Facts, backoff,
        connection::missing,
        decide::{Sighting, WATCH_FINISHED},
        refusal::Refusal,
        target::run_of,
    },
    spinnaker::Lookup,
};

/// The request holds its target: what does Spinnaker show under its ids?
pub(super) async fn held(
    context: &Context,
    request: &DeployRequest,
    namespace: &str,
    active: &Active,
    gathered: &mut Gathered,
) {
    let sent = active.attempt.sent_at.is_some();
    if !sent && gathered.facts.plan.is_err() {
        return;
    }
    let uid = request.uid().unwrap_or_default();
    let pinned = &active.attempt.pinned;
    let gate = match pinned_gate(context, namespace, pinned, gathered).await {
        Ok(gate) => gate.of(request),
        Err(refusal) => {
            context.absences.over(&uid);
            gathered.facts.sighting = Sighting::Unclear(refusal);
            return;
        }
    };
    gathered.facts.settle = gate.settle;
    gathered.facts.on_unknown = gate.on_unknown;
    let known = active.execution.as_ref();
    let look = if known.is_some_and(|seen| seen.build_time.is_some()) {
        Look::Batched
    } else {
        Look::Alone
    };
    if !matches!(gathered.facts.sighting, Sighting::NotAsked) {
        // It was looked at a moment ago, in this pass.
        gathered.gate = Some(gate);
        return;
    }
    let lookup = sighting::attempt(
        &gate,
        &active.attempt,
        known.map(|seen| seen.id.as_str()),
        look,
    )
    .await;
    let lookup = match lookup {
        Lookup::Found(execution) if judgments::have_to_be_read(context, request, &execution) => {
            sighting::execution(&gate, &execution.id, Look::Alone).await
        }
        other => other,
    };
    if let Lookup::Unclear(error) = &lookup
        && error.refuses_login()
        && let Ok(Some(connection)) = context.caches.connections.sent_through(namespace, pinned)
    {
        context.connections.distrust(&connection);
    }
    gathered.facts.sighting = if sent
        && gate.url != pinned.gate_url
        && !matches!(lookup, Lookup::Found(_))
    {
        context.absences.over(&uid);
        Sighting::Unclear(Refusal::passing(
            WaitingFor::Person,
            Reason::ConnectionChanged,
            format!(
                "SpinnakerConnection {:?} pointed to another Gate when this was sent. Nothing is sent again; point it back, or look there for execution {} and release the DeployTarget.",
                pinned.connection, active.attempt.execution_id
            ),
        ))
    } else {
        // Before the first sighting a "not found" counts only while the whole path answers.
        let path_answers = known.is_some()
            || gathered.facts.gone
            || (request.spec.cancel.is_some() && gathered.facts.gates.cancel_counts())
            || !passing_trouble(&gathered.facts);
        sighting::sighting(context, &gate, active, lookup, path_answers).await
    };
    gathered.gate = Some(gate);
}

fn passing_trouble(facts: &Facts) -> bool {
    matches!(&facts.plan, Err(refusal) if refusal.waiting_for == Some(WaitingFor::Spinnaker))
}

async fn pinned_gate(
    context: &Context,
    namespace: &str,
    pinned: &Pinned,
    gathered: &Gathered,
) -> Result<Gate, Refusal> {
    // It may have been read a moment ago, while the caches know an older version.
    let named = gathered
        .named
        .connection
        .as_ref()
        .filter(|connection| connection.uid().as_ref() == Some(&pinned.connection_uid));
    let connection = match named {
        Some(connection) => connection.clone(),
        None => context
            .caches
            .connections
            .sent_through(namespace, pinned)?
            .ok_or_else(|| missing(&pinned.connection))?,
    };
    context.connections.gate(&connection).await
}

/// An execution that ended is watched for a while, since somebody may restart it.
pub(super) async fn finished(
    context: &Context,
    request: &DeployRequest,
    status: Option<&DeployTargetStatus>,
    namespace: &str,
    uid: &str,
) -> Sighting {
    let own = request.status.as_ref();
    let run = status.and_then(|status| run_of(status, uid));
    let execution = own
        .and_then(|own| own.execution.as_ref())
        .map(|execution| execution.id.clone());
    // One that was sent, cancelled and never seen may still appear.
    let unseen = own
        .filter(|own| own.phase == Some(Phase::Canceled))
        .and_then(|own| own.attempt.as_ref())
        .filter(|attempt| attempt.sent_at.is_some())
        .map(|attempt| attempt.execution_id.clone());
    let known = execution.or_else(|| run.and_then(|run| run.execution_id.clone()));
    let Some(id) = known.or(unseen) else {
        return Sighting::NotAsked;
    };
    let finished = own
        .and_then(|own| own.finished_at.as_ref())
        .map(|time| time.0);
    let runs_again = own
        .and_then(|own| own.execution.as_ref())
        .and_then(|execution| execution.rerun.as_deref())
        == Some("RUNNING");
    if finished
        .is_some_and(|finished| backoff::elapsed(finished, Timestamp::now()) > WATCH_FINISHED)
        && !runs_again
    {
        return Sighting::NotAsked;
    }
    let connections = &context.caches.connections;
    let name = own
        .and_then(|own| own.resolved.as_ref())
        .map(|resolved| &resolved.connection)
        .or_else(|| run.map(|run| &run.connection));
    let attempt = own.and_then(|own| own.attempt.as_ref());
    let connection = match (attempt, name) {
        (Some(attempt), _) => connections.sent_through(namespace, &attempt.pinned),
        (None, Some(name)) => connections.known(namespace, name).await,
        (None, None) => Ok(None),
    };
    let Ok(Some(connection)) = connection else {
        return Sighting::NotAsked;
    };
    match context.connections.gate(&connection).await {
        Ok(gate) => match sighting::execution(&gate, &id, Look::Batched).await {
            Lookup::Found(execution) => {
                let gate = gate.of(request);
                Sighting::Seen(Box::new(sighting::observe(&gate, &execution).await))
            }
            Lookup::Absent | Lookup::Unclear(_) => Sighting::NotAsked,
        },
        Err(_) => Sighting::NotAsked,
    }
}

/// Whether the execution that ran here last was restarted by somebody.
pub(super) async fn rerun(status: &DeployTargetStatus, gathered: &mut Gathered) {
    let Some(gate) = &gathered.gate else { return };
    let connection = gathered
        .named
        .environment
        .as_ref()
        .map(|environment| environment.spec.connection.as_str());
    let last = status
        .history
        .first()
        .filter(|run| Some(run.connection.as_str()) == connection);
    let Some((run, id)) = last.and_then(|run| run.execution_id.as_ref().map(|id| (run, id))) else {
        return;
    };
    match sighting::execution(gate, id, Look::Batched).await {
        Lookup::Found(execution) if !execution.status.is_complete() => {
            gathered.facts.rerun = Some(format!("execution {id} of {:?}", run.name));
        }
        Lookup::Found(_) | Lookup::Absent => {}
        Lookup::Unclear(error) => gathered.facts.trouble = Some(refusal(&run.connection, &error)),
    }
}
