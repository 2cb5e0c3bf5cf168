//! Gathers the facts of one run: what the request names, its target, its place in the queue, what Spinnaker shows.
//! Touches the API server (reads) and Gate (reads).

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Api, Resource, ResourceExt};

use super::{
    body::{self, Contents},
    connections::{Gate, refusal},
    context::Context,
    error::ControllerError,
    objects::{self, within},
    sighting::{self, Look},
    watch::{Guarded, named},
};
use crate::{
    api::{
        Application, DeployRequest, DeployTarget, Environment, SpinnakerConnection,
        conditions::Reason,
        deploy_request::{Phase, WaitingFor},
        deploy_target::{Active, DeployTargetStatus},
    },
    domain::{
        Facts, backoff,
        decide::{Plan, SHORTEST_SETTLE, Sighting, TargetFact, WATCH_FINISHED},
        ids,
        outcome::Mark,
        resolve::{self, Configuration, Pipeline, Refusal, missing},
        sharing::{self, Reach},
        target,
    },
    spinnaker::{GateError, Lookup, PipelineConfig},
};

/// What one pass carries from run to run.
#[derive(Default)]
pub(super) struct Memo {
    /// Read the request and its target from the API server, not from the caches.
    pub fresh: bool,
    /// The object was deleted: only this target remembers it.
    pub gone_from: Option<String>,
    /// What the last effect met.
    pub trouble: Option<Refusal>,
    /// What Spinnaker showed when the end was written to the target.
    pub last_sighting: Option<Sighting>,
    /// Configuration that was read again, newer than the caches.
    pub configuration: Option<Named>,
    /// This pass wrote the `seen` annotation: nothing can be known of the request elsewhere.
    pub first_sight: bool,
}

/// What a request names, as far as it exists.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Named {
    pub application: Option<Application>,
    pub environment: Option<Environment>,
    pub connection: Option<SpinnakerConnection>,
}

impl Named {
    /// Uid and generation of each: as long as they are the same, so is what was decided on them.
    pub(super) fn version(&self) -> [Option<(Option<String>, Option<i64>)>; 3] {
        fn of<K: Resource>(object: Option<&K>) -> Option<(Option<String>, Option<i64>)> {
            object
                .filter(|object| object.meta().deletion_timestamp.is_none())
                .map(|object| (object.uid(), object.meta().generation))
        }
        [
            of(self.application.as_ref()),
            of(self.environment.as_ref()),
            of(self.connection.as_ref()),
        ]
    }

    /// As the API server has it now.
    pub(super) async fn read(
        context: &Context,
        request: &DeployRequest,
    ) -> Result<Self, ControllerError> {
        let namespace = request.namespace().unwrap_or_default();
        let (application, environment) = tokio::join!(
            objects::read::<Application>(&context.client, &namespace, &request.spec.application),
            objects::read::<Environment>(&context.client, &namespace, &request.spec.environment),
        );
        let (application, environment) = (application?, environment?);
        let connection = match &environment {
            Some(environment) => {
                objects::read(&context.client, &namespace, &environment.spec.connection).await?
            }
            None => None,
        };
        Ok(Self {
            application,
            environment,
            connection,
        })
    }

    fn cached(context: &Context, request: &DeployRequest) -> Self {
        let namespace = request.namespace().unwrap_or_default();
        let environment = context
            .caches
            .environments
            .get(&namespace, &request.spec.environment);
        Self {
            application: context
                .caches
                .applications
                .get(&namespace, &request.spec.application),
            connection: environment.as_ref().and_then(|environment| {
                context
                    .caches
                    .connections
                    .get(&namespace, &environment.spec.connection)
            }),
            environment,
        }
    }
}

/// The facts, and what acting on them takes.
pub(super) struct Gathered {
    pub facts: Facts,
    /// The target as it was read, for guarded writes.
    pub target: Option<DeployTarget>,
    /// Its name, as soon as anybody can say.
    pub target_name: Option<String>,
    pub gate: Option<Gate>,
    pub named: Named,
}

