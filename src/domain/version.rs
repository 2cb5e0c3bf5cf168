//! From the version that somebody named to the commit that it stands for, and what may go without one. Touches nothing.
//!
//! A branch moves, so what it means is asked once, when a request is planned or accepted; from then on the commit is what
//! counts. Whoever asks the repository hands its answer in.

use super::{approvals, refusal::Refusal, resolve, target};
use crate::api::{
    Application, DeployRequest, Environment, bounds,
    conditions::Reason,
    deploy_request::{Phase, ROLLBACK_ACTION, WaitingFor},
    deploy_target::{DeployTargetStatus, Run},
    environment::{ApprovalRules, UnresolvedVersions},
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
    /// What a request ran. A whole SHA-1 is its own commit, also where nobody wrote that down.
    pub fn that_ran(run: &Run) -> Self {
        let own = run.version.as_ref().filter(|name| is_commit(name));
        Self {
            name: run.version.clone(),
            commit: run.commit.as_ref().or(own).cloned(),
        }
    }

    /// Whether two are one: by their commits where both are known, by their names where neither is. Where one side alone
    /// knows its commit, the names would let a branch pass for what it was then.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self.known_commit(), other.known_commit()) {
            (Some(own), Some(other)) => own.eq_ignore_ascii_case(other),
            (None, None) => self.name.is_some() && self.name == other.name,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    /// Its commit. A whole SHA-1 is its own, whoever wrote that down.
    fn known_commit(&self) -> Option<&str> {
        let own = self.name.as_deref().filter(|name| is_commit(name));
        self.commit.as_deref().or(own)
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

/// How many versions are named to whoever wants to go back to one that isn't there.
const NAMED: usize = 3;

/// Whether a rollback goes back: to a version that succeeded there, as far as its target remembers. To any other it would be
/// a deployment that passes what stands before one. Where nothing succeeded yet there is nothing to go back to.
///
/// # Errors
/// The version never succeeded there; or nobody knows now which commit it is, and it may be one that did.
pub fn goes_back(
    request: &DeployRequest,
    target: Option<&DeployTargetStatus>,
    version: &Version,
) -> Result<(), Refusal> {
    let asked = request.spec.version.as_ref();
    let Some(name) = asked.filter(|_| request.spec.action == ROLLBACK_ACTION) else {
        return Ok(());
    };
    let succeeded = target
        .into_iter()
        .flat_map(|target| target.history.iter().chain(&target.current))
        .filter(|run| run.phase == Phase::Succeeded && run.version.is_some())
        .map(Version::that_ran);
    let mut others: Vec<String> = Vec::new();
    let mut may_be = false;
    for ran in succeeded {
        if ran.is_same(version) {
            return Ok(());
        }
        // Under whatever name it ran: a tag may be what a branch was then.
        may_be |= version.known_commit().is_none() && ran.known_commit().is_some();
        let known = ran.name.filter(|other| other != name);
        let other = known.or_else(|| ran.commit.as_deref().map(short).map(str::to_owned));
        others.extend(other.filter(|other| !others.contains(other) && others.len() < NAMED));
    }
    let others: Vec<String> = others.iter().map(|other| format!("`{other}`")).collect();
    let instead = if others.is_empty() {
        "no other version did either; ask for `deploy` to start it.".to_owned()
    } else {
        let others = others.join(", ");
        format!("name one that did (the latest are {others}), or ask for `deploy` to start it.")
    };
    let (name, environment) = (bounds::cut(name, bounds::NAME), &request.spec.environment);
    let (reason, why) = if may_be {
        (
            Reason::CommitUnknown,
            format!(
                "which commit `{name}` is isn't known, so nobody can say whether that succeeded in {environment:?}, and a rollback can't go back to it"
            ),
        )
    } else {
        (
            Reason::NoEarlierVersion,
            format!(
                "`{name}` never succeeded in {environment:?}, as far as that is remembered, so a rollback can't go back to it"
            ),
        )
    };
    Err(Refusal::permanent(reason, format!("{why}; {instead}")))
}

/// What stands written of the commit of a request's version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// It was accepted as this one, or planned so.
    Commit(String),
    /// It was accepted without one; why, where a repository should have said.
    Without(Option<String>),
    /// Nothing: it isn't accepted yet.
    Nothing,
}

/// What stands written of it: from its acceptance to its start that is what counts, whatever became of the branch.
///
/// Its target's word comes first, since that is what was claimed; then its own status, then what it was planned with. Each
/// counts only for the version of that name: what a rollback goes back to may be another one by now.
pub fn written(
    request: &DeployRequest,
    target: Option<&DeployTargetStatus>,
    version: &Version,
) -> Written {
    let uid = request.metadata.uid.as_deref().unwrap_or_default();
    let status = request.status.as_ref();
    let resolved = status
        .and_then(|status| status.resolved.as_ref())
        .filter(|resolved| resolved.version == version.name);
    let active = target
        .and_then(|target| target::held_by(target, uid))
        .filter(|active| active.version == version.name);
    // What ran is in the history, and that may say by now what it didn't then.
    let planned = version.commit.as_ref();
    let ran = planned.filter(|_| request.spec.version.is_none());
    let commit = active
        .and_then(|active| active.commit.as_ref())
        .or(ran)
        .or_else(|| resolved.and_then(|resolved| resolved.commit.as_ref()))
        .or(planned);
    if let Some(commit) = commit {
        return Written::Commit(commit.clone());
    }
    let problem = status
        .and_then(|status| status.changes.as_ref())
        .and_then(|changes| changes.problem.clone())
        .filter(|_| resolved.is_some());
    match (active.is_some() || resolved.is_some(), problem) {
        (true, problem) => Written::Without(problem),
        (false, _) => Written::Nothing,
    }
}

/// Why nobody can be asked which commit it is: it ran before commits were written down, and its name may mean something
/// else by now. A tag or a commit means what it meant.
pub fn forgotten(
    request: &DeployRequest,
    environment: &Environment,
    version: &Version,
) -> Option<Unresolved> {
    let name = version.name.as_deref()?;
    if request.spec.version.is_some() || version.commit.is_some() {
        return None;
    }
    let usual = ApprovalRules::default();
    let rules = environment.spec.protection.approvals.as_ref();
    approvals::fixed(rules.unwrap_or(&usual), name).err()?;
    Some(Unresolved::Missing(format!(
        "which commit ran as `{}` was not written down then, and it may be another one by now; name a version in spec.version.",
        bounds::cut(name, bounds::NAME)
    )))
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
            version: unverified(version, &problem),
            problem: Some(problem),
        }),
        Some(Err(problem)) => Err(refused(&problem)),
    }
}

