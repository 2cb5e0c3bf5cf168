//! What the status of a request, or of a freeze, says of its messages in Slack: the relay's part of it. Touches nothing.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{bounds, deploy_request::Phase};

/// What was told in Slack.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SlackStatus {
    /// Every message about this object, one per purpose, each written down before it is posted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bounds::SLACK_MESSAGES))]
    pub messages: Vec<SlackMessage>,
    /// Why a message is not where it should be, or not what it should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::MESSAGE))]
    pub problem: Option<String>,
}

/// A message in Slack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SlackMessage {
    /// What it is for: `live` is the one that shows where the request stands.
    #[schemars(length(max = bounds::WORD))]
    pub purpose: String,
    /// The id of the channel; of the person, while a direct message is on its way.
    #[schemars(length(max = 32))]
    pub channel: String,
    /// Its id there; absent while it is not known whether it was posted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub ts: Option<String>,
    /// The message that begins its thread, where it is a reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub thread_ts: Option<String>,
    /// When it was about to be posted.
    pub since: Time,
    /// SHA-256 of what it shows, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::DIGEST))]
    pub digest: Option<String>,
    /// The phase that it shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Set when there may be an earlier one for the same purpose: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earlier: Option<EarlierMessage>,
    /// Slack's word for why it was not posted, and will not be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::WORD))]
    pub refused: Option<String>,
}

/// Why there may be an earlier message for the same purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum EarlierMessage {
    /// Whether the first one arrived is not known, and could not be looked up.
    Unknown,
    /// It can't be changed any more: deleted, say.
    Unchangeable,
}
