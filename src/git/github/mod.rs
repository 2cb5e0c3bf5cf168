//! One repository on GitHub, or on an Enterprise Server. Touches GitHub and the clock.

mod answer;
mod call;
mod compare;
mod deployments;
mod login;
mod names;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use moka::future::Cache;
use reqwest::{Method, Url};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::time::Instant;

pub(super) use self::{
    answer::Place,
    call::{Budget, Caller, Memory, Readers, memory},
};
use self::{
    answer::Refusal,
    call::{Asked, Kind},
    compare::Between,
    login::Login,
};
use super::{Announcement, Described, GitError, Host, Told, secret::Keyring};
use crate::domain::{
    commits::{Commit, Comparison},
    version::is_commit,
};

/// How long what a repository is counts as known.
const DESCRIBED: Duration = Duration::from_mins(1);
/// How old the branches may get before they are asked for again.
const BRANCHES: Duration = Duration::from_mins(1);
/// The most branches, and those of a page.
const MOST_BRANCHES: usize = 500;
const PAGE: usize = 100;
/// Names whose questions are known, and how long one is that nobody asks for.
const QUESTIONS: u64 = 1000;
const IDLE: Duration = Duration::from_mins(1);
/// What is remembered of comparisons, in bytes.
const COMPARED: u64 = 4 << 20;

/// A commit as GitHub lists it.
#[derive(Serialize, Deserialize)]
struct Listed {
    sha: String,
    commit: Detail,
    #[serde(default)]
    parents: Vec<Parent>,
}

#[derive(Serialize, Deserialize)]
struct Detail {
    #[serde(default)]
    message: String,
    author: Option<Author>,
}

