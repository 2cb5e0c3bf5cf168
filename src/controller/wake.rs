//! Who is woken by what: a change of one object is another's reason to look. Touches the caches and the queues.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use kube::{Resource, ResourceExt};

use super::{announcing, approvals, context::Context, dereference};
use crate::{
    api::{
        DeployRequest, DeployTarget, Environment, SpinnakerConnection,
        deploy_request::{Phase, WaitingFor},
        deploy_target::DeployTargetStatus,
    },
    runtime::cache::{Guarded, named, reference},
};

/// A request changed or went: itself, its target, and who may be next there.
pub(super) fn request_changed(context: &Context, object: &Guarded<DeployRequest>) {
    drop(context.wake_request.send(reference(object)));
    let stored = context.caches.requests.0.get(&reference(object));
    let present = stored.is_some();
    let same = stored.is_some_and(|stored| stored.meta().uid == object.meta().uid);
    match &object.0 {
        Ok(request) => {
            context.audit.seen(request, !same);
            if !same {
                context.announcing.gone(request);
            } else if announcing::concerns(request) {
                drop(context.wake_announcement.send(reference(object)));
            }
        }
        Err(_) if !same => context.audit.vanished(object.meta()),
        Err(_) => {}
    }
    if !present {
        let uid = object.uid().unwrap_or_default();
        context.audit.forget(&uid);
        context.announcing.forget(&uid);
        context.behind_ground.over(&uid);
        context.behind_guards.over(&uid);
        context.plans.over(&uid);
        context.commits.over(&uid);
    }
    let Ok(request) = &object.0 else { return };
    let namespace = request.namespace().unwrap_or_default();
    if !present {
        approvals::request_gone(context, request);
    }
    let Some(target) = request
        .status
        .as_ref()
        .and_then(|status| status.resolved.as_ref())
        .map(|resolved| resolved.deploy_target.clone())
    else {
        return;
    };
    let phase = request.status.as_ref().and_then(|status| status.phase);
    if phase.is_some_and(Phase::is_terminal) {
        context.commits.over(&request.uid().unwrap_or_default());
    }
    // A finalizer may keep it: nothing starts for it all the same, and its target follows what runs.
    let going = !present || request.metadata.deletion_timestamp.is_some();
    if going {
        drop(context.wake_target.send(named(&namespace, &target)));
    }
    // Also whoever stands in line no more without having ended may have been the first there.
    let stands_aside = matches!(phase, Some(Phase::Pending | Phase::AwaitingApproval));
    let in_line = phase == Some(Phase::Queued);
    if going || phase.is_some_and(Phase::is_terminal) || in_line || stands_aside {
        wake_line(context, &namespace, &target);
    }
}

/// A target changed: itself, who holds it, and who may be next; all of its line where a lock or a hold changed, and those
/// that wait for what runs there where that did.
pub(super) fn target_changed(context: &Context, object: &Guarded<DeployTarget>) {
    drop(context.wake_target.send(reference(object)));
    if let Ok(target) = &object.0 {
        context.announcing.target_changed(target);
    }
    let namespace = object.meta().namespace.clone().unwrap_or_default();
    let name = object.meta().name.clone().unwrap_or_default();
    let present = context.caches.targets.0.get(&reference(object)).is_some();
    let [guards, runs] = context.seen_targets.differ(object, present);
    if runs && let Ok(target) = &object.0 {
        wake_followers(context, &namespace, target);
    }
    let active = object
        .0
        .as_ref()
        .ok()
        .and_then(|target| target.status.as_ref())
        .and_then(|status| status.active.as_ref());
    if let Some(active) = active {
        drop(context.wake_request.send(named(&namespace, &active.name)));
    }
    if guards {
        for object in dereference::in_line(context, &namespace, &name) {
            drop(context.wake_request.send(reference(&*object)));
        }
    } else if active.is_none() {
        wake_line(context, &namespace, &name);
    }
}

/// What of each target others wait for, as it was seen last: its locks and holds, and what ran there.
#[derive(Debug, Default)]
pub(super) struct SeenTargets(Mutex<HashMap<(String, String), [String; 2]>>);

impl SeenTargets {
    /// Whether the one, and whether the other is another now.
    fn differ(&self, object: &Guarded<DeployTarget>, present: bool) -> [bool; 2] {
        let meta = object.meta();
        let key = (
            meta.namespace.clone().unwrap_or_default(),
            meta.name.clone().unwrap_or_default(),
        );
        let status = match &object.0 {
            Ok(target) => target.status.clone().unwrap_or_default(),
            Err(_) => DeployTargetStatus::default(),
        };
        let hold = status.hold.as_ref().map(|hold| &hold.uid);
        let sent = status
            .active
            .as_ref()
            .map(|active| (&active.uid, &active.attempt.sent_at));
        let current = status.current.as_ref().map(|current| &current.uid);
        let latest = status.history.first().map(|latest| &latest.uid);
        let now = [
            format!("{:?} {hold:?}", meta.generation),
            format!("{:?} {sent:?} {current:?} {latest:?}", status.initialized),
        ];
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = if present {
            all.insert(key, now.clone())
        } else {
            all.remove(&key);
            None
        };
        match before {
            Some([guards, runs]) => [guards != now[0], runs != now[1]],
            None => [true, true],
        }
    }
}

