//! The hosts of repositories: which commit a version is, what lies between two commits, and how deployments go. Touches the
//! API server (Secrets that an Application names, of its own namespace) and GitHub.
//!
//! What is asked is remembered: a commit's neighbours for ever, all else with its `ETag`, so that asking again costs GitHub
//! nothing. Nothing is retried here; whoever asks decides what an answer that didn't come means.

mod github;
mod hosts;
mod metrics;
pub mod secret;

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;

pub use self::{
    hosts::{GITHUB, Hosts, Settings},
    metrics::GitMetrics,
};
use crate::domain::{
    commits::{Commit, Comparison},
    version::Unresolved,
};

/// How long one call may take.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// Why a host didn't say. Each has a sentence for people (`Display`) and a fixed word ([`GitError::reason`]).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GitError {
    /// There is no such branch, tag or commit.
    #[error("{repository} has no branch, tag or commit `{version}`")]
    NoSuchVersion {
        /// `owner/name`.
        repository: String,
        /// As it was asked for, cut.
        version: String,
    },
    /// There is no such repository, or the token may not see it: GitHub doesn't tell these apart.
    #[error("there is no repository {repository}, or its Secret's token may not read it")]
    NoSuchRepository {
        /// `owner/name`.
        repository: String,
    },
    /// The host wants a pause.
    #[error("{host} answers no more until {until}: its rate limit is used up")]
    Limited {
        /// The host.
        host: String,
        /// Until when.
        until: jiff::Timestamp,
    },
    /// The token isn't accepted, or may not do that.
    #[error("{host} refuses our login for {repository}: {message}")]
    Forbidden {
        /// The host.
        host: String,
        /// `owner/name`.
        repository: String,
        /// What it said, cleaned and cut.
        message: String,
    },
    /// It doesn't answer, not in time, or with something that isn't its own.
    #[error("{host} doesn't answer as it should: {message}")]
    Unavailable {
        /// The host.
        host: String,
        /// What happened.
        message: String,
    },
    /// The role's operators don't allow the host.
    #[error(
        "{host} is none of the hosts that --allow-git-hosts lists (git.enabled and git.allowHosts of the chart)"
    )]
    HostNotAllowed {
        /// The host.
        host: String,
    },
    /// The Secret isn't there, may not be read, or lacks its keys.
    #[error("{message}")]
    Credentials {
        /// A sentence.
        message: String,
    },
}

impl GitError {
    /// The fixed word, for metrics and logs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoSuchVersion { .. } => "no-such-version",
            Self::NoSuchRepository { .. } => "no-such-repository",
            Self::Limited { .. } => "limited",
            Self::Forbidden { .. } => "forbidden",
            Self::Unavailable { .. } => "unavailable",
            Self::HostNotAllowed { .. } => "host-not-allowed",
            Self::Credentials { .. } => "credentials",
        }
    }
}

impl From<GitError> for Unresolved {
    fn from(error: GitError) -> Self {
        let sentence = format!("{error}.");
        match error {
            GitError::NoSuchVersion { .. } => Self::Missing(sentence),
            _ => Self::Unclear(sentence),
        }
    }
}

/// A repository as its host has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Its default branch.
    pub default_branch: String,
    /// Whether nothing can be pushed to it any more.
    pub archived: bool,
}

/// A state of a deployment, in GitHub's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It waits.
    Queued,
    /// It runs.
    InProgress,
    /// It ended well.
    Success,
    /// It ended badly.
    Failure,
    /// It can't be known how it went.
    Error,
    /// It was given up before it ran.
    Inactive,
}

impl State {
    /// GitHub's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::InProgress => "in_progress",
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Error => "error",
            Self::Inactive => "inactive",
        }
    }
}

/// A deployment to be made known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The commit.
    pub commit: String,
    /// The environment, as people know it.
    pub environment: String,
    /// The action, GitHub's `task`.
    pub action: String,
    /// A sentence.
    pub description: String,
    /// The request's uid, by which it is found again.
    pub uid: String,
}

/// What is told of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The state.
    pub state: State,
    /// A sentence, at most 140 characters.
    pub description: String,
    /// Where people see it run.
    pub log_url: Option<String>,
}

/// One repository at its host, with its login. GitLab would be another implementation.
pub trait Host: Send + Sync {
    /// What the repository is.
    fn described(&self) -> BoxFuture<'_, Result<Described, GitError>>;
    /// The commit that a branch, tag, commit or the beginning of one (from 7 digits on) stands for now.
    fn commit<'a>(&'a self, version: &'a str) -> BoxFuture<'a, Result<Commit, GitError>>;
    /// How `head` stands to `base`, with at most `most` of the commits between, newest first, and the page that lists them; with
    /// 0, how many there are and no page, which costs one small call. Two whole SHA-1s: the answer never changes.
    fn between<'a>(
        &'a self,
        base: &'a str,
        head: &'a str,
        most: usize,
    ) -> BoxFuture<'a, Result<Comparison, GitError>>;
    /// The names of branches, at most 500, as they were when last asked; never waits where they are known, however old.
    fn branches(&self) -> BoxFuture<'_, Result<Arc<Vec<String>>, GitError>>;
    /// The deployment of that request, if there is one: asked of the host itself.
    fn deployment<'a>(
        &'a self,
        announcement: &'a Announcement,
    ) -> BoxFuture<'a, Result<Option<i64>, GitError>>;
    /// Makes a deployment known: its id. Not to be repeated without having looked for it.
    fn announce<'a>(
        &'a self,
        announcement: &'a Announcement,
    ) -> BoxFuture<'a, Result<i64, GitError>>;
    /// The state that was told last of a deployment, in GitHub's word.
    fn told(&self, deployment: i64) -> BoxFuture<'_, Result<Option<String>, GitError>>;
    /// Tells how a deployment goes.
    fn tell<'a>(&'a self, deployment: i64, told: &'a Told) -> BoxFuture<'a, Result<(), GitError>>;
}
