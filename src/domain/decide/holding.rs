//! A request that holds its target: it is sent, looked for, followed. Touches nothing.

use std::time::Duration;

use super::{Decision, Effect, LOOK_AGAIN, Machine, Sighting};
use crate::{
    api::{
        conditions::Reason,
        connection::OnUnknown,
        deploy_request::{Phase, WaitingFor},
        deploy_target::{Active, Seen},
    },
    domain::{
        outcome::{self, Observation, Outcome},
        refusal::Refusal,
    },
};

const STILL_LOOKING: &str = "whether Spinnaker started it can't be known yet; it is looked for before anything is sent again.";

impl Machine<'_> {
    pub(super) fn holding(&self, active: &Active) -> Decision {
        if self.facts.release_order.is_some()
            || (active.attempt.sent_at.is_none() && self.facts.gone)
        {
            return self.let_go(active);
        }
        if active.attempt.sent_at.is_none() {
            return self.unsent(active);
        }
        match &self.facts.sighting {
            Sighting::Seen(observation) => self.seen(active, observation),
            Sighting::Absent(duration) => self.absent(active, *duration),
            Sighting::Unclear(refusal) => self.unclear(active, refusal),
            Sighting::NotAsked => self.keep(),
        }
    }

    /// It holds its target, and certainly nothing was sent.
    pub(super) fn unsent(&self, active: &Active) -> Decision {
        let blocked = match &self.facts.plan {
            Err(_) => true,
            Ok(plan) => {
                // The Environment leads elsewhere now, and who starts there has to hold what is locked there.
                let moved = self.facts.target_name.as_ref() != Some(&plan.resolved.deploy_target);
                moved || self.canceled_before_the_start().is_some() || self.expired().is_some()
            }
        };
        // One that Spinnaker shows is followed, not sent: no gate stands before that.
        let shown = matches!(self.facts.sighting, Sighting::Seen(_));
        if blocked || (!shown && self.closed().is_some()) {
            return self.act(Effect::Release);
        }
        let Ok(plan) = &self.facts.plan else {
            return self.act(Effect::Release);
        };
        if let Some(trouble) = &self.facts.trouble {
            return self.wait(Phase::Starting, trouble);
        }
        let Some(start) = &plan.start else {
            return self.keep();
        };
        let same = active.attempt.pinned == start.attempt.pinned
            && active.digest == plan.resolved.digest
            && active.overridden_by.as_deref() == self.facts.gates.overrider();
        match &self.facts.sighting {
            // Somebody sent it and the target forgot: it is followed, not sent.
            Sighting::Seen(observation) if outcome::is_ours(active, observation) => {
                self.act(Effect::Adopt(seen(observation)))
            }
            Sighting::Seen(observation) => self.conflict(active, observation),
            Sighting::Absent(_) if !same => match self.claim(plan) {
                Some(claim) => self.act(Effect::Claim(Box::new(claim))),
                None => self.keep(),
            },
            Sighting::Absent(_) => self.act(Effect::Send(Box::new(start.clone()))),
            Sighting::Unclear(refusal) => self.wait(Phase::Starting, refusal),
            Sighting::NotAsked => self.keep(),
        }
    }

    pub(super) fn seen(&self, active: &Active, observation: &Observation) -> Decision {
        if !outcome::is_ours(active, observation) {
            return self.conflict(active, observation);
        }
        let known = active.execution.as_ref().and_then(|seen| seen.build_time);
        if known.is_none()
            && (active.execution.is_none() || observation.execution.build_time.is_some())
        {
            return self.act(Effect::Adopt(seen(observation)));
        }
        let wanted = self.cancel_wanted(active, Some(observation));
        if let Some(ended) = observation.ended {
            let outcome = outcome::of(active, observation, ended, wanted);
            return self.finish(active, outcome, Some(observation));
        }
        match wanted {
            Some(outcome) => self.canceling(active, &outcome, Some(observation)),
            None => self.following(active, observation),
        }
    }

    /// Clean "not found" answers for so long.
    pub(super) fn absent(&self, active: &Active, duration: Duration) -> Decision {
        let settle = self.facts.settle;
        let settled = duration >= settle;
        if let Some(seen) = &active.execution {
            // Promised or shown once: never sent again. Only finished executions are ever removed.
            if settled {
                let outcome = Outcome::new(
                    Phase::Failed,
                    Reason::ExecutionLost,
                    format!(
                        "Spinnaker no longer knows execution {}, which it had accepted; how it ended can't be known.",
                        seen.id
                    ),
                );
                return self.finish(active, outcome, None);
            }
            let message = format!(
                "Spinnaker accepted execution {} and does not show it yet.",
                seen.id
            );
            return self.unknown(
                active,
                WaitingFor::Spinnaker,
                Reason::SpinnakerUnclear,
                message,
                None,
            );
        }
        if let Some(outcome) = self.cancel_wanted(active, None) {
            return if settled && active.cancel_requested_at.is_some() {
                self.finish(active, outcome, None)
            } else {
                self.canceling(active, &outcome, None)
            };
        }
        if self.facts.gone {
            let outcome = Outcome::new(
                Phase::Canceled,
                Reason::Canceled,
                "the request was deleted, and its start never appeared.",
            );
            return if settled {
                self.finish(active, outcome, None)
            } else {
                self.unknown(
                    active,
                    WaitingFor::Spinnaker,
                    Reason::StartUnknown,
                    STILL_LOOKING.to_owned(),
                    Some(settle.saturating_sub(duration)),
                )
            };
        }
        match &self.facts.plan {
            _ if self.facts.on_unknown == OnUnknown::Hold => {
                let message = format!(
                    "whether Spinnaker started it can't be known, and the connection says Hold: look there for execution {} (correlation id {}), then cancel this request, or release the DeployTarget.",
                    active.attempt.execution_id, active.attempt.correlation_id
                );
                self.unknown(
                    active,
                    WaitingFor::Person,
                    Reason::StartUnknown,
                    message,
                    None,
                )
            }
            Ok(_) if !settled => self.unknown(
                active,
                WaitingFor::Spinnaker,
                Reason::StartUnknown,
                STILL_LOOKING.to_owned(),
                Some(settle.saturating_sub(duration)),
            ),
            Ok(plan)
                if plan
                    .start
                    .as_ref()
                    .is_some_and(|start| start.attempt.pinned != active.attempt.pinned)
                    || plan.resolved.digest != active.digest =>
            {
                let message = "whether Spinnaker started it can't be known, and its pipeline has changed since: it is not sent again. Cancel this request and make a new one.";
                self.unknown(
                    active,
                    WaitingFor::Person,
                    Reason::PipelineChanged,
                    message.to_owned(),
                    None,
                )
            }
            Ok(plan) => match (self.closed(), &self.facts.trouble) {
                (Some(refusal), _) => self.not_again(active, &refusal),
                (None, Some(trouble)) => self.unknown(
                    active,
                    WaitingFor::Spinnaker,
                    trouble.reason,
                    trouble.message.clone(),
                    None,
                ),
                (None, None) => match &plan.start {
                    Some(start) => self.act(Effect::Send(Box::new(start.clone()))),
                    None => self.keep(),
                },
            },
            Err(refusal) => self.not_again(
                active,
                &Refusal {
                    waiting_for: None,
                    ..refusal.clone()
                },
            ),
        }
    }

    /// It may have been sent once and never came to be, and now something stands in the way of sending it again.
    fn not_again(&self, active: &Active, refusal: &Refusal) -> Decision {
        let message = format!(
            "whether Spinnaker started it can't be known; it is not sent again: {}",
            refusal.message
        );
        let subject = refusal.waiting_for.unwrap_or(WaitingFor::Person);
        self.unknown(active, subject, refusal.reason, message, None)
    }

    pub(super) fn unclear(&self, active: &Active, refusal: &Refusal) -> Decision {
        let wanted = self.cancel_wanted(active, None);
        if let Some(outcome) = &wanted
            && active.cancel_requested_at.is_none()
        {
            return self.canceling(active, outcome, None);
        }
        let started = active
            .execution
            .as_ref()
            .is_some_and(|seen| seen.build_time.is_some());
        if started && wanted.is_none() {
            // It runs, as far as anybody knows; only the news is missing.
            let status = self
                .mirrored(active)
                .waiting(Phase::Running, refusal, None, None);
            return Decision::record(status, Some(self.retry_after(refusal)));
        }
        let phase_message = format!(
            "whether Spinnaker runs it can't be known now: {}",
            refusal.message
        );
        let status = self.mirrored(active).waiting(
            Phase::Unknown,
            &Refusal {
                message: phase_message,
                waiting_for: refusal.waiting_for.or(Some(WaitingFor::Spinnaker)),
                ..refusal.clone()
            },
            None,
            None,
        );
        Decision::record(
            status,
            Some(self.retry_after(refusal).min(Duration::from_secs(10))),
        )
    }

    pub(super) fn conflict(&self, active: &Active, observation: &Observation) -> Decision {
        let outcome = Outcome::new(
            Phase::Failed,
            Reason::ExecutionConflict,
            format!(
                "under its ids Spinnaker shows execution {} of pipeline {:?} in {:?}, which this request did not start; it is neither followed nor cancelled.",
                observation.execution.id,
                observation.pipeline.name,
                observation.pipeline.application
            ),
        );
        self.finish(active, outcome, None)
    }

    pub(super) fn unknown(
        &self,
        active: &Active,
        subject: WaitingFor,
        reason: Reason,
        message: String,
        left: Option<Duration>,
    ) -> Decision {
        let until = left.map(|left| self.now + left);
        let status = self.mirrored(active).waiting(
            Phase::Unknown,
            &Refusal::passing(subject, reason, message),
            until,
            None,
        );
        let requeue = left
            .map_or(LOOK_AGAIN, |left| left.min(LOOK_AGAIN))
            .max(Duration::from_millis(50));
        Decision::record(status, Some(requeue))
    }
}

fn seen(observation: &Observation) -> Seen {
    Seen {
        id: observation.execution.id.clone(),
        build_time: observation.execution.build_time,
    }
}
