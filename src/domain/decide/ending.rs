//! How a request ends, and what may still be seen afterwards. Touches nothing.

use std::time::Duration;

use super::{Decision, Effect, Machine, Sighting};
use crate::{
    api::{
        bounds,
        conditions::{self, ConditionType, Reason},
        deploy_request::{DeployRequestStatus, Phase},
        deploy_target::{Active, Run},
    },
    domain::{
        backoff,
        outcome::{self, Observation, Outcome},
        status::{Next, fitted},
    },
};

/// How long a finished execution is watched for being restarted.
pub const WATCH_FINISHED: Duration = Duration::from_mins(30);
/// Beside Spinnaker's word: its id was started again.
const TWICE: &str = " (started twice)";
/// How often.
const WATCH_EVERY: Duration = Duration::from_secs(20);

impl Machine<'_> {
    pub(super) fn let_go(&self, active: &Active) -> Decision {
        if active.attempt.sent_at.is_none() {
            return self.act(Effect::Release);
        }
        let outcome = match &self.facts.release_order {
            Some(reason) => Outcome::new(
                Phase::Failed,
                Reason::Released,
                format!("a person let go of the target although it may still run: {reason}"),
            ),
            None => self.own_end(),
        };
        self.finish(active, outcome, None)
    }

    /// As the request's own status says that it ended.
    fn own_end(&self) -> Outcome {
        let message = self
            .request
            .status
            .as_ref()
            .and_then(|status| status.message.clone())
            .unwrap_or_default();
        Outcome::new(
            self.phase().unwrap_or_default(),
            Reason::AlreadyRan,
            message,
        )
    }

    pub(super) fn finish(
        &self,
        active: &Active,
        outcome: Outcome,
        observation: Option<&Observation>,
    ) -> Decision {
        self.act(Effect::Finish(Box::new(outcome.run(
            active,
            observation,
            self.now,
        ))))
    }

    /// The target says how it ended; the request's status follows.
    pub(super) fn end_as(&self, run: &Run) -> Decision {
        let observation = match &self.facts.sighting {
            Sighting::Seen(observation)
                if run.execution_id.as_deref() == Some(observation.execution.id.as_str()) =>
            {
                Some(&**observation)
            }
            _ => None,
        };
        let status = self.next().ended_as(run, observation);
        Decision::record(status, self.after_end_check())
    }

    pub(super) fn end(&self, outcome: &Outcome) -> Decision {
        let status = self
            .next()
            .with(|status| self.plan_into(status))
            .ended(outcome, None);
        Decision::record(status, self.after_end_check())
    }

    /// Terminal phases are absorbing: all that may change is what Spinnaker shows of a restarted execution.
    pub(super) fn after_the_end(&self) -> Decision {
        let status = self.request.status.clone().unwrap_or_default();
        if let Some(stray) = self.stray() {
            return self.act(Effect::CancelStray(stray));
        }
        let finished = status.finished_at.as_ref().map_or(self.now, |time| time.0);
        if let Some(ttl) = self.request.spec.ttl_after_finished {
            let left = Duration::from(ttl).checked_sub(backoff::elapsed(finished, self.now));
            match left {
                None | Some(Duration::ZERO) => return self.act(Effect::Delete),
                Some(left) => {
                    return Decision::record(
                        self.rerun_into(status),
                        Some(self.after_end_check().map_or(left, |check| check.min(left))),
                    );
                }
            }
        }
        Decision::record(self.rerun_into(status), self.after_end_check())
    }

    /// It ended as cancelled because its execution never appeared, and now it has.
    fn stray(&self) -> Option<String> {
        let status = self.request.status.as_ref()?;
        let unseen = status.phase == Some(Phase::Canceled) && status.execution.is_none();
        let digest = &status.resolved.as_ref()?.digest;
        match &self.facts.sighting {
            Sighting::Seen(seen)
                if unseen && self.facts.trouble.is_none() && seen.ended.is_none() =>
            {
                let ours = seen
                    .mark
                    .as_ref()
                    .is_some_and(|mark| mark.uid == self.uid && mark.digest == *digest);
                ours.then(|| seen.execution.id.clone())
            }
            _ => None,
        }
    }

    fn rerun_into(&self, mut status: DeployRequestStatus) -> DeployRequestStatus {
        if let (Sighting::Seen(observation), Some(execution)) =
            (&self.facts.sighting, &mut status.execution)
            && observation.execution.id == execution.id
        {
            // Whoever wrote the end to the target died before the request had it: what it shows is of before the end.
            if execution.finished_at.is_none()
                && execution.rerun.is_none()
                && observation.ended.is_some()
            {
                let first = execution.build_time;
                *execution = observation.execution.clone();
                execution.build_time = first.or(execution.build_time);
                execution.stages = fitted(std::mem::take(&mut execution.stages));
            }
            let again = outcome::started_again(execution.build_time, observation);
            if observation.ended.is_none() || again || execution.rerun.is_some() {
                let word = &observation.execution.status;
                execution.rerun = Some(if again {
                    format!("{}{TWICE}", bounds::cut(word, bounds::WORD - TWICE.len()))
                } else {
                    word.clone()
                });
            }
        }
        status
    }

    /// A finished execution is watched for a while: somebody may restart it.
    fn after_end_check(&self) -> Option<Duration> {
        let status = self.request.status.as_ref()?;
        let sent = status
            .attempt
            .as_ref()
            .is_some_and(|attempt| attempt.sent_at.is_some());
        // Of what was never seen, only a cancelled one that may still appear is worth a look.
        let may_appear = sent && status.phase == Some(Phase::Canceled);
        if status.execution.is_none() && !may_appear {
            return None;
        }
        let finished = status.finished_at.as_ref().map_or(self.now, |time| time.0);
        let runs_again = matches!(&self.facts.sighting, Sighting::Seen(observation) if observation.ended.is_none());
        (runs_again || backoff::elapsed(finished, self.now) < WATCH_FINISHED).then_some(
            if status
                .execution
                .as_ref()
                .is_some_and(|execution| execution.finished_at.is_none())
            {
                backoff::poll(self.uid, finished, self.now)
            } else {
                WATCH_EVERY
            },
        )
    }
}

impl Next {
    /// The target's record of how it ended, as the request's status.
    fn ended_as(self, run: &Run, observation: Option<&Observation>) -> DeployRequestStatus {
        let reason = run.reason.clone();
        let outcome = Outcome::new(
            run.phase,
            Reason::AlreadyRan,
            run.message.clone().unwrap_or_default(),
        );
        let mut status = self.ended(&outcome, observation);
        // The record carries the word as it was then, which may be of another release.
        for kind in [
            ConditionType::Reconciling,
            ConditionType::Stalled,
            ConditionType::Succeeded,
        ] {
            conditions::rename(&mut status.conditions, kind, &reason);
        }
        status
    }
}
