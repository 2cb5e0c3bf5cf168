//! Requests that are gone, and whose deployments have not come to an end: told from what their targets remember. Touches the
//! repository's host and the caches.
//!
//! Nothing can be written down of them any more. What is told of them is an end, which is compared with what the repository
//! knows before it is told, so a successor may do it again. No deployment is made for one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use kube::Resource;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{
    PATIENCE, git_of, is_over, is_refusal, is_told, lock,
    standing::Key,
    steps::{SETTLE, Trouble},
    wanted::{Case, is_final},
};
use crate::{
    api::{
        DeployRequest, DeployTarget, conditions::Reason, deploy_request::Phase, version::Repository,
    },
    controller::context::Context,
    domain::backoff,
    runtime::{cache::named, telemetry},
};

/// How often one is looked at that has not ended.
const LOOK: Duration = Duration::from_secs(5);
/// How long the caches may be behind: what nobody holds by then was not started.
const BEHIND: Duration = Duration::from_secs(15);
/// How old an end may be that a new process looks after: as old as one that is still tried to be told.
const LATELY: Duration = PATIENCE;

/// One of them.
#[derive(Debug, Clone)]
struct Orphan {
    case: Case,
    /// GitHub's id of its deployment, where it stood in the request.
    deployment: Option<i64>,
    /// The repository that was told last, for when its Application is gone too.
    repository: Option<Repository>,
    since: Instant,
    /// Not before: a deployment may be under way that nobody has written down.
    settled: Instant,
    due: Instant,
}

/// All of them, by uid.
#[derive(Default)]
pub(super) struct Orphans {
    all: Mutex<HashMap<String, Orphan>>,
    /// Whose end was told, and when.
    done: Mutex<HashMap<String, Instant>>,
    changed: Notify,
}

impl Orphans {
    pub(super) fn gone(&self, request: &DeployRequest, repository: Option<Repository>) {
        let git = git_of(request);
        let Some(case) = Case::of(request).filter(|case| case.begun && !is_over(&git)) else {
            return;
        };
        self.add(case, git.deployment, repository);
    }

    /// Whether the requests still exist is asked later, when all caches are filled.
    pub(super) fn target_changed(&self, target: &DeployTarget) {
        let Some(status) = &target.status else { return };
        let held = status
            .active
            .as_ref()
            .and_then(|active| Case::of_active(target, active));
        let now = Timestamp::now();
        let lately = |finished: Timestamp| backoff::elapsed(finished, now) < LATELY;
        let ended = status
            .history
            .iter()
            .filter(|run| lately(run.finished_at.0))
            .filter_map(|run| Case::of_run(target, run));
        for case in held.into_iter().chain(ended) {
            if !lock(&self.done).contains_key(&case.uid) {
                self.add(case, None, None);
            }
        }
    }

    fn add(&self, case: Case, deployment: Option<i64>, repository: Option<Repository>) {
        let now = Instant::now();
        let settled = if deployment.is_some() {
            now
        } else {
            now + SETTLE
        };
        let orphan = Orphan {
            deployment,
            repository: repository.clone(),
            since: now,
            settled,
            due: now,
            case,
        };
        let mut all = lock(&self.all);
        all.entry(orphan.case.uid.clone())
            .and_modify(|known| {
                known.deployment = known.deployment.or(deployment);
                known.repository = repository.or(known.repository.take());
                if known.deployment.is_some() {
                    known.settled = now;
                }
                known.due = now;
            })
            .or_insert(orphan);
        drop(all);
        self.changed.notify_one();
    }

    fn due(&self) -> (Vec<Orphan>, Option<Instant>) {
        let (now, all) = (Instant::now(), lock(&self.all));
        let due = all.values().filter(|orphan| orphan.due <= now).cloned();
        let next = all.values().map(|orphan| orphan.due).min();
        (due.collect(), next)
    }

    fn over(&self, uid: &str) {
        lock(&self.all).remove(uid);
    }

    /// Its end was told. What ended longer ago than [`LATELY`] isn't looked at again, so nobody has to remember it.
    fn told(&self, uid: &str, now: Instant) {
        let mut done = lock(&self.done);
        done.retain(|_, since| now.duration_since(*since) <= LATELY);
        done.insert(uid.to_owned(), now);
        drop(done);
        self.over(uid);
    }

    fn again(&self, uid: &str, wait: Duration) {
        if let Some(orphan) = lock(&self.all).get_mut(uid) {
            orphan.due = Instant::now() + wait;
        }
    }
}

/// What comes of a look.
enum Next {
    /// There is nothing to tell any more.
    Over,
    /// It was told.
    Told,
    /// Later.
    Again(Duration),
}

/// Tells the ends of those that are gone, until shutdown.
pub(in crate::controller) async fn follow(context: &Arc<Context>, shutdown: &CancellationToken) {
    let orphans = &context.announcing.orphans;
    let work = async {
        loop {
            let (due, next) = orphans.due();
            for orphan in due {
                let uid = &orphan.case.uid;
                match look(context, &orphan).await {
                    Next::Over => orphans.over(uid),
                    Next::Told => orphans.told(uid, Instant::now()),
                    Next::Again(wait) => orphans.again(uid, wait),
                }
            }
            let next = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = orphans.changed.notified() => {}
                () = next => {}
            }
        }
    };
    let _ended: Option<()> = shutdown.run_until_cancelled(work).await;
}

