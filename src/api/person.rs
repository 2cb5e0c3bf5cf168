//! `Person`: a human as Slack and Kubernetes know them. Touches nothing.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{actor::SlackPerson, bounds};

/// A human: which Slack account is which Kubernetes user, all the names that they have, and the groups that they are in
/// now.
///
/// Only those in foredeck's own namespace count. The spec is the platform team's; the receiver creates one with an empty
/// spec for whoever asks in Slack, and keeps the status fresh.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "foredeck.dev",
    version = "v1alpha1",
    kind = "Person",
    plural = "persons",
    namespaced,
    status = "PersonStatus",
    category = "foredeck",
    derive = "PartialEq",
    printcolumn(name = "User", type_ = "string", json_path = ".status.username"),
    printcolumn(name = "Nobody", type_ = "string", json_path = ".status.nobody"),
    printcolumn(name = "Checked", type_ = "date", json_path = ".status.checkedAt"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct PersonSpec {
    /// The Slack account. When left out it is the one after which the object is named: `slack-<team>-<user>` in lower
    /// case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slack: Option<SlackPerson>,
    /// The Kubernetes user name under which what they do in Slack is judged. When left out it is made of the confirmed
    /// e-mail address of the Slack account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::NAME))]
    pub username: Option<String>,
    /// Every other Kubernetes user name of the same human: of other identity providers, of cloud roles. Whoever may not
    /// approve their own request may not under any of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(min = 1, max = bounds::NAME)))]
    pub usernames: Vec<String>,
}

/// What the receiver found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PersonStatus {
    /// The Kubernetes user name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::NAME))]
    pub username: Option<String>,
    /// Why they may do nothing now: `Deactivated`, `Guest`, …. Absent for who is somebody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::WORD))]
    pub nobody: Option<String>,
    /// When Slack last said who they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked_at: Option<Time>,
    /// Their groups, by each source that the receiver is told to ask.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub sources: Vec<GroupSource>,
}

/// What one source says of somebody's groups.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupSource {
    /// `slack` or `okta`.
    #[schemars(length(max = bounds::WORD))]
    pub name: String,
    /// With the source's prefix, as RBAC names them: `okta:shop-deployers`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bounds::GROUPS), inner(length(min = 1, max = bounds::NAME)))]
    pub groups: Vec<String>,
    /// When the source last said so. Absent while it never has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
    /// Why it doesn't say anything newer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::MESSAGE))]
    pub problem: Option<String>,
}

/// The name of the object that the receiver makes for a Slack account.
pub fn name_of(person: &SlackPerson) -> String {
    format!("slack-{}-{}", person.team, person.user).to_ascii_lowercase()
}
