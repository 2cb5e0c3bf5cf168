//! The order in which a deployment is made known and told of, so that a repository has one for each request whoever dies when.
//! Touches the repository's host, and the request's status through a [`Book`].
//!
//! GitHub doesn't know our requests apart: the same deployment posted twice is two. So the request says that something is
//! being told before it is (`tellingSince`), by a write that only one of two leaders can make. Whoever finds such a mark that
//! isn't its own waits until nothing of it can be under way any more, and looks for the deployment before it posts one.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tokio::time::timeout;

use super::wanted::{Wanted, is_final};
use crate::{
    api::version::GitStatus,
    controller::error::ControllerError,
    domain::backoff,
    git::{GitError, Host},
    runtime::crash,
};

/// How old a mark may be when a deployment is posted under it.
const FRESH: Duration = Duration::from_secs(12);
/// How long a post may take in all: its turn among other calls, a login that has to be made anew, and the answer. It is given
/// up then, sent or not.
const POST: Duration = Duration::from_secs(12);
/// Until nothing that was begun under a mark can be under way: [`FRESH`], [`POST`], and what the API server cuts off a time.
pub(super) const SETTLE: Duration = FRESH
    .saturating_add(POST)
    .saturating_add(Duration::from_secs(3));

/// What one pass came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    /// The repository was told, of a deployment that is new.
    Announced,
    /// The repository was told, of a deployment that was known or found again.
    Told,
    /// The repository knew it already.
    Known,
    /// Somebody may be telling it: not before this time.
    Later(Duration),
}

/// Why a pass came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// The host.
    #[error(transparent)]
    Host(#[from] GitError),
    /// The API server, or that we lead no more.
    #[error(transparent)]
    Own(#[from] ControllerError),
}

/// Where it is written down what a repository was told.
pub(super) trait Book: Send {
    /// What it says.
    fn git(&self) -> GitStatus;
    /// Whether anything may be begun now.
    fn may_begin(&self) -> Result<(), ControllerError>;
    /// Writes it, if nobody else did since.
    fn write(&mut self, git: GitStatus)
    -> impl Future<Output = Result<(), ControllerError>> + Send;
}

/// Tells what is wanted, once. `sure`: this process told what the book says, and had a clear answer.
pub(super) async fn carry(
    host: &dyn Host,
    book: &mut impl Book,
    wanted: &Wanted,
    sure: bool,
    now: Timestamp,
) -> Result<Came, Trouble> {
    let git = book.git();
    let word = wanted.told.state.word();
    let (id, new, looked_up) = match git.deployment {
        Some(id) => (id, false, !sure),
        None => match made(host, book, wanted, now).await? {
            Made::New(id) => (id, true, false),
            Made::Found(id) => (id, false, true),
            Made::Later(wait) => return Ok(Came::Later(wait)),
        },
    };
    let said = said(host, book, (id, wanted, looked_up)).await;
    match said {
        Ok(known) => {
            crash::point("before-git-record");
            book.write(told(id, known.as_deref().unwrap_or(word)))
                .await?;
            crash::point("after-git-record");
            Ok(match known {
                Some(_) => Came::Known,
                None if new => Came::Announced,
                None => Came::Told,
            })
        }
        Err(trouble) => {
            if git.deployment.is_none() {
                // So that nobody has to look for it. What goes wrong here costs a look.
                let found = GitStatus {
                    deployment: Some(id),
                    ..GitStatus::default()
                };
                book.write(found).await?;
            }
            Err(trouble)
        }
    }
}

enum Made {
    New(i64),
    Found(i64),
    Later(Duration),
}

/// The deployment, made if there is none. A look comes first also where nothing was written down: a status can be wiped.
async fn made(
    host: &dyn Host,
    book: &mut impl Book,
    wanted: &Wanted,
    now: Timestamp,
) -> Result<Made, Trouble> {
    let git = book.git();
    if let Some(since) = &git.telling_since {
        let left = SETTLE.checked_sub(backoff::elapsed(since.0, now));
        if let Some(left) = left.filter(|left| !left.is_zero()) {
            return Ok(Made::Later(left));
        }
    }
    crash::point("before-git-mark");
    let marked = Instant::now();
    let mark = GitStatus {
        telling_since: Some(Time(now)),
        ..git
    };
    book.write(mark).await?;
    crash::point("after-git-mark");
    if let Some(id) = host.deployment(&wanted.announcement).await? {
        return Ok(Made::Found(id));
    }
    book.may_begin()?;
    // A process that was frozen meanwhile is not the only one any more that may post.
    if marked.elapsed() > FRESH {
        return Ok(Made::Later(SETTLE));
    }
    crash::point("before-git-announce");
    let id = timeout(POST, host.announce(&wanted.announcement))
        .await
        .map_err(|_| GitError::Unavailable {
            host: "the repository's host".to_owned(),
            message: "a deployment could not be made known in time".to_owned(),
        })??;
    crash::point("after-git-announce");
    Ok(Made::New(id))
}

/// Tells the state, unless it was told: then it gives the one that was. An end that somebody told is the end.
async fn said(
    host: &dyn Host,
    book: &impl Book,
    (id, wanted, looked_up): (i64, &Wanted, bool),
) -> Result<Option<String>, Trouble> {
    if looked_up {
        let word = wanted.told.state.word();
        let known = host.told(id).await?;
        if let Some(known) = known.filter(|known| known == word || is_final(known)) {
            return Ok(Some(known));
        }
    }
    book.may_begin()?;
    crash::point("before-git-tell");
    host.tell(id, &wanted.told).await?;
    crash::point("after-git-tell");
    Ok(None)
}

fn told(id: i64, word: &str) -> GitStatus {
    GitStatus {
        deployment: Some(id),
        state: Some(word.to_owned()),
        ..GitStatus::default()
    }
}

#[cfg(test)]
#[path = "steps_tests.rs"]
mod tests;
