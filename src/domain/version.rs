//! From the version that somebody named to the commit that it stands for, and what may go without one. Touches nothing.
//!
//! A branch moves, so what it means is asked once, when a request is planned or accepted; from then on the commit is what
//! counts. Whoever asks the repository hands its answer in.

use super::{refusal::Refusal, resolve};
use crate::api::{
    Application, DeployRequest, Environment,
    conditions::Reason,
    deploy_request::{ROLLBACK_ACTION, WaitingFor},
    deploy_target::{DeployTargetStatus, Run},
    environment::UnresolvedVersions,
};

/// Digits of a commit that people read, and that images are usually tagged with.
pub const SHORT: usize = 7;

/// The first seven digits of a commit.
pub fn short(commit: &str) -> &str {
    commit.get(..SHORT).unwrap_or(commit)
}

/// Whether it is a commit's whole SHA-1, in lower case.
pub fn is_commit(text: &str) -> bool {
    text.len() == 40
        && text
            .bytes()
            .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

/// A version, and the commit that it stands for as far as that is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Version {
    /// As somebody typed it: a branch, a tag, a commit, an image's tag.
    pub name: Option<String>,
    /// The commit.
    pub commit: Option<String>,
}

impl Version {
    /// What a request ran.
    pub fn that_ran(run: &Run) -> Self {
        Self {
            name: run.version.clone(),
            commit: run.commit.clone(),
        }
    }
}

/// Why the commit of a version isn't known: a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unresolved {
    /// The repository has no such branch, tag or commit.
    Missing(String),
    /// Nobody knows: the repository isn't there for us, or doesn't answer now.
    Unclear(String),
}

impl Unresolved {
    /// The sentence.
    pub fn sentence(&self) -> &str {
        match self {
            Self::Missing(sentence) | Self::Unclear(sentence) => sentence,
        }
    }
}

/// A version that may go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    /// What goes.
    pub version: Version,
    /// Why its commit isn't known, where a repository should have said.
    pub problem: Option<Unresolved>,
}

/// The version that a request names: its own, for a rollback that names none the one to go back to, and for any other
/// action that names none what runs there now. What ran is a commit, whatever became of its branch since.
///
/// # Errors
/// There is nothing to roll back to.
pub fn named(
    request: &DeployRequest,
    target: Option<&DeployTargetStatus>,
) -> Result<Version, Refusal> {
    if request.spec.version.is_some() {
        return Ok(Version {
            name: request.spec.version.clone(),
            commit: request.spec.commit.clone(),
        });
    }
    if request.spec.action != ROLLBACK_ACTION {
        let current = target.and_then(|target| target.current.as_ref());
        return Ok(current.map(Version::that_ran).unwrap_or_default());
    }
    target.and_then(resolve::previous).ok_or_else(|| {
        Refusal::permanent(
            Reason::NoEarlierVersion,
            format!(
                "nothing to roll back to: no earlier version of {:?} succeeded in {:?}; name one in spec.version.",
                request.spec.application, request.spec.environment
            ),
        )
    })
}

/// What a repository has to be asked: the version's name, where there is a repository and the commit isn't known yet.
pub fn question<'a>(version: &'a Version, application: &Application) -> Option<&'a str> {
    application.spec.repository.as_ref()?;
    if version.commit.is_some() {
        return None;
    }
    version.name.as_deref()
}

/// What may go, once the repository answered; nothing has to be asked where [`question`] has none, and `answer` is `None`.
///
/// # Errors
/// The commit isn't known, and the Environment wants it to be: what isn't there fails, what isn't known waits.
pub fn settle(
    version: Version,
    environment: &Environment,
    answer: Option<Result<String, Unresolved>>,
) -> Result<Settled, Refusal> {
    match answer {
        None => Ok(Settled {
            version,
            problem: None,
        }),
        Some(Ok(commit)) => Ok(Settled {
            version: Version {
                commit: Some(commit),
                ..version
            },
            problem: None,
        }),
        Some(Err(problem)) if may_go(environment) => Ok(Settled {
            version,
            problem: Some(problem),
        }),
        Some(Err(problem)) => Err(refused(&problem)),
    }
}

/// Whether a version whose commit isn't known may go: as the Environment says, else where nobody has to approve it.
pub fn may_go(environment: &Environment) -> bool {
    let protection = &environment.spec.protection;
    match protection.unresolved_versions {
        Some(UnresolvedVersions::Allow) => true,
        Some(UnresolvedVersions::Refuse) => false,
        None => protection.approvals.is_none(),
    }
}

/// That it doesn't go for want of its commit.
pub fn refused(problem: &Unresolved) -> Refusal {
    match problem {
        Unresolved::Missing(sentence) => Refusal::permanent(Reason::VersionNotFound, sentence),
        Unresolved::Unclear(sentence) => {
            Refusal::passing(WaitingFor::Repository, Reason::CommitUnknown, sentence)
        }
    }
}
