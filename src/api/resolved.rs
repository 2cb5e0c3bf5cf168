//! What exactly is to run, and the one attempt to start it. Touches nothing.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{artifact::Artifact, bounds, connection::TriggerMode, version::COMMIT};

/// What exactly is to run: everything that the outcome depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resolved {
    /// The `SpinnakerConnection`.
    #[schemars(length(max = bounds::NAME))]
    pub connection: String,
    /// The pipeline.
    pub pipeline: PipelineRef,
    /// SHA-256 of the pipeline's definition, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::DIGEST))]
    pub revision: Option<String>,
    /// Every parameter that is sent; `***` for what the Application calls secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::deploy_request::parameters")]
    pub parameters: BTreeMap<String, String>,
    /// The version, for a rollback the one that it goes back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::NAME))]
    pub version: Option<String>,
    /// The commit that the version stands for; absent where no repository says, or it isn't known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), regex(pattern = COMMIT))]
    pub commit: Option<String>,
    /// Every artifact that is sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bounds::ARTIFACTS))]
    pub artifacts: Vec<Artifact>,
    /// Where to.
    pub target: Place,
    /// The `DeployTarget` that it claims.
    #[schemars(length(max = bounds::NAME))]
    pub deploy_target: String,
    /// SHA-256 over all of the above with every real value, and this object's uid, in hexadecimal: what approvals are
    /// bound to.
    #[schemars(length(max = 64))]
    pub digest: String,
}

/// A pipeline in Spinnaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PipelineRef {
    /// The Spinnaker application that it belongs to.
    #[schemars(length(max = bounds::NAME))]
    pub application: String,
    /// Its name.
    #[schemars(length(max = bounds::NAME))]
    pub name: String,
    /// Its id, by which it is started.
    #[schemars(length(max = bounds::NAME))]
    pub id: String,
}

/// A cluster and a namespace.
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// Spinnaker's name for a Kubernetes cluster.
    #[schemars(length(min = 1, max = bounds::NAME))]
    pub account: String,
    /// The Kubernetes namespace there.
    #[schemars(length(min = 1, max = bounds::LABEL))]
    pub namespace: String,
}

/// The claim of the start: written before anything is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// The execution's id, derived from this object's uid. With the trigger mode V1 Spinnaker draws its own.
    #[schemars(length(max = 26))]
    pub execution_id: String,
    /// What Spinnaker de-duplicates on while the execution runs.
    #[schemars(length(max = 128))]
    pub correlation_id: String,
    /// Which run of which process wrote this claim.
    #[schemars(length(max = 64))]
    pub holder: String,
    /// What must not differ when it is sent.
    pub pinned: Pinned,
    /// When the claim was written.
    pub claimed_at: Time,
    /// Set before it is sent. Absent: certainly not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Time>,
}

/// What an attempt is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pinned {
    /// The connection object's name.
    #[schemars(length(max = bounds::NAME))]
    pub connection: String,
    /// The connection object's uid.
    #[schemars(length(max = 64))]
    pub connection_uid: String,
    /// The Gate that it is sent to.
    #[schemars(length(max = bounds::URL))]
    pub gate_url: String,
    /// By which endpoint.
    pub trigger: TriggerMode,
    /// The pipeline.
    pub pipeline: PipelineRef,
    /// SHA-256 of the bytes that are sent, in hexadecimal.
    #[schemars(length(max = 64))]
    pub body_digest: String,
}
