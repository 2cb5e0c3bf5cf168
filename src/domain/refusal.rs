//! Why something can't go on, in words for people and in a fixed word. Touches nothing.

use std::time::Duration;

use crate::api::{conditions::Reason, deploy_request::WaitingFor};

/// Why something can't go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The fixed word.
    pub reason: Reason,
    /// A sentence: what, by which rule, and who can do what about it.
    pub message: String,
    /// What it waits for; `None` when waiting can't help.
    pub waiting_for: Option<WaitingFor>,
    /// How long the other side asked us to stay away.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// Nothing but another request, or another configuration and another request, can help.
    pub fn permanent(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            waiting_for: None,
            retry_after: None,
        }
    }

    /// It may come right.
    pub fn passing(waiting_for: WaitingFor, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            waiting_for: Some(waiting_for),
            retry_after: None,
        }
    }
}
