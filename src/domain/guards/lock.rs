//! Locks of a target and of an Environment, and the hold of a rollback. Touches nothing.

use jiff::Timestamp;

use super::{Closed, PASS, told};
use crate::{
    api::{
        DeployTarget, Environment,
        conditions::Reason,
        deploy_request::{ROLLBACK_ACTION, WaitingFor},
        lock::Hold,
        lock::Lock,
    },
    domain::{moments::when, refusal::Refusal},
};

/// A lock that is not over.
pub fn in_force(lock: Option<&Lock>, now: Timestamp) -> Option<&Lock> {
    lock.filter(|lock| lock.until.as_ref().is_none_or(|until| now < until.0))
}

/// A rollback's hold that nobody lifted.
pub fn held(target: &DeployTarget) -> Option<&Hold> {
    let hold = target.status.as_ref()?.hold.as_ref()?;
    let lifted = target.spec.unhold.as_ref();
    lifted
        .is_none_or(|lifted| lifted.uid != hold.uid)
        .then_some(hold)
}

/// Why a lock or a hold keeps this action from starting: the Environment's lock, the target's, the hold. All are told. A
/// rollback passes a hold, and no lock.
pub fn closed(
    environment: Option<&Environment>,
    target: Option<&DeployTarget>,
    action: &str,
    now: Timestamp,
) -> Option<Closed> {
    let mut sentences = Vec::new();
    // Until when each of them holds; nobody knows of a hold.
    let mut ends = Vec::new();
    if let Some(environment) = environment
        && let Some(lock) = in_force(environment.spec.lock.as_ref(), now)
    {
        let name = environment.metadata.name.as_deref().unwrap_or_default();
        sentences.push(locked(&format!("Environment `{name}`"), lock));
        ends.push(lock.until.as_ref().map(|until| until.0));
    }
    let spec = target.map(|target| &target.spec);
    if let Some(spec) = spec
        && let Some(lock) = in_force(spec.lock.as_ref(), now)
    {
        let place = format!("`{}` in `{}`", spec.application, spec.environment);
        sentences.push(locked(&place, lock));
        ends.push(lock.until.as_ref().map(|until| until.0));
    }
    let reason = if sentences.is_empty() {
        Reason::Held
    } else {
        Reason::Locked
    };
    if action != ROLLBACK_ACTION
        && let Some(target) = target
        && let Some(hold) = held(target)
    {
        sentences.push(rolled_back(target, hold));
        ends.push(None);
    }
    if sentences.is_empty() {
        return None;
    }
    sentences.push(PASS.to_owned());
    let ends: Option<Vec<Timestamp>> = ends.into_iter().collect();
    Some(Closed {
        refusal: Refusal::passing(WaitingFor::Lock, reason, sentences.join(" ")),
        until: ends.and_then(|ends| ends.into_iter().max()),
    })
}

fn locked(what: &str, lock: &Lock) -> String {
    let until = lock.until.as_ref().map_or_else(
        || "until somebody unlocks it".to_owned(),
        |until| format!("until {}", when(until.0)),
    );
    let reason = told(&lock.reason);
    match &lock.by {
        Some(by) => format!(
            "{what} is locked by `{0}` {until}, saying {reason}. `{0}` can unlock it, and so can whoever has the verb `override`.",
            by.username
        ),
        None => format!(
            "{what} is locked {until}, saying {reason}. Whoever has the verb `override` can unlock it."
        ),
    }
}

fn rolled_back(target: &DeployTarget, hold: &Hold) -> String {
    let versions = match (&hold.from, &hold.to) {
        (Some(from), Some(to)) => format!(" from `{from}` to `{to}`"),
        (Some(from), None) => format!(" from `{from}`"),
        (None, Some(to)) => format!(" to `{to}`"),
        (None, None) => String::new(),
    };
    let spec = &target.spec;
    let (by, who) = match &hold.by {
        Some(by) => (
            format!(" by `{by}`"),
            format!("`{by}` can, and so can whoever has the verb `override`"),
        ),
        None => (
            String::new(),
            "whoever has the verb `override` can".to_owned(),
        ),
    };
    format!(
        "`{}` in `{}` is held: rolled back{versions}{by} {} (request `{}`). Nothing but a rollback starts there until somebody unlocks it: {who}.",
        spec.application,
        spec.environment,
        when(hold.since.0),
        hold.name
    )
}

#[cfg(test)]
#[path = "lock_tests.rs"]
mod tests;
