//! Who keeps what from starting: a lock, the hold of a rollback, and how each is lifted. Touches nothing.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{actor::Actor, bounds};

/// Somebody's word that nothing starts here. What runs goes on.
///
/// Who set it may lift it, and whoever has the verb `override`; anybody with the verb `lock` once its time is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lock {
    /// Why, for everybody whom it stops.
    #[schemars(length(min = 1, max = bounds::VALUE))]
    pub reason: String,
    /// Until when; until somebody unlocks when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// Who; stamped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Actor>,
}

/// A rollback that nothing may undo until somebody unlocks. Written with the end of the rollback, so that nothing starts
/// between the two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    /// The uid of the request that rolled back.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// Its name.
    #[schemars(length(max = bounds::NAME))]
    pub name: String,
    /// Who asked for it, by their Kubernetes user name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::NAME))]
    pub by: Option<String>,
    /// The version that was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::NAME))]
    pub from: Option<String>,
    /// The version that it went back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::NAME))]
    pub to: Option<String>,
    /// Since when.
    pub since: Time,
}

/// A person's word that a rollback's hold is over. It stays: another rollback makes another hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Unhold {
    /// `status.hold.uid`: of which rollback. Any other hold stays.
    #[schemars(length(min = 1, max = 64))]
    pub uid: String,
    /// Who; stamped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Actor>,
}
