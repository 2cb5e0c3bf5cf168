//! What keeps a request from starting, as far as the receiver knows: for plans, and for whoever asks why. Touches nothing.
//!
//! The same functions judge as the controller's, by what the receiver's caches have. It is an early word: the controller
//! judges again, on what it reads for it.

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;

use crate::{
    api::{
        Application, DeployFreeze, DeployRequest, DeployTarget, Environment,
        deploy_request::Resolved,
    },
    domain::{
        guards::{
            Closed, Guards,
            freeze::{self, Freezes, Subject},
            lock,
            order::{self, Before},
            time,
        },
        ids,
        selector::Labels,
    },
};

/// What there is to go by, all of one namespace but for the freezes.
#[derive(Debug, Clone, Copy)]
pub struct Around<'a> {
    /// The Application, if it is there.
    pub application: Option<&'a Application>,
    /// The Environment, if it is there.
    pub environment: Option<&'a Environment>,
    /// The namespace's Environments, at least those that come before that one.
    pub environments: &'a [&'a Environment],
    /// The namespace's targets, at least this Application's.
    pub targets: &'a [&'a DeployTarget],
    /// The freezes of the namespace and of foredeck's own.
    pub freezes: &'a Freezes,
    /// The namespace's labels; `None` where they can't be read.
    pub namespace_labels: Option<&'a Labels>,
}

/// What keeps the request from starting now, where it comes to `resolved`. Whether an override counts isn't known here.
pub fn guards(
    request: &DeployRequest,
    resolved: &Resolved,
    around: Around<'_>,
    now: Timestamp,
) -> Guards {
    let spec = &request.spec;
    let target = target(around.targets, &resolved.deploy_target);
    let before = before(&spec.application, around);
    let own = target.and_then(|target| target.status.as_ref());
    Guards {
        time: time::closed(request, now),
        order: order::closed(&spec.action, resolved, own, &before, now),
        freeze: freeze(request, around, now),
        lock: lock::closed(around.environment, target, &spec.action, now),
        ..Guards::default()
    }
}

/// Why a freeze keeps the request from starting now.
pub fn freeze(request: &DeployRequest, around: Around<'_>, now: Timestamp) -> Option<Closed> {
    let spec = &request.spec;
    let namespace = request.namespace().unwrap_or_default();
    let subject = Subject {
        namespace: &namespace,
        namespace_labels: around.namespace_labels,
        application: &spec.application,
        application_labels: around.application.map(ResourceExt::labels),
        environment: &spec.environment,
        environment_labels: around.environment.map(ResourceExt::labels),
        action: &spec.action,
    };
    freeze::closed(around.freezes, subject, now)
}

/// The stop button, while it is on.
pub fn stopped(freezes: &Freezes, now: Timestamp) -> Option<&DeployFreeze> {
    let mut all = freezes.all.iter();
    let found = all.find(|freeze| freeze::stops_everything(freeze, &freezes.home, now));
    found.map(|freeze| &**freeze)
}

/// The Environments that come before, and what ran there.
fn before(application: &str, around: Around<'_>) -> Vec<Before> {
    let rules = around.environment.map(|it| &it.spec.protection.after);
    let each = rules.into_iter().flatten().map(|after| {
        let name = &after.environment;
        let mut all = around.environments.iter();
        let there = match all.find(|environment| environment.name_any() == *name) {
            Some(environment) => {
                let place = &environment.spec.target;
                let target = ids::target_name(application, name, place);
                let target = self::target(around.targets, &target);
                Ok(target.and_then(|target| target.status.clone()))
            }
            None => Err(format!("there is no Environment {name:?}.")),
        };
        Before {
            environment: name.clone(),
            soak: after.soak.map_or(Duration::ZERO, Duration::from),
            there,
        }
    });
    each.collect()
}

fn target<'a>(targets: &[&'a DeployTarget], name: &str) -> Option<&'a DeployTarget> {
    targets
        .iter()
        .find(|target| target.name_any() == name)
        .copied()
}
