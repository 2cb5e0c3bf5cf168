//! `SpinnakerConnection`: one Gate. Touches nothing.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, core::Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bounds;

/// One Gate: where it is, how to log in, and what may be reached through it.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "foredeck.dev",
    version = "v1alpha1",
    kind = "SpinnakerConnection",
    namespaced,
    status = "SpinnakerConnectionStatus",
    shortname = "spincon",
    category = "foredeck",
    derive = "PartialEq",
    printcolumn(name = "Gate", type_ = "string", json_path = ".spec.gateUrl"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Why",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct SpinnakerConnectionSpec {
    /// Gate's base URL, with its path prefix if it has one.
    #[schemars(length(min = 8, max = bounds::URL), regex(pattern = "^https?://[^ ?#]+$"))]
    pub gate_url: String,
    /// Deck's base URL, for links.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = bounds::URL), regex(pattern = "^https?://[^ ?#]+$"))]
    pub deck_url: Option<String>,
    /// By which endpoint executions are started.
    #[serde(default)]
    pub trigger: TriggerMode,
    /// What to do when a start's outcome can't be known.
    #[serde(default)]
    pub on_unknown: OnUnknown,
    /// What may be reached through it. Empty allows nothing.
    #[serde(default)]
    pub allow: Allow,
    /// How to log in; not at all when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [{
        "rule": "has(self.basic) != has(self.token)",
        "message": "auth takes exactly one of basic and token",
    }]))]
    pub auth: Option<Auth>,
    /// Deadlines.
    #[serde(default)]
    pub timeouts: Timeouts,
}

/// By which endpoint executions are started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum TriggerMode {
    /// `POST /pipelines/start`, which takes our execution id.
    #[default]
    Start,
    /// `POST /pipelines/{application}/{id}`, where a site forbids the other; the execution is found by correlation id.
    V1,
}

/// What to do when a start's outcome can't be known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnUnknown {
    /// After the settle time of clean "not found" answers, send it again with the same ids.
    #[default]
    Retry,
    /// Wait for a person.
    Hold,
}

/// What may be reached through a connection. `*` stands for any characters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Allow {
    /// Spinnaker applications.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 500), inner(length(min = 1, max = bounds::NAME)))]
    pub applications: Vec<String>,
    /// Spinnaker accounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 500), inner(length(min = 1, max = bounds::NAME)))]
    pub accounts: Vec<String>,
    /// Kubernetes namespaces in those accounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 500), inner(length(min = 1, max = bounds::NAME)))]
    pub namespaces: Vec<String>,
}

/// How to log in. Secrets are read from the connection's own namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Auth {
    /// User name and password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic: Option<BasicAuth>,
    /// A token in a header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenAuth>,
}

/// User name and password from a Secret of type `kubernetes.io/basic-auth`: keys `username` and `password`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BasicAuth {
    /// The Secret's name.
    #[schemars(length(min = 1, max = bounds::NAME))]
    pub secret_name: String,
}

/// A token from a Secret, sent as `Authorization: Bearer …` or in a header of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenAuth {
    /// The Secret's name.
    #[schemars(length(min = 1, max = bounds::NAME))]
    pub secret_name: String,
    /// The key in it; `token` when left out.
    #[serde(default = "default_token_key")]
    #[schemars(length(min = 1, max = bounds::NAME))]
    pub key: String,
    /// The header. `Authorization` carries `Bearer` before the token; any other, such as `X-Spinnaker-Token`, the bare
    /// token.
    #[serde(default = "default_token_header")]
    #[schemars(length(min = 1, max = bounds::LABEL), regex(pattern = "^[A-Za-z0-9-]+$"))]
    pub header: String,
}

fn default_token_key() -> String {
    "token".to_owned()
}

fn default_token_header() -> String {
    "Authorization".to_owned()
}

/// Deadlines of a connection.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Timeouts {
    /// Of one call to Gate; 20 s when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = "^([0-9]{1,8}(ms|s|m|h))+$"))]
    pub request: Option<Duration>,
    /// How long Gate has to answer "not found" before a start whose outcome is unknown is sent again. At least 150 s,
    /// which is the default: Gate itself waits 120 s for Orca, and an abandoned start may still run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = "^([0-9]{1,8}(ms|s|m|h))+$"))]
    pub settle: Option<Duration>,
}

/// What the controller found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpinnakerConnectionStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// As whom Gate knows us.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::NAME))]
    pub user: Option<String>,
}
