//! What lies between two commits. Touches GitHub.
//!
//! GitHub lists the oldest first, in pages, so that the newest are on the last of them. What it says of two whole SHA-1s never
//! changes, and is remembered without asking again.

use reqwest::Method;
use serde::Deserialize;

use super::{Asking, Github, Listed, answer::Refusal, call::Kind};
use crate::{
    api::version::Relation,
    domain::{
        commits::{Commit, Comparison},
        version::is_commit,
    },
    git::GitError,
};

/// The longest page.
const PAGE: usize = 100;
/// The most that is listed.
const MOST: usize = 500;

/// A question, and how many commits are to be known; 0 for how many there are.
pub(super) type Between = (String, String, usize);

#[derive(Deserialize)]
struct Compared {
    status: Status,
    ahead_by: u32,
    behind_by: u32,
    html_url: Option<String>,
    commits: Vec<Listed>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ahead,
    Behind,
    Diverged,
    Identical,
}

impl Compared {
    /// How it stands, by how many commits ahead and behind.
    fn stands(&self) -> (Relation, u32, u32) {
        match self.status {
            Status::Identical => (Relation::Identical, 0, 0),
            Status::Ahead => (Relation::Ahead, self.ahead_by, 0),
            Status::Diverged => (Relation::Diverged, self.ahead_by, self.behind_by),
            Status::Behind => (Relation::Behind, 0, self.behind_by),
        }
    }

    fn counted(self) -> Comparison {
        let (relation, ahead, behind) = self.stands();
        Comparison {
            ahead,
            behind,
            ..alone(relation)
        }
    }
}

/// Without what it lists.
fn counted(known: &Comparison) -> Comparison {
    Comparison {
        ahead: known.ahead,
        behind: known.behind,
        ..alone(known.relation)
    }
}

/// How much of memory an answer takes.
pub(super) fn weight(_: &Between, known: &Comparison) -> u32 {
    let commits = known.commits.iter();
    let bytes: usize = commits
        .map(|commit| 160 + commit.message.len() + commit.author.len())
        .sum();
    u32::try_from(bytes + 512).unwrap_or(u32::MAX)
}

impl Github {
    pub(super) async fn compare(
        &self,
        base: &str,
        head: &str,
        most: usize,
    ) -> Result<Comparison, GitError> {
        for commit in [base, head] {
            if !is_commit(commit) {
                return Err(self.caller.place.no_version(commit));
            }
        }
        if base == head {
            return Ok(alone(Relation::Identical));
        }
        // A page is asked for anyway.
        let wanted = match most {
            0 => 0,
            1..=PAGE => PAGE,
            _ => MOST,
        };
        let key = |wanted| (base.to_owned(), head.to_owned(), wanted);
        if wanted == 0
            && let Some(listed) = self.compared.get(&key(PAGE)).await
        {
            return Ok(counted(&listed));
        }
        let key = key(wanted);
        let asking = Box::pin(self.asked_between(base, head, wanted));
        let known = self.compared.try_get_with(key, asking).await;
        let mut known = known.map_err(|error| GitError::clone(&error))?;
        if known.commits.len() > most {
            known.commits.truncate(most);
            known.complete = false;
        }
        Ok(known)
    }

    async fn asked_between(
        &self,
        base: &str,
        head: &str,
        wanted: usize,
    ) -> Result<Comparison, GitError> {
        let first = match wanted {
            0 => self.counts(base, head).await,
            _ => self.page(base, head, 1).await,
        };
        match first {
            Ok(first) if wanted == 0 => Ok(first.counted()),
            Ok(first) => self.listed(base, head, wanted, first).await,
            Err(Refusal::Missing(message)) if message.contains("No common ancestor") => {
                Ok(alone(Relation::Unrelated))
            }
            Err(Refusal::Missing(_) | Refusal::Impossible(_)) => {
                // One of them is gone, after a push by force for example, or all of the repository is.
                self.commit_of(base).await?;
                self.commit_of(head).await?;
                let place = &self.caller.place;
                Err(place.unavailable("it has both commits, and compares them not"))
            }
            Err(other) => Err(self.error(other)),
        }
    }

    async fn listed(
        &self,
        base: &str,
        head: &str,
        wanted: usize,
        first: Compared,
    ) -> Result<Comparison, GitError> {
        let place = |refusal| self.error(refusal);
        let (relation, ahead, behind) = first.stands();
        if relation == Relation::Identical {
            return Ok(alone(relation));
        }
        let (base, head, first, total) = if relation == Relation::Behind {
            // What is given up is what the other way round would be new.
            let other = self.page(head, base, 1).await.map_err(place)?;
            (head, base, other, behind)
        } else {
            (base, head, first, ahead)
        };
        // The page that lists just these.
        let url = first.html_url.clone();
        let total = usize::try_from(total).unwrap_or(usize::MAX);
        let newest = self.newest(base, head, wanted, first, total).await;
        let commits = newest.map_err(place)?;
        Ok(Comparison {
            relation,
            ahead,
            behind,
            complete: commits.len() >= total,
            commits,
            url,
        })
    }

    /// The newest, newest first: the last page, and those before it as far as they are wanted.
    async fn newest(
        &self,
        base: &str,
        head: &str,
        wanted: usize,
        first: Compared,
        total: usize,
    ) -> Result<Vec<Commit>, Refusal> {
        let newest_first = |page: Vec<Listed>| page.into_iter().rev().map(Commit::from);
        if first.commits.len() >= total {
            return Ok(newest_first(first.commits).collect());
        }
        let mut commits: Vec<Commit> = Vec::new();
        for number in (2..=total.div_ceil(PAGE)).rev() {
            let page = self.page(base, head, number).await?;
            let before = commits.len();
            commits.extend(newest_first(page.commits));
            if commits.len() >= wanted || commits.len() == before {
                return Ok(commits);
            }
        }
        commits.extend(newest_first(first.commits));
        Ok(commits)
    }

    /// How many there are: the files that changed come along with the first page alone.
    async fn counts(&self, base: &str, head: &str) -> Result<Compared, Refusal> {
        let query = [("per_page", "1"), ("page", "2")];
        self.comparison(base, head, &query, Kind::Background).await
    }

    async fn page(&self, base: &str, head: &str, number: usize) -> Result<Compared, Refusal> {
        let (size, number) = (PAGE.to_string(), number.to_string());
        let query = [("per_page", size.as_str()), ("page", number.as_str())];
        self.comparison(base, head, &query, Kind::Long).await
    }

    async fn comparison(
        &self,
        base: &str,
        head: &str,
        query: &[(&str, &str)],
        kind: Kind,
    ) -> Result<Compared, Refusal> {
        let both = format!("{base}...{head}");
        let url = self.caller.repository(&["compare", &both], query)?;
        self.ask(Asking {
            kind,
            operation: "compare",
            method: Method::GET,
            url,
            body: None,
        })
        .await
    }
}

/// Two commits between which nothing is listed.
fn alone(relation: Relation) -> Comparison {
    Comparison {
        relation,
        ahead: 0,
        behind: 0,
        commits: Vec::new(),
        complete: relation == Relation::Identical,
        url: None,
    }
}