/// Gathers.
pub(super) async fn gather(
    context: &Context,
    request: &DeployRequest,
    memo: &Memo,
) -> Result<Gathered, ControllerError> {
    let uid = request.uid().unwrap_or_default();
    let namespace = request.namespace().unwrap_or_default();
    let named = memo
        .configuration
        .clone()
        .unwrap_or_else(|| Named::cached(context, request));
    let phase = request
        .status
        .as_ref()
        .and_then(|status| status.phase)
        .unwrap_or_default();
    let place = match &named.environment {
        Some(environment) => resolve::place(request, environment),
        None => Err(missing_environment(request)),
    };
    let (target_name, fact, target) =
        find_target(context, request, memo, place.as_ref().ok()).await?;
    let status = match &fact {
        TargetFact::Ready(status) => Some(&**status),
        _ => None,
    };
    let active = status
        .and_then(|status| target::held_by(status, &uid))
        .cloned();
    let mut gathered = Gathered {
        facts: Facts {
            plan: Err(Refusal::passing(
                WaitingFor::Configuration,
                Reason::Accepted,
                "it was not looked at",
            )),
            expire_after: expire_after(named.environment.as_ref()),
            on_unknown: named
                .connection
                .as_ref()
                .map(|connection| connection.spec.on_unknown)
                .unwrap_or_default(),
            settle: named.connection.as_ref().map_or(
                SHORTEST_SETTLE.max(context.connections.minimum_settle()),
                |connection| context.connections.settle(connection),
            ),
            target: fact.clone(),
            ahead: None,
            newer: None,
            rerun: None,
            sighting: memo.last_sighting.clone().unwrap_or(Sighting::NotAsked),
            trouble: memo.trouble.clone(),
            gone: memo.gone_from.is_some(),
            release_order: release_order(target.as_ref(), &uid),
        },
        target,
        target_name,
        gate: None,
        named,
    };
    let ended_here = status.is_some_and(|status| target::run_of(status, &uid).is_some());
    if phase.is_terminal() || ended_here {
        if memo.last_sighting.is_none() {
            gathered.facts.sighting =
                finished_execution(context, request, status, &namespace, &uid).await;
        }
        return Ok(gathered);
    }
    let following = active
        .as_ref()
        .is_some_and(|active| active.execution.is_some());
    let canceled = request.spec.cancel.is_some() && active.is_none();
    if !following && !canceled && !gathered.facts.gone {
        let planned = plan(context, request, &gathered.named, place, status).await;
        match planned {
            Ok((plan, gate)) => {
                gathered.facts.plan = Ok(plan);
                gathered.gate = Some(gate);
            }
            Err(refusal) => gathered.facts.plan = Err(refusal),
        }
    }
    match (&active, status) {
        (Some(active), _) => hold(context, request, &namespace, active, &mut gathered).await,
        (None, Some(status)) if gathered.facts.plan.is_ok() => {
            queue(context, request, &mut gathered);
            if status.active.is_none() && gathered.facts.ahead.is_none() {
                rerun(status, &mut gathered).await;
            }
        }
        _ => {}
    }
    Ok(gathered)
}

fn expire_after(environment: Option<&Environment>) -> Duration {
    environment
        .and_then(|environment| environment.spec.protection.expire_after)
        .map_or(resolve::DEFAULT_EXPIRY, Duration::from)
}

fn release_order(target: Option<&DeployTarget>, uid: &str) -> Option<String> {
    let order = target?.spec.release.as_ref()?;
    (order.request_uid == uid).then(|| order.reason.clone())
}

// === The target ===

async fn find_target(
    context: &Context,
    request: &DeployRequest,
    memo: &Memo,
    place: Option<&crate::api::deploy_request::Place>,
) -> Result<(Option<String>, TargetFact, Option<DeployTarget>), ControllerError> {
    let uid = request.uid().unwrap_or_default();
    let namespace = request.namespace().unwrap_or_default();
    let status = request.status.as_ref();
    let sent = status
        .and_then(|status| status.attempt.as_ref())
        .is_some_and(|attempt| attempt.sent_at.is_some());
    let recorded = memo.gone_from.clone().or_else(|| {
        status
            .and_then(|status| status.resolved.as_ref())
            .map(|resolved| resolved.deploy_target.clone())
    });
    let mut looked = None;
    if let Some(name) = &recorded {
        let (fact, target) = read_target(context, &namespace, name, memo.fresh).await?;
        let known = matches!(&fact, TargetFact::Ready(status) if knows(status, &uid));
        let lost = matches!(fact, TargetFact::Unprepared | TargetFact::Unreadable(_)) && sent;
        if known || lost || memo.gone_from.is_some() || place.is_none() {
            return Ok((recorded, fact, target));
        }
        looked = Some((name.clone(), fact, target));
    } else if status.is_none()
        && memo.fresh
        && !memo.first_sight
        && request
            .annotations()
            .contains_key(crate::api::SEEN_ANNOTATION)
    {
        // It was met before and says nothing of itself: its target may know more, wherever it is.
        let fields = format!(
            "spec.application={},spec.environment={}",
            request.spec.application, request.spec.environment
        );
        let targets: Vec<DeployTarget> =
            objects::list(&context.client, &namespace, &fields).await?;
        if let Some(target) = targets.into_iter().find(|target| {
            target
                .status
                .as_ref()
                .is_some_and(|status| knows(status, &uid))
        }) {
            return Ok((Some(target.name_any()), fact_of(&target), Some(target)));
        }
    }
    let Some(place) = place else {
        return Ok((None, TargetFact::Unresolved, None));
    };
    let name = ids::target_name(&request.spec.application, &request.spec.environment, place);
    match looked {
        Some((looked, fact, target)) if looked == name => Ok((Some(name), fact, target)),
        _ => {
            let (fact, target) = read_target(context, &namespace, &name, memo.fresh).await?;
            Ok((Some(name), fact, target))
        }
    }
}

