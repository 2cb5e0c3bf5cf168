//! The gates between a request and its start, and how somebody passes those that may be passed. Touches nothing.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{actor::Actor, bounds};

/// What stands between a request and its start, in the order in which it is told.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum GateKind {
    /// Whether what admission stamps can be believed.
    Policies,
    /// Whether whoever asked may.
    Authorization,
    /// Whether everybody who has to say yes did.
    Approval,
    /// `spec.notBefore`.
    Time,
    /// `spec.protection.after` of the Environment.
    Order,
    /// `DeployFreeze`s, the stop button among them.
    Freeze,
    /// Locks of the Environment and of the target, and a rollback's hold.
    Lock,
    /// Other requests for the target.
    Queue,
}

impl GateKind {
    /// Every gate, in its place.
    pub const ALL: [Self; 8] = [
        Self::Policies,
        Self::Authorization,
        Self::Approval,
        Self::Time,
        Self::Order,
        Self::Freeze,
        Self::Lock,
        Self::Queue,
    ];

    /// Its name, as objects and metrics have it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Policies => "Policies",
            Self::Authorization => "Authorization",
            Self::Approval => "Approval",
            Self::Time => "Time",
            Self::Order => "Order",
            Self::Freeze => "Freeze",
            Self::Lock => "Lock",
            Self::Queue => "Queue",
        }
    }

    /// Whether `spec.override` passes it: never who may, and never what others have to say.
    pub fn is_passed_by_override(self) -> bool {
        matches!(self, Self::Order | Self::Freeze | Self::Lock)
    }
}

/// How a gate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum GateState {
    /// Nothing stands there.
    Open,
    /// It would be closed; an override passes it.
    Overridden,
    /// It holds the request.
    Closed,
    /// It can't be said now, and holds the request until it can.
    Unknown,
}

/// One gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GateStatus {
    /// Which.
    pub gate: GateKind,
    /// How it stands.
    pub state: GateState,
    /// The fixed word for why, where it isn't simply open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::LABEL))]
    pub reason: Option<String>,
    /// A sentence: what, by which rule, who can do something about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::VALUE))]
    pub message: Option<String>,
    /// When it opens by itself, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
}

/// Somebody's word that a request passes order, freezes and locks: never authorisation, and never what others have to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Override {
    /// Why this is right: it is told in the Environment's channels.
    #[schemars(length(min = 1, max = bounds::VALUE))]
    pub reason: String,
    /// Who; stamped. It takes the verb `override` on the Application and on the Environment, at the moment of starting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Actor>,
}
