//! From what was asked to what exactly is to run. Touches nothing.
//!
//! In three steps, since each needs what the one before names: the place (and with it the target), the pipeline's
//! name, and, with the pipeline as Spinnaker has it, everything else.

mod allowed;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

pub use self::allowed::{allowed_place, application_allowed, namespace_pattern, place_allowed};
use super::{
    approvals, artifacts, ids, parameters,
    refusal::Refusal,
    template::{self, Scope, Wanted},
    version::{self, Version},
};
use crate::api::{
    Application, DeployRequest, Environment, SpinnakerConnection,
    application::{Action, ParameterDescription},
    artifact::Artifact,
    bounds,
    conditions::Reason,
    deploy_request::{Phase, PipelineRef, Place, ROLLBACK_ACTION, Resolved, WaitingFor},
    deploy_target::DeployTargetStatus,
    environment::ApprovalRules,
};

/// How long a request may wait when its Environment doesn't say.
pub const DEFAULT_EXPIRY: Duration = Duration::from_hours(24);

/// The configuration that a request names.
#[derive(Debug, Clone, Copy)]
pub struct Configuration<'a> {
    /// What is deployed.
    pub application: &'a Application,
    /// Where.
    pub environment: &'a Environment,
    /// Through which Gate.
    pub connection: &'a SpinnakerConnection,
}

/// A pipeline as Spinnaker has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline {
    /// The Spinnaker application that it belongs to, in Gate's own words.
    pub application: String,
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Switched off in Spinnaker.
    pub disabled: bool,
    /// The digest of its definition, where that is known.
    pub revision: Option<String>,
    /// What it takes.
    pub parameters: Vec<ParameterDescription>,
    /// The artifacts that it expects.
    pub expected: Vec<artifacts::Expected>,
}

/// What exactly is to run, and what of it is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Resolution {
    /// As everybody may see it: values that the Application calls secret are masked.
    pub resolved: Resolved,
    /// Every parameter with its real value, for the bytes that are sent and for nothing else.
    pub parameters: BTreeMap<String, String>,
    /// The ids of the expected artifacts that the request's meet, for the trigger.
    pub expected: Vec<String>,
}

impl fmt::Debug for Resolution {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Resolution")
            .field("resolved", &self.resolved)
            .finish_non_exhaustive()
    }
}

/// Something that is named and isn't there.
pub fn missing(kind: &str, name: &str, reason: Reason) -> Refusal {
    Refusal::passing(
        WaitingFor::Configuration,
        reason,
        format!(
            "there is no {kind} {name:?} in this namespace; it goes on as soon as somebody creates it."
        ),
    )
}

/// Something that is named and is there, and doesn't decode.
pub fn unreadable(kind: &str, name: &str, problem: &str) -> Refusal {
    Refusal::passing(
        WaitingFor::Configuration,
        Reason::ConfigurationUnreadable,
        format!(
            "{kind} {name:?} in this namespace can't be read ({problem}); it goes on as soon as somebody mends that."
        ),
    )
}

/// The cluster and the namespace that a request deploys to.
pub fn place(request: &DeployRequest, environment: &Environment) -> Result<Place, Refusal> {
    let spec = &request.spec;
    allowed_place(spec.target.as_ref(), &spec.environment, environment)
}

/// The name that Spinnaker knows an Application by.
pub fn spinnaker_application(application: &Application) -> &str {
    let own = application.metadata.name.as_deref().unwrap_or_default();
    application
        .spec
        .spinnaker_application
        .as_deref()
        .unwrap_or(own)
}

/// What a request asks to be done.
pub fn action<'a>(
    request: &DeployRequest,
    application: &'a Application,
) -> Result<&'a Action, Refusal> {
    application
        .spec
        .actions
        .get(&request.spec.action)
        .ok_or_else(|| {
            let known: Vec<&str> = application
                .spec
                .actions
                .keys()
                .map(String::as_str)
                .collect();
            Refusal::permanent(
                Reason::ActionNotFound,
                format!(
                    "Application {:?} has no action {:?}; it has {}.",
                    request.spec.application,
                    request.spec.action,
                    known.join(", ")
                ),
            )
        })
}

