//! Which team's application a command means, and what else somebody may see. Touches nothing.
//!
//! A [`Sight`] holds what one person may see from where they ask, and nothing else: whatever is made of it (an answer, a
//! suggestion, an error, the nearest name) can't tell of what they may not see, which is answered as if it were absent.

mod ask;
mod guarded;

use std::collections::BTreeSet;

use kube::{Resource, ResourceExt};

use crate::{
    api::{Application, DeployRequest, DeployTarget, Environment},
    receiver::grammar::{ApplicationRef, Vocabulary, closest},
};

pub use ask::{Answer, Cancellable, Running};
pub use guarded::Lockable;

/// What one person may see, from the conversation in which they ask.
#[derive(Debug, Clone, Default)]
pub struct Sight<'a> {
    visible: BTreeSet<String>,
    channel: String,
    applications: Vec<&'a Application>,
    environments: Vec<&'a Environment>,
    targets: Vec<&'a DeployTarget>,
    requests: Vec<&'a DeployRequest>,
}

/// Something that isn't there, or that the person may not see: nothing tells one from the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absent {
    /// What it was to be.
    pub kind: AbsentKind,
    /// The name as it was typed. Untrusted.
    pub name: String,
    /// A name that the person may see and that differs little.
    pub near: Option<String>,
}

/// What isn't there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AbsentKind {
    /// An application, or a team with such an application.
    Application,
    /// An environment.
    Environment,
    /// A request, or an application, of that name.
    Request,
    /// A request that could be cancelled.
    Running,
}

impl Absent {
    /// The fixed word.
    pub fn reason(&self) -> &'static str {
        match self.kind {
            AbsentKind::Application => "no-application",
            AbsentKind::Environment => "no-environment",
            AbsentKind::Request => "no-request",
            AbsentKind::Running => "nothing-to-cancel",
        }
    }

    /// A sentence in plain text: what there is not, and what to do. Untrusted.
    pub fn sentence(&self) -> String {
        let what = match self.kind {
            AbsentKind::Application => "application",
            AbsentKind::Environment => "environment",
            AbsentKind::Request => "request or application",
            AbsentKind::Running => {
                return format!(
                    "Nothing of \"{}\" is under way or waits that you may see, so there is nothing to cancel.",
                    self.name
                );
            }
        };
        let advice = match &self.near {
            Some(near) => format!("Did you mean \"{near}\"?"),
            None => "Check the name, or ask your platform team for access to the team's namespace."
                .to_owned(),
        };
        format!(
            "There is no {what} \"{}\" that you may see. Nothing was started. {advice}",
            self.name
        )
    }
}

/// What a reference comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Found<T> {
    /// This one.
    One(T),
    /// One of these: the person has to pick.
    Several(Vec<T>),
    /// None.
    Absent(Absent),
}

impl<'a> Sight<'a> {
    /// Of somebody who may see these namespaces and asks in this channel.
    pub fn new(visible: BTreeSet<String>, channel: impl Into<String>) -> Self {
        Self {
            visible,
            channel: channel.into(),
            ..Self::default()
        }
    }

    /// With those of these Applications that they may see.
    #[must_use]
    pub fn with_applications(mut self, all: impl IntoIterator<Item = &'a Application>) -> Self {
        self.applications = self.seen(all);
        self
    }

    /// With those of these Environments that they may see.
    #[must_use]
    pub fn with_environments(mut self, all: impl IntoIterator<Item = &'a Environment>) -> Self {
        self.environments = self.seen(all);
        self
    }

    /// With those of these targets that they may see: for what runs, what ran, and versions to suggest.
    #[must_use]
    pub fn with_targets(mut self, all: impl IntoIterator<Item = &'a DeployTarget>) -> Self {
        self.targets = self.seen(all);
        self
    }

    /// With those of these requests that they may see: for what is under way.
    #[must_use]
    pub fn with_requests(mut self, all: impl IntoIterator<Item = &'a DeployRequest>) -> Self {
        self.requests = self.seen(all);
        self
    }