fn knows(status: &DeployTargetStatus, uid: &str) -> bool {
    target::held_by(status, uid).is_some()
        || target::run_of(status, uid).is_some()
        || status.keys.iter().any(|record| record.uid == uid)
}

async fn read_target(
    context: &Context,
    namespace: &str,
    name: &str,
    fresh: bool,
) -> Result<(TargetFact, Option<DeployTarget>), ControllerError> {
    let object = if fresh {
        let api: Api<Guarded<DeployTarget>> = Api::namespaced(context.client.clone(), namespace);
        within("read a DeployTarget", api.get_opt(name))
            .await?
            .map(Arc::new)
    } else {
        context.caches.targets.0.get(&named(namespace, name))
    };
    Ok(match object.as_ref().map(|object| &object.0) {
        None => (TargetFact::Unprepared, None),
        Some(Err(invalid)) => (TargetFact::Unreadable(invalid.error.clone()), None),
        Some(Ok(target)) => (fact_of(target), Some(target.clone())),
    })
}

fn fact_of(target: &DeployTarget) -> TargetFact {
    match &target.status {
        Some(status) if status.initialized.is_some() => TargetFact::Ready(Box::new(status.clone())),
        _ => TargetFact::Unprepared,
    }
}

// === What would run ===

fn missing_environment(request: &DeployRequest) -> Refusal {
    missing(
        "Environment",
        &request.spec.environment,
        Reason::EnvironmentNotFound,
    )
}

async fn plan(
    context: &Context,
    request: &DeployRequest,
    named: &Named,
    place: Result<crate::api::deploy_request::Place, Refusal>,
    status: Option<&DeployTargetStatus>,
) -> Result<(Plan, Gate), Refusal> {
    let application = named.application.as_ref().ok_or_else(|| {
        missing(
            "Application",
            &request.spec.application,
            Reason::ApplicationNotFound,
        )
    })?;
    let environment = named
        .environment
        .as_ref()
        .ok_or_else(|| missing_environment(request))?;
    let connection = named.connection.as_ref().ok_or_else(|| {
        missing(
            "SpinnakerConnection",
            &environment.spec.connection,
            Reason::ConnectionNotFound,
        )
    })?;
    not_shared(context, environment, connection)?;
    let place = place?;
    let configuration = Configuration {
        application,
        environment,
        connection,
    };
    let pipeline_name = resolve::pipeline_name(request, configuration, &place, status)?;
    let gate = context.connections.gate(connection).await?;
    let spinnaker_application = resolve::spinnaker_application(application);
    let config = pipeline(&gate, spinnaker_application, &pipeline_name)
        .await
        .map_err(|error| {
            if matches!(error, GateError::LoginRequired) {
                context.connections.distrust(connection);
            }
            refusal(&environment.spec.connection, &error)
        })?;
    let resolved = resolve::resolve(request, configuration, &place, status, &described(&config))?;
    let (uid, namespace) = (
        request.uid().unwrap_or_default(),
        request.namespace().unwrap_or_default(),
    );
    let created = request
        .creation_timestamp()
        .map(|time| time.0)
        .unwrap_or_default();
    let key = ids::idempotency_key(&namespace, &request.name_any(), &request.spec);
    let mark = Mark {
        uid: uid.clone(),
        digest: resolved.digest.clone(),
        target: resolved.deploy_target.clone(),
        name: request.name_any(),
        ask: ids::ask_digest(&request.spec),
        action: request.spec.action.clone(),
        version: resolved.version.clone(),
        key: key.clone(),
    };
    let correlation_id = ids::correlation_id(
        &context.installation,
        &namespace,
        &resolved.deploy_target,
        &request.spec.action,
        &key,
    );
    let execution_id = ids::execution_id(&uid, created);
    let contents = Contents {
        resolved: &resolved,
        mark: &mark,
        execution_id: &execution_id,
        correlation_id: &correlation_id,
    };
    let bytes = body::body(gate.trigger, &config.raw, &contents);
    let attempt = body::attempt(
        connection,
        &bytes,
        &contents,
        &context.holder,
        Timestamp::now(),
    );
    Ok((
        Plan {
            attempt,
            body: bytes.into(),
            concurrency: environment.spec.protection.concurrency,
            resolved,
        },
        gate,
    ))
}