/// Those for whose Environment a version has to have been on this target before.
fn wake_followers(context: &Context, namespace: &str, target: &DeployTarget) {
    wake_after(context, namespace, &target.spec.environment, |request| {
        request.spec.application == target.spec.application
    });
}

/// An Environment changed: those for whose Environment a version has to have been there before.
pub(super) fn environment_changed(context: &Context, object: &Guarded<Environment>) {
    let namespace = object.namespace().unwrap_or_default();
    wake_after(context, &namespace, &object.name_any(), |_| true);
}

fn wake_after(
    context: &Context,
    namespace: &str,
    name: &str,
    concerned: impl Fn(&DeployRequest) -> bool,
) {
    let followers = context.caches.environments.filter(|environment| {
        let mut after = environment.spec.protection.after.iter();
        environment.namespace().as_deref() == Some(namespace)
            && after.any(|after| after.environment == name)
    });
    if followers.is_empty() {
        return;
    }
    let followers: Vec<String> = followers.iter().map(|object| object.name_any()).collect();
    let waiting = context.caches.requests.filter(|request| {
        let phase = request.status.as_ref().and_then(|status| status.phase);
        let waits = matches!(
            phase.unwrap_or_default(),
            Phase::Pending | Phase::AwaitingApproval | Phase::Queued
        );
        waits
            && request.namespace().as_deref() == Some(namespace)
            && followers.contains(&request.spec.environment)
            && concerned(request)
    });
    for request in waiting {
        drop(context.wake_request.send(reference(&*request)));
    }
}

/// The first in line whom nothing else holds, whose turn it may be, and the last, since a newer request may supersede the one
/// before it. Those between them look by their own timers.
fn wake_line(context: &Context, namespace: &str, target: &str) {
    let mut line = dereference::in_line(context, namespace, target);
    line.sort_by_key(|object| object.0.as_ref().ok().map(dereference::place_in_line));
    let last = line.len().saturating_sub(2);
    let first = line
        .iter()
        .filter(|object| !object.0.as_ref().is_ok_and(says_it_is_held))
        .take(2);
    for object in first.chain(&line[last..]) {
        drop(context.wake_request.send(reference(&**object)));
    }
}

/// Whether it said last that it waits for its time, for order, a freeze or a lock: then what wakes it is that.
fn says_it_is_held(request: &DeployRequest) -> bool {
    let waiting = request
        .status
        .as_ref()
        .and_then(|status| status.waiting.as_ref());
    waiting.is_some_and(|waiting| {
        matches!(
            waiting.subject,
            WaitingFor::Time | WaitingFor::Order | WaitingFor::Freeze | WaitingFor::Lock
        )
    })
}

/// Configuration changed: every request in its namespace that names it and has not ended.
pub(super) fn configuration_changed<K>(
    context: &Context,
    object: &Guarded<K>,
    names: impl Fn(&DeployRequest, &str) -> bool,
) where
    K: Resource<DynamicType = ()> + Clone,
{
    let (namespace, name) = (
        object.meta().namespace.as_deref(),
        object.meta().name.as_deref().unwrap_or_default(),
    );
    let waiting = context.caches.requests.filter(|request| {
        request.namespace().as_deref() == namespace
            && names(request, name)
            && !request
                .status
                .as_ref()
                .and_then(|status| status.phase)
                .is_some_and(Phase::is_terminal)
    });
    for request in waiting {
        drop(context.wake_request.send(reference(&*request)));
    }
}

/// A connection changed, or its login: every request that may go through it. Its condition may stay as it is, since it was
/// not looked at while a request was refused.
pub(super) fn login_changed(context: &Context, object: &Guarded<SpinnakerConnection>) {
    configuration_changed(context, object, |_, _| true);
    shared_changed(context, object);
}

/// A connection of foredeck's own namespace changed: every request of another one that goes by its name and has not ended.
fn shared_changed(context: &Context, object: &Guarded<SpinnakerConnection>) {
    let home = object.meta().namespace.as_deref();
    if !context.caches.connections.is_home(home) {
        return;
    }
    let name = object.meta().name.as_deref().unwrap_or_default();
    let environments = &context.caches.environments;
    let waiting = context.caches.requests.filter(|request| {
        let namespace = request.namespace().unwrap_or_default();
        let status = request.status.as_ref();
        let ended = status
            .and_then(|status| status.phase)
            .is_some_and(Phase::is_terminal);
        let resolved = status.and_then(|status| status.resolved.as_ref());
        !ended
            && Some(namespace.as_str()) != home
            && (resolved.is_some_and(|resolved| resolved.connection == name)
                || environments
                    .get(&namespace, &request.spec.environment)
                    .is_some_and(|environment| environment.spec.connection == name))
    });
    for request in waiting {
        drop(context.wake_request.send(reference(&*request)));
    }
}