/// The latest run that succeeded before the current version's first success, rollbacks skipped. Two runs of one branch are
/// two versions where their commits differ; one whose commit nobody wrote down may be what runs now, and is passed over.
pub fn previous(target: &DeployTargetStatus) -> Option<Version> {
    let current = Version::that_ran(target.current.as_ref()?);
    let may_be_current =
        |ran: &Version| ran.is_same(&current) || (ran.commit.is_none() && ran.name == current.name);
    let succeeded: Vec<(Version, bool)> = target
        .history
        .iter()
        .filter(|run| run.phase == Phase::Succeeded && run.version.is_some())
        .map(|run| (Version::that_ran(run), run.action == ROLLBACK_ACTION))
        .collect();
    let first = succeeded
        .iter()
        .rposition(|(ran, _)| ran.is_same(&current))?;
    succeeded
        .into_iter()
        .skip(first + 1)
        .find(|(ran, rolled_back)| !rolled_back && !may_be_current(ran))
        .map(|(ran, _)| ran)
}

/// The pipeline's name or id, as the Application's template says it.
pub fn pipeline_name(
    request: &DeployRequest,
    configuration: Configuration<'_>,
    place: &Place,
    target: Option<&DeployTargetStatus>,
    version: &Version,
) -> Result<String, Refusal> {
    let action = action(request, configuration.application)?;
    let previous = target.and_then(previous);
    let scope = scope(
        request,
        configuration.application,
        place,
        version,
        previous.as_ref(),
    );
    render(&action.pipeline, &scope)
}

/// Everything that the outcome depends on.
pub fn resolve(
    request: &DeployRequest,
    configuration: Configuration<'_>,
    place: &Place,
    target: Option<&DeployTargetStatus>,
    version: &Version,
    pipeline: &Pipeline,
) -> Result<Resolution, Refusal> {
    startable(configuration, place, pipeline)?;
    version::goes_back(request, target, version)?;
    for (what, text) in [
        ("spec.version", &version.name),
        ("spec.reason", &request.spec.reason),
    ] {
        if let Some(text) = text {
            parameters::refuse_expression(what, text)?;
        }
    }
    let action = action(request, configuration.application)?;
    if let Some(rules) = &configuration.environment.spec.protection.approvals {
        let previous = target.and_then(previous);
        fixed(request, action, rules, version, previous.as_ref())?;
    }
    let values = values(request, configuration.application, place, target, version)?;
    let artifacts = artifacts(request, configuration.application, place, target, version)?;
    let expected = artifacts::bound(pipeline, &artifacts, action.allow_default_artifact)?;
    let secret = &action.secret_parameters;
    parameters::validate(&pipeline.name, &pipeline.parameters, &values, secret)?;
    let connection = configuration.environment.spec.connection.as_str();
    let deploy_target =
        ids::target_name(&request.spec.application, &request.spec.environment, place);
    // Another one of that name is another Gate, and what was approved for one isn't for the other.
    let shared = configuration.connection.metadata.namespace.as_deref();
    let shared = shared.filter(|home| request.metadata.namespace.as_deref() != Some(*home));
    let of_home = shared.map(|home| format!("{home}/{connection}"));
    let digest = ids::run_digest(&ids::Run {
        uid: request.metadata.uid.as_deref().unwrap_or_default(),
        connection: of_home.as_deref().unwrap_or(connection),
        spinnaker_application: &pipeline.application,
        pipeline: &pipeline.id,
        revision: pipeline.revision.as_deref(),
        parameters: &values,
        version: version.name.as_deref(),
        commit: version.commit.as_deref(),
        artifacts: &artifacts,
        deploy_target: &deploy_target,
    });
    Ok(Resolution {
        resolved: Resolved {
            connection: connection.to_owned(),
            pipeline: PipelineRef {
                application: pipeline.application.clone(),
                name: pipeline.name.clone(),
                id: pipeline.id.clone(),
            },
            revision: pipeline.revision.clone(),
            parameters: parameters::masked(&values, secret),
            version: version.name.clone(),
            commit: version.commit.clone(),
            artifacts,
            target: place.clone(),
            deploy_target,
            digest,
        },
        parameters: values,
        expected,
    })
}

