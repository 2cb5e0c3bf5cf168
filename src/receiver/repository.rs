//! What a plan's repository is asked, within the time that Slack leaves. Touches the hosts of repositories.
//!
//! Whoever comes here was found to be allowed to see the application, and for a plan also to do what it says: for nobody else
//! anything is asked. What lies between two commits is kept also where it is said too late, so that the next question finds
//! it; which commit a branch is, is asked anew each time.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use super::plan::asked::{Question, Said};
use crate::{
    api::{Application, version::Repository},
    domain::{
        commits::{self, Comparison},
        version::Unresolved,
    },
    git::{GitError, Host, Hosts},
};

/// How long a plan waits for its repository.
pub const PATIENCE: Duration = Duration::from_millis(1500);
/// What is left for everything after that at least.
const REST: Duration = Duration::from_millis(700);
/// How long the choices of a menu wait for branches that aren't known yet.
const MOMENT: Duration = Duration::from_millis(500);

/// Asks repositories.
#[derive(Clone)]
pub(super) struct Asker {
    hosts: Arc<Hosts>,
    patience: Duration,
    /// Questions that go on although nobody waits for them any more.
    later: TaskTracker,
}

impl Asker {
    /// Has asked nothing yet.
    pub(super) fn new(hosts: Hosts, patience: Duration, later: TaskTracker) -> Self {
        Self {
            hosts: Arc::new(hosts),
            patience,
            later,
        }
    }

    /// Asks what a plan asks, to be answered `by` then; `shown` is the commit that it was shown with.
    pub(super) async fn ask(
        &self,
        application: &Application,
        question: &Question,
        shown: Option<&str>,
        by: Instant,
    ) -> Said {
        let Some(repository) = &application.spec.repository else {
            return Said::default();
        };
        if question.is_empty() {
            return Said::default();
        }
        let latest = by.checked_sub(REST).unwrap_or(by);
        let by = latest.min(Instant::now() + self.patience);
        let host = self.host(application, repository, by).await;
        let mut said = match &question.name {
            None => Said::default(),
            Some(name) => {
                let commit = match &host {
                    Ok(host) => self.commit(host, repository, name, by).await,
                    Err(error) => Err(error.clone()),
                };
                let commit = commit.map_err(|error| {
                    tracing::debug!(reason = error.reason(), "a version's commit isn't known");
                    Unresolved::from(error)
                });
                Said::again(commit, shown)
            }
        };
        if let Some((base, head)) = question.span(said.commit.as_ref()) {
            let between = match host {
                Ok(host) => {
                    self.between(&host, repository, (base, head), commits::COUNTED, by)
                        .await
                }
                Err(error) => Err(error),
            };
            said.between = Some(between.map_err(|error| format!("{error}.")));
        }
        said
    }

    /// The host of an application's repository.
    pub(super) async fn host(
        &self,
        application: &Application,
        repository: &Repository,
        by: Instant,
    ) -> Result<Arc<dyn Host>, GitError> {
        let namespace = application
            .metadata
            .namespace
            .as_deref()
            .unwrap_or_default();
        timeout_at(by, self.hosts.of(namespace, repository))
            .await
            .unwrap_or_else(|_| Err(late(repository)))
    }

    async fn commit(
        &self,
        host: &Arc<dyn Host>,
        repository: &Repository,
        name: &str,
        by: Instant,
    ) -> Result<String, GitError> {
        let (host, name) = (host.clone(), name.to_owned());
        let asking = async move { host.commit(&name).await.map(|commit| commit.sha) };
        self.answered(asking, repository, by).await
    }

    /// What lies between two commits, with at most `most` of them.
    pub(super) async fn between(
        &self,
        host: &Arc<dyn Host>,
        repository: &Repository,
        (base, head): (String, String),
        most: usize,
        by: Instant,
    ) -> Result<Comparison, GitError> {
        let host = host.clone();
        let asking = async move { host.between(&base, &head, most).await };
        self.answered(asking, repository, by).await
    }

    /// The names of a repository's branches as far as they are known in a moment.
    pub(super) async fn branches(&self, application: &Application) -> Arc<Vec<String>> {
        let Some(repository) = &application.spec.repository else {
            return Arc::default();
        };
        let by = Instant::now() + MOMENT;
        let Ok(host) = self.host(application, repository, by).await else {
            return Arc::default();
        };
        let asking = async move { host.branches().await };
        let known = self.answered(asking, repository, by).await;
        known.unwrap_or_default()
    }

    /// What somebody answers in time. One that is late is heard all the same, by whoever asks next.
    async fn answered<T: Send + 'static>(
        &self,
        asking: impl Future<Output = Result<T, GitError>> + Send + 'static,
        repository: &Repository,
        by: Instant,
    ) -> Result<T, GitError> {
        let asking = self.later.spawn(asking);
        match timeout_at(by, asking).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(late(repository)),
        }
    }
}

fn late(repository: &Repository) -> GitError {
    GitError::Unavailable {
        host: repository.github.clone(),
        message: "it hasn't answered in time".to_owned(),
    }
}
