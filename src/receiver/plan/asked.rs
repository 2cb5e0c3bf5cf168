//! What a repository is asked for a plan, and what its answers come to. Touches nothing.
//!
//! Two things at most: which commit the version is, and what lies between what runs and that. At the click the first is
//! asked again. A repository that doesn't answer then leaves what was shown as it is: nothing says that it moved.

use crate::{
    api::{
        Application,
        version::{Changes, Relation},
    },
    domain::{
        commits::{self, Comparison},
        version::{self, Unresolved, Version},
    },
};

/// What there is to ask.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Question {
    /// The version whose commit isn't known.
    pub name: Option<String>,
    /// The commit that is known already.
    known: Option<String>,
    /// The commit that runs on the target.
    base: Option<String>,
}

impl Question {
    /// Of an application: nothing, where it names no repository.
    pub fn of(application: &Application, version: &Version, base: Option<&str>) -> Self {
        if application.spec.repository.is_none() {
            return Self::default();
        }
        Self {
            name: version::question(version, application).map(str::to_owned),
            known: version.commit.clone(),
            base: base.map(str::to_owned),
        }
    }

    /// Whether there is nothing to ask.
    pub fn is_empty(&self) -> bool {
        self.name.is_none() && self.span(None).is_none()
    }

    /// The two commits of which it is to be asked what lies between, once the first answer is there.
    pub fn span(&self, commit: Option<&Result<String, Unresolved>>) -> Option<(String, String)> {
        let asked = commit.and_then(|commit| commit.as_ref().ok());
        let head = asked.or(self.known.as_ref())?;
        let base = self.base.as_ref()?;
        (base != head).then(|| (base.clone(), head.clone()))
    }
}

/// What a repository said.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Said {
    /// Which commit the version is; `None` where that was no question.
    pub commit: Option<Result<String, Unresolved>>,
    /// What lies between what runs and that, or why that isn't known; `None` where that was no question.
    pub between: Option<Result<Comparison, String>>,
    /// Why the commit is the one that was shown before, and not one that the repository named now.
    pub not_again: Option<String>,
}

impl Said {
    /// The answer about the commit, beside the one that was shown before: that one holds where nobody says anything now.
    pub fn again(commit: Result<String, Unresolved>, shown: Option<&str>) -> Self {
        match (commit, shown) {
            (Err(Unresolved::Unclear(why)), Some(shown)) => Self {
                commit: Some(Ok(shown.to_owned())),
                between: None,
                not_again: Some(why),
            },
            (commit, _) => Self {
                commit: Some(commit),
                ..Self::default()
            },
        }
    }
}

/// What changes on a target.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// As requests have it.
    pub changes: Changes,
    /// How many merge commits are left out of its counts and its list, where that is known.
    pub merges: u32,
}

/// What changes, where `base` runs and `head` is to.
pub fn difference(
    base: Option<&str>,
    head: &str,
    between: Option<&Result<Comparison, String>>,
) -> Difference {
    let without = |changes| Difference { changes, merges: 0 };
    let same = base.is_some_and(|base| base == head);
    match (base, between) {
        (Some(base), Some(Ok(comparison))) if !same => Difference {
            changes: commits::changes(base, comparison),
            merges: merges(comparison),
        },
        (_, between) => {
            let problem = between.and_then(|between| between.as_ref().err());
            let problem = problem.filter(|_| base.is_some() && !same);
            let relation = same.then_some(Relation::Identical);
            without(commits::not_compared(
                base,
                relation,
                problem.map(String::as_str),
            ))
        }
    }
}

/// What changes, with all of its commits that a repository told of.
pub fn listed(base: &str, comparison: &Comparison) -> Difference {
    Difference {
        changes: Changes {
            commits: comparison.lines().collect(),
            ..commits::changes(base, comparison)
        },
        merges: merges(comparison),
    }
}

fn merges(comparison: &Comparison) -> u32 {
    let all = comparison.commits.iter().filter(|commit| commit.merge);
    let count = u32::try_from(all.count()).unwrap_or(u32::MAX);
    if comparison.complete { count } else { 0 }
}

/// That a version is another commit than it was when it was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// The version.
    pub version: String,
    /// What it was; `None` where nobody knew.
    pub from: Option<String>,
    /// What it is; `None` where nobody knows any more.
    pub to: Option<String>,
}

impl Moved {
    /// Between two looks, if it is so.
    pub fn between(version: Option<&str>, from: Option<&str>, to: Option<&str>) -> Option<Self> {
        (from != to).then(|| {
            Some(Self {
                version: version?.to_owned(),
                from: from.map(str::to_owned),
                to: to.map(str::to_owned),
            })
        })?
    }
}

#[cfg(test)]
#[path = "asked_tests.rs"]
mod tests;
