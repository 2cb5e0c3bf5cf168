//! What an action hands to Spinnaker beside parameters: artifacts. Touches nothing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bounds;

/// A thing that a pipeline deploys, by Spinnaker's own fields. In an Application each field is a template.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// Spinnaker's type: `docker/image`, `helm/chart`, `s3/object`, ….
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = bounds::NAME))]
    pub kind: String,
    /// Its name: of an image without its tag, `registry.example/shop/checkout`.
    #[schemars(length(min = 1, max = bounds::VALUE))]
    pub name: String,
    /// Its version: of an image its tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::VALUE))]
    pub version: Option<String>,
    /// Where within its store it is, where the type has such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::VALUE))]
    pub location: Option<String>,
    /// By which it is fetched: of an image with its tag or digest, `registry.example/shop/checkout:3f2a1bc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::VALUE))]
    pub reference: Option<String>,
    /// Spinnaker's account that fetches it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::NAME))]
    pub artifact_account: Option<String>,
}
