//! What happens to a `DeployTarget`'s status: claimed, sent, finished, released, rebuilt. Touches nothing.
//!
//! Each function maps one status to the next; whoever writes it guards the write by the `resourceVersion` in which the
//! old one was read.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::api::{
    DeployRequest, DeployTarget,
    artifact::Artifact,
    bounds,
    conditions::Reason,
    deploy_request::{Phase, ROLLBACK_ACTION},
    deploy_target::{Active, DeployTargetStatus, KeyRecord, Run, Seen},
    lock::Hold,
    version::Drift,
};

use super::{
    ids,
    version::{self, Version},
};

/// How much of artifacts a history holds, in bytes: a status that etcd refuses would jam the target.
const ARTIFACTS: usize = 100_000;

/// Whether a request stands in the line of the target of that name, as far as its status says. One that is being deleted
/// stands in none, however long a finalizer keeps it: it never starts.
pub fn is_in_line(request: &DeployRequest, target: &str) -> bool {
    request.metadata.deletion_timestamp.is_none()
        && request.status.as_ref().is_some_and(|status| {
            let resolved = status.resolved.as_ref();
            status.phase == Some(Phase::Queued)
                && resolved.is_some_and(|resolved| resolved.deploy_target == target)
        })
}

/// Why nothing goes by this target, if its name isn't the one that what its spec says gives: it is found by the one, and who
/// may lock it or let it go is judged by the other.
pub fn misnamed(target: &DeployTarget) -> Option<String> {
    let spec = &target.spec;
    let name = target.metadata.name.as_deref().unwrap_or_default();
    let own = ids::target_name(&spec.application, &spec.environment, &spec.place);
    (name != own).then(|| {
        format!(
            "it is called {name:?}, and what its spec says, {:?} in {:?} at account {:?}, namespace {:?}, is called {own:?}: delete it, and foredeck makes the right one",
            spec.application, spec.environment, spec.place.account, spec.place.namespace
        )
    })
}

/// The active request, if it is this one.
pub fn held_by<'a>(status: &'a DeployTargetStatus, uid: &str) -> Option<&'a Active> {
    status.active.as_ref().filter(|active| active.uid == uid)
}

/// How this request ended here, if it did.
pub fn run_of<'a>(status: &'a DeployTargetStatus, uid: &str) -> Option<&'a Run> {
    status.history.iter().find(|run| run.uid == uid)
}

/// Whether this request holds it, or was ever sent here as far as it remembers.
pub fn knows(status: &DeployTargetStatus, uid: &str) -> bool {
    held_by(status, uid).is_some()
        || run_of(status, uid).is_some()
        || status.keys.iter().any(|record| record.uid == uid)
}

/// Another request that was sent under this key.
pub fn earlier<'a>(status: &'a DeployTargetStatus, key: &str, uid: &str) -> Option<&'a KeyRecord> {
    status
        .keys
        .iter()
        .find(|record| record.key == key && record.uid != uid)
}

/// The request is about to be sent: from here on it may have been.
///
/// `ask` is the digest of what it asks for, and `overrider` by whose override it goes, if by anybody's: one by which it may have
/// gone before stays. `None` if somebody else holds the target.
pub fn sent(
    status: &DeployTargetStatus,
    uid: &str,
    holder: &str,
    ask: &str,
    overrider: Option<&str>,
    now: Timestamp,
) -> Option<DeployTargetStatus> {
    let mut next = status.clone();
    let active = next.active.as_mut().filter(|active| active.uid == uid)?;
    holder.clone_into(&mut active.attempt.holder);
    active.attempt.sent_at = Some(Time(now));
    active.sends += 1;
    if let Some(overrider) = overrider {
        active.overridden_by = Some(overrider.to_owned());
    }
    remember(&mut next, ask, now);
    Some(next)
}

