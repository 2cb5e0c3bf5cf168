//! `DeployTarget`: one application in one environment. Touches nothing.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    artifact::Artifact,
    bounds,
    deploy_request::{Attempt, Phase, PipelineRef, Place},
    lock::{Hold, Lock, Unhold},
    version::{COMMIT, Drift},
};

/// One application in one environment: what runs there since when, the active request, and what ran before.
///
/// Its status is the lock that keeps one execution at a time on a target, so it outlives the requests.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "foredeck.dev",
    version = "v1alpha1",
    kind = "DeployTarget",
    namespaced,
    status = "DeployTargetStatus",
    shortname = "dt",
    category = "foredeck",
    derive = "PartialEq",
    selectable = ".spec.application",
    selectable = ".spec.environment",
    printcolumn(
        name = "Application",
        type_ = "string",
        json_path = ".spec.application"
    ),
    printcolumn(
        name = "Environment",
        type_ = "string",
        json_path = ".spec.environment"
    ),
    printcolumn(
        name = "Version",
        type_ = "string",
        json_path = ".status.current.version"
    ),
    printcolumn(
        name = "Commit",
        type_ = "string",
        json_path = ".status.current.commit"
    ),
    printcolumn(
        name = "Since",
        type_ = "date",
        json_path = ".status.current.finishedAt"
    ),
    printcolumn(
        name = "Requester",
        type_ = "string",
        json_path = ".status.current.requester"
    ),
    printcolumn(name = "Behind", type_ = "integer", json_path = ".status.drift.behind"),
    printcolumn(
        name = "Known",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Known')].status"
    ),
    printcolumn(
        name = "Locked",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Locked')].status"
    ),
    printcolumn(name = "Active", type_ = "string", json_path = ".status.active.name"),
    printcolumn(
        name = "Why",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Known')].message",
        priority = 1
    ),
    printcolumn(
        name = "Account",
        type_ = "string",
        json_path = ".spec.place.account",
        priority = 1
    ),
    printcolumn(
        name = "Namespace",
        type_ = "string",
        json_path = ".spec.place.namespace",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct DeployTargetSpec {
    /// The Application.
    #[schemars(length(min = 1, max = bounds::LABEL))]
    pub application: String,
    /// The Environment.
    #[schemars(length(min = 1, max = bounds::LABEL))]
    pub environment: String,
    /// The cluster and the namespace.
    pub place: Place,
    /// Lets go of the target although the named request may still run: two may then run at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseOrder>,
    /// Keeps everything from starting here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<Lock>,
    /// Lifts the hold of a rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unhold: Option<Unhold>,
}

/// A person's word that the target is to be let go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseOrder {
    /// The uid of the request that holds it; another holder is not touched.
    #[schemars(length(min = 1, max = 64))]
    pub request_uid: String,
    /// Why this is right.
    #[schemars(length(min = 1, max = bounds::VALUE))]
    pub reason: String,
}

/// Who holds the target, and what ran there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeployTargetStatus {
    /// When this status was first made, or rebuilt. While absent the target grants no claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initialized: Option<Time>,
    /// The request that holds it, with everything that it takes to follow its execution without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<Active>,
    /// What runs there: the last request that succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<Run>,
    /// The last rollback, whose hold keeps it from being undone until somebody unlocks (`spec.unhold`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// How far that is from the repository's default branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
    /// The last 20 that were sent, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bounds::HISTORY))]
    pub history: Vec<Run>,
    /// The last 500 idempotency keys that were sent, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bounds::KEYS))]
    pub keys: Vec<KeyRecord>,
    /// Known: whether what runs there is what `current` says. `False` where the last request failed, its execution was run
    /// again, or somebody else ran the pipeline. Locked: whether a lock or a rollback's hold keeps requests from starting.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// The request that holds a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Active {
    /// The request's uid.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// The request's name.
    #[schemars(length(max = bounds::NAME))]
    pub name: String,
    /// Its idempotency key.
    #[schemars(length(max = 128))]
    pub key: String,
    /// The digest of what it runs.
    #[schemars(length(max = 64))]
    pub digest: String,
    /// The action.
    #[schemars(length(max = bounds::LABEL))]
    pub action: String,
    /// The version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::NAME))]
    pub version: Option<String>,
    /// The commit that it stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), regex(pattern = COMMIT))]
    pub commit: Option<String>,
    /// The artifacts that it hands to Spinnaker.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bounds::ARTIFACTS))]
    pub artifacts: Vec<Artifact>,
    /// Who asked for it, by their Kubernetes user name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::NAME))]
    pub requester: Option<String>,
    /// The attempt. Its `sentAt` is the truth: absent here, certainly not sent.
    pub attempt: Attempt,
    /// How often it was sent.
    #[serde(default)]
    pub sends: u32,
    /// The execution, once Spinnaker has shown it: nothing is ever sent again for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<Seen>,
    /// Set when it is to be cancelled: nothing may be sent any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_requested_at: Option<Time>,
    /// Why, where a freeze wants it cancelled and not somebody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::MESSAGE))]
    pub frozen: Option<String>,
    /// By whose override it started, by their Kubernetes user name: no freeze cancels it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::NAME))]
    pub overridden_by: Option<String>,
}

/// An execution that Spinnaker has shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// Spinnaker's id.
    #[schemars(length(max = bounds::NAME))]
    pub id: String,
    /// When Spinnaker accepted it, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_time: Option<i64>,
}

/// A request that was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// The request's uid.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// The request's name.
    #[schemars(length(max = bounds::NAME))]
    pub name: String,
    /// The action.
    #[schemars(length(max = bounds::LABEL))]
    pub action: String,
    /// The version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::NAME))]
    pub version: Option<String>,
    /// The commit that it stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), regex(pattern = COMMIT))]
    pub commit: Option<String>,
    /// The artifacts that it handed to Spinnaker. Runs of long ago have none, where they are much to write.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bounds::ARTIFACTS))]
    pub artifacts: Vec<Artifact>,
    /// Who asked for it, by their Kubernetes user name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::NAME))]
    pub requester: Option<String>,
    /// Spinnaker's id of the execution, where one was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::NAME))]
    pub execution_id: Option<String>,
    /// When Spinnaker accepted it, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_time: Option<i64>,
    /// The connection that it ran through.
    #[schemars(length(max = bounds::NAME))]
    pub connection: String,
    /// The pipeline that ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<PipelineRef>,
    /// How it ended.
    pub phase: Phase,
    /// The fixed reason beside it.
    #[schemars(length(max = bounds::LABEL))]
    pub reason: String,
    /// One sentence on how it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::MESSAGE))]
    pub message: Option<String>,
    /// When it was sent.
    pub sent_at: Time,
    /// When it ended.
    pub finished_at: Time,
}

/// An idempotency key that was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyRecord {
    /// The key.
    #[schemars(length(max = 128))]
    pub key: String,
    /// The digest of what it ran.
    #[schemars(length(max = 64))]
    pub digest: String,
    /// The request's uid.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// The request's name.
    #[schemars(length(max = bounds::NAME))]
    pub name: String,
    /// How it ended; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Phase>,
    /// Spinnaker's id of the execution, where one was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::NAME))]
    pub execution_id: Option<String>,
    /// When it was first sent.
    pub at: Time,
}