    fn seen<Kind: Resource>(&self, all: impl IntoIterator<Item = &'a Kind>) -> Vec<&'a Kind> {
        let mut seen: Vec<&Kind> = all
            .into_iter()
            .filter(|object| {
                let namespace = object.meta().namespace.as_deref();
                namespace.is_some_and(|namespace| self.visible.contains(namespace))
            })
            .collect();
        seen.sort_by_key(|object| (object.meta().namespace.clone(), object.meta().name.clone()));
        seen
    }

    /// The words that mean something to this person.
    pub fn vocabulary(&self) -> Vocabulary {
        let verbs = self
            .applications
            .iter()
            .flat_map(|application| application.spec.actions.keys().cloned());
        let applications: Vec<String> =
            self.applications.iter().map(|one| one.name_any()).collect();
        let environments = self.environments.iter().map(|one| one.name_any());
        Vocabulary::new(verbs, applications, environments)
    }

    /// The application that a reference means: `team/application` names it; else it is the one whose team this channel
    /// is; else the only one of that name. Of several the person has to pick.
    pub fn application(&self, reference: &ApplicationRef) -> Found<&'a Application> {
        let named = |application: &&&Application| {
            let team = reference.team.as_deref();
            application.metadata.name.as_deref() == Some(&*reference.name)
                && team.is_none_or(|team| application.metadata.namespace.as_deref() == Some(team))
        };
        let all: Vec<&Application> = self.applications.iter().filter(named).copied().collect();
        let here: Vec<&Application> = all
            .iter()
            .filter(|application| self.is_here(application))
            .copied()
            .collect();
        let mut meant = if here.is_empty() { all } else { here };
        match (meant.pop(), meant.is_empty()) {
            (None, _) => Found::Absent(self.no_application(reference)),
            (Some(one), true) => Found::One(one),
            (Some(last), false) => {
                meant.push(last);
                Found::Several(meant)
            }
        }
    }

    /// The Environments of an Application's namespace.
    fn environments_of(&self, application: &Application) -> impl Iterator<Item = &'a Environment> {
        let namespace = application.metadata.namespace.clone();
        self.environments
            .iter()
            .copied()
            .filter(move |environment| environment.metadata.namespace == namespace)
    }

    fn environment_of(
        &self,
        application: &Application,
        name: &str,
    ) -> Result<&'a Environment, Absent> {
        self.environments_of(application)
            .find(|environment| environment.metadata.name.as_deref() == Some(name))
            .ok_or_else(|| {
                let names = self.environments_of(application).map(ResourceExt::name_any);
                Absent {
                    kind: AbsentKind::Environment,
                    name: name.to_owned(),
                    near: near(name, names),
                }
            })
    }

    fn no_application(&self, reference: &ApplicationRef) -> Absent {
        let all = || self.applications.iter().copied();
        let near = match &reference.team {
            None => near(&reference.name, all().map(ResourceExt::name_any)),
            // With a slip in the name, a name of that team; with a wrong team, the same name elsewhere.
            Some(team) => {
                let of_team = all().filter(|one| one.metadata.namespace.as_ref() == Some(team));
                near(&reference.name, of_team.map(ResourceExt::name_any))
                    .map(|name| format!("{team}/{name}"))
                    .or_else(|| {
                        all()
                            .find(|one| one.name_any() == reference.name)
                            .map(team_and_name)
                    })
            }
        };
        Absent {
            kind: AbsentKind::Application,
            name: reference.to_string(),
            near,
        }
    }

    /// Whether this channel is the application's team's.
    fn is_here(&self, application: &Application) -> bool {
        let slack = application.spec.slack.as_ref();
        slack.is_some_and(|slack| slack.channels.contains(&self.channel))
    }

    /// The namespaces whose team this channel is.
    fn teams_here(&self) -> BTreeSet<String> {
        self.applications
            .iter()
            .filter(|application| self.is_here(application))
            .filter_map(|application| application.namespace())
            .collect()
    }
}

/// The name that differs least, if one differs little.
fn near(name: &str, among: impl Iterator<Item = String>) -> Option<String> {
    let among: Vec<String> = among.collect();
    closest(name, among.iter().map(String::as_str)).map(str::to_owned)
}

/// `team/application`.
pub fn team_and_name(application: &Application) -> String {
    let team = application.namespace().unwrap_or_default();
    format!("{team}/{}", application.name_any())
}

#[cfg(test)]
mod tests;