/// The active request's key counts as used.
fn remember(status: &mut DeployTargetStatus, ask: &str, now: Timestamp) {
    let Some(active) = &status.active else { return };
    if status.keys.iter().any(|record| record.uid == active.uid) {
        return;
    }
    let record = KeyRecord {
        key: active.key.clone(),
        digest: ask.to_owned(),
        uid: active.uid.clone(),
        name: active.name.clone(),
        outcome: None,
        execution_id: None,
        at: Time(now),
    };
    status.keys.insert(0, record);
    status.keys.truncate(bounds::KEYS);
}

/// The last send was certainly not processed: as if it had not been sent. An earlier one whose outcome was unknown
/// keeps its `sentAt`.
pub fn unsent(status: &DeployTargetStatus, uid: &str) -> Option<DeployTargetStatus> {
    let mut next = status.clone();
    let active = next.active.as_mut().filter(|active| active.uid == uid)?;
    active.sends = active.sends.saturating_sub(1);
    if active.sends == 0 {
        active.attempt.sent_at = None;
        next.keys.retain(|record| record.uid != uid);
    }
    Some(next)
}

/// Spinnaker has shown, or promised, the execution: it was sent, whatever this target knew of that. What was seen
/// first stays: another build time is another start.
pub fn adopted(
    status: &DeployTargetStatus,
    uid: &str,
    ask: &str,
    seen: Seen,
    now: Timestamp,
) -> Option<DeployTargetStatus> {
    let mut next = status.clone();
    let active = next.active.as_mut().filter(|active| active.uid == uid)?;
    active.attempt.sent_at.get_or_insert(Time(now));
    active.sends = active.sends.max(1);
    match &mut active.execution {
        Some(known) => known.build_time = known.build_time.or(seen.build_time),
        None => active.execution = Some(seen),
    }
    remember(&mut next, ask, now);
    Some(next)
}

/// It is to be cancelled: nothing may be sent for it any more. `frozen` is why, where a freeze wants that; what wanted it
/// first stays.
pub fn forbidden(
    status: &DeployTargetStatus,
    uid: &str,
    frozen: Option<&str>,
    now: Timestamp,
) -> Option<DeployTargetStatus> {
    let mut next = status.clone();
    let active = next.active.as_mut().filter(|active| active.uid == uid)?;
    if active.cancel_requested_at.is_none() {
        active.cancel_requested_at = Some(Time(now));
        active.frozen = frozen.map(|why| bounds::cut(why, bounds::MESSAGE));
    }
    Some(next)
}

/// It ended: one write that appends the history, settles the key and lets go; after a rollback it holds the target in the
/// same write, so that nothing starts between the two.
pub fn finished(status: &DeployTargetStatus, run: Run) -> Option<DeployTargetStatus> {
    let mut next = status.clone();
    let active = next.active.take().filter(|active| active.uid == run.uid)?;
    let sent = active.attempt.sent_at.is_some();
    next.hold = held_after(&next, &run, sent).or(next.hold);
    settle(&mut next, run);
    Some(next)
}

/// Whether a run of this action that ended for this reason holds its target: a rollback does, whatever became of it, unless it
/// certainly never started.
pub fn leaves_hold(action: &str, reason: &str, sent: bool) -> bool {
    sent && action == ROLLBACK_ACTION && reason != Reason::StartRefused.to_string()
}

/// The hold that a run leaves.
fn held_after(before: &DeployTargetStatus, run: &Run, sent: bool) -> Option<Hold> {
    if !leaves_hold(&run.action, &run.reason, sent) {
        return None;
    }
    let from = before
        .current
        .as_ref()
        .map(Version::that_ran)
        .unwrap_or_default();
    let to = Version::that_ran(run);
    // Two commits of one branch: its name wouldn't say what was given up.
    let (from, to) = match (from.commit, to.commit) {
        (Some(one), Some(other)) if from.name == to.name && one != other => {
            let short = |commit: &str| Some(version::short(commit).to_owned());
            (short(&one), short(&other))
        }
        _ => (from.name, to.name),
    };
    Some(Hold {
        uid: run.uid.clone(),
        name: run.name.clone(),
        by: run.requester.clone(),
        from,
        to,
        since: run.finished_at.clone(),
    })
}

