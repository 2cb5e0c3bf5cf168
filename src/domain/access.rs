//! Whether somebody may: who they count as now, and what the API server's answers about them mean. Touches nothing.

/// As whom the API server is asked about somebody.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject {
    /// The Kubernetes user name.
    pub username: String,
    /// Their groups, as they are known now; without `system:authenticated`, which everybody is in.
    pub groups: Vec<String>,
}

/// A verb that is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The verb.
    pub verb: String,
    /// `applications` or `environments`.
    pub resource: &'static str,
    /// The object.
    pub name: String,
}

/// What the API server says of somebody and a verb, on the Application and on the Environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permission {
    /// They may; in the API server's words, which name the binding.
    Granted(String),
    /// They lack these verbs.
    Refused(Vec<Missing>),
}

impl Permission {
    /// Whether they may.
    pub fn is_granted(&self) -> bool {
        matches!(self, Self::Granted(_))
    }
}