#[derive(Serialize, Deserialize)]
struct Author {
    name: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Parent {}

impl From<Listed> for Commit {
    fn from(listed: Listed) -> Self {
        let author = listed.commit.author.and_then(|author| author.name);
        Self {
            sha: listed.sha.to_ascii_lowercase(),
            message: listed.commit.message,
            author: author.unwrap_or_default(),
            merge: listed.parents.len() > 1,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Branch {
    name: String,
}

#[derive(Serialize, Deserialize)]
struct About {
    default_branch: String,
    #[serde(default)]
    archived: bool,
}

/// One repository, with its login and what it said.
pub(super) struct Github {
    caller: Caller,
    login: Login,
    described: Cache<(), Described>,
    /// The last question of each name, held while it is under way.
    commits: Cache<String, Arc<Question>>,
    compared: Cache<Between, Comparison>,
    branches: Mutex<Option<Known>>,
    /// Held while they are asked for.
    listing: tokio::sync::Mutex<()>,
    refreshing: AtomicBool,
}

/// When a name was asked for, and what came of it.
type Question = tokio::sync::Mutex<Option<(Instant, Result<Commit, GitError>)>>;

/// The branches, and since when.
#[derive(Clone)]
struct Known {
    names: Arc<Vec<String>>,
    at: Instant,
}

/// What is asked with the login.
struct Asking<'a> {
    kind: Kind,
    operation: &'static str,
    method: Method,
    url: Url,
    body: Option<&'a serde_json::Value>,
}

impl Github {
    fn new(caller: Caller, keyring: Keyring) -> Self {
        Self {
            caller,
            login: Login::new(keyring),
            described: Cache::builder()
                .max_capacity(1)
                .time_to_live(DESCRIBED)
                .build(),
            commits: Cache::builder()
                .max_capacity(QUESTIONS)
                .time_to_idle(IDLE)
                .build(),
            compared: Cache::builder()
                .max_capacity(COMPARED)
                .weigher(compare::weight)
                .build(),
            branches: Mutex::default(),
            listing: tokio::sync::Mutex::default(),
            refreshing: AtomicBool::default(),
        }
    }

    /// Whether there is a login for it now.
    pub(super) async fn has_login(&self) -> Result<(), GitError> {
        self.login.is_readable().await
    }

    /// What is there, from memory where it hasn't changed.
    async fn get<T: Serialize + DeserializeOwned>(
        &self,
        operation: &'static str,
        url: &Url,
    ) -> Result<T, Refusal> {
        let shown = self.login.shown(&self.caller).await?;
        let answered = self.caller.get(operation, url, &shown).await;
        if !matches!(answered, Err(Refusal::Login(_))) {
            return answered;
        }
        match self.login.another_than(&self.caller, &shown).await? {
            Some(new) => self.caller.get(operation, url, &new).await,
            None => answered,
        }
    }

    /// What isn't remembered, or changes something.
    async fn ask<T: DeserializeOwned>(&self, asking: Asking<'_>) -> Result<T, Refusal> {
        let shown = self.login.shown(&self.caller).await?;
        let answered = self.caller.send(asking.with(&shown)).await;
        if !matches!(answered, Err(Refusal::Login(_))) {
            return answered;
        }
        // What the login doesn't let in hasn't been done.
        match self.login.another_than(&self.caller, &shown).await? {
            Some(new) => self.caller.send(asking.with(&new)).await,
            None => answered,
        }
    }

    /// What a refusal says of the repository itself.
    fn error(&self, refusal: Refusal) -> GitError {
        let place = &self.caller.place;
        match refusal {
            Refusal::Missing(_) => place.no_repository(),
            Refusal::Login(message) | Refusal::Impossible(message) => place.forbidden(message),
            Refusal::Error(error) => error,
        }
    }

    async fn described_now(&self) -> Result<Described, GitError> {
        let asked = async {
            let url = self.caller.repository(&[], &[])?;
            self.get::<About>("repository", &url).await
        };
        let about = asked.await.map_err(|refusal| self.error(refusal))?;
        Ok(Described {
            default_branch: about.default_branch,
            archived: about.archived,
        })
    }

    /// Asked of GitHub each time, conditionally. Those who ask while the same is under way share the next question: an answer
    /// to what was asked earlier may be older than what they know of, a push for example.
    async fn commit_of(&self, version: &str) -> Result<Commit, GitError> {
        if !names::is_name(version) {
            return Err(self.caller.place.no_version(version));
        }
        let wanted = Instant::now();
        let question = self
            .commits
            .get_with(version.to_owned(), async { Arc::default() })
            .await;
        let mut last = question.lock().await;
        if let Some((asked, answer)) = last.as_ref()
            && *asked >= wanted
        {
            return answer.clone();
        }
        let asked = Instant::now();
        let answer = self.commit_now(version).await;
        *last = Some((asked, answer.clone()));
        answer
    }

    async fn commit_now(&self, version: &str) -> Result<Commit, GitError> {
        let place = &self.caller.place;
        let asked = async {
            // Of the files that it changed, at most one comes along.
            let query = [("per_page", "1")];
            let url = self.caller.repository(&["commits", version], &query)?;
            self.get::<Listed>("commit", &url).await
        };
        let commit = match asked.await {
            Ok(listed) => Commit::from(listed),
            // An empty repository (409) has none either.
            Err(Refusal::Impossible(_)) => return Err(place.no_version(version)),
            Err(Refusal::Missing(_)) => {
                self.described_now().await?;
                return Err(place.no_version(version));
            }
            Err(other) => return Err(self.error(other)),
        };
        if !is_commit(&commit.sha) {
            return Err(place.unavailable("it answers with something that isn't a commit"));
        }
        let asked = version.to_ascii_lowercase();
        let another = is_commit(&asked) && commit.sha != asked;
        // What is shorter counts only as the name of a branch or a tag.
        let beginning = names::is_too_short(&asked) && commit.sha.starts_with(&asked);
        if another || beginning {
            return Err(place.no_version(version));
        }
        Ok(commit)
    }

    fn known_branches(&self) -> Option<Known> {
        self.branches
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    async fn list_branches(&self) -> Result<Arc<Vec<String>>, GitError> {
        let began = Instant::now();
        let _listing = self.listing.lock().await;
        // Somebody else has asked meanwhile.
        if let Some(known) = self.known_branches().filter(|known| known.at >= began) {
            return Ok(known.names);
        }
        let size = PAGE.to_string();
        let mut names = Vec::new();
        for number in 1..=MOST_BRANCHES.div_ceil(PAGE) {
            let number = number.to_string();
            let asked = async {
                let query = [("per_page", size.as_str()), ("page", number.as_str())];
                let url = self.caller.repository(&["branches"], &query)?;
                self.get::<Vec<Branch>>("branches", &url).await
            };
            let page = asked.await.map_err(|refusal| self.error(refusal))?;
            let count = page.len();
            names.extend(page.into_iter().map(|branch| branch.name));
            if count < PAGE {
                break;
            }
        }
        names.truncate(MOST_BRANCHES);
        let names = Arc::new(names);
        let known = Known {
            names: Arc::clone(&names),
            at: Instant::now(),
        };
        *self.branches.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
        Ok(names)
    }

    /// Asks for them again, and lets nobody wait.
    fn refresh_branches(self: &Arc<Self>) {
        if self.refreshing.swap(true, Ordering::AcqRel) {
            return;
        }
        let own = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(error) = own.list_branches().await {
                let repository = &own.caller.place.repository;
                tracing::warn!(%error, reason = error.reason(), %repository, "a repository's branches aren't known anew");
            }
            own.refreshing.store(false, Ordering::Release);
        });
    }
}

impl<'a> Asking<'a> {
    fn with<'b>(&'b self, shown: &'b login::Shown) -> Asked<'b>
    where
        'a: 'b,
    {
        Asked {
            kind: self.kind,
            operation: self.operation,
            method: self.method.clone(),
            url: self.url.clone(),
            body: self.body,
            token: shown.token.as_deref(),
            version: &shown.version,
        }
    }
}

/// A repository that several hold.
pub(super) struct Shared(Arc<Github>);

impl Shared {
    pub(super) fn new(caller: Caller, keyring: Keyring) -> Self {
        Self(Arc::new(Github::new(caller, keyring)))
    }

