//! Which groups somebody is in, by sources outside Kubernetes. Touches what each source touches.
//!
//! A source says which groups, as of when, or why it doesn't say. What it doesn't say is unknown, and unknown groups allow
//! nothing. Names of groups are what others wrote: only what Kubernetes can tell from its own becomes one.

pub mod okta;
pub mod slack;

use std::{collections::BTreeSet, fmt, str::FromStr, time::Duration};

use futures::future::BoxFuture;
use jiff::Timestamp;

use super::person::Nobody;
use crate::{api::bounds, domain::access::is_system, slack::ids::UserId};

/// The longest prefix.
const MOST_PREFIX: usize = 64;

/// Of whom a source is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Their Slack account.
    pub user: UserId,
    /// Their verified e-mail address, in lower case.
    pub email: Option<String>,
}

/// What a source says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Groups {
    /// With the source's prefix; sorted, each once, at most [`bounds::GROUPS`].
    pub names: Vec<String>,
    /// As of when.
    pub at: Timestamp,
    /// What an operator may want to know of it, in a sentence: that groups were left out, and how many.
    pub note: Option<String>,
}

/// Why a source doesn't say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// It says that this person may do nothing.
    #[error(transparent)]
    Nobody(#[from] Nobody),
    /// It can't say now, or ever.
    #[error("{sentence}")]
    Silent {
        /// A fixed word for metrics.
        reason: &'static str,
        /// Why, for people: without a full stop, without secrets, the same each time.
        sentence: String,
        /// Only somebody who runs the app can help.
        needs_operator: bool,
    },
}

impl Unknown {
    /// A source that may say it later.
    pub fn for_now(reason: &'static str, sentence: impl Into<String>) -> Self {
        Self::Silent {
            reason,
            sentence: sentence.into(),
            needs_operator: false,
        }
    }

    /// A source that says nothing until somebody changes something.
    pub fn until_mended(reason: &'static str, sentence: impl Into<String>) -> Self {
        Self::Silent {
            reason,
            sentence: sentence.into(),
            needs_operator: true,
        }
    }

    /// A fixed word for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Nobody(nobody) => nobody.reason(),
            Self::Silent { reason, .. } => reason,
        }
    }
}

/// Where groups come from.
pub trait GroupSource: Send + Sync {
    /// A fixed word: `slack`, `okta`.
    fn name(&self) -> &'static str;

    /// How old what it says may be when somebody asks for something.
    fn fresh_for(&self) -> Duration;

    /// When it was last told that groups changed: what it said before is out of date.
    fn changed_at(&self) -> Option<Timestamp> {
        None
    }

    /// When the first change came that what it said last may lack.
    fn lacking_since(&self) -> Option<Timestamp> {
        self.changed_at()
    }

    /// What it said last of this person, if it remembers, however old.
    fn remembered<'a>(&'a self, who: &'a Asked) -> BoxFuture<'a, Option<Groups>>;

    /// Their groups, asked for now. May be dropped while it waits.
    fn ask<'a>(&'a self, who: &'a Asked) -> BoxFuture<'a, Result<Groups, Unknown>>;

    /// Groups changed, or may have.
    fn changed(&self) {}
}

/// What a source's groups begin with, so that nobody takes one for another's, or for Kubernetes' own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPrefix(String);

/// A prefix that can't be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} can't be a prefix of groups: it has 1 to {MOST_PREFIX} ASCII characters without spaces, and isn't `system:`, \
     which is Kubernetes' own"
)]
pub struct InvalidPrefix(String);

impl InvalidPrefix {
    /// A fixed word for metrics.
    pub fn reason(&self) -> &'static str {
        "group-prefix"
    }
}

impl FromStr for GroupPrefix {
    type Err = InvalidPrefix;

    fn from_str(text: &str) -> Result<Self, InvalidPrefix> {
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        if plain && (1..=MOST_PREFIX).contains(&text.len()) && !is_system(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidPrefix(text.to_owned()))
        }
    }
}

impl fmt::Display for GroupPrefix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl GroupPrefix {
    /// Whether a group with one prefix could be taken for one with the other.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0) || other.0.starts_with(&self.0)
    }

    /// The groups of these names, as of then. Names that can't be groups, or are too many, are left out and counted.
    pub fn groups<'a>(&self, names: impl IntoIterator<Item = &'a str>, at: Timestamp) -> Groups {
        let mut unfit = 0;
        let mut kept = BTreeSet::new();
        for name in names {
            match self.group(name) {
                Some(group) => drop(kept.insert(group)),
                None => unfit += 1,
            }
        }
        let many = kept.len().saturating_sub(bounds::GROUPS);
        let mut notes = Vec::new();
        if unfit > 0 {
            notes.push(format!("{unfit} left out, whose names can't be groups"));
        }
        if many > 0 {
            notes.push(format!(
                "{many} left out, since more than {} don't fit",
                bounds::GROUPS
            ));
        }
        Groups {
            names: kept.into_iter().take(bounds::GROUPS).collect(),
            at,
            note: (!notes.is_empty()).then(|| notes.join("; ")),
        }
    }

    fn group(&self, name: &str) -> Option<String> {
        let group = format!("{}{name}", self.0);
        let fine = !name.is_empty()
            && !name.chars().any(char::is_control)
            && group.chars().count() <= bounds::NAME
            // A prefix may be the beginning of it.
            && !is_system(&group);
        fine.then_some(group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> GroupPrefix {
        text.parse().unwrap()
    }

    #[test]
    fn a_prefix_is_nobody_elses() {
        for bad in ["", "system:", "System:okta:", "a b", "ö:", &"x".repeat(65)] {
            assert!(bad.parse::<GroupPrefix>().is_err(), "{bad:?}");
        }
        assert!(prefix("okta:").overlaps(&prefix("okta:corp:")));
        assert!(!prefix("okta:").overlaps(&prefix("slack:")));
    }

    #[test]
    fn names_that_can_not_be_groups_are_left_out_and_counted() {
        let long = "x".repeat(bounds::NAME - 4);
        let names = ["b", "a", "a", "", "line\nbreak", long.as_str(), "größer"];
        let groups = prefix("okta:").groups(names, Timestamp::UNIX_EPOCH);
        assert_eq!(groups.names, ["okta:a", "okta:b", "okta:größer"]);
        let note = groups.note.unwrap();
        assert!(note.contains("3 left out"), "{note}");
    }

    #[test]
    fn no_prefix_and_name_together_make_a_group_of_kubernetes_own() {
        let groups = prefix("s").groups(["ystem:masters", "re"], Timestamp::UNIX_EPOCH);
        assert_eq!(groups.names, ["sre"]);
    }

    #[test]
    fn more_groups_than_fit_are_cut_the_same_way_each_time() {
        let names: Vec<String> = (0..250).map(|number| format!("g{number:03}")).collect();
        let turned: Vec<&str> = names.iter().rev().map(String::as_str).collect();
        let groups = prefix("okta:").groups(turned, Timestamp::UNIX_EPOCH);
        assert_eq!(groups.names.len(), bounds::GROUPS);
        assert_eq!(groups.names.first().unwrap(), "okta:g000");
        assert!(groups.note.unwrap().contains("50 left out"));
    }
}
