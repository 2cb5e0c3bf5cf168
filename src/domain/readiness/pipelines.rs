//! The pipelines of an Application: which one an action names in an Environment, and what is to be said of it. Touches
//! nothing.

use std::collections::BTreeMap;

use kube::ResourceExt;

use super::{UNUSABLE, is_passing};
use crate::{
    api::{
        Application, DeployRequest, Environment, SpinnakerConnection,
        application::{Action, PipelineDescription},
        bounds,
        conditions::Reason,
        deploy_request::DeployRequestSpec,
    },
    domain::{
        artifacts, parameters,
        refusal::Refusal,
        resolve::{self, Configuration, Pipeline},
        template::{self, Scope},
        version::Version,
    },
};

/// Names that a template looks up and that only a request gives a value.
const OF_THE_REQUEST: [&str; 6] = [
    "version",
    "commit",
    "short_commit",
    "previous",
    "reason",
    "request",
];
/// All names that a template can look up.
const NAMES: [&str; 21] = [
    "application.name",
    "application.spinnaker",
    "environment.name",
    "target.account",
    "target.namespace",
    "action",
    "version",
    "commit",
    "short_commit",
    "previous",
    "previous.version",
    "previous.commit",
    "previous.short_commit",
    "reason",
    "request",
    "request.name",
    "request.namespace",
    // minijinja's own functions.
    "range",
    "dict",
    "namespace",
    "debug",
];
/// Stands for what a request would say.
const SAMPLE: &str = "1.0.0";
/// Stands for the commit that it would be.
const SAMPLE_COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// The pipeline that an action names in an Environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// This name, or id.
    Named(String),
    /// Only a request can tell.
    OfTheRequest,
}

/// What an action's template for its pipeline yields in an Environment.
pub fn wanted(
    application: &Application,
    environment: &Environment,
    (name, action): (&str, &Action),
) -> Result<Wanted, Refusal> {
    let request = sample(application, environment, name);
    let version = sample_version();
    let scope = sample_scope(&request, application, environment, &version);
    let rendered = fixed(&action.pipeline, &scope, &format!("{name}.pipeline"))?;
    Ok(rendered.map_or(Wanted::OfTheRequest, Wanted::Named))
}

/// One action in one Environment.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// As the status shows it.
    pub shown: PipelineDescription,
    /// Why it can't be used, or why that can't be known.
    pub trouble: Option<Refusal>,
}

/// Describes one action in one Environment.
///
/// `found` is the pipeline and the connection through which it was found, `None` when it was not looked for. `known` is
/// what the status says of it so far: it stays while Gate can't be asked.
pub fn describe(
    (application, environment): (&Application, &Environment),
    action: (&str, &Action),
    wanted: &Result<Wanted, Refusal>,
    found: &Result<Option<(SpinnakerConnection, Pipeline)>, Refusal>,
    known: Option<&PipelineDescription>,
) -> Description {
    let bare = |called: &str| PipelineDescription {
        action: bounds::cut(action.0, bounds::LABEL),
        environment: environment.name_any(),
        name: bounds::cut(called, bounds::NAME),
        ..PipelineDescription::default()
    };
    let failed = |shown: PipelineDescription, refusal: &Refusal| Description {
        shown: PipelineDescription {
            problem: Some(refusal.message.clone()),
            ..shown
        },
        trouble: Some(refusal.clone()),
    };
    let name = match wanted {
        Err(refusal) => return failed(bare(&action.1.pipeline), refusal),
        Ok(Wanted::OfTheRequest) => &action.1.pipeline,
        Ok(Wanted::Named(name)) => name,
    };
    let (connection, pipeline) = match found {
        Ok(Some((connection, pipeline))) => (connection, pipeline),
        Ok(None) => {
            let problem =
                "which pipeline it is depends on the request; it is looked up when there is one.";
            return Description {
                shown: PipelineDescription {
                    problem: Some(problem.to_owned()),
                    ..bare(name)
                },
                trouble: None,
            };
        }
        Err(refusal) => {
            let unasked = is_passing(refusal) || UNUSABLE.contains(&refusal.reason);
            let same = |known: &&PipelineDescription| {
                known.id.is_some() && (known.name == *name || known.id.as_ref() == Some(name))
            };
            return match known.filter(same).filter(|_| unasked) {
                Some(known) if is_passing(refusal) => Description {
                    shown: known.clone(),
                    trouble: Some(refusal.clone()),
                },
                known => failed(known.cloned().unwrap_or_else(|| bare(name)), refusal),
            };
        }
    };
    let configuration = Configuration {
        application,
        environment,
        connection,
    };
    let usable = resolve::startable(configuration, &environment.spec.target, pipeline);
    // Who may not start it is not told what it takes.
    if let Err(refusal) = &usable
        && refusal.reason != Reason::PipelineDisabled
    {
        return failed(bare(name), refusal);
    }
    let shown = PipelineDescription {
        id: Some(bounds::cut(&pipeline.id, bounds::NAME)),
        disabled: pipeline.disabled,
        parameters: pipeline.parameters.clone(),
        ..bare(&pipeline.name)
    };
    match usable.and_then(|()| accepted(configuration, action, pipeline)) {
        Ok(()) => Description {
            shown,
            trouble: None,
        },
        Err(refusal) => failed(shown, &refusal),
    }
}

