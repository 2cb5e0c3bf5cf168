//! One pass over one request: gather, decide, act, and again, until there is nothing left to do but to record and
//! wait. Touches what its steps touch.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::{Resource, ResourceExt, runtime::controller::Action};

use super::{
    act::{Done, Pass},
    approvals, audit,
    context::Context,
    dereference::{self, Gathered, Memo},
    error::ControllerError,
    objects, record,
};
use crate::{
    api::DeployRequest,
    api::deploy_request::{DeployRequestStatus, Phase, WaitingFor},
    domain::{Effect, access, backoff, decide, decisions, target},
    runtime::{cache::Guarded, traces},
};

/// Effects in one pass; a request takes six from its creation to its end.
const EFFECTS: usize = 12;
/// How soon a pass that somebody else was faster than is made again.
const AGAIN: Duration = Duration::from_millis(100);

/// How soon a request whose time is over is looked at again that an audit sink doesn't know all of.
const UNTOLD: Duration = Duration::from_mins(1);

/// How soon a request is looked at again whose acceptance could not be written.
const UNWRITTEN: Duration = Duration::from_secs(15);

/// One pass over a request that a watch or a timer brought up.
pub(super) async fn reconcile(
    object: Arc<Guarded<DeployRequest>>,
    context: Arc<Context>,
) -> Result<Action, ControllerError> {
    let request = match &object.0 {
        Ok(request) => request.clone(),
        Err(invalid) => {
            let note = format!(
                "this object can't be read and is left alone: {}",
                invalid.error
            );
            record::publish(&context, &*object, true, "Invalid", &note).await;
            return Ok(Action::await_change());
        }
    };
    // However long a finalizer keeps it: whatever it sent is followed from its target.
    if is_being_deleted(&request) {
        return Ok(Action::await_change());
    }
    if let Some(wait) = backing_off(&request) {
        return Ok(Action::requeue(wait));
    }
    let status = request.status.as_ref();
    // Waiting in line and following take no fresh read: whatever they do is guarded by the versions that they saw.
    let cached = status.is_some_and(|status| {
        status.execution.is_some()
            || status
                .phase
                .is_some_and(|phase| phase.is_terminal() || phase == Phase::Queued)
    });
    let mut memo = Memo {
        fresh: !cached,
        ..Memo::default()
    };
    for _ in 0..3 {
        let current = if memo.fresh {
            let read = objects::read::<DeployRequest>(
                &context.client,
                &request.namespace().unwrap_or_default(),
                &request.name_any(),
            )
            .await?;
            match read.filter(|read| read.uid() == request.uid() && !is_being_deleted(read)) {
                Some(read) => read,
                // Gone, or going: its target, if it holds one, has a reconcile of its own.
                None => return Ok(Action::await_change()),
            }
        } else {
            request.clone()
        };
        match Box::pin(pass(&context, current, memo)).await {
            // Somebody was faster, or the cache was behind: once more, on what is there now.
            Err(ControllerError::Conflict { doing }) => {
                tracing::debug!(doing, "somebody else was first");
                memo = Memo {
                    fresh: true,
                    ..Memo::default()
                };
            }
            other => return other,
        }
    }
    Ok(Action::requeue(AGAIN))
}

/// Gather, decide, act; and when there is nothing to do, record.
pub(super) async fn pass(
    context: &Context,
    request: DeployRequest,
    memo: Memo,
) -> Result<Action, ControllerError> {
    let mut pass = Pass {
        context,
        request,
        memo,
    };
    for _ in 0..EFFECTS {
        context.unless_stopping(context.claim.renewed()).await?;
        context.may_begin()?;
        let gathering = dereference::gather(context, &pass.request, &mut pass.memo);
        let mut gathered = context.unless_stopping(gathering).await??;
        let decision = decide(&pass.request, &gathered.facts, Timestamp::now());
        // Gathering may have waited for Gate.
        context.may_begin()?;
        Box::pin(heed(&mut pass, &gathered)).await?;
        match decision.effect {
            // Its time is over, but not everybody knows what was decided about it: that wakes it again.
            Some(Effect::Delete) if context.audit.is_behind(&pass.request) => {
                return Ok(Action::requeue(UNTOLD));
            }
            Some(Effect::Accept) => {
                if let Some(written) = recorded(context, &pass, &decision.status).await? {
                    pass.request = written;
                }
                // A status that the API server refused is written without what it was to say.
                if !stands(&pass.request, &decision.status) {
                    return Ok(Action::requeue(UNWRITTEN));
                }
                pass.memo.accepted = true;
                pass.memo.fresh = true;
            }
            Some(effect) => {
                let span = traces::step(step(&effect), &pass.request);
                let acting = Box::pin(pass.act(effect, &mut gathered));
                let done = traces::within(span.as_ref(), acting).await;
                if let Some(span) = span {
                    span.ended(done.as_ref().err().map(ControllerError::reason));
                }
                if matches!(done?, Done::Gone) {
                    return Ok(Action::await_change());
                }
                // What follows an effect must not be decided on a cache that has not seen it yet.
                pass.memo.fresh = true;
            }
            None => {
                if pass.memo.gone_from.is_none() {
                    recorded(context, &pass, &decision.status).await?;
                }
                return Ok(decision
                    .requeue
                    .map_or_else(Action::await_change, Action::requeue));
            }
        }
    }
    Ok(Action::requeue(AGAIN))
}

