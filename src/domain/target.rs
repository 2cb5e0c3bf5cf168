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
mod tests {
    use serde_json::json;

    use super::*;

    fn run(uid: usize, artifacts: usize) -> Run {
        let artifact = json!({"type": "docker/image", "name": "n".repeat(bounds::VALUE)});
        serde_json::from_value(json!({
            "uid": uid.to_string(), "name": "r", "action": "deploy", "version": "v1", "connection": "gate",
            "phase": "Succeeded", "reason": "Succeeded", "sentAt": "2026-01-02T03:04:05Z",
            "finishedAt": "2026-01-02T03:04:05Z", "artifacts": vec![artifact; artifacts],
        }))
        .unwrap()
    }

    #[test]
    fn what_is_being_deleted_stands_in_no_line() {
        let request = |metadata: &serde_json::Value, phase: &str| -> DeployRequest {
            let resolved = json!({
                "connection": "gate", "pipeline": {"application": "checkout", "name": "Deploy", "id": "p"},
                "target": {"account": "eks", "namespace": "shop"}, "deployTarget": "t", "digest": "d",
            });
            let spec = json!({"application": "checkout", "environment": "staging"});
            let status = json!({"phase": phase, "resolved": resolved});
            let whole = json!({"metadata": metadata, "spec": spec, "status": status});
            serde_json::from_value(whole).unwrap()
        };
        let there = json!({"name": "there"});
        assert!(is_in_line(&request(&there, "Queued"), "t"));
        assert!(!is_in_line(&request(&there, "Queued"), "other"));
        assert!(!is_in_line(&request(&there, "Pending"), "t"));
        let kept = json!({
            "name": "kept", "deletionTimestamp": "2026-03-02T12:00:00Z", "finalizers": ["example.com/kept"],
        });
        assert!(!is_in_line(&request(&kept, "Queued"), "t"));
    }

    #[test]
    fn a_target_is_called_what_its_spec_says_or_nothing_goes_by_it() {
        let place = json!({"account": "eks", "namespace": "shop"});
        let target = |name: &str, application: &str, environment: &str| -> DeployTarget {
            let spec =
                json!({"application": application, "environment": environment, "place": place});
            serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap()
        };
        let named = |application: &str, environment: &str| {
            let place = serde_json::from_value(place.clone()).unwrap();
            ids::target_name(application, environment, &place)
        };
        let own = named("checkout", "production");
        assert_eq!(misnamed(&target(&own, "checkout", "production")), None);
        let long = "a".repeat(bounds::LABEL);
        let longest = named(&long, &long);
        assert_eq!(misnamed(&target(&longest, &long, &long)), None);

        let said = misnamed(&target(&own, "toy", "dev")).unwrap();
        for words in [
            &*own,
            "\"toy\" in \"dev\"",
            &named("toy", "dev"),
            "delete it",
        ] {
            assert!(said.contains(words), "{words:?} is missing in: {said}");
        }
        // What admission takes for the same: the dots of names, and another's digits.
        let dotted = named("shop.checkout", "production");
        assert!(misnamed(&target(&dotted, "shop", "checkout.production")).is_some());
        let digits = "checkout.production.4d2a1e0c9b7f";
        assert!(misnamed(&target(digits, "checkout", "production")).is_some());
    }

    #[test]
    fn what_ran_keeps_its_artifacts_as_long_as_all_of_them_fit() {
        let mut status = DeployTargetStatus::default();
        for uid in 0..bounds::HISTORY {
            settle(&mut status, run(uid, bounds::ARTIFACTS));
        }
        let current = status.current.as_ref().map(|run| run.artifacts.len());
        assert_eq!(current, Some(bounds::ARTIFACTS));
        assert_eq!(status.history.len(), bounds::HISTORY);
        let kept: Vec<usize> = status
            .history
            .iter()
            .map(|run| run.artifacts.len())
            .collect();
        assert_eq!(kept[..5], [20, 20, 20, 20, 0]);
        assert!(kept[5..].iter().all(|kept| *kept == 0));
        assert!(serde_json::to_vec(&status).unwrap().len() < 200_000);
    }

