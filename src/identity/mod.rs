//! Who somebody is and what they may do. Touches Slack (`users.info`) and the API server (access reviews).

pub mod access;

use crate::api::deploy_request::SlackPerson;

pub use access::Access;

/// A human with a Kubernetes user name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Person {
    /// The Kubernetes user name: the verified e-mail address.
    pub username: String,
    /// The same person in Slack.
    pub slack: SlackPerson,
}
