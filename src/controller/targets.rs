//! A target's own reconcile: follows what a deleted request sent, finishes what a crash left, says whether the target is locked,
//! and rebuilds what was wiped. Touches what a pass over a request touches.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::{ResourceExt, api::ObjectMeta, runtime::controller::Action};
use tracing::Instrument;

use super::{
    audit,
    context::Context,
    dereference::Memo,
    driver,
    error::ControllerError,
    locks, objects,
    rebuild::{self, Lost},
    record,
};
use crate::{
    api::{
        DeployRequest, DeployTarget, SEEN_ANNOTATION,
        deploy_request::{DeployRequestSpec, DeployRequestStatus, Phase, Resolved},
        deploy_target::{Active, DeployTargetStatus},
    },
    domain::{backoff, decisions, target},
    runtime::{
        cache::{Guarded, named},
        telemetry,
    },
};

/// How often a held target makes sure that its request still looks after it.
const CHECK: Duration = Duration::from_secs(30);
/// How soon a target that can't be rebuilt yet is tried again.
const REBUILD: Duration = Duration::from_secs(5);
/// How long a new target is left to the request that made it, which fills it in the same pass.
const NEW: Duration = Duration::from_secs(5);
/// The longest that a lock's end is slept to: clocks are set, and machines sleep too.
const LONGEST: Duration = Duration::from_mins(5);

/// One pass over a target.
pub(super) async fn reconcile(
    object: Arc<Guarded<DeployTarget>>,
    context: Arc<Context>,
) -> Result<Action, ControllerError> {
    let target = match &object.0 {
        Ok(target) => target::misnamed(target).map_or(Ok(target), Err),
        Err(invalid) => Err(invalid.error.clone()),
    };
    let target = match target {
        Ok(target) => target,
        Err(problem) => {
            let note = format!(
                "this object can't be read, and nothing starts on it until somebody mends or deletes it: {problem}"
            );
            record::publish(&context, &*object, true, "TargetUnreadable", &note).await;
            return Ok(Action::await_change());
        }
    };
    if target.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let status = target.status.clone().unwrap_or_default();
    if status.initialized.is_none() {
        return rebuild(&context, target).await;
    }
    let changes_at = match said_locked(&context, target, &status).await {
        Ok(changes_at) => changes_at,
        // Changed since it was read: that wakes it again.
        Err(ControllerError::Conflict { .. }) => None,
        Err(error) => return Err(error),
    };
    let left = sleeps(changes_at, Timestamp::now());
    let Some(active) = &status.active else {
        return Ok(left.map_or_else(Action::await_change, Action::requeue));
    };
    let check = left.map_or(CHECK, |left| left.min(CHECK));
    let namespace = target.namespace().unwrap_or_default();
    // The cache may be behind, and a deletion's event may never come: ask.
    let request: Option<DeployRequest> =
        objects::read(&context.client, &namespace, &active.name).await?;
    match request.filter(|request| request.uid().as_deref() == Some(&active.uid)) {
        Some(request) if request.metadata.deletion_timestamp.is_none() => {
            let ended = request
                .status
                .as_ref()
                .and_then(|status| status.phase)
                .is_some_and(Phase::is_terminal);
            if ended || target.spec.release.is_some() {
                drop(context.wake_request.send(named(&namespace, &active.name)));
            }
            Ok(Action::requeue(check))
        }
        going => follow(&context, target, active, going).await,
    }
}

/// Follows what a request sent that is gone; or `going`, while a finalizer keeps what nobody else looks after any more.
async fn follow(
    context: &Context,
    target: &DeployTarget,
    active: &Active,
    going: Option<DeployRequest>,
) -> Result<Action, ControllerError> {
    let mut memo = Memo {
        fresh: true,
        gone_from: Some(target.name_any()),
        ..Memo::default()
    };
    let mut remembered = remembered(target, active);
    if let Some(going) = going {
        // What stands in it is told from it; and as long as it is there, somebody may cancel it.
        audit::tell(context, &going).await;
        // One that was heeded before stays so.
        driver::remember(&mut remembered, &going);
        remembered.spec = going.spec.clone();
        memo.going = Some(Box::new(going));
    } else {
        // Nobody else will tell what stood in the request, if it went before that was told. A mark alone may be on its
        // way to be taken back.
        let attempt = &active.attempt;
        let stands = attempt.sent_at.as_ref().is_some_and(|sent| {
            active.execution.is_some() || backoff::elapsed(sent.0, Timestamp::now()) > CHECK
        });
        if stands {
            audit::tell_gone(context, &remembered).await;
        }
    }
    let about = telemetry::about(&remembered);
    match Box::pin(driver::pass(context, remembered, memo))
        .instrument(about)
        .await
    {
        Err(ControllerError::Conflict { .. }) => Ok(Action::requeue(Duration::from_secs(1))),
        other => other,
    }
}

