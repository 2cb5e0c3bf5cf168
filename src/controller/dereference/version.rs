//! Which commit a request's version is, and what changes with it. Touches repositories' hosts (reads).
//!
//! What stands written counts, and a host is asked only where nothing does: until the answer is written, which is the
//! request's acceptance, this process remembers it, so that whoever waits for something else asks once.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use kube::ResourceExt;
use tokio::time::Instant;

use super::Memo;
use crate::{
    api::{
        Application, DeployRequest, Environment, bounds,
        deploy_request::{Phase, WaitingFor},
        deploy_target::DeployTargetStatus,
        version::{Changes, Relation, Repository},
    },
    controller::context::Context,
    domain::{
        backoff, commits,
        refusal::Refusal,
        version::{self, Settled, Unresolved, Version, Written},
    },
    git::GitError,
    runtime::cache::named,
};

/// How long a request that could start is held up for the sake of what people read.
const CHANGES: Duration = Duration::from_secs(2);

/// What is to run, as far as a repository has a say in it.
pub(super) struct Found {
    pub(super) settled: Settled,
    /// It was found just now, and stands nowhere yet.
    pub(super) new: bool,
    /// It was accepted without a commit: nobody is asked for one any more.
    pub(super) without: bool,
    /// How long it isn't worth asking again why its commit isn't known.
    pub(super) patience: Option<Duration>,
}

/// The version that may go, with its commit.
///
/// # Errors
/// There is none to go back to; or its commit isn't known, and has to be.
pub(super) async fn find(
    context: &Context,
    request: &DeployRequest,
    (application, environment): (&Application, &Environment),
    target: Option<&DeployTargetStatus>,
    memo: &Memo,
) -> Result<Found, Refusal> {
    let named = version::named(request, target)?;
    let known = |version, problem| {
        Ok(Found {
            settled: Settled { version, problem },
            new: false,
            without: false,
            patience: None,
        })
    };
    match version::written(request, target, &named) {
        Written::Commit(commit) => {
            let commit = Some(commit);
            return known(Version { commit, ..named }, None);
        }
        Written::Without(problem) if problem.is_none() || version::may_go(environment) => {
            let found = known(named, problem.map(Unresolved::Unclear));
            return found.map(|found| Found {
                without: true,
                ..found
            });
        }
        Written::Without(_) | Written::Nothing => {}
    }
    let Some((question, repository)) =
        version::question(&named, application).zip(application.spec.repository.as_ref())
    else {
        return known(named, None);
    };
    let (answer, patience) = match version::forgotten(request, environment, &named) {
        Some(problem) => (Err(problem), None),
        None => asked(context, request, repository, question).await,
    };
    let settled = version::settle(named, environment, Some(answer));
    let settled = settled.map_err(|refusal| patient(refusal, patience))?;
    Ok(Found {
        settled,
        new: !memo.accepted,
        without: false,
        patience,
    })
}

/// A refusal of what was found, with why its commit isn't known; it waits where asking again may mend that.
pub(super) fn lacking(refusal: Refusal, found: &Found) -> Refusal {
    let problem = found.settled.problem.as_ref();
    if found.without {
        return version::too_late(refusal, problem);
    }
    patient(version::explained(refusal, problem), found.patience)
}

/// A refusal that is over no sooner than it is worth asking again.
fn patient(refusal: Refusal, patience: Option<Duration>) -> Refusal {
    if refusal.waiting_for != Some(WaitingFor::Repository) {
        return refusal;
    }
    Refusal {
        retry_after: refusal.retry_after.or(patience),
        ..refusal
    }
}