/// The pipeline by its name or id; by the application's list where Gate's firewall lets no such name through.
pub(super) async fn pipeline(
    gate: &Gate,
    application: &str,
    name: &str,
) -> Result<PipelineConfig, GateError> {
    match gate.client.pipeline(application, name).await {
        Err(GateError::NotSendable { name: refused }) => {
            let all = gate.client.pipelines(application).await?;
            all.into_iter()
                .find(|config| config.name == name)
                .ok_or(GateError::NotSendable { name: refused })
        }
        other => other,
    }
}

/// The pipeline as decisions see it.
pub(super) fn described(config: &PipelineConfig) -> Pipeline {
    Pipeline {
        application: config.application.clone(),
        id: config.id.clone(),
        name: config.name.clone(),
        disabled: config.disabled,
        parameters: config
            .parameters
            .iter()
            .map(|parameter| crate::api::application::ParameterDescription {
                name: parameter.name.clone(),
                description: parameter.description.clone(),
                default: parameter.default.clone(),
                required: parameter.required,
                options: parameter.options.clone(),
                incomplete: false,
            })
            .collect(),
    }
}

/// Whether nobody else reaches the place without having said so.
pub(super) fn not_shared(
    context: &Context,
    environment: &Environment,
    connection: &SpinnakerConnection,
) -> Result<(), Refusal> {
    match shared_target(context, environment, connection) {
        None => Ok(()),
        Some(message) => Err(Refusal::passing(
            WaitingFor::Configuration,
            Reason::TargetShared,
            message,
        )),
    }
}

/// The sentence that says which other Environment reaches the same place.
fn shared_target(
    context: &Context,
    environment: &Environment,
    connection: &SpinnakerConnection,
) -> Option<String> {
    let others = context
        .caches
        .environments
        .filter(|other| other.spec.target == environment.spec.target);
    if others.len() < 2 {
        return None;
    }
    let caches = &context.caches;
    let others: Vec<(Environment, String, Vec<String>)> = others
        .iter()
        .filter_map(|other| other.0.as_ref().ok())
        .filter_map(|other| {
            let namespace = other.namespace().unwrap_or_default();
            let gate = caches
                .connections
                .get(&namespace, &other.spec.connection)?
                .spec
                .gate_url;
            Some((
                other.clone(),
                gate,
                spinnaker_applications(context, &namespace),
            ))
        })
        .collect();
    let namespace = environment.namespace().unwrap_or_default();
    let applications = spinnaker_applications(context, &namespace);
    let own = Reach {
        environment,
        gate_url: &connection.spec.gate_url,
        applications: applications.iter().map(String::as_str).collect(),
    };
    let shared = sharing::shared_with(
        &own,
        others
            .iter()
            .map(|(environment, gate, applications)| Reach {
                environment,
                gate_url: gate,
                applications: applications
                    .iter()
                    .map(String::as_str)
                    .collect::<BTreeSet<_>>(),
            }),
    )?;
    Some(format!(
        "Environment {:?} in {:?} reaches the same account and namespace by the same Gate; give one of them another place, or say spec.sharedTarget: true in one of them.",
        shared.name_any(),
        shared.namespace().unwrap_or_default()
    ))
}

fn spinnaker_applications(context: &Context, namespace: &str) -> Vec<String> {
    let all = context
        .caches
        .applications
        .filter(|application| application.namespace().as_deref() == Some(namespace));
    all.iter()
        .filter_map(|application| application.0.as_ref().ok())
        .map(|application| resolve::spinnaker_application(application).to_owned())
        .collect()
}

// === What Spinnaker shows ===

/// The request holds its target: what does Spinnaker show under its ids?
async fn hold(
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
    let gate = match pinned_gate(context, namespace, &pinned.connection, gathered).await {
        Ok(gate) => gate,
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
    if let Lookup::Unclear(GateError::LoginRequired) = &lookup
        && let Some(connection) = context
            .caches
            .connections
            .get(namespace, &pinned.connection)
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
            || request.spec.cancel.is_some()
            || !passing_trouble(&gathered.facts);
        sighting::sighting(
            context,
            &gate,
            &pinned.connection,
            &uid,
            lookup,
            path_answers,
        )
        .await
    };
    gathered.gate = Some(gate);
}

