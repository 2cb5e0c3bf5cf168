//! Tells the repository how the deployment of one of its commits goes. Touches the API server (`status.git`) and the
//! repository's host.
//!
//! It is level-based: what is wanted follows from the request as it is, what was told stands in `status.git`, and where they
//! differ it is told. It has passes and a queue of its own, so that no start waits for a repository. What comes to nothing is
//! tried again until some hours after the request's end; only a login that may not make one is written down at once and not tried again.

mod gone;
mod metrics;
mod standing;
mod steps;
mod wanted;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use kube::{ResourceExt, runtime::controller::Action};
use tokio::sync::Semaphore;

use self::{
    gone::Orphans,
    standing::{Key, Standing},
    steps::{Book, Came, Trouble},
    wanted::{Case, Wanted},
};
pub(super) use self::{gone::follow, metrics::AnnouncingMetrics};
use super::{context::Context, error::ControllerError, objects};
use crate::{
    api::{
        DeployRequest, bounds,
        deploy_request::DeployRequestStatus,
        version::{Deployments, GitStatus, Repository},
    },
    domain::backoff,
    git::GitError,
    runtime::{cache::Guarded, telemetry},
};

/// How long after a request's end its repository is still tried to be told.
const PATIENCE: Duration = Duration::from_hours(6);
/// Repositories that are told at once.
const AT_ONCE: usize = 8;
/// How soon a pass is made again that somebody else was faster than.
const AGAIN: Duration = Duration::from_secs(1);

/// What is told to repositories, of one set of namespaces.
pub(super) struct Announcing {
    /// By uid: of whose request this process told the last state, and had a clear answer.
    sure: Mutex<HashSet<String>>,
    /// By uid: for which something went wrong since this process began.
    troubled: Mutex<HashSet<String>>,
    /// By uid: the repository that is told, for when its Application goes with the request.
    repositories: Mutex<HashMap<String, Repository>>,
    /// Which hosts are not asked now.
    standing: Standing,
    /// Requests that are gone, and whose deployments have not come to an end.
    orphans: Orphans,
    slots: Semaphore,
    metrics: AnnouncingMetrics,
}

impl Announcing {
    /// Nothing is told yet.
    pub(super) fn new(metrics: AnnouncingMetrics) -> Self {
        Self {
            sure: Mutex::default(),
            troubled: Mutex::default(),
            repositories: Mutex::default(),
            standing: Standing::default(),
            orphans: Orphans::default(),
            slots: Semaphore::new(AT_ONCE),
            metrics,
        }
    }

    /// The request is gone.
    pub(super) fn forget(&self, uid: &str) {
        lock(&self.sure).remove(uid);
        lock(&self.troubled).remove(uid);
        lock(&self.repositories).remove(uid);
        self.standing.forget(uid);
    }

    /// A watch brought the last version of a request that is gone.
    pub(super) fn gone(&self, request: &DeployRequest) {
        let uid = request.uid().unwrap_or_default();
        let repository = lock(&self.repositories).get(&uid).cloned();
        self.orphans.gone(request, repository);
    }