    /// A run of one day, with its key.
    fn ran(uid: &str, action: &str, version: &str, reason: &str, day: u8) -> (Run, KeyRecord) {
        let at = format!("2026-01-{day:02}T03:04:05Z");
        let phase = if reason == "Succeeded" {
            "Succeeded"
        } else {
            "Failed"
        };
        let run = json!({
            "uid": uid, "name": format!("r-{uid}"), "action": action, "version": version, "connection": "gate",
            "requester": "alice", "phase": phase, "reason": reason, "sentAt": at, "finishedAt": at,
        });
        let key = json!({"key": uid, "digest": "d", "uid": uid, "name": "r", "at": at});
        (
            serde_json::from_value(run).unwrap(),
            serde_json::from_value(key).unwrap(),
        )
    }

    fn holder(uid: &str, action: &str, sent: Option<&str>) -> Active {
        serde_json::from_value(json!({
            "uid": uid, "name": "r", "key": uid, "digest": "d", "action": action,
            "attempt": {
                "executionId": "e", "correlationId": "c", "holder": "h", "claimedAt": "2026-01-01T00:00:00Z", "sentAt": sent,
                "pinned": {
                    "connection": "gate", "connectionUid": "u", "gateUrl": "http://gate", "trigger": "Start",
                    "pipeline": {"application": "a", "name": "p", "id": "i"}, "bodyDigest": "b",
                },
            },
        }))
        .unwrap()
    }

    /// What a target is held by after this run.
    fn after(before: &DeployTargetStatus, run: Run, sent: bool) -> DeployTargetStatus {
        let sent = sent.then_some("2026-01-01T00:00:00Z");
        let claimed = DeployTargetStatus {
            active: Some(holder(&run.uid, &run.action, sent)),
            ..before.clone()
        };
        finished(&claimed, run).unwrap()
    }

    fn told(status: &DeployTargetStatus) -> Option<String> {
        let hold = status.hold.as_ref()?;
        let word = |word: &Option<String>| word.clone().unwrap_or_else(|| "?".to_owned());
        Some(format!(
            "{}: {} to {} by {}",
            hold.uid,
            word(&hold.from),
            word(&hold.to),
            word(&hold.by)
        ))
    }

    #[test]
    fn a_rollback_that_was_sent_holds_its_target_whatever_became_of_it() {
        let run = |uid: &str, action: &str, version: &str, reason: &str| {
            ran(uid, action, version, reason, 2).0
        };
        let none = DeployTargetStatus::default();
        let deployed = after(&none, run("1", "deploy", "v3", "Succeeded"), true);
        assert_eq!(told(&deployed), None);
        for reason in [
            "Succeeded",
            "TimedOut",
            "ExecutionLost",
            "Canceled",
            "Released",
        ] {
            let back = after(&deployed, run("2", "rollback", "v2", reason), true);
            assert_eq!(
                told(&back).as_deref(),
                Some("2: v3 to v2 by alice"),
                "{reason}"
            );
            assert!(back.active.is_none());
            let hold = back.hold.as_ref().map(|hold| hold.since.clone());
            assert_eq!(hold, Some(back.history[0].finished_at.clone()));
        }
        let refused = after(&deployed, run("2", "rollback", "v2", "StartRefused"), true);
        assert_eq!(told(&refused), None, "it never started");
        let unsent = after(
            &deployed,
            run("2", "rollback", "v2", "ExecutionConflict"),
            false,
        );
        assert_eq!(told(&unsent), None, "nothing was sent");
        let first = after(&none, run("2", "rollback", "v2", "Succeeded"), true);
        assert_eq!(told(&first).as_deref(), Some("2: ? to v2 by alice"));
    }

