//! Makes a `DeployTarget` that is missing, or that lost its status, from what else is known: the requests that name it,
//! and the executions that carry our mark. Touches the API server and Gate (reads).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::future::try_join_all;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{ResourceExt, api::ObjectMeta};

use super::{
    connections::{Gate, refusal},
    context::Context,
    error::ControllerError,
    objects, sighting,
    survey::Surveyed,
};
use crate::{
    api::{
        DeployRequest, DeployTarget, SpinnakerConnection, bounds,
        conditions::Reason,
        deploy_request::{Attempt, Phase, Pinned, PipelineRef, WaitingFor},
        deploy_target::{Active, DeployTargetSpec, KeyRecord, Run, Seen},
    },
    domain::{
        connection::missing,
        decide::unreadable,
        gates::overridden_by,
        ids,
        outcome::{Ended, Mark, Observation, Outcome, of},
        refusal::Refusal,
        resolve,
        target::{self, Evidence},
        version,
    },
    runtime::crash,
    spinnaker::GateError,
};

/// How many of each pipeline's newest executions are looked through.
const EXECUTIONS: usize = 100;
/// How many pipelines are asked for at once, so that the query stays short.
const PIPELINES: usize = 20;

/// Where to look for what a target lost.
pub(super) struct Lost<'a> {
    pub namespace: &'a str,
    /// The connection that its executions ran through.
    pub connection: &'a str,
    /// Pipelines whose executions may carry its mark, beside those of its requests and of its Spinnaker application.
    pub pipelines: Vec<PipelineRef>,
}

/// Makes sure that the target exists and is initialised. The inner error says for what it has to wait.
pub(super) async fn prepare(
    context: &Context,
    wanted: DeployTargetSpec,
    lost: Lost<'_>,
) -> Result<Result<(), Refusal>, ControllerError> {
    let name = ids::target_name(&wanted.application, &wanted.environment, &wanted.place);
    let existing: Option<DeployTarget> =
        objects::read(&context.client, lost.namespace, &name).await?;
    let target = match existing {
        Some(target) => target,
        None => {
            // Of a connection that was made in the same second nobody could ever tell whether it is older than the target:
            // where that matters the target is made a second later.
            let now = Timestamp::from_second(Timestamp::now().as_second())
                .ok()
                .map(Time);
            let connections = &context.caches.connections;
            let meant = connections.may_have_meant(lost.namespace, lost.connection, now.as_ref());
            if let Err(refusal) = meant {
                return Ok(Err(unknown_past(refusal)));
            }
            let target = DeployTarget {
                metadata: ObjectMeta {
                    name: Some(name.clone()),
                    namespace: Some(lost.namespace.to_owned()),
                    ..ObjectMeta::default()
                },
                spec: wanted,
                status: None,
            };
            context.may_begin()?;
            crash::point("before-create-target");
            let created = objects::create(&context.client, lost.namespace, &name, &target).await?;
            crash::point("after-create-target");
            created.ok_or(ControllerError::Conflict {
                doing: "create a DeployTarget",
            })?
        }
    };
    // Filled by its spec, it would tell of another's past.
    if let Some(problem) = target::misnamed(&target) {
        return Ok(Err(unreadable(&problem)));
    }
    if target
        .status
        .as_ref()
        .is_some_and(|status| status.initialized.is_some())
    {
        return Ok(Ok(()));
    }
    let looking = evidence(context, &target, &lost);
    let evidence = match context.unless_stopping(looking).await?? {
        Ok(evidence) => evidence,
        Err(refusal) => return Ok(Err(unknown_past(refusal))),
    };
    let status = target::rebuilt(evidence, Timestamp::now());
    context.may_begin()?;
    crash::point("before-initialise");
    objects::write_status::<DeployTarget, _>(
        &context.client,
        &target,
        &status,
        "initialise a DeployTarget",
    )
    .await?;
    crash::point("after-initialise");
    Ok(Ok(()))
}