/// Whether the pipeline takes what the action always gives it.
fn accepted(
    configuration: Configuration<'_>,
    (name, action): (&str, &Action),
    pipeline: &Pipeline,
) -> Result<(), Refusal> {
    let (application, environment) = (configuration.application, configuration.environment);
    let request = sample(application, environment, name);
    let version = sample_version();
    let scope = sample_scope(&request, application, environment, &version);
    action
        .parameters
        .iter()
        .try_for_each(|(parameter, value)| {
            let value = fixed(value, &scope, &format!("{name}.parameters.{parameter}"))?;
            let declared = &pipeline.parameters;
            parameters::takes(&pipeline.name, declared, parameter, value.as_deref())
        })?;
    artifacts::possible(pipeline, action)
}

/// What a template yields whatever is asked for; `None` when that depends on the request.
fn fixed(template: &str, scope: &Scope<'_>, field: &str) -> Result<Option<String>, Refusal> {
    let wrong = |message: String| {
        Refusal::permanent(
            Reason::TemplateFailed,
            format!("{message}; correct it in the Application's spec.actions.{field}."),
        )
    };
    let names = template::names(template).map_err(wrong)?;
    let asks = names
        .iter()
        .filter_map(|name| name.split('.').next())
        .any(|root| OF_THE_REQUEST.contains(&root));
    match template::render(template, scope) {
        Ok(text) => Ok((!asks).then_some(text)),
        // With another request it may well go.
        Err(_) if asks && names.iter().all(|name| NAMES.contains(&name.as_str())) => Ok(None),
        Err(message) => Err(wrong(message)),
    }
}

fn sample(application: &Application, environment: &Environment, action: &str) -> DeployRequest {
    let mut request = DeployRequest::new(
        "sample",
        DeployRequestSpec {
            application: application.name_any(),
            environment: environment.name_any(),
            action: action.to_owned(),
            version: Some(SAMPLE.to_owned()),
            commit: None,
            parameters: BTreeMap::new(),
            target: None,
            reason: Some(SAMPLE.to_owned()),
            timeout: None,
            dry_run: false,
            idempotency_key: None,
            requester: None,
            notify: None,
            not_before: None,
            start_before: None,
            override_: None,
            cancel: None,
            ttl_after_finished: None,
        },
    );
    request.metadata.namespace = application.namespace();
    request
}

fn sample_version() -> Version {
    Version {
        name: Some(SAMPLE.to_owned()),
        commit: Some(SAMPLE_COMMIT.to_owned()),
    }
}

fn sample_scope<'a>(
    request: &'a DeployRequest,
    application: &'a Application,
    environment: &'a Environment,
    version: &'a Version,
) -> Scope<'a> {
    let place = &environment.spec.target;
    resolve::scope(request, application, place, version, Some(version))
}
