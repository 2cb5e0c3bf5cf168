//! The next status of a request: waiting, running, ended. Touches nothing.

use std::time::Duration;

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    decisions,
    gates::Gates,
    outcome::{Observation, Outcome},
    refusal::Refusal,
    version,
};
use crate::api::{
    DeployRequest, bounds,
    conditions::{self, ConditionType, Reason},
    deploy_request::{
        Attempt, DeployRequestStatus, Phase, Resolved, StageStatus, Waiting, WaitingFor,
    },
    trace::TraceId,
};

/// Builds the next status on top of the present one.
#[derive(Debug, Clone)]
pub struct Next {
    status: DeployRequestStatus,
    generation: Option<i64>,
    now: Timestamp,
}

impl Next {
    /// From what the request says of itself now.
    pub fn of(request: &DeployRequest, now: Timestamp) -> Self {
        let mut status = request.status.clone().unwrap_or_default();
        status.observed_generation = request.metadata.generation;
        let uid = request.metadata.uid.as_deref();
        status.trace_id = uid.and_then(TraceId::of).map(|id| id.to_string());
        Self {
            status,
            generation: request.metadata.generation,
            now,
        }
    }

    /// Changes what has no rule of its own.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut DeployRequestStatus)) -> Self {
        change(&mut self.status);
        self
    }

    /// It waits. `since` stays while it waits for the same.
    pub fn waiting(
        mut self,
        phase: Phase,
        refusal: &Refusal,
        until: Option<Timestamp>,
        retry: Option<Duration>,
    ) -> DeployRequestStatus {
        let subject = refusal.waiting_for.unwrap_or(WaitingFor::Person);
        let since = match &self.status.waiting {
            Some(waiting) if waiting.subject == subject => waiting.since.clone(),
            _ => Time(self.now),
        };
        let message = bounds::cut(&refusal.message, bounds::MESSAGE);
        // What is counted down is reckoned anew each time; a second's difference is none.
        let known = self
            .status
            .waiting
            .as_ref()
            .and_then(|waiting| waiting.until.as_ref())
            .map(|time| time.0);
        let until = match (known, until) {
            (Some(known), Some(until))
                if known.duration_since(until).abs() <= jiff::SignedDuration::from_secs(2) =>
            {
                Some(known)
            }
            (_, until) => until,
        };
        self.status.waiting = Some(Waiting {
            subject,
            message: message.clone(),
            since,
            until: until.map(Time),
        });
        self.status.next_attempt_at = retry.map(|wait| Time(whole_second(self.now + wait)));
        let stalled = subject == WaitingFor::Person;
        self.set(
            ConditionType::Reconciling,
            !stalled,
            refusal.reason,
            &message,
        );
        self.set(ConditionType::Stalled, stalled, refusal.reason, &message);
        self.phase(phase, message)
    }

    /// What exactly is to run is found, and is written down before anything is done for it.
    pub fn accepted(mut self, phase: Phase, resolved: &Resolved) -> DeployRequestStatus {
        self.status.waiting = None;
        self.status.next_attempt_at = None;
        let version = bounds::cut(
            resolved.version.as_deref().unwrap_or_default(),
            bounds::NAME,
        );
        let message = match &resolved.commit {
            Some(commit) => format!(
                "version `{version}` is commit {}, whatever becomes of `{version}` from now on.",
                version::short(commit)
            ),
            None => format!("version `{version}` goes as it was typed; its commit isn't known."),
        };
        self.set(ConditionType::Reconciling, true, Reason::Accepted, &message);
        self.set(ConditionType::Stalled, false, Reason::Accepted, "");
        self.phase(phase, message)
    }

    /// It is about to be sent, by this holder, through gates that are open.
    pub fn starting(
        mut self,
        request: &DeployRequest,
        gates: &Gates,
        resolved: &Resolved,
        attempt: Attempt,
        holder: &str,
    ) -> DeployRequestStatus {
        gates.tell_start(request, &mut self.status, true, self.now);
        gates.tell_table(request, &mut self.status, None, true, self.now);
        self.status.resolved = Some(resolved.clone());
        self.status.attempt = Some(Attempt {
            sent_at: Some(Time(self.now)),
            holder: holder.to_owned(),
            ..attempt
        });
        self.status.waiting = None;
        self.status.next_attempt_at = None;
        let message = "it holds its target and is being sent to Spinnaker.";
        self.set(ConditionType::Reconciling, true, Reason::Starting, message);
        self.set(ConditionType::Stalled, false, Reason::Starting, "");
        let now = self.now;
        let mut status = self.phase(Phase::Starting, message.to_owned());
        decisions::append(request, &mut status, gates, now);
        status
    }

    /// Since when it has waited for what it waits for now.
    pub fn waiting_since(&self, subject: WaitingFor) -> Timestamp {
        self.status
            .waiting
            .as_ref()
            .filter(|waiting| waiting.subject == subject)
            .map_or(self.now, |waiting| waiting.since.0)
    }

    /// Spinnaker runs it.
    pub fn running(
        mut self,
        observation: &Observation,
        note: Option<Refusal>,
    ) -> DeployRequestStatus {
        self.observed(observation);
        self.status.next_attempt_at = None;
        self.status.judgment = None;
        let message = match &observation.stage {
            Some(stage) => format!("Spinnaker runs it: {stage}."),
            None => "Spinnaker has it.".to_owned(),
        };
        match note {
            Some(note) => self.waiting(Phase::Running, &note, None, None),
            None => {
                self.status.waiting = None;
                self.set(
                    ConditionType::Reconciling,
                    true,
                    Reason::Running,
                    "Spinnaker runs it.",
                );
                self.set(ConditionType::Stalled, false, Reason::Running, "");
                self.phase(Phase::Running, message)
            }
        }
    }

    /// It ended; from here on the phase never changes.
    pub fn ended(
        mut self,
        outcome: &Outcome,
        observation: Option<&Observation>,
    ) -> DeployRequestStatus {
        if let Some(observation) = observation {
            self.observed(observation);
        }
        let message = bounds::cut(&outcome.message, bounds::MESSAGE);
        let good = outcome.phase == Phase::Succeeded;
        self.status.waiting = None;
        self.status.judgment = None;
        self.status.next_attempt_at = None;
        self.status.finished_at.get_or_insert(Time(self.now));
        self.set(ConditionType::Reconciling, false, outcome.reason, "");
        self.set(ConditionType::Stalled, !good, outcome.reason, &message);
        self.set(ConditionType::Succeeded, good, outcome.reason, &message);
        self.phase(outcome.phase, message)
    }

    /// As it is, whatever was changed by `with`.
    pub fn unchanged(self) -> DeployRequestStatus {
        self.status
    }

    fn observed(&mut self, observation: &Observation) {
        let seen = &observation.execution;
        let known = self.status.execution.take();
        let mut execution = seen.clone();
        execution.rerun = known.as_ref().and_then(|known| known.rerun.clone());
        // The first build time that was seen stays: another one is another start.
        execution.build_time = known
            .as_ref()
            .and_then(|known| known.build_time)
            .or(seen.build_time);
        execution.stages = fitted(execution.stages);
        self.status.stage.clone_from(&observation.stage);
        let started = seen.build_time.and_then(bounds::date).unwrap_or(self.now);
        self.status.started_at.get_or_insert(Time(started));
        self.status.execution = Some(execution);
        self.set(
            ConditionType::Started,
            true,
            Reason::Running,
            &format!("execution {}", seen.id),
        );
    }

    fn set(&mut self, kind: ConditionType, status: bool, reason: Reason, message: &str) {
        conditions::set(
            &mut self.status.conditions,
            kind,
            Some(status),
            reason,
            message,
            self.generation,
            self.now,
        );
    }

    fn phase(mut self, phase: Phase, message: String) -> DeployRequestStatus {
        self.status.phase = Some(phase);
        self.status.message = Some(message);
        self.status
    }
}

/// The next whole second: the API server keeps no more, and what is cut off would be too early.
fn whole_second(time: Timestamp) -> Timestamp {
    let up = TimestampRound::new()
        .smallest(Unit::Second)
        .mode(RoundMode::Ceil);
    time.round(up).unwrap_or(time)
}

/// At most as many stages as the schema takes; when there are more, those that failed or run are kept first.
pub(super) fn fitted(stages: Vec<StageStatus>) -> Vec<StageStatus> {
    if stages.len() <= bounds::STAGES {
        return stages;
    }
    let telling = |stage: &StageStatus| {
        !matches!(
            stage.status.as_str(),
            "SUCCEEDED" | "NOT_STARTED" | "SKIPPED"
        )
    };
    let mut left =
        bounds::STAGES.saturating_sub(stages.iter().filter(|stage| telling(stage)).count());
    let mut kept = Vec::with_capacity(bounds::STAGES);
    for stage in stages {
        if telling(&stage) {
            kept.push(stage);
        } else if left > 0 {
            left -= 1;
            kept.push(stage);
        }
    }
    kept.truncate(bounds::STAGES);
    kept
}