/// Whether the request says of itself what it was to be accepted as.
fn stands(request: &DeployRequest, decided: &DeployRequestStatus) -> bool {
    let resolved = |status: &DeployRequestStatus| {
        let resolved = status.resolved.as_ref()?;
        Some((resolved.digest.clone(), resolved.commit.clone()))
    };
    request.status.as_ref().and_then(resolved) == resolved(decided)
}

/// Writes what was decided, and tells it: the request as it was written, where anything differed.
async fn recorded(
    context: &Context,
    pass: &Pass<'_>,
    status: &DeployRequestStatus,
) -> Result<Option<DeployRequest>, ControllerError> {
    let written = record::record(context, &pass.request, status).await?;
    audit::tell(context, written.as_ref().unwrap_or(&pass.request)).await;
    approvals::say_all(context, &pass.memo.verdicts).await;
    Ok(written)
}

/// A cancel of a request that is being deleted is written down and told before anything is done by it: nobody else will.
async fn heed(pass: &mut Pass<'_>, gathered: &Gathered) -> Result<(), ControllerError> {
    let Some(going) = &pass.memo.going else {
        return Ok(());
    };
    let uid = pass.uid();
    let status = gathered.target.as_ref();
    let status = status.and_then(|target| target.status.as_ref());
    let held = status.and_then(|status| target::held_by(status, &uid));
    if held.is_none_or(|active| active.attempt.sent_at.is_none()) {
        return Ok(());
    }
    let gates = &gathered.facts.gates;
    let Some(next) = decisions::canceled_going(going, gates, Timestamp::now()) else {
        return Ok(());
    };
    if let Some(written) = record::record(pass.context, going, &next).await? {
        audit::tell(pass.context, &written).await;
        remember(&mut pass.request, &written);
        pass.memo.going = Some(Box::new(written));
    }
    Ok(())
}

/// What was decided about a request that is being deleted stands in itself, and not in what its target remembers of it.
pub(super) fn remember(remembered: &mut DeployRequest, going: &DeployRequest) {
    if let (Some(remembered), Some(stands)) = (&mut remembered.status, &going.status) {
        remembered.decisions.clone_from(&stands.decisions);
        remembered.audited = stands.audited;
    }
}

/// What an effect is called in traces.
fn step(effect: &Effect) -> &'static str {
    match effect {
        Effect::MarkSeen => "request.see",
        Effect::PrepareTarget => "target.prepare",
        Effect::Accept => "request.accept",
        Effect::Claim(_) => "target.claim",
        Effect::Send(_) => "start.send",
        Effect::Adopt(_) => "execution.adopt",
        Effect::Cancel { .. } => "execution.cancel",
        Effect::CancelStray(_) => "execution.cancel-stray",
        Effect::Judge(_) => "judgment.answer",
        Effect::Finish(_) => "target.finish",
        Effect::Release => "target.release",
        Effect::Delete => "request.delete",
    }
}

fn is_being_deleted(request: &DeployRequest) -> bool {
    request.metadata.deletion_timestamp.is_some()
}

/// What failed at Spinnaker is not tried before its time, however often the object changes; a cancel is heard at once.
fn backing_off(request: &DeployRequest) -> Option<Duration> {
    let status = request.status.as_ref()?;
    let next = status.next_attempt_at.as_ref()?.0;
    let waiting = status
        .waiting
        .as_ref()
        .is_some_and(|waiting| waiting.subject == WaitingFor::Spinnaker);
    let left = backoff::elapsed(Timestamp::now(), next);
    (waiting
        && !access::is_canceled(request)
        && request.meta().generation == status.observed_generation
        && left > Duration::ZERO)
        .then_some(left)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn status(resolved: &Value) -> Value {
        json!({"phase": "Pending", "resolved": resolved})
    }

    #[test]
    fn an_acceptance_counts_only_where_it_was_written() {
        let resolved = |commit: &str| {
            json!({
                "connection": "gate", "pipeline": {"application": "checkout", "name": "Deploy", "id": "p"},
                "version": "main", "commit": commit.repeat(40), "target": {"account": "eks", "namespace": "shop"},
                "deployTarget": "t", "digest": "d",
            })
        };
        let request = |resolved: &Value| -> DeployRequest {
            let spec = json!({"application": "checkout", "environment": "staging"});
            let metadata = json!({"name": "first", "namespace": "shop"});
            let whole = json!({"metadata": metadata, "spec": spec, "status": status(resolved)});
            serde_json::from_value(whole).unwrap()
        };
        let decided: DeployRequestStatus = serde_json::from_value(status(&resolved("a"))).unwrap();
        assert!(stands(&request(&resolved("a")), &decided));
        assert!(!stands(&request(&resolved("b")), &decided));
        assert!(!stands(&request(&Value::Null), &decided));
    }
}
