//! `Environment`: where to deploy. Touches nothing.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, core::Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{bounds, deploy_request::Place, lock::Lock};

/// Where to deploy, through which Spinnaker, and under which rules.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "foredeck.dev",
    version = "v1alpha1",
    kind = "Environment",
    namespaced,
    status = "EnvironmentStatus",
    shortname = "fdenv",
    category = "foredeck",
    derive = "PartialEq",
    printcolumn(name = "Account", type_ = "string", json_path = ".spec.target.account"),
    printcolumn(
        name = "Namespace",
        type_ = "string",
        json_path = ".spec.target.namespace"
    ),
    printcolumn(name = "Connection", type_ = "string", json_path = ".spec.connection"),
    printcolumn(
        name = "Locked",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Locked')].status"
    ),
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
pub struct EnvironmentSpec {
    /// The `SpinnakerConnection` in this namespace.
    #[schemars(length(min = 1, max = bounds::NAME))]
    pub connection: String,
    /// The cluster and the namespace.
    pub target: Place,
    /// Which other clusters and namespaces a request may name; none when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_targets: Option<AllowTargets>,
    /// Says that another Environment reaches the same place on purpose.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared_target: bool,
    /// The rules.
    #[serde(default)]
    pub protection: Protection,
    /// Keeps everything from starting in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<Lock>,
    /// Where to tell how every request for this Environment goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<EnvironmentNotify>,
}

/// Which other clusters and namespaces a request may name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AllowTargets {
    /// Accounts beside the Environment's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = bounds::NAME)))]
    pub accounts: Vec<String>,
    /// A regular expression that the whole namespace must match; only the Environment's own when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::NAME))]
    pub namespace_pattern: Option<String>,
}

/// The rules of an Environment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Protection {
    /// What happens to a request whose target is taken.
    #[serde(default)]
    pub concurrency: Concurrency,
    /// How long a request may wait before it is too late; 24 h when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = "^([0-9]{1,8}(ms|s|m|h))+$"))]
    pub expire_after: Option<Duration>,
    /// Whether somebody who asks in Slack is shown a plan to confirm first.
    #[serde(default)]
    pub confirm: Confirm,
    /// The ids of the Slack channels from which it may be asked for; from anywhere when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 50),
        inner(length(max = 32), regex(pattern = "^[A-Z0-9]{2,32}$"))
    )]
    pub channels: Vec<String>,
    /// Whether it may be asked for and told in channels that are shared with other organisations.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_shared: bool,
    /// Who has to say yes before anything starts; nobody when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvals: Option<ApprovalRules>,
    /// Where the same version must have succeeded before, and how long it must have stayed there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub after: Vec<After>,
    /// Whether a version whose commit isn't known may go, where the Application names a repository. When left out it may,
    /// unless approvals are required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unresolved_versions: Option<UnresolvedVersions>,
    /// Which `ServiceAccount`s and other `system:` users may ask, and for what. All others are nobody, whatever RBAC
    /// grants them; these need the verb too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub automation: Vec<Automation>,
    /// Which group (as RBAC names it) has which of the roles that manual judgment stages name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub judgment_roles: Vec<JudgmentRole>,
}

/// An Environment that comes before this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct After {
    /// The Environment, in this namespace: at its own target.
    #[schemars(length(min = 1, max = bounds::LABEL))]
    pub environment: String,
    /// How long it must have stayed there since it succeeded; any time when left out.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = "^([0-9]{1,8}(ms|s|m|h))+$"))]
    pub soak: Option<Duration>,
}

/// Who has to say yes before anything starts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalRules {
    /// From how many people, each with the verb `approve` on the Environment and on the Application.
    #[schemars(range(min = 1, max = 10))]
    pub required: u32,
    /// Whether one of them may be who asked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub requester_may_approve: bool,
    /// How long an approval is good for; until the request expires when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = "^([0-9]{1,8}(ms|s|m|h))+$"))]
    pub expire_after: Option<Duration>,
    /// Groups of each of which somebody has to be among them. What automation asks for needs at least one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), inner(length(min = 1, max = bounds::NAME)))]
    pub groups: Vec<String>,
    /// A regular expression that the whole of a version must match to count as one that never moves, beside commits and
    /// digests. `v?[0-9]+(\\.[0-9]+)+([-+.][0-9A-Za-z.-]+)?` when left out, and no part of it `x`, `latest` or `SNAPSHOT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::NAME))]
    pub fixed_versions: Option<String>,
    /// The ids of Slack user groups or users who are mentioned, once, when an approval is needed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 5),
        inner(length(max = 32), regex(pattern = "^[SUW][A-Z0-9]{1,31}$"))
    )]
    pub mention: Vec<String>,
}

/// What happens to a version whose commit isn't known: no such branch, tag or commit, or the repository doesn't answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UnresolvedVersions {
    /// It goes as it was typed.
    Allow,
    /// It fails where there is no such version, and waits where the repository doesn't answer.
    Refuse,
}

/// A `system:` user that may ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Automation {
    /// Its Kubernetes user name: `system:serviceaccount:flux-system:kustomize-controller`.
    #[schemars(length(min = 1, max = bounds::NAME))]
    pub username: String,
    /// The actions that it may ask for, and `cancel`.
    #[schemars(
        length(min = 1, max = 17),
        inner(length(max = 31), regex(pattern = "^[a-z][a-z0-9-]{1,30}$"))
    )]
    pub verbs: Vec<String>,
}

/// A group that has a role in Spinnaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JudgmentRole {
    /// The role, by Spinnaker's name.
    #[schemars(length(min = 1, max = bounds::NAME))]
    pub role: String,
    /// The group, as RBAC names it.
    #[schemars(length(min = 1, max = bounds::NAME))]
    pub group: String,
}

/// Whether somebody who asks in Slack is shown a plan to confirm before anything is created.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Confirm {
    /// Always.
    #[default]
    Always,
    /// Never: the command itself asks, unless an equal request is there already.
    Never,
}

/// Where to tell how requests go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentNotify {
    /// In Slack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slack: Option<SlackNotify>,
}

/// Where to tell in Slack.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SlackNotify {
    /// The id of the channel that holds the live message of every request; where it was asked for when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = "^[A-Z0-9]{2,32}$"))]
    pub channel: Option<String>,
    /// The ids of further channels, which get one line at the start and one at the end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 10),
        inner(length(max = 32), regex(pattern = "^[A-Z0-9]{2,32}$"))
    )]
    pub also: Vec<String>,
}

/// What happens to a request whose target is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Concurrency {
    /// It waits for its turn.
    #[default]
    Queue,
    /// It fails.
    Reject,
    /// It waits, and older ones that wait are dropped.
    Supersede,
}

/// What the controller found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready. Locked: whether its lock keeps requests from starting.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
