//! What has to be open before anything starts, and whether it is. Touches nothing.

use super::refusal::Refusal;
use crate::api::deploy_request::Approvals;

/// What people and policies say about a request, as it was found for one decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Gates {
    /// Whether what admission stamps can be believed: all policies are there and as they should be. A refusal waits.
    pub vouched: Result<(), Refusal>,
    /// Whether whoever asked may.
    pub access: Access,
    /// Whether everybody who has to say yes did.
    pub approval: Approval,
    /// Whether `spec.cancel` counts: who wrote it may. A refusal says why it doesn't; it stands for nothing where there
    /// is no `spec.cancel`.
    pub cancel: Result<(), Refusal>,
}

/// Whether whoever asked may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// They may: as whom, and by which rule, in the API server's words.
    Granted {
        /// The Kubernetes user name.
        username: String,
        /// What the API server says.
        rule: String,
    },
    /// They may not, and waiting can't help.
    Denied(Refusal),
    /// It can't be said now.
    Unknown(Refusal),
}

/// Whether everybody who has to say yes did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Approval {
    /// Nobody has to.
    NotNeeded,
    /// Enough people did.
    Enough(Approvals),
    /// Somebody is still asked; the refusal says who, and waits for `Approval`, or for `Authorization` while it can't be
    /// said whether somebody's word counts.
    Missing(Approvals, Refusal),
    /// Somebody who may approve said no.
    Rejected {
        /// By their Kubernetes user name.
        by: String,
        /// What they said.
        comment: String,
    },
}
