//! `DeployApproval`: one human's word on one request. Touches nothing.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{actor::Actor, bounds};

/// One human's yes or no: to the start of one request, bound to the digest of what is to run; or to one manual judgment of
/// its execution.
///
/// The spec is immutable. Deleting an approval takes it back, as long as nothing was started.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "foredeck.dev",
    version = "v1alpha1",
    kind = "DeployApproval",
    namespaced,
    status = "DeployApprovalStatus",
    shortname = "da",
    category = "foredeck",
    derive = "PartialEq",
    selectable = ".spec.request.uid",
    printcolumn(name = "Request", type_ = "string", json_path = ".spec.request.name"),
    printcolumn(name = "For", type_ = "string", json_path = ".spec.for"),
    printcolumn(name = "Decision", type_ = "string", json_path = ".spec.decision"),
    printcolumn(name = "By", type_ = "string", json_path = ".spec.approver.username"),
    printcolumn(
        name = "Counts",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Counts')].status"
    ),
    printcolumn(
        name = "Why",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Counts')].message",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct DeployApprovalSpec {
    /// Which request.
    pub request: RequestReference,
    /// What it answers.
    #[serde(default, rename = "for")]
    pub subject: ApprovalSubject,
    /// Yes or no.
    pub decision: ApprovalDecision,
    /// For a start: `status.resolved.digest` of the request, as it was when it was decided. When what would run changes,
    /// the approval no longer counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::DIGEST), regex(pattern = "^[0-9a-f]{64}$"))]
    pub digest: Option<String>,
    /// For a judgment: which one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judgment: Option<JudgmentAnswer>,
    /// Why; a rejection needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::VALUE))]
    pub comment: Option<String>,
    /// Whose word it is; stamped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approver: Option<Actor>,
}

/// A `DeployRequest` in the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestReference {
    /// Its name.
    #[schemars(length(min = 1, max = bounds::NAME))]
    pub name: String,
    /// Its uid: another request of that name is not meant.
    #[schemars(length(min = 1, max = 64))]
    pub uid: String,
}

/// What an approval answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ApprovalSubject {
    /// Whether the request may start.
    #[default]
    Start,
    /// A manual judgment stage of its execution: `Approve` lets it go on, `Reject` stops it.
    Judgment,
}

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ApprovalDecision {
    /// Yes.
    Approve,
    /// No.
    Reject,
}

/// The answer to a manual judgment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JudgmentAnswer {
    /// Spinnaker's id of the execution.
    #[schemars(length(min = 1, max = bounds::NAME))]
    pub execution: String,
    /// Spinnaker's id of the stage.
    #[schemars(length(min = 1, max = bounds::NAME))]
    pub stage: String,
    /// One of the inputs that the stage offers, where it offers any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::VALUE))]
    pub input: Option<String>,
}

/// What the controller makes of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeployApprovalStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