fn passing_trouble(facts: &Facts) -> bool {
    matches!(&facts.plan, Err(refusal) if refusal.waiting_for == Some(WaitingFor::Spinnaker))
}

async fn pinned_gate(
    context: &Context,
    namespace: &str,
    name: &str,
    gathered: &Gathered,
) -> Result<Gate, Refusal> {
    let named = gathered
        .named
        .connection
        .as_ref()
        .filter(|connection| connection.name_any() == name);
    let connection = match named {
        Some(connection) => connection.clone(),
        None => context
            .caches
            .connections
            .get(namespace, name)
            .ok_or_else(|| missing("SpinnakerConnection", name, Reason::ConnectionNotFound))?,
    };
    context.connections.gate(&connection).await
}

/// An execution that ended is watched for a while, since somebody may restart it.
async fn finished_execution(
    context: &Context,
    request: &DeployRequest,
    status: Option<&DeployTargetStatus>,
    namespace: &str,
    uid: &str,
) -> Sighting {
    let own = request.status.as_ref();
    let run = status.and_then(|status| target::run_of(status, uid));
    let execution = own
        .and_then(|own| own.execution.as_ref())
        .map(|execution| execution.id.clone());
    let Some(id) = execution.or_else(|| run.and_then(|run| run.execution_id.clone())) else {
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
    let connection = own
        .and_then(|own| own.resolved.as_ref())
        .map(|resolved| resolved.connection.clone())
        .or_else(|| run.map(|run| run.connection.clone()))
        .and_then(|name| context.caches.connections.get(namespace, &name));
    let Some(connection) = connection else {
        return Sighting::NotAsked;
    };
    match context.connections.gate(&connection).await {
        Ok(gate) => match sighting::execution(&gate, &id, Look::Batched).await {
            Lookup::Found(execution) => {
                Sighting::Seen(Box::new(sighting::observe(&gate, &execution).await))
            }
            Lookup::Absent | Lookup::Unclear(_) => Sighting::NotAsked,
        },
        Err(_) => Sighting::NotAsked,
    }
}

// === The queue ===

/// Who comes before, and whether somebody came after: by creation, then uid.
fn queue(context: &Context, request: &DeployRequest, gathered: &mut Gathered) {
    let uid = request.uid();
    let own = place_in_line(request);
    let others = in_line(
        context,
        &request.namespace().unwrap_or_default(),
        gathered.target_name.as_deref().unwrap_or_default(),
    );
    let others = others
        .iter()
        .filter_map(|object| object.0.as_ref().ok())
        .filter(|other| other.uid() != uid);
    let (mut ahead, mut newer): (Option<&DeployRequest>, Option<&DeployRequest>) = (None, None);
    for other in others {
        if place_in_line(other) < own {
            ahead = Some(
                ahead
                    .filter(|known| place_in_line(known) <= place_in_line(other))
                    .unwrap_or(other),
            );
        } else {
            newer = Some(
                newer
                    .filter(|known| place_in_line(known) >= place_in_line(other))
                    .unwrap_or(other),
            );
        }
    }
    gathered.facts.ahead = ahead.map(ResourceExt::name_any);
    gathered.facts.newer = newer.map(ResourceExt::name_any);
}

/// Requests that wait for this target, as far as the cache knows.
pub(super) fn in_line(
    context: &Context,
    namespace: &str,
    target: &str,
) -> Vec<Arc<Guarded<DeployRequest>>> {
    context.caches.requests.filter(|other| {
        other.namespace().as_deref() == Some(namespace)
            && other.spec.cancel.is_none()
            && other.status.as_ref().is_some_and(|status| {
                status.phase == Some(Phase::Queued)
                    && status
                        .resolved
                        .as_ref()
                        .is_some_and(|resolved| resolved.deploy_target == target)
            })
    })
}

/// The order of the queue.
pub(super) fn place_in_line(request: &DeployRequest) -> (Option<jiff::Timestamp>, Option<String>) {
    (
        request.creation_timestamp().map(|time| time.0),
        request.uid(),
    )
}

/// Whether the execution that ran here last was restarted by somebody.
async fn rerun(status: &DeployTargetStatus, gathered: &mut Gathered) {
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

/// The request, for events.
pub(super) fn about<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    object.object_ref(&())
}