/// Nothing was sent: let go without a trace.
pub fn released(status: &DeployTargetStatus, uid: &str) -> Option<DeployTargetStatus> {
    held_by(status, uid)?;
    Some(DeployTargetStatus {
        active: None,
        ..status.clone()
    })
}

/// What is said of what runs there; nothing else changes.
pub fn looked_after(
    status: &DeployTargetStatus,
    conditions: Vec<Condition>,
    drift: Option<Drift>,
) -> DeployTargetStatus {
    DeployTargetStatus {
        drift,
        conditions,
        ..status.clone()
    }
}

fn settle(status: &mut DeployTargetStatus, run: Run) {
    for record in status
        .keys
        .iter_mut()
        .filter(|record| record.uid == run.uid)
    {
        record.outcome = Some(run.phase);
        record.execution_id.clone_from(&run.execution_id);
    }
    if run.phase == Phase::Succeeded && run.version.is_some() {
        status.current = Some(run.clone());
    }
    status.history.insert(0, run);
    status.history.truncate(bounds::HISTORY);
    let mut left = ARTIFACTS;
    for run in &mut status.history {
        let size = run.artifacts.iter().map(size).sum();
        match left.checked_sub(size) {
            Some(rest) => left = rest,
            // Neither has any that is older.
            None => (left, run.artifacts) = (0, Vec::new()),
        }
    }
}

/// What an artifact takes in a status, in bytes, about.
fn size(artifact: &Artifact) -> usize {
    let others = [
        &artifact.version,
        &artifact.location,
        &artifact.reference,
        &artifact.artifact_account,
    ];
    let others = others.into_iter().flatten().map(String::len);
    artifact.kind.len() + artifact.name.len() + others.sum::<usize>()
}

/// What is known of a target that lost its status: from its requests, and from the executions that carry our mark.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// Requests and executions that may still run, each with the digest of what it asks for.
    pub active: Vec<(Active, String)>,
    /// Those that ended.
    pub runs: Vec<(Run, KeyRecord)>,
}

/// The status of a target that has none: what is still under way holds it, what ended is history. After a rollback it is held,
/// unless something else was sent since: that started since the hold was lifted, or passed it.
pub fn rebuilt(evidence: Evidence, now: Timestamp) -> DeployTargetStatus {
    let mut status = DeployTargetStatus {
        initialized: Some(Time(now)),
        ..DeployTargetStatus::default()
    };
    let Evidence {
        mut active,
        mut runs,
    } = evidence;
    runs.sort_by_key(|(one, _)| one.finished_at.0);
    let mut ended = BTreeSet::new();
    for (run, key) in runs {
        if ended.insert(run.uid.clone()) {
            status.keys.insert(0, key);
            let refused = run.reason == Reason::StartRefused.to_string();
            let hold = held_after(&status, &run, true);
            status.hold = hold.or(status.hold.filter(|_| refused));
            settle(&mut status, run);
        }
    }
    status.keys.truncate(bounds::KEYS);
    active.retain(|(candidate, _)| !ended.contains(&candidate.uid));
    // What Spinnaker shows comes before what only was sent, then the older before the newer.
    active.sort_by_key(|(candidate, _)| {
        (
            candidate.execution.is_none(),
            candidate.attempt.sent_at.as_ref().map(|sent| sent.0),
            candidate.uid.clone(),
        )
    });
    if let Some((first, ask)) = active.into_iter().next() {
        let sent = first.attempt.sent_at.as_ref().map_or(now, |sent| sent.0);
        let lifted = |hold: &Hold| first.action != ROLLBACK_ACTION && hold.since.0 < sent;
        status.hold = status.hold.filter(|hold| !lifted(hold));
        status.active = Some(first);
        remember(&mut status, &ask, sent);
    }
    status
}

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;
