//! What is asked about: `status`, `what`, `history`. Touches nothing: all of it comes from the directory, and costs the
//! API server nothing.

use std::cmp::Reverse;

use kube::ResourceExt;

use super::{answer::reading, sight::Sight};
use crate::{
    api::{
        Application, DeployRequest, DeployTarget, Environment,
        deploy_request::Phase,
        deploy_target::{Active, Run},
    },
    slack::{blocks::Message, grammar::ApplicationRef},
};

/// Requests and runs shown at most.
const MOST: usize = 20;

/// One application in one environment, as far as it is told.
#[derive(Debug, Clone)]
pub(super) struct Deployed {
    /// The team, the application and the environment.
    pub(super) namespace: String,
    /// The application.
    pub(super) application: String,
    /// The environment.
    pub(super) environment: String,
    /// What runs there.
    pub(super) current: Option<Run>,
    /// What holds it now.
    pub(super) active: Option<Active>,
    /// What ran there, newest first.
    pub(super) history: Vec<Run>,
}

/// What a question is about. What may not be seen is not there.
pub(super) struct About<'a> {
    /// An application, by whichever of the visible teams.
    pub(super) application: Option<&'a ApplicationRef>,
    /// The team that the channel belongs to, which a bare name means first.
    pub(super) home: Option<&'a str>,
    /// An environment.
    pub(super) environment: Option<&'a str>,
}

impl About<'_> {
    /// The teams whose application is meant: the named one, else the channel's if it has such an application, else all.
    fn teams(&self, sight: &Sight) -> Option<Vec<String>> {
        let reference = self.application?;
        let mut teams = sight.pick(|application: &Application| {
            let named = application.name_any() == reference.name;
            named.then(|| application.namespace()).flatten()
        });
        if let Some(team) = &reference.team {
            teams.retain(|one| one == team);
        } else if let Some(home) = self
            .home
            .filter(|home| teams.iter().any(|team| team == home))
        {
            teams.retain(|one| one == home);
        }
        Some(teams)
    }

    /// Whether there is anything of the kind.
    fn exists(&self, sight: &Sight) -> Result<(), Message> {
        if let Some(reference) = self.application
            && self.teams(sight).is_none_or(|teams| teams.is_empty())
        {
            return Err(reading::no_application(reference));
        }
        if let Some(name) = self.environment {
            let known = sight
                .pick(|environment: &Environment| (environment.name_any() == name).then_some(()));
            if known.is_empty() {
                return Err(reading::no_environment(name));
            }
        }
        Ok(())
    }

    fn wants(
        &self,
        teams: Option<&[String]>,
        namespace: &str,
        application: &str,
        environment: &str,
    ) -> bool {
        let fits = match (self.application, teams) {
            (Some(reference), Some(teams)) => {
                reference.name == application && teams.iter().any(|team| team == namespace)
            }
            _ => true,
        };
        fits && self.environment.is_none_or(|name| name == environment)
    }

    fn deployed(&self, sight: &Sight) -> Vec<Deployed> {
        let teams = self.teams(sight);
        let mut found = sight.pick(|target: &DeployTarget| {
            let namespace = target.namespace().unwrap_or_default();
            let spec = &target.spec;
            if !self.wants(
                teams.as_deref(),
                &namespace,
                &spec.application,
                &spec.environment,
            ) {
                return None;
            }
            let status = target.status.clone().unwrap_or_default();
            Some(Deployed {
                namespace,
                application: spec.application.clone(),
                environment: spec.environment.clone(),
                current: status.current,
                active: status.active,
                history: status.history,
            })
        });
        found.sort_by(|one, other| key(one).cmp(&key(other)));
        found
    }

    fn requests(&self, sight: &Sight) -> Vec<DeployRequest> {
        let teams = self.teams(sight);
        let mut found = sight.pick(|request: &DeployRequest| {
            let namespace = request.namespace().unwrap_or_default();
            let spec = &request.spec;
            self.wants(
                teams.as_deref(),
                &namespace,
                &spec.application,
                &spec.environment,
            )
            .then(|| request.clone())
        });
        found.sort_by_key(|request| Reverse(request.creation_timestamp().map(|time| time.0)));
        found
    }
}

fn key(one: &Deployed) -> (&str, &str, &str) {
    (&one.namespace, &one.application, &one.environment)
}

/// How it goes: what has not ended, and where nothing is under way, what ended last.
pub(super) fn status(sight: &Sight, about: &About<'_>) -> Message {
    if let Err(nothing) = about.exists(sight) {
        return nothing;
    }
    let requests = about.requests(sight);
    let (open, ended): (Vec<_>, Vec<_>) = requests
        .into_iter()
        .partition(|request| !phase(request).is_terminal());
    let last: Vec<_> = if open.is_empty() {
        ended.into_iter().take(3).collect()
    } else {
        Vec::new()
    };
    let deployed = if about.application.is_some() {
        about.deployed(sight)
    } else {
        Vec::new()
    };
    reading::status(&open, &last, &deployed, sight.sees_several(), MOST)
}

/// What runs where.
pub(super) fn what(sight: &Sight, about: &About<'_>) -> Message {
    if let Err(nothing) = about.exists(sight) {
        return nothing;
    }
    reading::what(
        &about.deployed(sight),
        about.environment,
        sight.sees_several(),
    )
}

/// What ran before.
pub(super) fn history(sight: &Sight, about: &About<'_>) -> Message {
    if let Err(nothing) = about.exists(sight) {
        return nothing;
    }
    reading::history(&about.deployed(sight), sight.sees_several(), MOST)
}

fn phase(request: &DeployRequest) -> Phase {
    let status = request.status.as_ref();
    status.and_then(|status| status.phase).unwrap_or_default()
}
