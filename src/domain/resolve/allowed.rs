//! Where it may go: which places an Environment allows, and which applications and places a connection lets through. Touches
//! nothing.

use regex_lite::Regex;

use super::{Configuration, spinnaker_application};
use crate::{
    api::{
        Environment, SpinnakerConnection,
        conditions::Reason,
        deploy_request::{Place, TargetOverride, WaitingFor},
    },
    domain::{refusal::Refusal, wildcard},
};

/// The cluster and the namespace that somebody means who names another one than the Environment's own, or none. `name` is
/// the Environment's.
pub fn allowed_place(
    asked: Option<&TargetOverride>,
    name: &str,
    environment: &Environment,
) -> Result<Place, Refusal> {
    let own = &environment.spec.target;
    let Some(asked) = asked else {
        return Ok(own.clone());
    };
    let wanted = Place {
        account: asked.account.clone().unwrap_or_else(|| own.account.clone()),
        namespace: asked
            .namespace
            .clone()
            .unwrap_or_else(|| own.namespace.clone()),
    };
    let allowed = environment.spec.allow_targets.clone().unwrap_or_default();
    if wanted.account != own.account && !allowed.accounts.contains(&wanted.account) {
        return Err(Refusal::permanent(
            Reason::TargetNotAllowed,
            format!(
                "Environment {name:?} does not allow account {:?}; its owner can add it to spec.allowTargets.accounts.",
                wanted.account
            ),
        ));
    }
    if wanted.namespace != own.namespace {
        let matches = match &allowed.namespace_pattern {
            None => false,
            Some(pattern) => namespace_pattern(pattern)?.is_match(&wanted.namespace),
        };
        if !matches {
            return Err(Refusal::permanent(
                Reason::TargetNotAllowed,
                format!(
                    "Environment {name:?} does not allow namespace {:?}; its owner can widen spec.allowTargets.namespacePattern.",
                    wanted.namespace
                ),
            ));
        }
    }
    Ok(wanted)
}

/// The pattern, made to match whole names.
pub fn namespace_pattern(pattern: &str) -> Result<Regex, Refusal> {
    Regex::new(&format!("^(?:{pattern})$")).map_err(|error| {
        Refusal::passing(
            WaitingFor::Configuration,
            Reason::PatternInvalid,
            format!("spec.allowTargets.namespacePattern of the Environment is no regular expression: {error}."),
        )
    })
}

/// Whether the connection lets this Application's Spinnaker application through.
pub fn application_allowed(configuration: Configuration<'_>) -> Result<(), Refusal> {
    let wanted = spinnaker_application(configuration.application);
    let allow = &configuration.connection.spec.allow;
    let what = ("applications", "Spinnaker application", wanted);
    listed(configuration.environment, &allow.applications, what)
}

/// Whether the connection lets this place through.
pub fn place_allowed(
    environment: &Environment,
    connection: &SpinnakerConnection,
    place: &Place,
) -> Result<(), Refusal> {
    let allow = &connection.spec.allow;
    let account = ("accounts", "account", place.account.as_str());
    listed(environment, &allow.accounts, account)?;
    let namespace = ("namespaces", "namespace", place.namespace.as_str());
    listed(environment, &allow.namespaces, namespace)
}

fn listed(
    environment: &Environment,
    patterns: &[String],
    (field, what, value): (&str, &str, &str),
) -> Result<(), Refusal> {
    if wildcard::any_matches(patterns, value) {
        return Ok(());
    }
    let connection = &environment.spec.connection;
    Err(Refusal::permanent(
        Reason::NotAllowedByConnection,
        format!(
            "SpinnakerConnection {connection:?} does not allow {what} {value:?}; its owner can add it to spec.allow.{field}."
        ),
    ))
}