    #[test]
    fn by_whose_override_it_is_sent_again_is_remembered() {
        let claimed = DeployTargetStatus {
            active: Some(holder("1", "deploy", None)),
            ..DeployTargetStatus::default()
        };
        let send = |status: &DeployTargetStatus, overrider: Option<&str>| {
            let now = Timestamp::UNIX_EPOCH;
            sent(status, "1", "me", "ask", overrider, now).unwrap()
        };
        let by = |status: &DeployTargetStatus| status.active.clone().unwrap().overridden_by;
        let first = send(&claimed, None);
        assert_eq!(by(&first), None);
        let again = send(&first, Some("olga"));
        assert_eq!(by(&again).as_deref(), Some("olga"));
        let last = send(&again, None);
        assert_eq!(
            by(&last).as_deref(),
            Some("olga"),
            "what was sent before may be what runs"
        );
    }

    #[test]
    fn a_hold_stays_until_another_rollback_replaces_it() {
        let run = |uid: &str, action: &str, version: &str, reason: &str| {
            ran(uid, action, version, reason, 2).0
        };
        let mut status = DeployTargetStatus::default();
        status = after(&status, run("1", "deploy", "v3", "Succeeded"), true);
        status = after(&status, run("2", "rollback", "v2", "Succeeded"), true);
        status = after(&status, run("3", "deploy", "v4", "Succeeded"), true);
        assert_eq!(
            told(&status).as_deref(),
            Some("2: v3 to v2 by alice"),
            "who lets another pass lifts nothing"
        );
        status = after(&status, run("4", "rollback", "v9", "StartRefused"), true);
        assert_eq!(told(&status).as_deref(), Some("2: v3 to v2 by alice"));
        status = after(&status, run("5", "rollback", "v1", "Succeeded"), true);
        assert_eq!(told(&status).as_deref(), Some("5: v4 to v1 by alice"));
    }

    #[test]
    fn two_commits_of_one_branch_are_told_apart() {
        let commit = |digit: &str| Some(digit.repeat(40));
        let mut now = ran("1", "deploy", "main", "Succeeded", 1).0;
        now.commit = commit("b");
        let mut back = ran("2", "rollback", "main", "Succeeded", 2).0;
        back.commit = commit("a");
        let status = after(&DeployTargetStatus::default(), now, true);
        let status = after(&status, back, true);
        assert_eq!(
            told(&status).as_deref(),
            Some("2: bbbbbbb to aaaaaaa by alice")
        );
    }

    #[test]
    fn a_rebuilt_target_is_held_if_nothing_was_sent_since_its_last_rollback() {
        let rebuilt = |runs: Vec<(Run, KeyRecord)>, active: Vec<Active>| {
            let active = active
                .into_iter()
                .map(|active| (active, "d".to_owned()))
                .collect();
            told(&rebuilt(Evidence { active, runs }, Timestamp::UNIX_EPOCH))
        };
        let deployed = || ran("1", "deploy", "v3", "Succeeded", 1);
        let back = || ran("2", "rollback", "v2", "TimedOut", 2);
        let held = Some("2: v3 to v2 by alice".to_owned());
        assert_eq!(rebuilt(vec![back(), deployed()], vec![]), held);
        let later = |reason| ran("3", "deploy", "v4", reason, 3);
        assert_eq!(
            rebuilt(vec![deployed(), back(), later("Succeeded")], vec![]),
            None
        );
        assert_eq!(
            rebuilt(vec![deployed(), back(), later("StartRefused")], vec![]),
            held,
            "what never started says nothing"
        );
        let runs = || vec![deployed(), back()];
        let active = |action, sent| vec![holder("4", action, Some(sent))];
        let (before, since) = ("2026-01-01T12:00:00Z", "2026-01-04T00:00:00Z");
        assert_eq!(rebuilt(runs(), active("deploy", since)), None);
        assert_eq!(rebuilt(runs(), active("deploy", before)), held);
        assert_eq!(rebuilt(runs(), active("rollback", since)), held);
    }
}
