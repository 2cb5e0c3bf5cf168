//! Condition types and reasons: the only place where their words stand. Touches nothing.

use std::fmt;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::bounds;

/// A condition's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConditionType {
    /// The configuration can be used as it stands.
    Ready,
    /// kstatus: work goes on.
    Reconciling,
    /// kstatus: work can't go on without somebody.
    Stalled,
    /// Whoever asked may.
    Authorized,
    /// Everybody who has to say yes did.
    Approved,
    /// On a `DeployApproval`: it counts.
    Counts,
    /// `False` where somebody who may not wanted to cancel it.
    Cancelable,
    /// Whether `spec.override` counts.
    Overridden,
    /// On an `Environment` and a `DeployTarget`: a lock, or a rollback's hold, keeps requests from starting.
    Locked,
    /// On a `DeployFreeze`: it holds now.
    Active,
    /// `False` where it is not told in a channel that it names.
    Notified,
    /// Spinnaker has the execution.
    Started,
    /// On a `DeployTarget`: what is said to run there does.
    Known,
    /// It ended well (`True`) or not (`False`).
    Succeeded,
}

impl fmt::Display for ConditionType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

/// Why something is as it is: one fixed word, used in conditions, events and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(
    missing_docs,
    reason = "each is named so that it explains itself; the sentence beside it says the rest"
)]
pub enum Reason {
    // Progress.
    Accepted,
    Queued,
    Starting,
    Running,
    Succeeded,
    SucceededWithFailedStages,
    DryRun,
    AlreadyRan,
    // What ends a request before anything was started.
    ActionNotFound,
    PipelineNotFound,
    PipelineDisabled,
    PipelineForeign,
    NotAllowedByConnection,
    TargetNotAllowed,
    TargetBusy,
    ParameterMissing,
    ParameterUnknown,
    ParameterNotOffered,
    ExpressionRefused,
    TemplateFailed,
    NoEarlierVersion,
    VersionNotFound,
    CommitUnknown,
    ArtifactUnmatched,
    ArtifactDefault,
    IdempotencyKeyReused,
    Restored,
    Superseded,
    Expired,
    StartRefused,
    Invalid,
    NotAuthorized,
    Nobody,
    IdentityStale,
    Rejected,
    VersionMoves,
    // What a request waits for.
    PoliciesMissing,
    PoliciesAltered,
    AccessUnknown,
    GroupsUnknown,
    ApprovalMissing,
    NotYet,
    OrderUnmet,
    Frozen,
    Locked,
    Held,
    GuardsUnknown,
    ApplicationNotFound,
    EnvironmentNotFound,
    ConnectionNotFound,
    ConfigurationUnreadable,
    ConnectionInvalid,
    CredentialsNotFound,
    CredentialsInvalid,
    HostNotAllowed,
    VaultUnreachable,
    CertificateIssueFailed,
    CertificateExpired,
    NotSpinnaker,
    GateUnreachable,
    LoginFailed,
    SpinnakerForbidden,
    SpinnakerBusy,
    SpinnakerUnclear,
    TargetUnreadable,
    LastRequestFailed,
    RanElsewhere,
    ExecutionRerun,
    // What ends a request after the start, or leaves it unknown.
    ExecutionFailed,
    ExecutionCanceled,
    ExecutionLost,
    ExecutionConflict,
    StartedTwice,
    StartUnknown,
    ConnectionChanged,
    PipelineChanged,
    CancelRequested,
    Canceled,
    TimedOut,
    Released,
    // Who may, and whose word counts.
    Authorized,
    Approved,
    Counts,
    DigestChanged,
    ApprovalNotNeeded,
    ApprovalExpired,
    ApprovalTaken,
    ApproverIsRequester,
    ApproverNotAuthorized,
    SamePerson,
    RequestGone,
    JudgmentOver,
    InputNotOffered,
    RoleMissing,
    CancelRefused,
    Overridden,
    OverrideRefused,
    Unlocked,
    NotFrozen,
    ChannelNotListed,
    // Configuration.
    ConfigurationValid,
    TargetShared,
    SettleTooShort,
    PatternInvalid,
    ScheduleInvalid,
    OrderInvalid,
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

/// Sets one condition: `lastTransitionTime` moves only when `status` flips.
///
/// `status` is `None` for `Unknown`. The message is cut to its bound.
pub fn set(
    conditions: &mut Vec<Condition>,
    kind: ConditionType,
    status: Option<bool>,
    reason: Reason,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) {
    let status = match status {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    };
    let type_ = kind.to_string();
    let earlier = conditions
        .iter()
        .position(|condition| condition.type_ == type_);
    let last_transition_time = earlier
        .map(|index| &conditions[index])
        .filter(|condition| condition.status == status)
        .map_or(Time(now), |condition| {
            condition.last_transition_time.clone()
        });
    let condition = Condition {
        type_,
        status: status.to_owned(),
        reason: reason.to_string(),
        message: bounds::cut(message, bounds::MESSAGE),
        observed_generation: generation,
        last_transition_time,
    };
    match earlier {
        Some(index) => conditions[index] = condition,
        None => conditions.push(condition),
    }
}

/// The condition of that type, if it was ever set.
pub fn find(conditions: &[Condition], kind: ConditionType) -> Option<&Condition> {
    let type_ = kind.to_string();
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Gives a condition another reason, in words that somebody else fixed.
pub fn rename(conditions: &mut [Condition], kind: ConditionType, reason: &str) {
    let type_ = kind.to_string();
    for condition in conditions
        .iter_mut()
        .filter(|condition| condition.type_ == type_)
    {
        reason.clone_into(&mut condition.reason);
    }
}