/// Whether what somebody approves now is what runs later: no version that may move. One whose commit is known doesn't,
/// unless the action's templates hand its name on; one that nobody hands on counts all the same where there is no commit.
pub fn fixed(
    request: &DeployRequest,
    action: &Action,
    rules: &ApprovalRules,
    version: &Version,
    previous: Option<&Version>,
) -> Result<(), Refusal> {
    let uses = |name: &str| names(action, name);
    if let Some(name) = &version.name
        && (uses("version") || (version.commit.is_none() && request.spec.version.is_some()))
    {
        approvals::fixed(rules, name)?;
    }
    match previous.and_then(|ran| ran.name.as_deref()) {
        Some(previous) if uses("previous.version") || uses("previous") => {
            approvals::fixed(rules, previous)
        }
        _ => Ok(()),
    }
}

/// Every template of an action.
fn templates(action: &Action) -> impl Iterator<Item = &String> {
    let artifacts = action.artifacts.iter().flat_map(|artifact| {
        let optional = [
            &artifact.version,
            &artifact.location,
            &artifact.reference,
            &artifact.artifact_account,
        ];
        [&artifact.kind, &artifact.name]
            .into_iter()
            .chain(optional.into_iter().flatten())
    });
    action
        .parameters
        .values()
        .chain([&action.pipeline])
        .chain(artifacts)
}

