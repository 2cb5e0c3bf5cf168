//! What people said to a request and what was decided about it, as its status keeps it. Touches nothing.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bounds;

/// The approvals that a request needs and has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Approvals {
    /// How many are needed, from as many people.
    pub required: u32,
    /// Those that count now, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub given: Vec<GivenApproval>,
    /// The groups of which somebody still has to say yes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), inner(length(max = bounds::NAME)))]
    pub missing_groups: Vec<String>,
    /// When the first of them lapses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
}

/// An approval that counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GivenApproval {
    /// The `DeployApproval`.
    #[schemars(length(max = bounds::NAME))]
    pub name: String,
    /// Whose word it is, by their Kubernetes user name.
    #[schemars(length(max = bounds::NAME))]
    pub by: String,
    /// When they gave it.
    pub at: Time,
    /// What they said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::VALUE))]
    pub comment: Option<String>,
}

/// A manual judgment that an execution waits at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Judgment {
    /// Spinnaker's id of the stage.
    #[schemars(length(max = bounds::NAME))]
    pub stage: String,
    /// As the pipeline names it.
    #[schemars(length(max = bounds::NAME))]
    pub name: String,
    /// What it tells people, without markup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::MESSAGE))]
    pub instructions: Option<String>,
    /// The inputs that it offers, of which one has to be chosen; none where it offers none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bounds::INPUTS), inner(length(max = bounds::VALUE)))]
    pub inputs: Vec<String>,
    /// The roles of which a judge must have one, by Spinnaker's names; anybody who may judge where it names none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bounds::INPUTS), inner(length(max = bounds::NAME)))]
    pub roles: Vec<String>,
    /// The answer that is being handed to Spinnaker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<GivenApproval>,
}

/// Something that was decided about a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionRecord {
    /// When.
    pub at: Time,
    /// What.
    pub what: DecisionKind,
    /// By whom, by their Kubernetes user name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::NAME))]
    pub by: Option<String>,
    /// Why: the rule that allowed it, the comment, what was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::VALUE))]
    pub why: Option<String>,
}

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum DecisionKind {
    /// Somebody asked for it.
    Requested,
    /// Whoever asked may.
    Authorized,
    /// Whoever asked may not.
    Denied,
    /// Somebody approved it.
    Approved,
    /// Somebody said no.
    Rejected,
    /// An approval no longer counts.
    Lapsed,
    /// It was sent to Spinnaker.
    Started,
    /// Somebody answered a manual judgment.
    Judged,
    /// Somebody passed order, freezes and locks by `spec.override`.
    Overridden,
    /// Somebody cancelled it.
    Canceled,
    /// Somebody who may not wanted to cancel, approve or judge it.
    Refused,
}
