//! What has to be open before anything starts, and whether it is. Touches nothing.

use jiff::Timestamp;

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
    /// Words on the start that don't count since whoever gave them may not, for the record.
    pub refused: Vec<RefusedVoice>,
}

/// A word that doesn't count since whoever gave it may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedVoice {
    /// Who, by their Kubernetes user name, where that is known.
    pub by: Option<String>,
    /// When.
    pub at: Timestamp,
    /// Why it doesn't count.
    pub why: String,
}

impl Gates {
    /// Everything open: for whoever decides about what no gate stands before, and for tests.
    pub fn open() -> Self {
        Self {
            vouched: Ok(()),
            access: Access::Granted {
                username: String::new(),
                rule: String::new(),
            },
            approval: Approval::NotNeeded,
            cancel: Ok(()),
            refused: Vec::new(),
        }
    }
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
