//! How far what runs is from the default branches of repositories, each asked once for all targets. Touches the hosts of
//! repositories (reads), and the API server through them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream};
use tokio::time::Instant;

use crate::{
    api::{
        DeployTarget,
        version::{Relation, Repository},
    },
    controller::context::Context,
    domain::{
        standing::Heard,
        version::{is_commit, short},
    },
    git::{GitError, Host},
};

/// How many targets of one round ask at once.
const AT_ONCE: usize = 4;

/// The head of a default branch.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Head {
    branch: String,
    commit: String,
}

/// What a repository said last.
#[derive(Default)]
struct Entry {
    asked: Option<(Instant, Result<Head, GitError>)>,
    /// Since when it hasn't said of a target what it should, by the target's uid.
    failing: HashMap<String, Instant>,
}

/// One per namespace, repository and login.
type Entries = HashMap<(String, String), Arc<tokio::sync::Mutex<Entry>>>;

/// What repositories said last.
pub(super) struct Repositories {
    interval: Duration,
    entries: Mutex<Entries>,
}

impl Repositories {
    /// Nothing is known yet.
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            interval,
            entries: Mutex::default(),
        }
    }

    /// What there is to be said of each of these targets of one namespace, in their order.
    pub(super) async fn heard(
        &self,
        context: &Context,
        namespace: &str,
        targets: &[DeployTarget],
    ) -> Vec<Option<Heard>> {
        let mut all = Vec::with_capacity(targets.len());
        for target in targets {
            all.push(self.of(context, namespace, target));
        }
        stream::iter(all).buffered(AT_ONCE).collect().await
    }

    async fn of(&self, context: &Context, namespace: &str, target: &DeployTarget) -> Option<Heard> {
        let current = target.status.as_ref()?.current.as_ref()?;
        let applications = &context.caches.applications;
        let application = applications.get(namespace, &target.spec.application)?;
        let repository = application.spec.repository?;
        let commit = current.commit.as_deref().filter(|commit| is_commit(commit));
        let entry = self.entry(namespace, &repository);
        let host = context.git.of(namespace, &repository).await;
        let version = current.version.as_deref().unwrap_or_default();
        let uid = target.metadata.uid.as_deref().unwrap_or_default();
        Some(self.one(&entry, uid, host, commit, version).await)
    }

    fn entry(&self, namespace: &str, repository: &Repository) -> Arc<tokio::sync::Mutex<Entry>> {
        let key = (namespace.to_owned(), format!("{repository:?}"));
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(entries.entry(key).or_default())
    }

    async fn one(
        &self,
        entry: &tokio::sync::Mutex<Entry>,
        uid: &str,
        host: Result<Arc<dyn Host>, GitError>,
        commit: Option<&str>,
        version: &str,
    ) -> Heard {
        let host = match host {
            Ok(host) => host,
            Err(error) => return self.problem(&mut *entry.lock().await, uid, None, &error),
        };
        let head = {
            let mut entry = entry.lock().await;
            match self.head(&mut entry, &*host).await {
                Ok(head) => head,
                Err(error) => return self.problem(&mut entry, uid, None, &error),
            }
        };
        let Head { branch, commit: at } = head.clone();
        let unknown = |sentence: String| Heard::Problem {
            branch: Some(branch.clone()),
            head: Some(at.clone()),
            sentence,
            passing: false,
        };
        let Some(commit) = commit else {
            return unknown(format!(
                "which commit {version:?} is was not known when it was deployed."
            ));
        };
        if commit == at {
            entry.lock().await.failing.remove(uid);
            return Heard::Compared {
                branch,
                head: at,
                behind: 0,
                ahead: 0,
            };
        }
        match host.between(commit, &at, 0).await {
            Ok(comparison) if comparison.relation == Relation::Unrelated => unknown(format!(
                "what runs here ({}) and {branch} have no commit in common.",
                short(commit)
            )),
            Ok(comparison) => {
                entry.lock().await.failing.remove(uid);
                Heard::Compared {
                    branch,
                    head: at,
                    behind: comparison.ahead,
                    ahead: comparison.behind,
                }
            }
            Err(error) => self.problem(&mut *entry.lock().await, uid, Some(head), &error),
        }
    }

    /// The head, asked for once in an interval, and not while the host wants a pause.
    async fn head(&self, entry: &mut Entry, host: &dyn Host) -> Result<Head, GitError> {
        if let Some((asked, answer)) = &entry.asked {
            let age = self.interval.mul_f32(0.9);
            let paused = matches!(answer, Err(GitError::Limited { until, .. }) if *until > jiff::Timestamp::now());
            if asked.elapsed() < age || paused {
                return answer.clone();
            }
        }
        let asked = async {
            let branch = host.described().await?.default_branch;
            let commit = host.commit(&branch).await?.sha;
            Ok(Head { branch, commit })
        };
        let answer: Result<Head, GitError> = asked.await;
        entry.asked = Some((Instant::now(), answer.clone()));
        answer
    }

    /// What is only late counts as a problem when it stays so.
    fn problem(&self, entry: &mut Entry, uid: &str, head: Option<Head>, error: &GitError) -> Heard {
        let late = matches!(
            error,
            GitError::Limited { .. } | GitError::Unavailable { .. }
        );
        let since = entry.failing.entry(uid.to_owned());
        let since = since.or_insert_with(Instant::now);
        let (branch, head) = head.map(|head| (head.branch, head.commit)).unzip();
        Heard::Problem {
            branch,
            head,
            sentence: format!("{error}."),
            passing: late && since.elapsed() < self.interval * 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_fails_for_one_target_makes_another_one_no_later() {
        let interval = Duration::from_secs(10);
        let (repositories, mut entry) = (Repositories::new(interval), Entry::default());
        let error = GitError::Unavailable {
            host: "api.github.com".to_owned(),
            message: "no answer".to_owned(),
        };
        let mut passing = |uid: &str| {
            let heard = repositories.problem(&mut entry, uid, None, &error);
            matches!(heard, Heard::Problem { passing: true, .. })
        };
        assert!(passing("one"));
        tokio::time::advance(interval * 4).await;
        assert!(!passing("one"), "it stays so");
        assert!(passing("other"), "it has only begun");
    }
}
