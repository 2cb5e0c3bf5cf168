//! Freezes: where they are found, whom they wake, and what is said of each: whether it holds now, until when, and when next.
//! Touches the API server and the clock.
//!
//! A status is written when it changes: when a freeze does, and when the moment comes at which it begins or ends.

mod found;
mod metrics;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Resource, ResourceExt, runtime::controller::Action};

pub(super) use self::{found::Freezing, metrics::Freezes};
use super::{context::Context, error::ControllerError, objects, record};
use crate::{
    api::{
        DeployFreeze, DeployRequest,
        conditions::{self, ConditionType, Reason},
        deploy_freeze::DeployFreezeStatus,
        deploy_request::Phase,
    },
    domain::{
        backoff,
        guards::freeze::{self, About, Holding, Window},
        moments::when,
    },
    runtime::{
        cache::{Guarded, reference},
        telemetry::chain,
    },
};

/// How soon a status is written again that could not be.
const SOON: Duration = Duration::from_secs(10);
/// How soon a status is written again that somebody else wrote at the same time.
const AGAIN: Duration = Duration::from_secs(1);
/// The longest that a moment is slept to: clocks are set, and machines sleep too.
const LONGEST: Duration = Duration::from_hours(1);

/// One pass over a freeze that a watch or a timer brought up.
pub(super) async fn reconcile(
    object: Arc<Guarded<DeployFreeze>>,
    context: Arc<Context>,
) -> Result<Action, ControllerError> {
    let freeze = match &object.0 {
        Ok(freeze) => freeze,
        Err(invalid) => {
            let note = format!(
                "this object can't be read, and holds everything that it might be about until somebody mends or deletes it: {}",
                invalid.error
            );
            record::publish(&context, &*object, true, "Invalid", &note).await;
            return Ok(Action::await_change());
        }
    };
    if freeze.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let now = Timestamp::now();
    let (status, changes_at) = said(freeze, context.caches.freezes.home_namespace(), now);
    let writing = objects::write_status(
        &context.client,
        freeze,
        &status,
        "write a DeployFreeze's status",
    );
    match writing.await {
        Ok(written) => {
            if written.is_some() {
                tell(&context, freeze, &status).await;
            }
        }
        Err(ControllerError::Conflict { .. }) => return Ok(Action::requeue(AGAIN)),
        Err(error @ (ControllerError::NotLeading | ControllerError::Stopping)) => {
            return Err(error);
        }
        Err(error) => {
            context.metrics.failed(error.reason());
            tracing::warn!(reason = error.reason(), error = %chain(&error), "what is to be said of a freeze could not be written");
            return Ok(Action::requeue(SOON));
        }
    }
    Ok(changes_at.map_or_else(Action::await_change, |moment| {
        Action::requeue(backoff::elapsed(now, moment).min(LONGEST))
    }))
}

/// What its status is to be, and when that changes by itself.
fn said(
    freeze: &DeployFreeze,
    home: &str,
    now: Timestamp,
) -> (DeployFreezeStatus, Option<Timestamp>) {
    let spec = &freeze.spec;
    let generation = freeze.metadata.generation;
    let created = freeze.creation_timestamp().map_or(now, |time| time.0);
    let found = freeze::window(spec, created.min(now), now);
    let (reason, message) = match &found {
        Ok(_) => (
            Reason::ConfigurationValid,
            "its times can be understood.".to_owned(),
        ),
        Err(problem) => (
            Reason::ScheduleInvalid,
            format!(
                "{problem}. Until somebody mends it, it holds all the time, and cancels nothing."
            ),
        ),
    };
    let ready = found.is_ok();
    let window = found.as_ref().map_or_else(
        |_| Window {
            since: Some(created),
            ..Window::default()
        },
        Window::clone,
    );
    let mut status = freeze.status.clone().unwrap_or_default();
    status.observed_generation = generation;
    status.since = window.since.map(Time);
    status.until = window.until.map(Time);
    status.next = window.next.map(Time);
    let mut set = |kind, truth, reason, message: &str| {
        conditions::set(
            &mut status.conditions,
            kind,
            Some(truth),
            reason,
            message,
            generation,
            now,
        );
    };
    set(ConditionType::Ready, ready, reason, &message);
    if window.since.is_some() {
        let holding = Holding {
            freeze: Arc::new(freeze.clone()),
            about: About::Yes,
            window: found,
        };
        let message = holding.says(home);
        set(ConditionType::Active, true, Reason::Frozen, &message);
    } else {
        let message = match window.next {
            Some(next) => format!("it doesn't hold now, and begins {}.", when(next)),
            None => "it is over.".to_owned(),
        };
        set(ConditionType::Active, false, Reason::NotFrozen, &message);
    }
    let changes = [window.until, window.next];
    (status, changes.into_iter().flatten().min())
}

/// One event when it begins, when it ends, and when its times can't be understood.
async fn tell(context: &Context, freeze: &DeployFreeze, status: &DeployFreezeStatus) {
    let before = freeze.status.as_ref().map(|status| &status.conditions[..]);
    for (kind, plain) in [
        (ConditionType::Active, "False"),
        (ConditionType::Ready, "True"),
    ] {
        let was = before.and_then(|before| conditions::find(before, kind));
        let was = was.map_or(plain, |was| was.status.as_str());
        if let Some(is) = conditions::find(&status.conditions, kind)
            && is.status != was
        {
            let warning = is.status != plain;
            record::publish(context, freeze, warning, &is.reason, &is.message).await;
        }
    }
}

// === Who is woken by what ===

/// A freeze changed or went: itself, and everything that it may be about and that has not ended.
pub(super) fn freeze_changed(context: &Context, object: &Guarded<DeployFreeze>) {
    let freezes = &context.caches.freezes;
    freezes.changed();
    let namespace = object.meta().namespace.as_deref();
    let home = freezes.is_home(namespace);
    let woken = match &context.wake_home_freeze {
        Some(elsewhere) if home => elsewhere.send(reference(object)),
        _ => context.wake_freeze.send(reference(object)),
    };
    drop(woken);
    // When it begins and ends, those whom it holds wake by themselves.
    if !freezes.differs(object) {
        return;
    }
    wake(context, |request| {
        home || request.metadata.namespace.as_deref() == namespace
    });
}

/// Freezes that could not be read are known now.
pub(super) fn all_known(context: &Context) {
    context.caches.freezes.changed();
    wake(context, |_| true);
}

fn wake(context: &Context, concerned: impl Fn(&DeployRequest) -> bool) {
    let all = context.caches.requests.filter(|request| {
        let phase = request.status.as_ref().and_then(|status| status.phase);
        !phase.is_some_and(Phase::is_terminal) && concerned(request)
    });
    for request in all {
        drop(context.wake_request.send(reference(&*request)));
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
