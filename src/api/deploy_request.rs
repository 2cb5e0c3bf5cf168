//! `DeployRequest`: one run to completion. Touches nothing.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, core::Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::decision::{Approvals, DecisionKind, DecisionRecord, GivenApproval, Judgment};
pub use super::execution::{ExecutionStatus, Failure, StageStatus};
pub use super::resolved::{Attempt, Pinned, PipelineRef, Place, Resolved};
pub use super::slack_status::{EarlierMessage, SlackMessage, SlackStatus};
use super::{
    actor::Actor,
    bounds,
    gate::{GateStatus, Override},
    trace::TraceId,
    version::{COMMIT, Changes, GitStatus},
};

/// Who wants which version of what, where, and how it went.
///
/// The spec is immutable but for `cancel` and `override`, each of which can be set once, and replaced where it was found not
/// to count.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "foredeck.dev",
    version = "v1alpha1",
    kind = "DeployRequest",
    namespaced,
    status = "DeployRequestStatus",
    shortname = "dr",
    category = "foredeck",
    derive = "PartialEq",
    selectable = ".spec.application",
    selectable = ".spec.environment",
    printcolumn(
        name = "Application",
        type_ = "string",
        json_path = ".spec.application"
    ),
    printcolumn(name = "Version", type_ = "string", json_path = ".spec.version"),
    printcolumn(
        name = "Environment",
        type_ = "string",
        json_path = ".spec.environment"
    ),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Stage", type_ = "string", json_path = ".status.stage"),
    printcolumn(
        name = "Requester",
        type_ = "string",
        json_path = ".spec.requester.username"
    ),
    printcolumn(
        name = "Waiting for",
        type_ = "string",
        json_path = ".status.waiting.for",
        priority = 1
    ),
    printcolumn(
        name = "Execution",
        type_ = "string",
        json_path = ".status.execution.id",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.notBefore) || !has(self.startBefore) || self.notBefore < self.startBefore",
    "message": "startBefore has to come after notBefore",
}]))]
pub struct DeployRequestSpec {
    /// The Application in this namespace.
    #[schemars(length(min = 1, max = bounds::LABEL))]
    pub application: String,
    /// The Environment in this namespace.
    #[schemars(length(min = 1, max = bounds::LABEL))]
    pub environment: String,
    /// Any action that the Application defines.
    #[serde(default = "default_action")]
    #[schemars(length(max = 31), regex(pattern = "^[a-z][a-z0-9-]{1,30}$"))]
    pub action: String,
    /// Branch, tag, commit or image tag, as the Application's templates expect it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::NAME))]
    pub version: Option<String>,
    /// The commit that `version` meant when it was planned; stamped by the receiver. For all others the controller finds it
    /// when it accepts the request: name a commit in `version` to have exactly that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), regex(pattern = COMMIT))]
    pub commit: Option<String>,
    /// Further pipeline parameters, validated against the pipeline's own declaration.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "parameters")]
    pub parameters: BTreeMap<String, String>,
    /// Another cluster or namespace than the Environment's, where the Environment allows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetOverride>,
    /// Why, in the words of who asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::VALUE))]
    pub reason: Option<String>,
    /// How long the execution may run before it is cancelled; time spent waiting for a judgment or paused doesn't
    /// count. No limit when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = "^([0-9]{1,8}(ms|s|m|h))+$"))]
    pub timeout: Option<Duration>,
    /// Resolve and validate everything, start nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Requests with one key run once, whatever their names. By default a digest of what is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub idempotency_key: Option<String>,
    /// On whose behalf it was made; stamped by the receiver for requests from Slack, by admission for all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester: Option<Actor>,
    /// Where to tell how it goes, beside the Environment's own channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<RequestNotify>,
    /// Not before this time does anything start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Time>,
    /// After this time nothing starts any more: a request that waits until then expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_before: Option<Time>,
    /// Passes order, freezes and locks: never authorisation, and never what others have to say.
    #[serde(default, rename = "override", skip_serializing_if = "Option::is_none")]
    pub override_: Option<Override>,
    /// Asks for the request to end: before the start nothing is started, after it the execution is cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<Cancel>,
    /// How long the object stays after its end. For ever when left out: `GitOps` tools would create it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = "^([0-9]{1,8}(ms|s|m|h))+$"))]
    pub ttl_after_finished: Option<Duration>,
}

impl DeployRequestSpec {
    /// The Kubernetes user name of who wants it.
    pub fn requester_name(&self) -> Option<String> {
        self.requester
            .as_ref()
            .map(|requester| requester.username.clone())
    }
}

fn default_action() -> String {
    DEFAULT_ACTION.to_owned()
}

/// The action of a request that names none.
pub const DEFAULT_ACTION: &str = "deploy";
/// The action whose version, when none is named, is the one that ran before.
pub const ROLLBACK_ACTION: &str = "rollback";

/// Parameter names and values, as the pipeline takes them.
pub(super) fn parameters(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": bounds::PARAMETERS,
        "additionalProperties": {"type": "string", "maxLength": bounds::VALUE},
    })
}

/// Another cluster or namespace than the Environment's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetOverride {
    /// Spinnaker's name for a Kubernetes cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::NAME))]
    pub account: Option<String>,
    /// The Kubernetes namespace there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::LABEL))]
    pub namespace: Option<String>,
}