/// What of it is another than before, in words for people; empty when it is the same.
pub fn changes(before: &Resolved, after: &Resolved) -> Vec<String> {
    if before.digest == after.digest {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut changed = |is: bool, what: &str| {
        if is {
            found.push(what.to_owned());
        }
    };
    changed(before.connection != after.connection, "the connection");
    changed(
        before.target != after.target || before.deploy_target != after.deploy_target,
        "the cluster or namespace",
    );
    let other = before.pipeline.id != after.pipeline.id
        || before.pipeline.application != after.pipeline.application;
    changed(other, "the pipeline");
    changed(
        !other && before.revision != after.revision,
        "the pipeline's definition",
    );
    changed(before.version != after.version, "the version");
    changed(before.commit != after.commit, "the commit");
    changed(before.artifacts != after.artifacts, "the artifacts");
    let names: BTreeSet<&String> = before
        .parameters
        .keys()
        .chain(after.parameters.keys())
        .collect();
    for name in names {
        if before.parameters.get(name) != after.parameters.get(name) {
            found.push(format!("parameter `{name}`"));
        }
    }
    if found.is_empty() {
        // All that is shown is as it was.
        found.push("a parameter that is secret, or whose the connection is".to_owned());
    }
    found
}

/// Every parameter that would be sent: the action's own, rendered, and the request's.
pub fn values(
    request: &DeployRequest,
    application: &Application,
    place: &Place,
    target: Option<&DeployTargetStatus>,
    version: &Version,
) -> Result<BTreeMap<String, String>, Refusal> {
    let action = action(request, application)?;
    let previous = target.and_then(previous);
    let scope = scope(request, application, place, version, previous.as_ref());
    let mut values = action
        .parameters
        .iter()
        .map(|(name, value)| Ok((name.clone(), render(value, &scope)?)))
        .collect::<Result<BTreeMap<_, _>, Refusal>>()?;
    for (name, value) in &request.spec.parameters {
        if values.contains_key(name) {
            return Err(Refusal::permanent(
                Reason::ParameterUnknown,
                format!(
                    "parameter {name:?} is set by the Application's action {:?} and can't be set by a request.",
                    request.spec.action
                ),
            ));
        }
        values.insert(name.clone(), value.clone());
    }
    Ok(values)
}

/// Every artifact that would be handed over, rendered.
pub fn artifacts(
    request: &DeployRequest,
    application: &Application,
    place: &Place,
    target: Option<&DeployTargetStatus>,
    version: &Version,
) -> Result<Vec<Artifact>, Refusal> {
    let action = action(request, application)?;
    let previous = target.and_then(previous);
    let scope = scope(request, application, place, version, previous.as_ref());
    artifacts::rendered(action, &scope)
}

/// Whether one of the action's templates names this.
pub fn names(action: &Action, name: &str) -> bool {
    // A template that can't be read is refused where it is rendered.
    templates(action)
        .any(|template| template::names(template).is_ok_and(|names| names.contains(name)))
}

/// Whether Spinnaker would start this pipeline for this Application, and the connection lets it through.
pub fn startable(
    configuration: Configuration<'_>,
    place: &Place,
    pipeline: &Pipeline,
) -> Result<(), Refusal> {
    // Compared with the application that Gate says the pipeline belongs to: Gate looks a pipeline up by id without
    // comparing it, and starts whatever it is given.
    let wanted = spinnaker_application(configuration.application);
    if !pipeline.application.eq_ignore_ascii_case(wanted) {
        return Err(Refusal::permanent(
            Reason::PipelineForeign,
            format!(
                "pipeline {:?} belongs to Spinnaker application {:?}, not to {wanted:?}; correct the Application's action or its spec.spinnakerApplication.",
                pipeline.name, pipeline.application
            ),
        ));
    }
    application_allowed(configuration)?;
    place_allowed(configuration.environment, configuration.connection, place)?;
    if pipeline.disabled {
        return Err(Refusal::permanent(
            Reason::PipelineDisabled,
            format!(
                "pipeline {:?} of {:?} is disabled; enable it in Spinnaker and make a new request.",
                pipeline.name, pipeline.application
            ),
        ));
    }
    Ok(())
}

pub(super) fn render(template: &str, scope: &Scope<'_>) -> Result<String, Refusal> {
    template::render(template, scope).map_err(|message| {
        let wanted = template::wanted_commit(template, scope);
        wanted.map_or_else(
            || {
                Refusal::permanent(
                    Reason::TemplateFailed,
                    format!(
                        "the Application's action {:?} can't be rendered for this request: {message}; correct the template, or give the request what it names.",
                        scope.action
                    ),
                )
            },
            |wanted| without_commit(template, scope, wanted),
        )
    })
}

/// That a template names a commit which nobody knows; [`version::explained`] says why.
fn without_commit(template: &str, scope: &Scope<'_>, wanted: Wanted<'_>) -> Refusal {
    let template = bounds::cut(template, bounds::NAME);
    let says = |what: &str| {
        format!(
            "template {template:?} of the Application's action {:?} names the commit of {what}",
            scope.action
        )
    };
    let application = scope.application.get("name").copied().unwrap_or_default();
    match wanted {
        Wanted::Version(version) if scope.in_repository => {
            let version = bounds::cut(version, bounds::NAME);
            let message = format!(
                "{}, which isn't known.",
                says(&format!("version `{version}`"))
            );
            Refusal::permanent(Reason::CommitUnknown, message)
        }
        Wanted::Version(version) => {
            let version = bounds::cut(version, bounds::NAME);
            let message = format!(
                "{}, and no repository says which that is; name one in spec.repository of Application `{application}`, then make a new request.",
                says(&format!("version `{version}`"))
            );
            Refusal::permanent(Reason::TemplateFailed, message)
        }
        Wanted::Previous(version) => {
            let version = bounds::cut(version, bounds::NAME);
            let message = format!(
                "{}, and it wasn't written down when that ran; correct the template, or deploy twice with spec.repository of Application `{application}` named.",
                says(&format!("`{version}`, which ran before"))
            );
            Refusal::permanent(Reason::TemplateFailed, message)
        }
    }
}

/// What the templates of a request may name.
pub(super) fn scope<'a>(
    request: &'a DeployRequest,
    application: &'a Application,
    place: &'a Place,
    version: &'a Version,
    previous: Option<&'a Version>,
) -> Scope<'a> {
    let commit = version.commit.as_deref();
    let metadata = &request.metadata;
    Scope {
        application: BTreeMap::from([
            ("name", request.spec.application.as_str()),
            ("spinnaker", spinnaker_application(application)),
        ]),
        environment: BTreeMap::from([("name", request.spec.environment.as_str())]),
        target: place,
        action: &request.spec.action,
        version: version.name.as_deref(),
        commit,
        short_commit: commit.map(version::short),
        previous: previous.map(ran),
        reason: request.spec.reason.as_deref().unwrap_or_default(),
        request: BTreeMap::from([
            ("name", metadata.name.as_deref().unwrap_or_default()),
            (
                "namespace",
                metadata.namespace.as_deref().unwrap_or_default(),
            ),
        ]),
        in_repository: application.spec.repository.is_some(),
    }
}

/// What templates may name of an earlier run.
fn ran(version: &Version) -> BTreeMap<&'static str, &str> {
    let commit = version.commit.as_deref();
    [
        ("version", version.name.as_deref()),
        ("commit", commit),
        ("short_commit", commit.map(version::short)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