/// A whole SHA-1 that nobody could look up is what it says, as long as nobody says that it isn't there.
fn unverified(version: Version, problem: &Unresolved) -> Version {
    let own = version.name.clone().filter(|name| is_commit(name));
    match problem {
        Unresolved::Unclear(_) => Version {
            commit: own,
            ..version
        },
        Unresolved::Missing(_) => version,
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

/// A refusal for want of a commit, with why it isn't known: it waits where that may come right. Any other is as it was.
pub fn explained(refusal: Refusal, problem: Option<&Unresolved>) -> Refusal {
    let Some(problem) = problem.filter(|_| refusal.reason == Reason::CommitUnknown) else {
        return refusal;
    };
    Refusal {
        message: format!("{} {}", refusal.message, problem.sentence()),
        ..refused(problem)
    }
}

/// A refusal of what was accepted without a commit, for want of that: nobody is asked for it any more, so that waiting
/// would not help. Any other is as it was.
pub fn too_late(refusal: Refusal, problem: Option<&Unresolved>) -> Refusal {
    if refusal.reason != Reason::CommitUnknown {
        return refusal;
    }
    let why = problem.map_or("", Unresolved::sentence);
    let message = format!(
        "{} The request was accepted without it; make a new one. {why}",
        refusal.message
    );
    Refusal::permanent(Reason::CommitUnknown, message.trim_end())
}

#[cfg(test)]
#[path = "version_tests.rs"]
mod tests;