/// How long to sleep until that moment, at most [`LONGEST`].
fn sleeps(until: Option<Timestamp>, now: Timestamp) -> Option<Duration> {
    until.map(|moment| backoff::elapsed(now, moment).min(LONGEST))
}

/// Says whether a lock or a hold keeps requests from starting there, and gives when that changes by itself.
async fn said_locked(
    context: &Context,
    target: &DeployTarget,
    status: &DeployTargetStatus,
) -> Result<Option<Timestamp>, ControllerError> {
    let mut conditions = status.conditions.clone();
    let changes_at = locks::of_target(target, &mut conditions, Timestamp::now());
    if conditions != status.conditions {
        let next = target::looked_after(status, conditions, status.drift.clone());
        objects::write_status(
            &context.client,
            target,
            &next,
            "write a DeployTarget's condition",
        )
        .await?;
        locks::tell(context, target, &status.conditions, &next.conditions).await;
    }
    Ok(changes_at)
}

/// The deleted request, as far as its target remembers it.
fn remembered(target: &DeployTarget, active: &Active) -> DeployRequest {
    let pinned = &active.attempt.pinned;
    DeployRequest {
        metadata: ObjectMeta {
            name: Some(active.name.clone()),
            namespace: target.namespace(),
            uid: Some(active.uid.clone()),
            creation_timestamp: Some(active.attempt.claimed_at.clone()),
            annotations: Some(BTreeMap::from([(
                SEEN_ANNOTATION.to_owned(),
                active.uid.clone(),
            )])),
            ..ObjectMeta::default()
        },
        spec: DeployRequestSpec {
            application: target.spec.application.clone(),
            environment: target.spec.environment.clone(),
            action: active.action.clone(),
            version: active.version.clone(),
            commit: active.commit.clone(),
            parameters: BTreeMap::new(),
            target: None,
            reason: None,
            timeout: None,
            dry_run: false,
            idempotency_key: Some(active.key.clone()),
            requester: None,
            notify: None,
            not_before: None,
            start_before: None,
            override_: None,
            cancel: None,
            ttl_after_finished: None,
        },
        status: Some(DeployRequestStatus {
            phase: Some(Phase::Unknown),
            attempt: Some(active.attempt.clone()),
            decisions: decisions::start(&active.attempt).into_iter().collect(),
            resolved: Some(Resolved {
                connection: pinned.connection.clone(),
                pipeline: pinned.pipeline.clone(),
                revision: None,
                parameters: BTreeMap::new(),
                version: active.version.clone(),
                commit: active.commit.clone(),
                artifacts: Vec::new(),
                target: target.spec.place.clone(),
                deploy_target: target.name_any(),
                digest: active.digest.clone(),
            }),
            ..DeployRequestStatus::default()
        }),
    }
}

async fn rebuild(context: &Context, target: &DeployTarget) -> Result<Action, ControllerError> {
    let age = target
        .creation_timestamp()
        .map(|created| backoff::elapsed(created.0, Timestamp::now()));
    if let Some(left) = age
        .and_then(|age| NEW.checked_sub(age))
        .filter(|left| !left.is_zero())
    {
        return Ok(Action::requeue(left));
    }
    let namespace = target.namespace().unwrap_or_default();
    let Some(environment) = context
        .caches
        .environments
        .get(&namespace, &target.spec.environment)
    else {
        return Ok(Action::requeue(CHECK));
    };
    let lost = Lost {
        namespace: &namespace,
        connection: &environment.spec.connection,
        pipelines: Vec::new(),
    };
    match rebuild::prepare(context, target.spec.clone(), lost).await {
        Ok(Ok(())) => Ok(Action::await_change()),
        Ok(Err(refusal)) => {
            tracing::info!(reason = %refusal.reason, message_to_people = %refusal.message, "a target can't be rebuilt yet");
            Ok(Action::requeue(
                refusal.retry_after.unwrap_or(REBUILD).max(REBUILD),
            ))
        }
        Err(ControllerError::Conflict { .. }) => Ok(Action::requeue(Duration::from_secs(1))),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locks_end_is_never_slept_to_for_longer_than_some_minutes() {
        let now: Timestamp = "2026-03-02T12:00:00Z".parse().unwrap();
        let at = |moment: &str| sleeps(Some(moment.parse().unwrap()), now);
        assert_eq!(at("2026-03-02T12:00:30Z"), Some(Duration::from_secs(30)));
        // Whatever becomes of the clock meanwhile, it is looked at again.
        assert_eq!(at("2026-03-02T14:00:00Z"), Some(LONGEST));
        assert_eq!(at("2026-03-09T12:00:00Z"), Some(LONGEST));
        assert_eq!(at("2026-03-02T11:00:00Z"), Some(Duration::ZERO));
        assert_eq!(sleeps(None, now), None);
    }
}
