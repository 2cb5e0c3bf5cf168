//! What exactly would run, and how. Touches Gate (reads).

use std::collections::BTreeSet;

use jiff::Timestamp;
use kube::ResourceExt;

use super::{Memo, Named, version as commit};
use crate::{
    api::{
        Application, DeployRequest, Environment, SpinnakerConnection,
        conditions::Reason,
        deploy_request::{Phase, Place, WaitingFor},
        deploy_target::DeployTargetStatus,
    },
    controller::{
        body::{self, Contents},
        connections::{Gate, refusal},
        context::Context,
        objects::Object,
    },
    domain::{
        artifacts::{Expected, Pattern},
        decide::{Plan, Start},
        ids,
        outcome::Mark,
        refusal::Refusal,
        resolve::{self, Configuration, Pipeline, missing, unreadable},
        sharing::{self, Reach},
    },
    runtime::cache::Cache,
    spinnaker::{ExpectedArtifact, GateError, PipelineConfig},
};

/// A pipeline that was asked for, and what Gate answered.
pub(in crate::controller) struct Asked {
    application: String,
    name: String,
    config: PipelineConfig,
}

/// What is known already of a request that waits for its turn: it takes no Gate to go on waiting.
pub(super) fn known(request: &DeployRequest, named: &Named, waits: bool) -> Option<Plan> {
    let status = request
        .status
        .as_ref()
        .filter(|status| waits && status.phase == Some(Phase::Queued))?;
    let environment = named.environment.as_ref()?;
    Some(Plan {
        resolved: status.resolved.clone()?,
        changes: status.changes.clone(),
        found: false,
        concurrency: environment.spec.protection.concurrency,
        start: None,
    })
}

pub(super) fn no_environment(context: &Context, request: &DeployRequest) -> Refusal {
    let (environments, name) = (&context.caches.environments, &request.spec.environment);
    absent(environments, request, name, Reason::EnvironmentNotFound)
}

/// Why there is nothing of that name to go by: it doesn't decode, or isn't there.
fn absent<K: Object>(
    cache: &Cache<K>,
    request: &DeployRequest,
    name: &str,
    reason: Reason,
) -> Refusal {
    let (kind, namespace) = (K::kind(&()), request.namespace().unwrap_or_default());
    match cache.problem(&namespace, name) {
        Some(problem) => unreadable(&kind, name, &problem),
        None => missing(&kind, name, reason),
    }
}

pub(super) async fn make(
    context: &Context,
    request: &DeployRequest,
    named: &Named,
    place: Result<Place, Refusal>,
    status: Option<&DeployTargetStatus>,
    memo: &mut Memo,
) -> Result<(Plan, Gate), Refusal> {
    let application = named.application.as_ref().ok_or_else(|| {
        let (applications, name) = (&context.caches.applications, &request.spec.application);
        absent(applications, request, name, Reason::ApplicationNotFound)
    })?;
    let environment = named
        .environment
        .as_ref()
        .ok_or_else(|| no_environment(context, request))?;
    let connection = named
        .connection
        .as_ref()
        .ok_or_else(|| crate::domain::connection::missing(&environment.spec.connection))?;
    not_shared(context, environment, connection).await?;
    let place = place?;
    let configuration = Configuration {
        application,
        environment,
        connection,
    };
    let found = commit::find(context, request, (application, environment), status, memo).await?;
    let version = &found.settled.version;
    let lacking = |refusal| commit::lacking(refusal, &found);
    let pipeline_name =
        resolve::pipeline_name(request, configuration, &place, status, version).map_err(lacking)?;
    let gate = context.connections.gate_to_start_at(connection).await?;
    let gate = gate.of(request);
    let spinnaker_application = resolve::spinnaker_application(application);
    let known = memo
        .pipeline
        .as_ref()
        .filter(|asked| asked.application == spinnaker_application && asked.name == pipeline_name);
    let known = known.map(|asked| asked.config.clone());
    let reading = async {
        match known {
            Some(config) => Ok(config),
            None => pipeline(&gate, spinnaker_application, &pipeline_name).await,
        }
    };
    // One wait for both.
    let (config, changes) = tokio::join!(
        reading,
        Box::pin(commit::changes(
            context,
            request,
            application,
            status,
            &found,
            memo
        ))
    );
    let config = config.map_err(|error| {
        if error.refuses_login() {
            context.connections.distrust(connection);
        }
        refusal(&environment.spec.connection, &error)
    })?;
    memo.pipeline = Some(Asked {
        application: spinnaker_application.to_owned(),
        name: pipeline_name,
        config: config.clone(),
    });
    let pipeline = described(&config);
    let resolution = resolve::resolve(request, configuration, &place, status, version, &pipeline)
        .map_err(lacking)?;
    let resolved = resolution.resolved;
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
        namespace: Some(namespace.clone()),
        name: request.name_any(),
        ask: ids::ask_digest(&request.spec),
        action: request.spec.action.clone(),
        version: resolved.version.clone(),
        commit: resolved.commit.clone(),
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
        parameters: &resolution.parameters,
        expected: &resolution.expected,
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
    let plan = Plan {
        concurrency: environment.spec.protection.concurrency,
        resolved,
        changes,
        found: found.new,
        start: Some(Start {
            attempt,
            body: bytes.into(),
        }),
    };
    Ok((plan, gate))
}

