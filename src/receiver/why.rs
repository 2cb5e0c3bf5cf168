//! Why a request waits, or what one would meet. Touches the API server only where a freeze asks for a namespace's labels:
//! all else comes from the directory.

use std::collections::BTreeMap;

use kube::ResourceExt;

use super::{
    Receiver,
    answer::{
        reading,
        why::{self as answer, Meets},
    },
    grammar::{ApplicationRef, CancelWhat, Draft, LockWhat},
    locks::Spot,
    occasion::{Answer, Occasion, Trouble},
    plan::{Order, guarding},
    sight::Sight,
    team::{AbsentKind, Answer as Asked, Cancellable, Lockable},
};
use crate::{
    api::{
        Application, DeployRequest, Environment,
        deploy_request::{DEFAULT_ACTION, Phase, PipelineRef, Resolved},
    },
    domain::{
        guards::{Guards, lock},
        ids,
    },
};

impl Receiver {
    /// Somebody asks why something waits.
    pub(super) async fn why(
        &self,
        occasion: &Occasion,
        sight: &Sight,
        what: &CancelWhat,
    ) -> Result<Answer, Trouble> {
        let found = sight.look(occasion.channel.as_ref(), true, |team| match what {
            CancelWhat::Named(_) => match team.cancellable(what) {
                Cancellable::One(one) | Cancellable::Ended(one) => Ok(vec![one.clone()]),
                Cancellable::Several(several) => Ok(several.into_iter().cloned().collect()),
                Cancellable::Team(several) => Err(reading::which_of(&several)),
                Cancellable::Absent(absent) if absent.kind == AbsentKind::Running => Ok(Vec::new()),
                Cancellable::Absent(absent) => Err(reading::absent(&absent)),
            },
            CancelWhat::Target {
                application,
                environment,
            } => match team.status(Some(application), environment.as_deref()) {
                Asked::Rows(rows) => Ok(rows.into_iter().cloned().collect()),
                Asked::Team(several) => Err(reading::which_of(&several)),
                Asked::Absent(absent) => Err(reading::absent(&absent)),
            },
        });
        let found: Vec<DeployRequest> = match found {
            Ok(found) => found,
            Err(question) => return Ok(Answer::Say(question)),
        };
        if !found.is_empty() {
            return Ok(Answer::Say(answer::requests(&found)));
        }
        let (
            CancelWhat::Target {
                application,
                environment: Some(environment),
            },
            command,
        ) = (what, &self.settings.command)
        else {
            return Ok(Answer::Say(answer::nothing(&self.settings.command)));
        };
        let named = LockWhat::Target {
            application: application.clone(),
            environment: environment.clone(),
            target: None,
        };
        let place = sight.look(occasion.channel.as_ref(), false, |team| {
            match team.lockable(&named) {
                Lockable::Target(application, environment) => {
                    Some((application.clone(), environment.clone()))
                }
                _ => None,
            }
        });
        Ok(Answer::Say(match place {
            None => answer::nothing(command),
            Some((application, environment)) => {
                match self.would_meet(occasion, &application, &environment).await {
                    Some(guards) => answer::would_meet(&Meets {
                        application: &application.name_any(),
                        environment: &environment,
                        guards: &guards,
                    }),
                    None => answer::not_known(command),
                }
            }
        }))
    }

    /// What a request would meet now that deploys this there, to the Environment's own place. `None` where that can't be said.
    async fn would_meet(
        &self,
        occasion: &Occasion,
        application: &Application,
        environment: &Environment,
    ) -> Option<Guards> {
        let namespace = environment.namespace().unwrap_or_default();
        let (application, name) = (application.name_any(), environment.name_any());
        let deadline = occasion.persist_by();
        let around = self
            .surroundings(&namespace, &application, &name, deadline)
            .await;
        let place = environment.spec.target.clone();
        let resolved = Resolved {
            connection: environment.spec.connection.clone(),
            pipeline: PipelineRef {
                application: application.clone(),
                name: String::new(),
                id: String::new(),
            },
            revision: None,
            parameters: BTreeMap::new(),
            version: None,
            commit: None,
            artifacts: Vec::new(),
            deploy_target: ids::target_name(&application, &name, &place),
            target: place,
            digest: String::new(),
        };
        let request = imagined(&namespace, application, name)?;
        Some(around.with(|around| guarding::guards(&request, &resolved, around, self.now())))
    }

