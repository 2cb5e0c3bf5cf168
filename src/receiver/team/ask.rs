//! What somebody may see of what runs, ran, is under way, or can be cancelled. Touches nothing.

use std::cmp::Reverse;

use jiff::Timestamp;
use kube::{Resource, ResourceExt};

use super::{Absent, AbsentKind, Found, Sight, near};
use crate::{
    api::{
        Application, DeployRequest, DeployTarget, Environment,
        deploy_request::{DeployRequestStatus, Phase},
        version::Repository,
    },
    receiver::grammar::{ApplicationRef, CancelWhat},
};

/// The answer to a question.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer<'a, Row> {
    /// These; there may be none.
    Rows(Vec<Row>),
    /// Several teams have such an application: the person has to pick.
    Team(Vec<&'a Application>),
    /// What they ask about isn't there.
    Absent(Absent),
}

/// One application in one place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Running<'a> {
    /// Where, if the Environment is still there.
    pub environment: Option<&'a Environment>,
    /// Where its commits are, if the Application is still there and says so.
    pub repository: Option<&'a Repository>,
    /// What runs there, what ran, and who has it.
    pub target: &'a DeployTarget,
}

/// What can be cancelled.
#[derive(Debug, Clone, PartialEq)]
pub enum Cancellable<'a> {
    /// This request.
    One(&'a DeployRequest),
    /// One of these: the person has to pick.
    Several(Vec<&'a DeployRequest>),
    /// That request, but it has ended.
    Ended(&'a DeployRequest),
    /// Several teams have such an application: the person has to pick.
    Team(Vec<&'a Application>),
    /// There is nothing of the kind.
    Absent(Absent),
}

/// Whose and where: as far as a question says.
struct Scope<'a> {
    application: Option<&'a Application>,
    namespaces: Option<Vec<String>>,
    environment: Option<String>,
}

impl Scope<'_> {
    fn holds(&self, namespace: Option<&str>, application: &str, environment: &str) -> bool {
        let own = self.application.is_none_or(|own| {
            own.metadata.namespace.as_deref() == namespace
                && own.metadata.name.as_deref() == Some(application)
        });
        let teams = self.namespaces.as_ref().is_none_or(|teams| {
            namespace.is_some_and(|namespace| teams.iter().any(|team| team == namespace))
        });
        own && teams
            && self
                .environment
                .as_deref()
                .is_none_or(|named| named == environment)
    }
}

impl<'a> Sight<'a> {
    /// What is under way and what waits, by age: of an application, in an environment, of this channel's team, or of
    /// whatever they may see.
    pub fn status(
        &self,
        reference: Option<&ApplicationRef>,
        environment: Option<&str>,
    ) -> Answer<'a, &'a DeployRequest> {
        self.scoped(reference, environment, |scope| self.under_way(scope))
    }

    /// What has ended, the latest first: with the scope of [`Sight::status`]. Whether it ever had a target doesn't matter.
    pub fn ended(
        &self,
        reference: Option<&ApplicationRef>,
        environment: Option<&str>,
    ) -> Answer<'a, &'a DeployRequest> {
        self.scoped(reference, environment, |scope| {
            let mut found = self.asked(scope, |request| !is_active(request));
            found.sort_by_key(|request| Reverse((ended_at(request), request.uid())));
            found
        })
    }

    /// What runs in an environment, or in all of them: of this channel's team, or of whatever they may see.
    pub fn what(&self, environment: Option<&str>) -> Answer<'a, Running<'a>> {
        self.scoped(None, environment, |scope| self.running(scope))
    }

    /// The places in which an application ran; what ran there stands in their status.
    pub fn history(
        &self,
        reference: &ApplicationRef,
        environment: Option<&str>,
    ) -> Answer<'a, Running<'a>> {
        self.scoped(Some(reference), environment, |scope| self.running(scope))
    }

    /// The request that a cancel means.
    pub fn cancellable(&self, what: &CancelWhat) -> Cancellable<'a> {
        match what {
            CancelWhat::Named(name) => match self.request(name) {
                Some(found) => found,
                None => match self.of_target(name, None) {
                    // It may have been meant as either.
                    Cancellable::Absent(absent) if absent.kind == AbsentKind::Application => {
                        Cancellable::Absent(self.no_request(name))
                    }
                    other => other,
                },
            },
            CancelWhat::Target {
                application,
                environment,
            } => self.of_target(application, environment.as_deref()),
        }
    }

    /// The request of that name.
    fn request(&self, name: &ApplicationRef) -> Option<Cancellable<'a>> {
        let named: Vec<&DeployRequest> = self
            .requests
            .iter()
            .filter(|request| {
                let team = name.team.as_deref();
                request.metadata.name.as_deref() == Some(&*name.name)
                    && team.is_none_or(|team| request.metadata.namespace.as_deref() == Some(team))
            })
            .copied()
            .collect();
        let active: Vec<&DeployRequest> =
            named.iter().filter(|one| is_active(one)).copied().collect();
        match (active.as_slice(), named.as_slice()) {
            ([one], _) => Some(Cancellable::One(one)),
            ([], []) => None,
            ([], [ended, ..]) => Some(Cancellable::Ended(ended)),
            _ => Some(Cancellable::Several(active)),
        }
    }

    fn of_target(&self, reference: &ApplicationRef, environment: Option<&str>) -> Cancellable<'a> {
        let requests = match self.status(Some(reference), environment) {
            Answer::Rows(requests) => requests,
            Answer::Team(several) => return Cancellable::Team(several),
            Answer::Absent(absent) => return Cancellable::Absent(absent),
        };
        match requests.as_slice() {
            [] => Cancellable::Absent(Absent {
                kind: AbsentKind::Running,
                name: match environment {
                    Some(environment) => format!("{reference} in {environment}"),
                    None => reference.to_string(),
                },
                near: None,
            }),
            [one] => Cancellable::One(one),
            _ => Cancellable::Several(requests),
        }
    }

    fn no_request(&self, name: &ApplicationRef) -> Absent {
        let active = self.requests.iter().filter(|request| is_active(request));
        let names = active.map(|request| request.name_any());
        let applications = self.applications.iter().map(|one| one.name_any());
        Absent {
            kind: AbsentKind::Request,
            name: name.to_string(),
            near: near(&name.name, names.chain(applications)),
        }
    }

    fn scoped<Row>(
        &self,
        reference: Option<&ApplicationRef>,
        environment: Option<&str>,
        rows: impl Fn(&Scope<'a>) -> Vec<Row>,
    ) -> Answer<'a, Row> {
        let mut scope = Scope {
            application: None,
            namespaces: None,
            environment: environment.map(str::to_owned),
        };
        match reference.map(|reference| self.application(reference)) {
            Some(Found::Several(several)) => return Answer::Team(several),
            Some(Found::Absent(absent)) => return Answer::Absent(absent),
            Some(Found::One(application)) => {
                if let Some(Err(absent)) =
                    environment.map(|name| self.environment_of(application, name))
                    // What ran in an environment that is gone can still be asked for.
                    && !self.ran_in(application, environment)
                {
                    return Answer::Absent(absent);
                }
                scope.application = Some(application);
            }
            None => match self.teams(environment) {
                Ok(teams) => scope.namespaces = Some(teams),
                Err(absent) => return Answer::Absent(absent),
            },
        }
        Answer::Rows(rows(&scope))
    }

    /// The teams that a question without an application is about: this channel's, where it has any, else all. With an
    /// environment, those that have one of that name.
    fn teams(&self, environment: Option<&str>) -> Result<Vec<String>, Absent> {
        let here = self.teams_here();
        let Some(name) = environment else {
            let teams = if here.is_empty() {
                &self.visible
            } else {
                &here
            };
            return Ok(teams.iter().cloned().collect());
        };
        let all: Vec<String> = self
            .environments
            .iter()
            .filter(|environment| environment.metadata.name.as_deref() == Some(name))
            .filter_map(|environment| environment.namespace())
            .collect();
        if all.is_empty() {
            return Err(Absent {
                kind: AbsentKind::Environment,
                name: name.to_owned(),
                near: near(name, self.environments.iter().map(|one| one.name_any())),
            });
        }
        let of_here: Vec<String> = all
            .iter()
            .filter(|team| here.contains(*team))
            .cloned()
            .collect();
        Ok(if of_here.is_empty() { all } else { of_here })
    }

    fn ran_in(&self, application: &Application, environment: Option<&str>) -> bool {
        let scope = Scope {
            application: Some(application),
            namespaces: None,
            environment: environment.map(str::to_owned),
        };
        !self.running(&scope).is_empty()
    }

    fn under_way(&self, scope: &Scope<'_>) -> Vec<&'a DeployRequest> {
        let mut found = self.asked(scope, is_active);
        found.sort_by_key(|request| {
            (
                request.creation_timestamp().map(|time| time.0),
                request.uid(),
            )
        });
        found
    }

    /// What was asked for within a scope, of these.
    fn asked(
        &self,
        scope: &Scope<'_>,
        wanted: impl Fn(&DeployRequest) -> bool,
    ) -> Vec<&'a DeployRequest> {
        let requests = self.requests.iter().copied();
        requests
            .filter(|request| {
                let (namespace, spec) = (request.metadata.namespace.as_deref(), &request.spec);
                wanted(request) && scope.holds(namespace, &spec.application, &spec.environment)
            })
            .collect()
    }

    fn running(&self, scope: &Scope<'_>) -> Vec<Running<'a>> {
        self.targets
            .iter()
            .filter(|target| {
                let (namespace, spec) = (target.metadata.namespace.as_deref(), &target.spec);
                scope.holds(namespace, &spec.application, &spec.environment)
            })
            .map(|target| Running {
                repository: self.applications.iter().copied().find_map(|application| {
                    let named = application.metadata.namespace == target.metadata.namespace
                        && application.metadata.name.as_ref() == Some(&target.spec.application);
                    application.spec.repository.as_ref().filter(|_| named)
                }),
                environment: self.environments.iter().copied().find(|environment| {
                    environment.meta().namespace == target.metadata.namespace
                        && environment.metadata.name.as_ref() == Some(&target.spec.environment)
                }),
                target,
            })
            .collect()
    }
}

/// When it ended; when it was asked for, if that isn't told.
fn ended_at(request: &DeployRequest) -> Option<Timestamp> {
    let finished = request.status.as_ref()?.finished_at.as_ref();
    let ended = finished.map(|time| time.0);
    ended.or_else(|| request.creation_timestamp().map(|time| time.0))
}

/// Whether it hasn't ended.
fn is_active(request: &DeployRequest) -> bool {
    let phase = |status: &DeployRequestStatus| status.phase;
    !request
        .status
        .as_ref()
        .and_then(phase)
        .is_some_and(Phase::is_terminal)
}
