//! `DeployFreeze`: when what may not be deployed, and why. Touches nothing.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, core::Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{actor::Actor, bounds, selector::LabelSelector, slack_status::SlackStatus};

/// The name of the freeze that the stop button makes, in foredeck's own namespace.
pub const STOP_ALL: &str = "stop-all";

/// When what may not be deployed, and why.
///
/// It holds in its own namespace; one in foredeck's own namespace holds everywhere, or in the namespaces that it selects.
/// Without times it holds from its creation until it is deleted.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "foredeck.dev",
    version = "v1alpha1",
    kind = "DeployFreeze",
    namespaced,
    status = "DeployFreezeStatus",
    shortname = "df",
    category = "foredeck",
    derive = "PartialEq",
    printcolumn(
        name = "Active",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Active')].status"
    ),
    printcolumn(name = "Until", type_ = "string", json_path = ".status.until"),
    printcolumn(name = "Next", type_ = "string", json_path = ".status.next"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".spec.reason"),
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
        name = "By",
        type_ = "string",
        json_path = ".spec.by.username",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!has(self.from) || !has(self.until) || self.from < self.until",
        "message": "until has to come after from",
    },
    {
        "rule": "!has(self.actions) || !has(self.exceptActions)",
        "message": "actions and exceptActions exclude each other: name those that it stops, or those that it lets through",
    },
]))]
pub struct DeployFreezeSpec {
    /// Why, for everybody whom it stops.
    #[schemars(length(min = 1, max = bounds::VALUE))]
    pub reason: String,
    /// Whom to ask, in words for people: a name, a channel, an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::NAME))]
    pub contact: Option<String>,
    /// Not before; from its creation when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Time>,
    /// Not after; until it is deleted when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// Within that, again and again; all the time when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// Names of Applications, in which `*` stands for any characters; all when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = bounds::NAME)))]
    pub applications: Vec<String>,
    /// Applications by their labels; of those that `applications` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application_selector: Option<LabelSelector>,
    /// Names of Environments, in which `*` stands for any characters; all when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = bounds::NAME)))]
    pub environments: Vec<String>,
    /// Environments by their labels; of those that `environments` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment_selector: Option<LabelSelector>,
    /// The actions that it stops; all when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 20),
        inner(length(max = 31), regex(pattern = "^[a-z][a-z0-9-]{1,30}$"))
    )]
    pub actions: Vec<String>,
    /// The actions that it lets through: `rollback`, say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 20),
        inner(length(max = 31), regex(pattern = "^[a-z][a-z0-9-]{1,30}$"))
    )]
    pub except_actions: Vec<String>,
    /// In foredeck's own namespace: in which namespaces it holds; in all when left out. Anywhere else a freeze holds in its
    /// own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// What becomes of executions that run when it begins.
    #[serde(default)]
    pub running: Running,
    /// Who is told when it begins and when it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<FreezeNotify>,
    /// Who wrote it last; stamped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Actor>,
}

/// Again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// When it begins, as five fields of cron: minute, hour, day of the month, month, day of the week.
    #[schemars(length(min = 9, max = 128), regex(pattern = "^\\S+( +\\S+){4}$"))]
    pub cron: String,
    /// How long it lasts each time, in time that passes: an hour is an hour also where clocks are changed.
    #[schemars(length(max = 16), regex(pattern = "^([0-9]{1,8}(ms|s|m|h))+$"))]
    pub duration: Duration,
    /// By which clock: an IANA zone, `Europe/Berlin`. UTC when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 64),
        regex(pattern = "^[A-Za-z][A-Za-z0-9_+/-]*$")
    )]
    pub zone: Option<String>,
}

/// What becomes of executions that run when a freeze begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Running {
    /// They go on.
    #[default]
    Continue,
    /// They are cancelled, but for those that an override let through.
    Cancel,
}

/// Who is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FreezeNotify {
    /// In Slack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slack: Option<FreezeChannels>,
}

/// Which channels are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FreezeChannels {
    /// Their ids, not their names.
    #[schemars(
        length(min = 1, max = 20),
        inner(length(max = 32), regex(pattern = "^[A-Z0-9]{2,32}$"))
    )]
    pub channels: Vec<String>,
}

/// What the controller found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeployFreezeStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Since when it holds this time; absent while it doesn't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Until when it holds this time; absent while it doesn't, and where nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// When it begins next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Time>,
    /// Ready: whether its times can be understood; where not, it holds all the time. Active: whether it holds now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// What was told in Slack, for each channel and each time that it began; the relay's, and nobody else's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slack: Option<SlackStatus>,
}