/// The host's answer, and how long it isn't worth asking again.
async fn asked(
    context: &Context,
    request: &DeployRequest,
    repository: &Repository,
    version: &str,
) -> (Result<String, Unresolved>, Option<Duration>) {
    let now = Timestamp::now();
    if let Some(known) = context.commits.known(request, repository, version, now) {
        return known;
    }
    let namespace = request.namespace().unwrap_or_default();
    let answer = match context.git.of(&namespace, repository).await {
        Ok(host) => host.commit(version).await,
        Err(error) => Err(error),
    };
    let now = Timestamp::now();
    let answer = match answer {
        Ok(commit) if version::is_commit(&commit.sha) => Answer::Commit(commit.sha),
        Ok(_) => Answer::Unknown(
            Unresolved::Unclear(format!(
                "{} answers with what is no commit.",
                repository.github
            )),
            now + patience(request, now, None),
        ),
        Err(error) => {
            tracing::debug!(%error, reason = error.reason(), "a version's commit isn't known");
            let until = match &error {
                GitError::Limited { until, .. } => Some(*until),
                _ => None,
            };
            let until = now + patience(request, now, until);
            Answer::Unknown(error.into(), until)
        }
    };
    let said = answer.at(now);
    context
        .commits
        .remember(request, repository, version, answer);
    said
}

/// How long a host isn't asked again: a little less than the decision waits, so that its next look asks.
fn patience(request: &DeployRequest, now: Timestamp, until: Option<Timestamp>) -> Duration {
    let waiting = request
        .status
        .as_ref()
        .and_then(|status| status.waiting.as_ref())
        .filter(|waiting| waiting.subject == WaitingFor::Repository);
    let since = waiting.map_or(now, |waiting| waiting.since.0);
    let uid = request.uid().unwrap_or_default();
    let usual = backoff::retry(&uid, since, now, None) * 5 / 6;
    until.map_or(usual, |until| backoff::elapsed(now, until).max(usual))
}

/// What a host said of a version.
#[derive(Debug, Clone)]
enum Answer {
    Commit(String),
    /// It is asked again from then on.
    Unknown(Unresolved, Timestamp),
}

impl Answer {
    /// The answer, and how long from now on it isn't worth asking again, where it may be another then.
    fn at(&self, now: Timestamp) -> (Result<String, Unresolved>, Option<Duration>) {
        match self {
            Self::Commit(commit) => (Ok(commit.clone()), None),
            Self::Unknown(problem, until) => {
                (Err(problem.clone()), Some(backoff::elapsed(now, *until)))
            }
        }
    }
}

/// What hosts said of the versions of requests that aren't accepted yet, by uid.
#[derive(Debug, Default)]
pub(in crate::controller) struct Commits(Mutex<HashMap<String, Said>>);

#[derive(Debug)]
struct Said {
    repository: Repository,
    version: String,
    answer: Answer,
}

impl Commits {
    /// The request is gone, or has ended.
    pub(in crate::controller) fn over(&self, uid: &str) {
        self.lock().remove(uid);
    }

    fn remember(
        &self,
        request: &DeployRequest,
        repository: &Repository,
        version: &str,
        answer: Answer,
    ) {
        let said = Said {
            repository: repository.clone(),
            version: version.to_owned(),
            answer,
        };
        self.lock().insert(request.uid().unwrap_or_default(), said);
    }