/// The pipeline by its name or id; by the application's list where Gate's firewall lets no such name through.
pub(in crate::controller) async fn pipeline(
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
pub(in crate::controller) fn described(config: &PipelineConfig) -> Pipeline {
    Pipeline {
        application: config.application.clone(),
        id: config.id.clone(),
        name: config.name.clone(),
        disabled: config.disabled,
        revision: Some(ids::revision(&config.raw)),
        expected: config.expected_artifacts.iter().map(expected).collect(),
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

fn expected(artifact: &ExpectedArtifact) -> Expected {
    Expected {
        id: artifact.id.clone(),
        name: artifact.name.clone(),
        wanted: Pattern {
            kind: artifact.kind.clone(),
            name: artifact.artifact.clone(),
            version: artifact.version.clone(),
            location: artifact.location.clone(),
            reference: artifact.reference.clone(),
        },
        has_default: artifact.has_default,
        takes_earlier: artifact.takes_earlier,
    }
}

/// Whether nobody else reaches the place without having said so.
pub(in crate::controller) async fn not_shared(
    context: &Context,
    environment: &Environment,
    connection: &SpinnakerConnection,
) -> Result<(), Refusal> {
    match shared_target(context, environment, connection).await {
        None => Ok(()),
        Some(message) => Err(Refusal::passing(
            WaitingFor::Configuration,
            Reason::TargetShared,
            message,
        )),
    }
}

/// The sentence that says which other Environment reaches the same place.
async fn shared_target(
    context: &Context,
    environment: &Environment,
    connection: &SpinnakerConnection,
) -> Option<String> {
    let place = &environment.spec.target;
    let mut others: Vec<(Environment, String, Vec<String>)> = Vec::new();
    for neighbour in context.neighbours.all() {
        let near = neighbour.environments.filter(|other| {
            other.spec.target == *place
                && (other.name_any() != environment.name_any()
                    || other.namespace() != environment.namespace())
        });
        for other in near.iter().filter_map(|other| other.0.as_ref().ok()) {
            let namespace = other.namespace().unwrap_or_default();
            // Where it can't be said whether it may use a shared one, nothing starts through it either.
            let reached = neighbour
                .connections
                .known(&namespace, &other.spec.connection);
            if let Ok(Some(connection)) = reached.await {
                let applications = spinnaker_applications(&neighbour.applications, &namespace);
                others.push((other.clone(), connection.spec.gate_url, applications));
            }
        }
    }
    if others.is_empty() {
        return None;
    }
    let namespace = environment.namespace().unwrap_or_default();
    let applications = spinnaker_applications(&context.caches.applications, &namespace);
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
    // Whoever reads this may not be allowed to know other teams' names.
    let other = if shared.namespace().as_deref() == Some(&namespace) {
        format!("Environment {:?}", shared.name_any())
    } else {
        "an Environment in another namespace (`kubectl get environments --all-namespaces` finds it by its account and namespace)".to_owned()
    };
    Some(format!(
        "{other} reaches the same account and namespace by the same Gate; give one of them another place, or say spec.sharedTarget: true in one of them."
    ))
}

fn spinnaker_applications(applications: &Cache<Application>, namespace: &str) -> Vec<String> {
    let all =
        applications.filter(|application| application.namespace().as_deref() == Some(namespace));
    all.iter()
        .filter_map(|application| application.0.as_ref().ok())
        .map(|application| resolve::spinnaker_application(application).to_owned())
        .collect()
}