fn unknown_past(mut refusal: Refusal) -> Refusal {
    refusal.message = format!(
        "what ran on the target before has to be known first: {}",
        refusal.message
    );
    refusal
}

async fn evidence(
    context: &Context,
    target: &DeployTarget,
    lost: &Lost<'_>,
) -> Result<Result<Evidence, Refusal>, ControllerError> {
    let name = target.name_any();
    let fields = format!(
        "spec.application={},spec.environment={}",
        target.spec.application, target.spec.environment
    );
    let requests: Vec<DeployRequest> =
        objects::list(&context.client, lost.namespace, &fields).await?;
    let mut evidence = Evidence::default();
    let mut known = BTreeSet::new();
    let mut pipelines: Vec<PipelineRef> = lost.pipelines.clone();
    let mut sent = Vec::new();
    for request in &requests {
        let Some(status) = &request.status else {
            continue;
        };
        let Some(resolved) = status
            .resolved
            .as_ref()
            .filter(|resolved| resolved.deploy_target == name)
        else {
            continue;
        };
        pipelines.push(resolved.pipeline.clone());
        if let Some(active) =
            active_request(request).filter(|active| active.attempt.sent_at.is_some())
        {
            known.insert(active.uid.clone());
            sent.push(active.attempt.pinned.clone());
            match status.phase {
                Some(phase) if phase.is_terminal() => {
                    evidence.runs.push(ended_request(request, &active, phase));
                }
                _ => {
                    let ask = ids::ask_digest(&request.spec);
                    evidence.active.push((active, ask));
                }
            }
        }
    }
    let connections = match connections(context, target, lost, &sent) {
        Ok(connections) => connections,
        Err(refusal) => return Ok(Err(refusal)),
    };
    // What runs may be known to nobody but Spinnaker: its request may be gone, or have lost its status too.
    let mut applications: BTreeSet<&str> = pipelines
        .iter()
        .map(|pipeline| pipeline.application.as_str())
        .collect();
    let application = context
        .caches
        .applications
        .get(lost.namespace, &target.spec.application);
    applications.extend(application.as_ref().map(resolve::spinnaker_application));
    if applications.is_empty() {
        let named = &target.spec.application;
        if let Some(problem) = context.caches.applications.problem(lost.namespace, named) {
            return Ok(Err(resolve::unreadable("Application", named, &problem)));
        }
        let message = format!("there is no Application {named:?}.");
        return Ok(Err(Refusal::passing(
            WaitingFor::Configuration,
            Reason::ApplicationNotFound,
            message,
        )));
    }
    let mut shown: BTreeMap<String, (Gate, Observation)> = BTreeMap::new();
    for connection in connections {
        let gate = match context.connections.gate(&connection).await {
            Ok(gate) => gate,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let surveys = match surveys(&gate, &applications, &pipelines).await {
            Ok(surveys) => surveys,
            Err(error) => return Ok(Err(refusal(lost.connection, &error))),
        };
        for execution in surveys.iter().flat_map(|survey| &survey.executions) {
            // Another namespace may have a target of that name, and share the connection.
            let own = |mark: &Mark| {
                let elsewhere = |namespace| namespace != lost.namespace;
                mark.target == name && !mark.namespace.as_deref().is_some_and(elsewhere)
            };
            if let Some(mark) = sighting::mark(execution).filter(own) {
                let observation = sighting::observe(&gate, execution).await;
                shown.insert(mark.uid.clone(), (gate.clone(), observation));
            }
        }
    }
    for (uid, (gate, observation)) in shown {
        let Some(mark) = observation.mark.clone() else {
            continue;
        };
        let active = active_execution(&gate, lost.connection, &mark, &observation);
        match observation.ended {
            None => {
                let ask = bounds::cut(&mark.ask, bounds::DIGEST);
                evidence.active.push((active, ask));
            }
            Some(ended) if !known.contains(&uid) => {
                evidence
                    .runs
                    .push(ended_execution(&active, &mark, &observation, ended));
            }
            Some(_) => {}
        }
    }
    Ok(Ok(evidence))
}

/// Every connection that something of the target may have been sent through: what its name may have meant since there is
/// the target, whatever is shared with its namespace now, and what its requests were sent through.
fn connections(
    context: &Context,
    target: &DeployTarget,
    lost: &Lost<'_>,
    sent: &[Pinned],
) -> Result<Vec<SpinnakerConnection>, Refusal> {
    let connections = &context.caches.connections;
    let made = target.metadata.creation_timestamp.as_ref();
    let meant = connections.may_have_meant(lost.namespace, lost.connection, made)?;
    let sent: Vec<Option<SpinnakerConnection>> = sent
        .iter()
        .map(|pinned| connections.sent_through(lost.namespace, pinned))
        .collect::<Result<_, _>>()?;
    let mut all: Vec<SpinnakerConnection> = Vec::new();
    for connection in meant.into_iter().chain(sent.into_iter().flatten()) {
        if all.iter().all(|known| known.uid() != connection.uid()) {
            all.push(connection);
        }
    }
    if all.is_empty() {
        return Err(missing(lost.connection));
    }
    Ok(all)
}

/// What ran that may be this target's. The applications are surveyed for all targets at once that are made at one time; what
/// is one target's own is asked beside it, and only if they don't have it: else each of many new targets, of a pipeline each,
/// would ask for all pipelines of all.
async fn surveys(
    gate: &Gate,
    applications: &BTreeSet<&str>,
    pipelines: &[PipelineRef],
) -> Result<Vec<Arc<Surveyed>>, GateError> {
    let subject = format!("applications {applications:?}");
    let whole = async {
        let ids = pipelines_of(gate, applications).await?;
        executions(gate, ids).await
    };
    let mut all = vec![gate.surveys.begun_from_now(subject, whole).await?];
    // It may have moved to another application since, or be none any more.
    let elsewhere: BTreeSet<String> = pipelines
        .iter()
        .filter(|pipeline| !all[0].pipelines.contains(&pipeline.id))
        .map(|pipeline| pipeline.id.clone())
        .collect();
    if !elsewhere.is_empty() {
        let subject = format!("pipelines {elsewhere:?}");
        let own = executions(gate, elsewhere);
        all.push(gate.surveys.begun_from_now(subject, own).await?);
    }
    Ok(all)
}

async fn pipelines_of(
    gate: &Gate,
    applications: &BTreeSet<&str>,
) -> Result<BTreeSet<String>, GateError> {
    let mut ids = BTreeSet::new();
    for application in applications {
        match gate.client.pipelines(application).await {
            Ok(all) => ids.extend(all.into_iter().map(|config| config.id)),
            // An application that Spinnaker doesn't know has started nothing.
            Err(GateError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(ids)
}

/// Of each pipeline the newest, and whatever has not ended, however many ran since.
async fn executions(gate: &Gate, pipelines: BTreeSet<String>) -> Result<Surveyed, GateError> {
    let ids: Vec<&str> = pipelines.iter().map(String::as_str).collect();
    let newest = ids
        .chunks(1)
        .map(|id| gate.client.executions_of(id, EXECUTIONS));
    let mut executions = try_join_all(newest).await?.concat();
    // Last, so that what began in between is seen as well.
    let unfinished = ids
        .chunks(PIPELINES)
        .map(|ids| gate.client.unfinished_of(ids, EXECUTIONS));
    executions.extend(try_join_all(unfinished).await?.concat());
    Ok(Surveyed {
        pipelines,
        executions,
    })
}

/// A request that says of itself that it was sent, as its target would hold it.
fn active_request(request: &DeployRequest) -> Option<Active> {
    let status = request.status.as_ref()?;
    let resolved = status.resolved.as_ref()?;
    let attempt = status.attempt.clone()?;
    Some(Active {
        uid: request.uid()?,
        name: request.name_any(),
        key: status.idempotency_key.clone().unwrap_or_else(|| {
            ids::idempotency_key(
                &request.namespace().unwrap_or_default(),
                &request.name_any(),
                &request.spec,
            )
        }),
        digest: resolved.digest.clone(),
        action: request.spec.action.clone(),
        version: resolved.version.clone(),
        commit: resolved.commit.clone(),
        artifacts: resolved.artifacts.clone(),
        requester: request.spec.requester_name(),
        sends: 1,
        execution: status.execution.as_ref().map(|execution| Seen {
            id: execution.id.clone(),
            build_time: execution.build_time,
        }),
        cancel_requested_at: None,
        frozen: None,
        overridden_by: overridden_by(request),
        attempt,
    })
}

fn ended_request(request: &DeployRequest, active: &Active, phase: Phase) -> (Run, KeyRecord) {
    let status = request.status.clone().unwrap_or_default();
    let finished = status
        .finished_at
        .clone()
        .map_or_else(Timestamp::default, |time| time.0);
    let reason = crate::api::conditions::find(
        &status.conditions,
        crate::api::conditions::ConditionType::Succeeded,
    );
    let mut run = Outcome::new(
        phase,
        Reason::AlreadyRan,
        status.message.unwrap_or_default(),
    )
    .run(active, None, finished);
    if let Some(condition) = reason {
        run.reason = bounds::cut(&condition.reason, bounds::LABEL);
    }
    let key = key_record(active, &ids::ask_digest(&request.spec), &run);
    (run, key)
}

/// An execution that carries our mark, as its target would hold it.
pub(super) fn active_execution(
    gate: &Gate,
    connection: &str,
    mark: &Mark,
    observation: &Observation,
) -> Active {
    let execution = &observation.execution;
    let started = execution
        .build_time
        .and_then(bounds::date)
        .unwrap_or_default();
    let cut = |text: &str| bounds::cut(text, bounds::LABEL);
    Active {
        uid: cut(&mark.uid),
        name: bounds::cut(&mark.name, bounds::NAME),
        key: bounds::cut(&mark.key, bounds::KEY),
        digest: bounds::cut(&mark.digest, bounds::DIGEST),
        action: cut(&mark.action),
        version: mark
            .version
            .as_deref()
            .map(|version| bounds::cut(version, bounds::NAME)),
        commit: mark
            .commit
            .clone()
            .filter(|commit| version::is_commit(commit)),
        artifacts: Vec::new(),
        requester: None,
        attempt: Attempt {
            execution_id: bounds::cut(&execution.id, 26),
            correlation_id: String::new(),
            holder: String::new(),
            pinned: Pinned {
                connection: connection.to_owned(),
                connection_uid: gate.uid.clone(),
                gate_url: gate.url.clone(),
                trigger: gate.trigger,
                pipeline: PipelineRef {
                    application: bounds::cut(&observation.pipeline.application, bounds::NAME),
                    name: bounds::cut(&observation.pipeline.name, bounds::NAME),
                    id: bounds::cut(&observation.pipeline.id, bounds::NAME),
                },
                body_digest: String::new(),
            },
            claimed_at: Time(started),
            sent_at: Some(Time(started)),
        },
        sends: 1,
        execution: Some(Seen {
            id: execution.id.clone(),
            build_time: execution.build_time,
        }),
        cancel_requested_at: None,
        frozen: None,
        overridden_by: None,
    }
}

pub(super) fn ended_execution(
    active: &Active,
    mark: &Mark,
    observation: &Observation,
    ended: Ended,
) -> (Run, KeyRecord) {
    let finished = observation
        .execution
        .finished_at
        .clone()
        .map_or(observation.changed, |time| time.0);
    let run = of(active, observation, ended, None).run(active, Some(observation), finished);
    let key = key_record(active, &mark.ask, &run);
    (run, key)
}

fn key_record(active: &Active, ask: &str, run: &Run) -> KeyRecord {
    KeyRecord {
        key: active.key.clone(),
        digest: bounds::cut(ask, bounds::DIGEST),
        uid: active.uid.clone(),
        name: active.name.clone(),
        outcome: Some(run.phase),
        execution_id: run.execution_id.clone(),
        at: run.sent_at.clone(),
    }
}
