//! The words that mean something to the person who types. Touches nothing.

use std::collections::BTreeSet;

use super::table::BUILT_IN;
use crate::api::deploy_request::DEFAULT_ACTION;

/// What the person who types can name: the verbs of the applications that they may see, and those applications' and
/// environments' names. It holds nothing else, so no answer that is made of it tells of what they may not see.
///
/// Names only help to read two words and to suggest; a name that is not here is still read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocabulary {
    verbs: BTreeSet<String>,
    applications: BTreeSet<String>,
    environments: BTreeSet<String>,
    command: String,
}

impl Default for Vocabulary {
    /// `deploy`, and no name at all.
    fn default() -> Self {
        Self {
            verbs: BTreeSet::from([DEFAULT_ACTION.to_owned()]),
            applications: BTreeSet::new(),
            environments: BTreeSet::new(),
            command: "/deploy".to_owned(),
        }
    }
}

impl Vocabulary {
    /// `verbs` are the actions that the visible Applications define; `deploy` is always one. An action that is called
    /// like a word of ours (`status`, `help`, …) is no verb: the form offers it.
    pub fn new<Names: IntoIterator<Item = String>>(
        verbs: impl IntoIterator<Item = String>,
        applications: Names,
        environments: impl IntoIterator<Item = String>,
    ) -> Self {
        let default = Self::default();
        let verbs = verbs
            .into_iter()
            .filter(|verb| !BUILT_IN.contains(&verb.as_str()));
        Self {
            verbs: verbs.chain(default.verbs).collect(),
            applications: applications.into_iter().collect(),
            environments: environments.into_iter().collect(),
            command: default.command,
        }
    }

    /// The slash command's own name, by default `/deploy`: it may stand before what is typed and means nothing there.
    #[must_use]
    pub fn with_command(mut self, command: impl Into<String>) -> Self {
        self.command = command.into();
        self
    }

    /// The slash command's own name.
    pub fn command(&self) -> &str {
        &self.command
    }

    /// The verbs, sorted.
    pub fn verbs(&self) -> impl Iterator<Item = &str> {
        self.verbs.iter().map(String::as_str)
    }

    /// The applications, sorted.
    pub fn applications(&self) -> impl Iterator<Item = &str> {
        self.applications.iter().map(String::as_str)
    }

    /// The environments, sorted.
    pub fn environments(&self) -> impl Iterator<Item = &str> {
        self.environments.iter().map(String::as_str)
    }

    pub(super) fn is_verb(&self, word: &str) -> bool {
        self.verbs.contains(word)
    }

    pub(super) fn is_application(&self, word: &str) -> bool {
        self.applications.contains(word)
    }

    pub(super) fn is_environment(&self, word: &str) -> bool {
        self.environments.contains(word)
    }
}