/// Where to tell how it goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestNotify {
    /// In Slack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slack: Option<SlackPlace>,
}

/// A conversation in Slack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SlackPlace {
    /// The channel's id, not its name; a direct message's begins with `D`.
    #[schemars(length(max = 32), regex(pattern = "^[A-Z0-9]{2,32}$"))]
    pub channel: String,
    /// The message that begins the thread, where it was asked for in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = "^[0-9]{1,16}\\.[0-9]{1,9}$"))]
    pub thread_ts: Option<String>,
}

/// Somebody wants it to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cancel {
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::VALUE))]
    pub reason: Option<String>,
    /// Who; stamped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Actor>,
}

/// Where a request stands. Terminal phases never change again.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
)]
pub enum Phase {
    /// Not yet resolved: something that it names is missing or doesn't answer.
    #[default]
    Pending,
    /// Complete and valid, waiting for people to approve it.
    AwaitingApproval,
    /// Complete and valid, waiting for its target.
    Queued,
    /// It holds its target; the start is being prepared or under way.
    Starting,
    /// Spinnaker has the execution.
    Running,
    /// We can't know whether Spinnaker runs it; the target stays held. Not terminal.
    Unknown,
    /// Ended well.
    Succeeded,
    /// Ended badly, or could not be started.
    Failed,
    /// Ended because somebody, or a newer request, asked for it.
    Canceled,
    /// Whoever asked may not, or somebody who may said no; nothing was started.
    Denied,
    /// Waited too long, or is a copy of another object.
    Expired,
}

impl Phase {
    /// Every phase, for tables and tests.
    pub const ALL: [Self; 11] = [
        Self::Pending,
        Self::AwaitingApproval,
        Self::Queued,
        Self::Starting,
        Self::Running,
        Self::Unknown,
        Self::Succeeded,
        Self::Failed,
        Self::Canceled,
        Self::Denied,
        Self::Expired,
    ];

    /// Its name, as objects and metrics have it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::AwaitingApproval => "AwaitingApproval",
            Self::Queued => "Queued",
            Self::Starting => "Starting",
            Self::Running => "Running",
            Self::Unknown => "Unknown",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Canceled => "Canceled",
            Self::Denied => "Denied",
            Self::Expired => "Expired",
        }
    }

    /// Whether nothing will happen any more.
    pub fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Succeeded | Self::Failed | Self::Canceled | Self::Denied | Self::Expired
        )
    }
}

/// How it went.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeployRequestStatus {
    /// Where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// One sentence on where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::MESSAGE))]
    pub message: Option<String>,
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Reconciling and Stalled (kstatus), Authorized, Approved, Started, Succeeded; Overridden where an override was asked
    /// for; and Cancelable and Notified where something that was asked for doesn't count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The key under which this runs once; fixed at first sight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub idempotency_key: Option<String>,
    /// What exactly is to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved: Option<Resolved>,
    /// What changes on the target: the commits between what runs there and what is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<Box<Changes>>,
    /// What the repository was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<Box<GitStatus>>,
    /// The one attempt to start it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
    /// The approvals that it needs and has; absent where none are needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvals: Option<Box<Approvals>>,
    /// What stands between it and its start, in a fixed order: every gate, open or closed, as it was last judged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub gates: Vec<GateStatus>,
    /// The manual judgment that its execution waits at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judgment: Option<Box<Judgment>>,
    /// What was decided about it, by whom and why, oldest first: the last 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bounds::DECISIONS))]
    pub decisions: Vec<DecisionRecord>,
    /// How many of the decisions, from the first, the audit sinks have; absent where none is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audited: Option<u32>,
    /// What Spinnaker says of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<ExecutionStatus>,
    /// The stages that run now, or the one that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::NAME))]
    pub stage: Option<String>,
    /// For what or whom it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
    /// Not before this time is it tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<Time>,
    /// Under which id it is found in traces and in the logs of Spinnaker's services: its uid without the dashes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = TraceId::PATTERN), length(max = 32))]
    pub trace_id: Option<String>,
    /// When Spinnaker accepted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it reached its terminal phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// What was told in Slack; the relay's, and nobody else's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slack: Option<SlackStatus>,
}

/// What a request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum WaitingFor {
    /// An Application, Environment, connection or Secret that isn't there yet or isn't in order.
    Configuration,
    /// The API server, or whoever knows the requester's groups, to say whether they may.
    Authorization,
    /// The repository's answer: which commit it is.
    Repository,
    /// People who may approve it.
    Approval,
    /// The time that it names.
    Time,
    /// The Environments that come before.
    Order,
    /// A freeze to end.
    Freeze,
    /// A lock, or a rollback's hold, to be lifted.
    Lock,
    /// Its target: another request holds it or comes first.
    Queue,
    /// Gate's or Orca's answer.
    Spinnaker,
    /// A person at a manual judgment stage.
    Judgment,
    /// A person: whether it runs can't be known.
    Person,
}

/// For what or whom it waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// For what.
    #[serde(rename = "for")]
    pub subject: WaitingFor,
    /// A sentence: what, and who can do something about it.
    #[schemars(length(max = bounds::MESSAGE))]
    pub message: String,
    /// Since when.
    pub since: Time,
    /// When it gives up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
}
