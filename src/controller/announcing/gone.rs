//! Requests that are gone, and whose deployments have not come to an end: told from what their targets remember. Touches the
//! repository's host and the caches.
//!
//! Nothing can be written down of them any more. What is told of them is an end, which is compared with what the repository
//! knows before it is told, so a successor may do it again. No deployment is made for one.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use kube::Resource;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{
    PATIENCE, git_of, is_over, is_refusal, lock, repository,
    standing::Key,
    steps::Trouble,
    wanted::{Case, is_final},
};
use crate::{
    api::{DeployRequest, DeployTarget, conditions::Reason, deploy_request::Phase},
    controller::context::Context,
    domain::backoff,
    runtime::{cache::named, telemetry},
};

/// How often one is looked at that has not ended.
const LOOK: Duration = Duration::from_secs(5);
/// How long the caches may be behind: what nobody holds by then was not started.
const BEHIND: Duration = Duration::from_secs(15);
/// How old an end may be that a new process looks after.
const LATELY: Duration = Duration::from_mins(10);

/// One of them.
#[derive(Debug, Clone)]
struct Orphan {
    case: Case,
    /// GitHub's id of its deployment, where it stood in the request.
    deployment: Option<i64>,
    since: Instant,
    due: Instant,
}

/// All of them, by uid.
#[derive(Default)]
pub(super) struct Orphans {
    all: Mutex<HashMap<String, Orphan>>,
    /// Whose end was told.
    done: Mutex<HashSet<String>>,
    changed: Notify,
}

impl Orphans {
    pub(super) fn gone(&self, request: &DeployRequest) {
        let git = git_of(request);
        let Some(case) = Case::of(request).filter(|case| case.begun && !is_over(&git)) else {
            return;
        };
        self.add(case, git.deployment);
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
            if !lock(&self.done).contains(&case.uid) {
                self.add(case, None);
            }
        }
    }

    fn add(&self, case: Case, deployment: Option<i64>) {
        let now = Instant::now();
        let orphan = Orphan {
            deployment,
            since: now,
            due: now,
            case,
        };
        let mut all = lock(&self.all);
        all.entry(orphan.case.uid.clone())
            .and_modify(|known| {
                known.deployment = known.deployment.or(deployment);
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
                    Next::Told => {
                        lock(&orphans.done).insert(uid.clone());
                        orphans.over(uid);
                    }
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
    let announcing = &context.announcing;
    let Some(repository) = repository(context, &case) else {
        return Next::Over;
    };
    let key = Key::of(&case.namespace, &repository);
    if let Some(left) = announcing.standing.left(&key, Timestamp::now()) {
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
            announcing.standing.well(&key);
            if let Some(outcome) = outcome {
                announcing.metrics.count(outcome);
            }
            Next::Told
        }
        Err(Trouble::Own(_)) => Next::Again(LOOK),
        Err(Trouble::Host(error)) => {
            announcing.metrics.count(error.reason());
            tracing::info!(uid, error = %telemetry::chain(&error), "a repository was not told the end of a request that is gone");
            if is_refusal(&error) {
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
    repository: &crate::api::version::Repository,
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
