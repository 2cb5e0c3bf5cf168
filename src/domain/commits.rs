//! Commits between what runs and what is asked, for people to read: cut, merge commits folded. Touches nothing.

use crate::api::version::{Changes, Relation};

/// A commit as its host has it. Author and message are text of strangers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its SHA-1.
    pub sha: String,
    /// The whole message.
    pub message: String,
    /// Who wrote it, as the commit names them.
    pub author: String,
    /// It has more than one parent.
    pub merge: bool,
}

/// How two commits stand to each other, and some of what lies between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// How the head stands to the base.
    pub relation: Relation,
    /// How many commits the head has that the base has not.
    pub ahead: u32,
    /// How many commits the base has that the head has not.
    pub behind: u32,
    /// The newest of those that the head has and the base not; where the head is behind, of those that it gives up. Newest
    /// first.
    pub commits: Vec<Commit>,
    /// Whether these are all.
    pub complete: bool,
    /// Where people see it.
    pub url: Option<String>,
}

/// What a plan and a message say of a comparison with what runs (`from`).
pub fn changes(from: &str, comparison: &Comparison) -> Changes {
    let _ = comparison;
    Changes {
        from: Some(from.to_owned()),
        relation: Some(comparison.relation),
        added: comparison.ahead,
        removed: comparison.behind,
        commits: Vec::new(),
        url: comparison.url.clone(),
        problem: None,
    }
}
