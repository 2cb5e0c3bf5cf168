//! What is suggested while somebody types into a form, and what they picked. Touches nothing.
//!
//! Slack shows 75 characters of an option and keeps 75 of its value, so what is longer goes by a hash. A value comes back
//! from outside: it is taken only if it is one of those that this person could have been shown.

use std::collections::BTreeSet;

use kube::ResourceExt;

use super::{Sight, team_and_name};
use crate::{
    api::{Application, Environment, bounds},
    domain::ids,
    receiver::grammar::version_name,
};

/// How many options Slack takes.
pub const MOST_SUGGESTIONS: usize = 100;
/// The characters of an option's text, and of its value.
const MOST_OPTION: usize = 75;

/// One option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suggestion {
    /// What is shown, at most 75 characters. Untrusted.
    pub text: String,
    /// What comes back, at most 75 characters.
    pub value: String,
}

impl Suggestion {
    fn new(text: &str, meant: &str) -> Self {
        Self {
            text: bounds::cut(text, MOST_OPTION),
            value: value(meant),
        }
    }
}

/// What stands for a text in an option's value: the text behind `=`, or, where that is too long, a hash behind `#`.
fn value(meant: &str) -> String {
    if meant.chars().count() < MOST_OPTION {
        format!("={meant}")
    } else {
        let hash = ids::sha256(meant.as_bytes());
        format!("#{}", &hash[..32])
    }
}

/// Which of these was picked, if any was.
pub fn picked<'a>(chosen: &str, offered: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    offered.into_iter().find(|meant| value(meant) == chosen)
}

/// The version that was picked: one of those that are known, or one that was typed.
pub fn picked_version(chosen: &str, known: &[String]) -> Option<String> {
    let typed = || version_name(chosen.strip_prefix('=')?).ok();
    picked(chosen, known.iter().map(String::as_str))
        .map(str::to_owned)
        .or_else(typed)
}

impl<'a> Sight<'a> {
    /// Applications in whose name `typed` stands; this channel's team's first. The team is shown where several have one of
    /// that name.
    pub fn suggest_applications(&self, typed: &str) -> Vec<Suggestion> {
        let typed = typed.trim().to_lowercase();
        let mut found: Vec<&Application> = self
            .applications
            .iter()
            .copied()
            .filter(|application| team_and_name(application).contains(&typed))
            .collect();
        found.sort_by_key(|application| {
            let name = application.name_any();
            let begins = name.starts_with(&typed);
            (
                !self.is_here(application),
                !begins,
                name,
                application.namespace(),
            )
        });
        found
            .into_iter()
            .take(MOST_SUGGESTIONS)
            .map(|application| {
                let name = application.name_any();
                let same = self
                    .applications
                    .iter()
                    .filter(|one| one.name_any() == name);
                let meant = team_and_name(application);
                let text = if same.count() > 1 { &meant } else { &name };
                Suggestion::new(text, &meant)
            })
            .collect()
    }

    /// The Application that an option of [`Self::suggest_applications`] stands for.
    pub fn picked_application(&self, chosen: &str) -> Option<&'a Application> {
        let mut all = self.applications.iter().copied();
        all.find(|application| value(&team_and_name(application)) == chosen)
    }

    /// The option that stands for an Application, for a form that opens with it.
    pub fn application_option(application: &Application) -> Suggestion {
        let meant = team_and_name(application);
        Suggestion::new(&meant, &meant)
    }

    /// Environments of an Application that may be asked for from here and in whose name `typed` stands.
    pub fn suggest_environments(&self, application: &Application, typed: &str) -> Vec<Suggestion> {
        let typed = typed.trim().to_lowercase();
        self.environments_of(application)
            .filter(|environment| self.may_ask_for(environment))
            .map(ResourceExt::name_any)
            .filter(|name| name.contains(&typed))
            .take(MOST_SUGGESTIONS)
            .map(|name| Suggestion::new(&name, &name))
            .collect()
    }

    /// The Environment that an option of [`Self::suggest_environments`] stands for.
    pub fn picked_environment(
        &self,
        application: &Application,
        chosen: &str,
    ) -> Option<&'a Environment> {
        self.environments_of(application)
            .filter(|environment| self.may_ask_for(environment))
            .find(|environment| value(&environment.name_any()) == chosen)
    }

    /// Versions in which `typed` stands: what is typed itself, then what runs or ran in the environment, then what runs or
    /// ran in others, each newest first.
    pub fn suggest_versions(
        &self,
        application: &Application,
        environment: Option<&str>,
        typed: &str,
    ) -> Vec<Suggestion> {
        let typed = typed.trim();
        let own = version_name(typed)
            .ok()
            .filter(|version| version.chars().count() < MOST_OPTION);
        let known = self.versions(application, environment);
        let matching = known.into_iter().filter(|version| {
            let lower = version.to_lowercase();
            lower.contains(&typed.to_lowercase()) && Some(version) != own.as_ref()
        });
        own.iter()
            .cloned()
            .chain(matching)
            .take(MOST_SUGGESTIONS)
            .map(|version| Suggestion::new(&version, &version))
            .collect()
    }

    /// The versions of an Application that are known from what runs and ran, those of `environment` first.
    pub fn versions(&self, application: &Application, environment: Option<&str>) -> Vec<String> {
        let mut targets: Vec<_> = self
            .targets
            .iter()
            .filter(|target| {
                target.metadata.namespace == application.metadata.namespace
                    && Some(&target.spec.application) == application.metadata.name.as_ref()
            })
            .collect();
        targets.sort_by_key(|target| Some(target.spec.environment.as_str()) != environment);
        let mut seen = BTreeSet::new();
        targets
            .into_iter()
            .filter_map(|target| target.status.as_ref())
            .flat_map(|status| status.current.iter().chain(&status.history))
            .filter_map(|run| run.version.clone())
            .filter(|version| seen.insert(version.clone()))
            .collect()
    }
}