    pub(super) async fn has_login(&self) -> Result<(), GitError> {
        self.0.has_login().await
    }
}

impl Host for Shared {
    fn described(&self) -> BoxFuture<'_, Result<Described, GitError>> {
        async {
            let known = self.0.described.try_get_with((), self.0.described_now());
            known.await.map_err(|error| GitError::clone(&error))
        }
        .boxed()
    }

    fn commit<'a>(&'a self, version: &'a str) -> BoxFuture<'a, Result<Commit, GitError>> {
        self.0.commit_of(version).boxed()
    }

    fn between<'a>(
        &'a self,
        base: &'a str,
        head: &'a str,
        most: usize,
    ) -> BoxFuture<'a, Result<Comparison, GitError>> {
        self.0.compare(base, head, most).boxed()
    }

    fn branches(&self) -> BoxFuture<'_, Result<Arc<Vec<String>>, GitError>> {
        async {
            match self.0.known_branches() {
                Some(known) => {
                    if known.at.elapsed() > BRANCHES {
                        self.0.refresh_branches();
                    }
                    Ok(known.names)
                }
                None => self.0.list_branches().await,
            }
        }
        .boxed()
    }

    fn deployment<'a>(
        &'a self,
        announcement: &'a Announcement,
    ) -> BoxFuture<'a, Result<Option<i64>, GitError>> {
        self.0.found(announcement).boxed()
    }

    fn announce<'a>(
        &'a self,
        announcement: &'a Announcement,
    ) -> BoxFuture<'a, Result<i64, GitError>> {
        self.0.made(announcement).boxed()
    }

    fn told(&self, deployment: i64) -> BoxFuture<'_, Result<Option<String>, GitError>> {
        self.0.last_told(deployment).boxed()
    }

    fn tell<'a>(&'a self, deployment: i64, told: &'a Told) -> BoxFuture<'a, Result<(), GitError>> {
        self.0.telling(deployment, told).boxed()
    }
}