    /// What else keeps requests from starting where somebody has just unlocked something: sentences.
    pub(super) async fn still_closed(&self, occasion: &Occasion, spot: &Spot) -> Vec<String> {
        let Some(target) = &spot.target else {
            let freezes = self.directory.freezes(&spot.namespace);
            let stopped = guarding::stopped(&freezes, self.now());
            return stopped
                .map(|freeze| format!("everything is stopped: {}", freeze.spec.reason))
                .into_iter()
                .collect();
        };
        let namespace = &spot.namespace;
        let name = spot.environment.name_any();
        let deadline = occasion.persist_by();
        let around = self
            .surroundings(namespace, &target.application, &name, deadline)
            .await;
        let Some(request) = imagined(namespace, target.application.clone(), name) else {
            return vec!["what else keeps requests from starting there can't be said.".to_owned()];
        };
        let now = self.now();
        around.with(|around| {
            let freeze = guarding::freeze(&request, around, now);
            // The target's own was lifted, whatever the directory knows of that.
            let locked = lock::closed(around.environment, None, DEFAULT_ACTION, now);
            let closed = [freeze, locked].into_iter().flatten();
            closed.map(|closed| closed.refusal.message).collect()
        })
    }
}

/// A deployment that nobody asked for.
fn imagined(namespace: &str, application: String, environment: String) -> Option<DeployRequest> {
    let draft = Draft {
        application: Some(ApplicationRef::bare(application)),
        environment: Some(environment),
        ..Draft::default()
    };
    let order = Order::of(&draft.into_act()?)?;
    let mut request = DeployRequest::new("imagined", order.spec(None, None));
    request.metadata.namespace = Some(namespace.to_owned());
    Some(request)
}

/// Whether it may run in Spinnaker.
pub(super) fn is_sent(request: &DeployRequest) -> bool {
    matches!(
        phase(request),
        Phase::Starting | Phase::Running | Phase::Unknown
    )
}

/// Whether it waits, for whatever it is.
fn waits(request: &DeployRequest) -> bool {
    matches!(
        phase(request),
        Phase::Pending | Phase::AwaitingApproval | Phase::Queued
    )
}

fn phase(request: &DeployRequest) -> Phase {
    let status = request.status.as_ref();
    status.and_then(|status| status.phase).unwrap_or_default()
}

/// How many wait that somebody may see.
pub(super) fn waiting_anywhere(sight: &Sight) -> usize {
    sight.those(waits).len()
}

/// What waits there, the oldest first.
pub(super) fn waiting(sight: &Sight, spot: &Spot) -> Vec<DeployRequest> {
    let environment = spot.environment.name_any();
    let found = sight.those(|request: &DeployRequest| {
        let spec = &request.spec;
        let here = spot.target.as_ref().is_none_or(|target| {
            let resolved = request.status.as_ref();
            let resolved = resolved.and_then(|status| status.resolved.as_ref());
            spec.application == target.application
                && resolved.is_none_or(|resolved| resolved.deploy_target == target.name)
        });
        waits(request)
            && here
            && request.metadata.namespace.as_ref() == Some(&spot.namespace)
            && spec.environment == environment
    });
    let mut found: Vec<DeployRequest> = super::sight::decoded(&found).cloned().collect();
    found.sort_by_key(|request| {
        let created = request.creation_timestamp().map(|time| time.0);
        (created, request.uid())
    });
    found
}