    /// What it said of this version, as long as that counts, and for how long it still does where it may be another soon.
    fn known(
        &self,
        request: &DeployRequest,
        repository: &Repository,
        version: &str,
        now: Timestamp,
    ) -> Option<(Result<String, Unresolved>, Option<Duration>)> {
        let all = self.lock();
        let said = all.get(&request.uid()?)?;
        if said.repository != *repository || said.version != version {
            return None;
        }
        let (answer, left) = said.answer.at(now);
        (left != Some(Duration::ZERO)).then_some((answer, left))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Said>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What changes on the target. Only people read it: that it can't be said holds nothing up.
///
/// It is asked once for two commits: what the request says already stands, and is asked again only while people are waited
/// for who would read it.
pub(super) async fn changes(
    context: &Context,
    request: &DeployRequest,
    application: &Application,
    target: Option<&DeployTargetStatus>,
    found: &Found,
    memo: &mut Memo,
) -> Option<Box<Changes>> {
    let settled = &found.settled;
    let base = target
        .and_then(|target| target.current.as_ref())
        .and_then(|run| Version::that_ran(run).commit);
    let Some(head) = &settled.version.commit else {
        let problem = settled.problem.as_ref()?;
        let changes = commits::not_compared(base.as_deref(), None, Some(problem.sentence()));
        return Some(Box::new(changes));
    };
    if let Some(known) = told(request, base.as_deref(), head, memo) {
        return Some(known);
    }
    let repository = application.spec.repository.as_ref()?;
    let (mut changes, archived) = tokio::join!(
        between(context, request, repository, base.as_deref(), head),
        async {
            if found.new {
                archived(context, request, repository).await
            } else {
                None
            }
        }
    );
    let note = settled.problem.as_ref().map(Unresolved::sentence);
    if let (None, Some(note)) = (&changes.problem, note.or(archived.as_deref())) {
        changes.problem = Some(bounds::cut(note, bounds::MESSAGE));
    }
    if base.is_none() && changes.problem.is_none() {
        return None;
    }
    let changes = Box::new(changes);
    memo.changes = Some((base, head.clone(), changes.clone()));
    Some(changes)
}

/// What lies between two commits, as far as that is said in time. What is said later is in memory then, and the request
/// is looked at again.
async fn between(
    context: &Context,
    request: &DeployRequest,
    repository: &Repository,
    base: Option<&str>,
    head: &str,
) -> Changes {
    let Some(base) = base else {
        return commits::not_compared(None, None, None);
    };
    if base == head {
        return commits::not_compared(Some(base), Some(Relation::Identical), None);
    }
    let namespace = request.namespace().unwrap_or_default();
    let asking = async {
        let host = context.git.of(&namespace, repository).await?;
        let (from, to) = (base.to_owned(), head.to_owned());
        let (wake, own) = (
            context.wake_request.clone(),
            named(&namespace, &request.name_any()),
        );
        let began = Instant::now();
        let asked = tokio::spawn(async move {
            let said = host.between(&from, &to, commits::COUNTED).await;
            if said.is_ok() && began.elapsed() >= CHANGES {
                drop(wake.send(own));
            }
            said
        });
        // It isn't dropped with this wait.
        asked.await.unwrap_or_else(|broken| {
            Err(GitError::Unavailable {
                host: repository.github.clone(),
                message: broken.to_string(),
            })
        })
    };
    let unknown = |why: &str| {
        let problem = format!("what changes isn't known: {why}.");
        commits::not_compared(Some(base), None, Some(&problem))
    };
    match tokio::time::timeout(CHANGES, asking).await {
        Ok(Ok(comparison)) => commits::changes(base, &comparison),
        Ok(Err(error)) => unknown(&error.to_string()),
        Err(_) => unknown("the repository's host takes too long to say"),
    }
}

/// That the repository is archived, where its host says so in time.
async fn archived(
    context: &Context,
    request: &DeployRequest,
    repository: &Repository,
) -> Option<String> {
    let namespace = request.namespace().unwrap_or_default();
    let asking = async {
        let host = context.git.of(&namespace, repository).await?;
        host.described().await
    };
    let described = tokio::time::timeout(CHANGES, asking).await.ok()?.ok()?;
    described.archived.then(|| {
        format!(
            "{} is archived: nothing can be pushed to it any more.",
            repository.github
        )
    })
}

/// What is known already of what lies between.
fn told(
    request: &DeployRequest,
    base: Option<&str>,
    head: &str,
    memo: &Memo,
) -> Option<Box<Changes>> {
    if let Some((from, to, changes)) = &memo.changes
        && from.as_deref() == base
        && to == head
    {
        return Some(changes.clone());
    }
    let status = request.status.as_ref()?;
    let to = status.resolved.as_ref()?.commit.as_deref();
    let changes = status.changes.as_ref()?;
    let stands = to == Some(head) && changes.from.as_deref() == base;
    let read = status.phase == Some(Phase::AwaitingApproval);
    let asked = base.is_none() || changes.relation.is_some();
    (stands && (asked || !read)).then(|| changes.clone())
}