async fn look(context: &Context, orphan: &Orphan) -> Next {
    let case = &orphan.case;
    let known = named(&case.namespace, &case.name);
    let lives = context.caches.requests.0.get(&known);
    if lives.is_some_and(|request| request.meta().uid.as_deref() == Some(&case.uid)) {
        return Next::Over;
    }
    if !context.claim.is_current() {
        return Next::Again(LOOK);
    }
    let Some(case) = end(context, orphan) else {
        return Next::Again(LOOK);
    };
    let unsettled = orphan.settled.saturating_duration_since(Instant::now());
    if !unsettled.is_zero() {
        return Next::Again(unsettled);
    }
    let announcing = &context.announcing;
    let Some(repository) = repository(context, orphan) else {
        return Next::Over;
    };
    let key = Key::of(&case.namespace, &repository);
    if let Some(left) = announcing.standing.left(&case.uid, &key, Timestamp::now()) {
        return Next::Again(left);
    }
    if orphan.since.elapsed() > PATIENCE {
        announcing.metrics.count("given-up");
        tracing::warn!(
            uid = case.uid,
            namespace = case.namespace,
            "a request is gone whose repository could not be told its end"
        );
        return Next::Told;
    }
    let uid = case.uid.clone();
    match tell(context, case, orphan.deployment, &repository).await {
        Ok(outcome) => {
            announcing.standing.well(&uid, &key);
            if let Some(outcome) = outcome {
                announcing.metrics.count(outcome);
            }
            Next::Told
        }
        Err(Trouble::Own(_)) => Next::Again(LOOK),
        Err(Trouble::Host(error)) => {
            announcing.metrics.count(error.reason());
            tracing::info!(uid, error = %telemetry::chain(&error), "a repository was not told the end of a request that is gone");
            if is_refusal(&error, orphan.deployment) {
                return Next::Told;
            }
            Next::Again(
                announcing
                    .standing
                    .trouble(&uid, key, &error, Timestamp::now()),
            )
        }
    }
}

/// The repository to be told: what its Application says, or said last if it is gone too.
fn repository(context: &Context, orphan: &Orphan) -> Option<Repository> {
    let case = &orphan.case;
    let applications = &context.caches.applications;
    match applications.get(&case.namespace, &case.application) {
        Some(application) => application.spec.repository,
        None => orphan.repository.clone(),
    }
    .filter(is_told)
}

/// How it ended; nothing while its target still holds it, or may.
fn end(context: &Context, orphan: &Orphan) -> Option<Case> {
    let case = &orphan.case;
    let target = context
        .caches
        .targets
        .get(&case.namespace, &case.deploy_target);
    let status = target.as_ref().and_then(|target| target.status.as_ref());
    let active = status.and_then(|status| status.active.as_ref());
    if active.is_some_and(|active| active.uid == case.uid) {
        return None;
    }
    let run = status.and_then(|status| status.history.iter().find(|run| run.uid == case.uid));
    if let (Some(target), Some(run)) = (&target, run) {
        return Case::of_run(target, run).map(|ended| Case {
            url: case.url.clone(),
            ..ended
        });
    }
    if orphan.since.elapsed() < BEHIND {
        return None;
    }
    let mut case = case.clone();
    if case.phase.is_terminal() {
        return Some(case);
    }
    if case.sent {
        // Its target has forgotten it.
        case.phase = Phase::Failed;
        case.reason = Reason::ExecutionLost.to_string();
    } else {
        case.phase = Phase::Canceled;
    }
    Some(case)
}

/// Tells an end, if the repository knows of a deployment that has none.
async fn tell(
    context: &Context,
    case: Case,
    deployment: Option<i64>,
    repository: &Repository,
) -> Result<Option<&'static str>, Trouble> {
    let Some((case, wanted)) = super::wanted(context, Some(case)) else {
        return Ok(None);
    };
    let host = context.git.of(&case.namespace, repository).await?;
    let found = match deployment {
        Some(id) => Some(id),
        None => host.deployment(&wanted.announcement).await?,
    };
    let Some(id) = found else { return Ok(None) };
    if host.told(id).await?.is_some_and(|word| is_final(&word)) {
        return Ok(Some("known"));
    }
    context.may_begin()?;
    host.tell(id, &wanted.told).await?;
    Ok(Some("told"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn request(git: &Value) -> DeployRequest {
        serde_json::from_value(json!({
            "metadata": {"name": "one", "namespace": "shop", "uid": "u-1"},
            "spec": {"application": "checkout", "environment": "production", "version": "main"},
            "status": {"phase": "Queued", "git": git, "resolved": {
                "connection": "gate", "pipeline": {"application": "checkout", "name": "Deploy", "id": "p"},
                "version": "main", "commit": "3f2a1bc0aabbccddeeff00112233445566778899",
                "target": {"account": "eks-1", "namespace": "checkout"}, "deployTarget": "t", "digest": "d",
            }},
        }))
        .unwrap()
    }

    fn unsettled(orphans: &Orphans) -> Duration {
        let all = lock(&orphans.all);
        all["u-1"].settled.saturating_duration_since(Instant::now())
    }

    #[test]
    fn what_may_be_under_way_is_waited_for_and_what_is_known_is_not() {
        let orphans = Orphans::default();
        orphans.gone(
            &request(&json!({"tellingSince": "2026-11-22T10:00:00Z"})),
            None,
        );
        assert!(unsettled(&orphans) > SETTLE / 2);
        orphans.gone(&request(&json!({"deployment": 7, "state": "queued"})), None);
        assert_eq!(unsettled(&orphans), Duration::ZERO);
    }

    #[test]
    fn what_was_told_is_forgotten_once_nothing_would_tell_it_again() {
        let (orphans, start) = (Orphans::default(), Instant::now());
        orphans.told("u-1", start);
        orphans.told("u-2", start + LATELY);
        assert_eq!(lock(&orphans.done).len(), 2);
        orphans.told("u-3", start + LATELY + Duration::from_secs(1));
        assert!(!lock(&orphans.done).contains_key("u-1"));
    }
}
