//! Why it can't be said who somebody is. Touches nothing.

use super::{
    groups::{GroupPrefix, okta::OktaSettingsError},
    person::Nobody,
    records::ClaimedTwice,
};
use crate::slack::client::SlackError;

/// Why it can't be said who somebody is. They may do nothing then.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IdentityError {
    /// Nobody who could be allowed anything.
    #[error(transparent)]
    Nobody(#[from] Nobody),
    /// Several `Person`s say that it is theirs.
    #[error(transparent)]
    ClaimedTwice(#[from] ClaimedTwice),
    /// Slack doesn't say.
    #[error("Slack does not say who this account is")]
    Slack(#[from] SlackError),
}

impl IdentityError {
    /// A fixed word for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Nobody(nobody) => nobody.reason(),
            Self::ClaimedTwice(_) => "ClaimedTwice",
            Self::Slack(error) => error.reason(),
        }
    }
}

/// Settings that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A group of one source could be taken for another's.
    #[error(
        "the prefixes of groups, `{0}` and `{1}`, overlap: a group of one source could be taken for another's"
    )]
    Prefixes(GroupPrefix, GroupPrefix),
    /// Okta can't be asked.
    #[error("Okta can't be asked for groups")]
    Okta(#[source] OktaSettingsError),
}

impl SettingsError {
    /// A fixed word for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Prefixes(..) => "GroupPrefixes",
            Self::Okta(_) => "OktaSettings",
        }
    }
}
