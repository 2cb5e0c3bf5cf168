//! Cancelling: before the start, and of what runs. Touches nothing.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Decision, Effect, Facts, Machine};
use crate::{
    api::{
        conditions::Reason,
        deploy_request::{Phase, WaitingFor},
        deploy_target::Active,
    },
    domain::{
        backoff,
        outcome::{Observation, Outcome},
        refusal::Refusal,
    },
};

/// How often a cancel is repeated while Spinnaker doesn't end the execution.
const CANCEL_AGAIN: Duration = Duration::from_secs(2);

impl Machine<'_> {
    pub(super) fn canceled_before_the_start(&self) -> Option<Outcome> {
        let cancel = self.cancel()?;
        let why = cancel
            .reason
            .as_deref()
            .map(|reason| format!(": {reason}"))
            .unwrap_or_default();
        Some(Outcome::new(
            Phase::Canceled,
            Reason::Canceled,
            format!("cancelled before anything was started{why}."),
        ))
    }

    /// As what it ends once Spinnaker has cancelled it, if somebody or something wants that.
    pub(super) fn cancel_wanted(
        &self,
        active: &Active,
        observation: Option<&Observation>,
    ) -> Option<Outcome> {
        let limit = self.request.spec.timeout.map(Duration::from);
        let late = limit
            .is_some_and(|limit| observation.is_some_and(|observation| observation.worked > limit));
        // It was begun, and not for its lateness: it is not given up when whether it counts can't be said any more.
        let begun = active.cancel_requested_at.is_some() && active.frozen.is_none() && !late;
        let undecided = self.facts.gates.undecided_cancel(self.request).is_some();
        let wanted = self.request.spec.cancel.as_ref();
        if let Some(cancel) = self
            .cancel()
            .or_else(|| wanted.filter(|_| begun && undecided))
        {
            let why = cancel
                .reason
                .as_deref()
                .map(|reason| format!(": {reason}"))
                .unwrap_or_default();
            return Some(Outcome::new(
                Phase::Canceled,
                Reason::Canceled,
                format!("cancelled as asked{why}."),
            ));
        }
        if let Some(why) = frozen(self.facts, active) {
            return Some(Outcome::new(Phase::Canceled, Reason::Frozen, why));
        }
        let Some(limit) = limit else {
            // Deleted after it had been asked for, or no longer counting: the target remembers the wish, if not the words.
            return active.cancel_requested_at.is_some().then(|| {
                let message = if self.facts.gone {
                    "cancelled as asked before the request was deleted."
                } else {
                    "cancelled as asked."
                };
                Outcome::new(Phase::Canceled, Reason::Canceled, message)
            });
        };
        (late || active.cancel_requested_at.is_some()).then(|| {
            Outcome::new(
                Phase::Failed,
                Reason::TimedOut,
                format!("it ran longer than its timeout of {limit:?} and was cancelled."),
            )
        })
    }

    pub(super) fn canceling(
        &self,
        active: &Active,
        outcome: &Outcome,
        observation: Option<&Observation>,
    ) -> Decision {
        // Again and again until it has ended: Orca answers 200 to a cancel that it loses.
        let not_before = self
            .request
            .status
            .as_ref()
            .and_then(|status| status.next_attempt_at.as_ref());
        let due = match (&active.cancel_requested_at, observation) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(_), Some(_)) => not_before.is_none_or(|time| time.0 <= self.now),
        };
        if due && self.facts.trouble.is_none() {
            return self.act(Effect::Cancel {
                reason: outcome.message.clone(),
                execution: observation.map(|observation| observation.execution.id.clone()),
                frozen: outcome.reason == Reason::Frozen,
            });
        }
        let refusal = Refusal::passing(
            WaitingFor::Spinnaker,
            Reason::CancelRequested,
            match &self.facts.trouble {
                Some(trouble) => format!("it is to be cancelled, but {}", trouble.message),
                None => "it is to be cancelled, but Spinnaker has not ended it yet.".to_owned(),
            },
        );
        let status = match observation {
            Some(observation) => self.mirrored(active).running(observation, Some(refusal)),
            None => self
                .mirrored(active)
                .waiting(Phase::Unknown, &refusal, None, None),
        };
        // Whoever wakes it in between puts nothing off.
        let again = not_before
            .map(|time| time.0)
            .filter(|time| *time > self.now)
            .unwrap_or(self.now + CANCEL_AGAIN);
        let mut status = status;
        status.next_attempt_at = Some(Time(again));
        let left = backoff::elapsed(self.now, again).max(Duration::from_millis(100));
        Decision::record(status, Some(left))
    }
}

/// Why a freeze cancels it, if one does: it was begun for that, or one holds now that cancels what runs. Never what
/// somebody's override let start, and not what is cancelled already for something else.
pub(super) fn frozen(facts: &Facts, active: &Active) -> Option<String> {
    if active.cancel_requested_at.is_some() {
        return active.frozen.clone();
    }
    let running = facts.gates.guards.running.as_ref();
    let running = running.filter(|_| active.overridden_by.is_none())?;
    Some(running.message.clone())
}
