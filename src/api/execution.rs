//! How an execution goes, as a request's status keeps it. Touches nothing.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bounds;

/// What Spinnaker says of the execution.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionStatus {
    /// Spinnaker's id.
    #[schemars(length(max = bounds::NAME))]
    pub id: String,
    /// Where a person can look at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::URL))]
    pub url: Option<String>,
    /// Spinnaker's own word.
    #[schemars(length(max = bounds::WORD))]
    pub status: String,
    /// When Spinnaker accepted it, in milliseconds since 1970. Another value under the same id is another start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_time: Option<i64>,
    /// When it began to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// Its stages, at most 100: failed and running ones are kept when there are more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bounds::STAGES))]
    pub stages: Vec<StageStatus>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Set once somebody restarts it after its end: Spinnaker's own word for how that goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::WORD))]
    pub rerun: Option<String>,
}

/// One stage.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StageStatus {
    /// As the pipeline names it.
    #[schemars(length(max = bounds::NAME))]
    pub name: String,
    /// Spinnaker's type of stage.
    #[serde(rename = "type")]
    #[schemars(length(max = bounds::NAME))]
    pub kind: String,
    /// Spinnaker's own word.
    #[schemars(length(max = bounds::WORD))]
    pub status: String,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
}

/// Why an execution failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// The deepest stage that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::NAME))]
    pub stage: Option<String>,
    /// What it said, without secrets and internal addresses.
    #[schemars(length(max = bounds::MESSAGE))]
    pub message: String,
}
