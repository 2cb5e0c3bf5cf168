//! Templates of an Application: minijinja, sandboxed, strict on undefined names. Touches nothing.

use std::collections::{BTreeMap, BTreeSet};

use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde::Serialize;

use crate::api::deploy_request::Place;

/// How many steps a template may take: far more than a parameter needs, far less than a hung controller.
const FUEL: u64 = 10_000;

/// What a template may name.
#[derive(Debug, Clone, Serialize)]
pub struct Scope<'a> {
    /// `application.name`, `application.spinnaker`.
    pub application: BTreeMap<&'static str, &'a str>,
    /// `environment.name`.
    pub environment: BTreeMap<&'static str, &'a str>,
    /// `target.account`, `target.namespace`.
    pub target: &'a Place,
    /// `action`.
    pub action: &'a str,
    /// `version`; undefined when the request names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<&'a str>,
    /// `commit`; undefined when it isn't known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<&'a str>,
    /// `short_commit`: its first seven digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub short_commit: Option<&'a str>,
    /// `previous.version`, `previous.commit`, `previous.short_commit`; undefined when nothing ran before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<BTreeMap<&'static str, &'a str>>,
    /// `reason`; empty when the request gives none.
    pub reason: &'a str,
    /// `request.name`, `request.namespace`.
    pub request: BTreeMap<&'static str, &'a str>,
    /// Whether a repository is named, so that somebody could say which commit it is; nothing that a template may name.
    #[serde(skip)]
    pub in_repository: bool,
}

/// A commit for trying whether a template lacks nothing else.
const SOME_COMMIT: &str = "0000000000000000000000000000000000000000";

/// Which version's commit a template can't do without, of those that aren't known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted<'a> {
    /// The commit of the version that is to run.
    Version(&'a str),
    /// The commit of the one that ran before.
    Previous(&'a str),
}

/// Whose commit it is that keeps a template from being rendered, if it is that and nothing else.
pub fn wanted_commit<'a>(template: &str, scope: &Scope<'a>) -> Option<Wanted<'a>> {
    let mut fuller = scope.clone();
    if let (Some(version), None) = (scope.version, scope.commit) {
        fuller.commit = Some(SOME_COMMIT);
        fuller.short_commit = Some(SOME_COMMIT);
        if render(template, &fuller).is_ok() {
            return Some(Wanted::Version(version));
        }
    }
    let previous = fuller.previous.as_mut()?;
    let version = *previous.get("version")?;
    for name in ["commit", "short_commit"] {
        previous.entry(name).or_insert(SOME_COMMIT);
    }
    render(template, &fuller)
        .is_ok()
        .then_some(Wanted::Previous(version))
}

/// Renders one template.
///
/// The error is a sentence that names what is wrong with the template, not where in our code.
pub fn render(template: &str, scope: &Scope<'_>) -> Result<String, String> {
    engine()
        .render_str(
            template,
            minijinja::Value::from(minijinja::value::Serde(scope)),
        )
        .map_err(|error| sentence(template, &error))
}

/// The names that a template looks up from outside: `version`, `environment.name`.
pub fn names(template: &str) -> Result<BTreeSet<String>, String> {
    engine()
        .template_from_str(template)
        .map(|compiled| compiled.undeclared_variables(true).into_iter().collect())
        .map_err(|error| sentence(template, &error))
}

fn engine() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    environment
}

fn sentence(template: &str, error: &minijinja::Error) -> String {
    let detail = error
        .detail()
        .map(|detail| format!(": {detail}"))
        .unwrap_or_default();
    format!("template {template:?}: {}{detail}", error.kind())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(template: &str) -> Result<String, String> {
        let place = Place {
            account: "eks".to_owned(),
            namespace: "shop".to_owned(),
        };
        render(
            template,
            &Scope {
                application: BTreeMap::from([("name", "checkout")]),
                environment: BTreeMap::from([("name", "staging")]),
                target: &place,
                action: "deploy",
                version: Some("main"),
                commit: None,
                short_commit: None,
                previous: None,
                reason: "",
                request: BTreeMap::new(),
                in_repository: false,
            },
        )
    }

    #[test]
    fn templates_name_what_a_request_has() {
        assert_eq!(
            rendered("Deploy {{ application.name }} to {{ environment.name }}").unwrap(),
            "Deploy checkout to staging"
        );
        assert_eq!(
            rendered("{{ target.account }}/{{ target.namespace }}@{{ version }}").unwrap(),
            "eks/shop@main"
        );
        assert_eq!(rendered("<&>").unwrap(), "<&>", "parameters are no HTML");
    }

    #[test]
    fn a_name_that_is_not_there_is_an_error_that_says_so() {
        assert!(
            rendered("{{ previous.version }}")
                .unwrap_err()
                .contains("undefined")
        );
        assert!(
            rendered("{{ versoin }}")
                .unwrap_err()
                .contains("{{ versoin }}")
        );
        assert!(rendered("{{ version").unwrap_err().contains("syntax error"));
    }

    #[test]
    fn a_template_that_would_run_for_ever_is_stopped() {
        assert!(
            rendered(
                "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}"
            )
            .is_err()
        );
    }
}