    /// A target changed: it may hold, or have ended, a request that is gone.
    pub(super) fn target_changed(&self, target: &crate::api::DeployTarget) {
        self.orphans.target_changed(target);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether there may be something to tell of this request.
pub(super) fn concerns(request: &DeployRequest) -> bool {
    let status = request.status.as_ref();
    let git = status.and_then(|status| status.git.as_deref());
    let ended = git.is_some_and(is_over);
    !ended && Case::of(request).is_some()
}

/// Nothing follows what was told, or nothing is told.
fn is_over(git: &GitStatus) -> bool {
    git.problem.is_some() || git.state.as_deref().is_some_and(wanted::is_final)
}

/// One pass over one request.
pub(super) async fn reconcile(
    object: Arc<Guarded<DeployRequest>>,
    context: Arc<Context>,
) -> Result<Action, ControllerError> {
    let Ok(request) = &object.0 else {
        return Ok(Action::await_change());
    };
    match Box::pin(pass(&context, request)).await {
        // Somebody was faster, or the cache was behind.
        Err(ControllerError::Conflict { doing }) => {
            tracing::debug!(doing, "somebody else was first");
            Ok(Action::requeue(AGAIN))
        }
        other => other,
    }
}

async fn pass(context: &Context, request: &DeployRequest) -> Result<Action, ControllerError> {
    let announcing = &context.announcing;
    let git = git_of(request);
    if is_over(&git) {
        return Ok(Action::await_change());
    }
    let Some((case, wanted)) = wanted(context, Case::of(request)) else {
        return Ok(Action::await_change());
    };
    if git.state.as_deref() == Some(wanted.told.state.word()) {
        return Ok(Action::await_change());
    }
    let Some(repository) = repository(context, &case) else {
        return Ok(Action::await_change());
    };
    lock(&announcing.repositories).insert(case.uid.clone(), repository.clone());
    let mut page = Page {
        context,
        request: request.clone(),
    };
    let ended = case.finished_at.as_ref().map(|time| time.0);
    if ended.is_some_and(|at| backoff::elapsed(at, Timestamp::now()) > PATIENCE) {
        // What ended long before anybody tried isn't told afterwards.
        if case.begun || lock(&announcing.troubled).contains(&case.uid) {
            announcing.metrics.count("given-up");
            let why =
                "it could not be told for six hours after the end, and is left as it is there.";
            page.problem(why).await?;
        }
        return Ok(Action::await_change());
    }
    let key = Key::of(&case.namespace, &repository);
    if let Some(left) = announcing.standing.left(&case.uid, &key, Timestamp::now()) {
        return Ok(Action::requeue(left));
    }
    let waiting = context.unless_stopping(announcing.slots.acquire());
    let Ok(_slot) = waiting.await? else {
        return Ok(Action::await_change());
    };
    // Another may have learned meanwhile that nobody answers.
    if let Some(left) = announcing.standing.left(&case.uid, &key, Timestamp::now()) {
        return Ok(Action::requeue(left));
    }
    let told = tell(context, &mut page, (&case, &wanted), &repository).await;
    let outcome = match told {
        Ok(outcome) => outcome,
        Err(Trouble::Own(error)) => return Err(error),
        Err(Trouble::Host(error)) => return trouble(&mut page, &case.uid, key, error).await,
    };
    announcing.standing.well(&case.uid, &key);
    announcing.metrics.count(match outcome {
        Came::Announced => "announced",
        Came::Told => "told",
        Came::Known => "known",
        Came::Later(wait) => return Ok(Action::requeue(wait)),
    });
    lock(&announcing.sure).insert(case.uid.clone());
    // It may stand elsewhere since: then the watch has woken it, or this does.
    Ok(Action::requeue(AGAIN))
}

async fn tell(
    context: &Context,
    page: &mut Page<'_>,
    (case, wanted): (&Case, &Wanted),
    repository: &Repository,
) -> Result<Came, Trouble> {
    let hosts = context.git.of(&case.namespace, repository);
    let host = context.unless_stopping(hosts).await??;
    context.may_begin()?;
    // Whatever comes of it: only a clear answer makes sure.
    let sure = lock(&context.announcing.sure).remove(&case.uid);
    let now = Timestamp::now();
    Box::pin(steps::carry(&*host, page, wanted, sure, now)).await
}

/// What is to be told, where the environment is where it says.
fn wanted(context: &Context, case: Option<Case>) -> Option<(Case, Wanted)> {
    let case = case?;
    let environments = &context.caches.environments;
    let usual = environments
        .get(&case.namespace, &case.environment)
        .map(|environment| environment.spec.target);
    let wanted = case.wanted(usual.as_ref())?;
    Some((case, wanted))
}

/// The repository, if it is to be told: nobody may tell it anything without a login.
fn repository(context: &Context, case: &Case) -> Option<Repository> {
    let applications = &context.caches.applications;
    let application = applications.get(&case.namespace, &case.application)?;
    application.spec.repository.filter(is_told)
}

fn is_told(repository: &Repository) -> bool {
    repository.deployments != Deployments::Never && repository.secret_name.is_some()
}

async fn trouble(
    page: &mut Page<'_>,
    uid: &str,
    key: Key,
    error: GitError,
) -> Result<Action, ControllerError> {
    let announcing = &page.context.announcing;
    announcing.metrics.count(error.reason());
    let reason = error.reason();
    tracing::info!(reason, error = %telemetry::chain(&error), "a repository was not told how a deployment goes");
    if is_refusal(&error, page.git().deployment) {
        page.problem(&format!("{error}.")).await?;
        return Ok(Action::await_change());
    }
    lock(&announcing.troubled).insert(uid.to_owned());
    let wait = announcing
        .standing
        .trouble(uid, key, &error, Timestamp::now());
    Ok(Action::requeue(wait))
}

/// Whether asking again would bring the same answer: who may not make a deployment. What was made comes to its end, and all
/// else may be put right meanwhile: a login that is replaced, a name, a list of hosts.
fn is_refusal(error: &GitError, deployment: Option<i64>) -> bool {
    deployment.is_none() && matches!(error, GitError::Forbidden { .. })
}

fn git_of(request: &DeployRequest) -> GitStatus {
    let git = request
        .status
        .as_ref()
        .and_then(|status| status.git.clone());
    git.map(|git| *git).unwrap_or_default()
}

/// A request's `status.git`, and nothing else of it.
struct Page<'a> {
    context: &'a Context,
    request: DeployRequest,
}

impl Page<'_> {
    /// Why nothing is told any more, in a sentence.
    async fn problem(&mut self, why: &str) -> Result<(), ControllerError> {
        let sentence = format!("The repository is not told how it goes: {why}");
        let git = GitStatus {
            problem: Some(bounds::cut(&sentence, bounds::MESSAGE)),
            telling_since: None,
            ..self.git()
        };
        self.write(git).await
    }
}

impl Book for Page<'_> {
    fn git(&self) -> GitStatus {
        git_of(&self.request)
    }

    fn may_begin(&self) -> Result<(), ControllerError> {
        self.context.may_begin()
    }

    async fn write(&mut self, git: GitStatus) -> Result<(), ControllerError> {
        let doing = "write down what a repository is told";
        let known = self.git();
        for _ in 0..5 {
            let next = DeployRequestStatus {
                git: Some(Box::new(git.clone())),
                ..self.request.status.clone().unwrap_or_default()
            };
            let client = &self.context.client;
            match objects::write_status(client, &self.request, &next, doing).await {
                Ok(written) => {
                    self.request = written.unwrap_or_else(|| self.request.clone());
                    return Ok(());
                }
                // The request's own passes write too: all that matters is that nobody else tells it.
                Err(ControllerError::Conflict { .. }) => {
                    let (namespace, name) = (
                        self.request.namespace().unwrap_or_default(),
                        self.request.name_any(),
                    );
                    let read: Option<DeployRequest> =
                        objects::read(client, &namespace, &name).await?;
                    let same = read
                        .filter(|read| read.uid() == self.request.uid() && git_of(read) == known);
                    self.request = same.ok_or(ControllerError::Conflict { doing })?;
                }
                Err(error) => return Err(error),
            }
        }
        Err(ControllerError::Conflict { doing })
    }
}
