//! Who did something, as it is stamped into an object. Touches nothing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bounds;

/// Who did something: stamped by the receiver for people in Slack, by admission for everybody else. Never what somebody
/// says of themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Actor {
    /// The Kubernetes user name.
    #[schemars(length(min = 1, max = bounds::NAME))]
    pub username: String,
    /// The groups that they had at that time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bounds::STAMPED_GROUPS), inner(length(min = 1, max = bounds::NAME)))]
    pub groups: Vec<String>,
    /// The same person in Slack; only where it was done there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slack: Option<SlackPerson>,
}

/// A person in Slack.
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct SlackPerson {
    /// The workspace's id.
    #[schemars(length(max = 32), regex(pattern = "^[A-Z0-9]{2,32}$"))]
    pub team: String,
    /// The user's id there.
    #[schemars(length(max = 32), regex(pattern = "^[A-Z0-9]{2,32}$"))]
    pub user: String,
}
