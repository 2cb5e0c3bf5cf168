//! The request's state machine: one total function from what is seen to what is next. Touches nothing.
//!
//! Two facts carry everything: whether the request holds its target, and whether it may have been sent. Both stand in
//! the `DeployTarget`, whose writes are compare-and-swaps; the request's own status tells people and linearises a
//! cancel, and may be wiped at any time without a second start.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use super::{
    backoff, ids,
    outcome::{self, Observation, Outcome},
    resolve::Refusal,
    status::Next,
    target,
};
use crate::api::{
    DeployRequest, SEEN_ANNOTATION,
    conditions::{self, ConditionType, Reason},
    connection::OnUnknown,
    deploy_request::{Attempt, DeployRequestStatus, Phase, Resolved, WaitingFor},
    deploy_target::{Active, DeployTargetStatus, Run, Seen},
    environment::Concurrency,
};

/// How often an execution that may appear is looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// How often a request that waits for its turn looks by itself; a target's release wakes it at once.
const QUEUE_CHECK: Duration = Duration::from_secs(30);
/// How long a finished execution is watched for being restarted.
pub const WATCH_FINISHED: Duration = Duration::from_mins(30);
/// How often.
const WATCH_EVERY: Duration = Duration::from_secs(20);
/// How often a cancel is repeated while Spinnaker doesn't end the execution.
const CANCEL_AGAIN: Duration = Duration::from_secs(5);

/// What was gathered for one run.
#[derive(Debug, Clone)]
pub struct Facts {
    /// What exactly would run, or why that can't be said.
    pub plan: Result<Plan, Refusal>,
    /// How long the request may wait for its start.
    pub expire_after: Duration,
    /// What to do when a start's outcome can't be known.
    pub on_unknown: OnUnknown,
    /// How long Gate has to answer "not found" before it is sent again.
    pub settle: Duration,
    /// Its target.
    pub target: TargetFact,
    /// The request that comes before it in the target's queue.
    pub ahead: Option<String>,
    /// A request that came after it and wants the same target.
    pub newer: Option<String>,
    /// Whether an execution that had ended on this target runs again: its id and Spinnaker's word.
    pub rerun: Option<String>,
    /// What Spinnaker shows under its ids.
    pub sighting: Sighting,
    /// What the last effect of this pass met.
    pub trouble: Option<Refusal>,
    /// The object was deleted; only its target remembers it.
    pub gone: bool,
    /// A person's order to let the target go.
    pub release_order: Option<String>,
}

/// What exactly would run, and how.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What.
    pub resolved: Resolved,
    /// The attempt as it would be claimed now.
    pub attempt: Attempt,
    /// The bytes that are sent; `attempt.pinned.body_digest` is theirs.
    pub body: Arc<[u8]>,
    /// What happens to requests whose target is taken.
    pub concurrency: Concurrency,
}

/// The request's target.
#[derive(Debug, Clone)]
pub enum TargetFact {
    /// Nobody can say yet which it is.
    Unresolved,
    /// It doesn't exist, or has no status: it has to be made from what is known.
    Unprepared,
    /// It doesn't decode.
    Unreadable(String),
    /// As it stands.
    Ready(Box<DeployTargetStatus>),
}

/// What Spinnaker shows.
#[derive(Debug, Clone)]
pub enum Sighting {
    /// It wasn't asked.
    NotAsked,
    /// The execution.
    Seen(Box<Observation>),
    /// Clean "not found" answers, for so long, while everything behind Gate answered.
    Absent(Duration),
    /// Anything else: it says nothing.
    Unclear(Refusal),
}

/// One thing to do outside. Each is safe to repeat.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Write the `seen` annotation.
    MarkSeen,
    /// Create the target, or rebuild its status.
    PrepareTarget,
    /// Claim the target, or pin the attempt anew on one that is held and unsent.
    Claim(Box<Active>),
    /// Mark it sent, then send it.
    Send(Box<Plan>),
    /// Remember on the target what Spinnaker has shown.
    Adopt(Seen),
    /// Forbid any further send, then ask Spinnaker to cancel.
    Cancel {
        /// For Spinnaker's record.
        reason: String,
        /// Spinnaker's id, if there is something to cancel.
        execution: Option<String>,
    },
    /// Append to the target's history and let go.
    Finish(Box<Run>),
    /// Let go of a target on which nothing was sent.
    Release,
    /// Remove the object after its time.
    Delete,
}

impl PartialEq for Plan {
    fn eq(&self, other: &Self) -> bool {
        self.resolved == other.resolved && self.attempt == other.attempt
    }
}

/// What to write, what to do, when to look again.
#[derive(Debug, Clone)]
pub struct Decision {
    /// The request's status, to be recorded when there is no effect.
    pub status: DeployRequestStatus,
    /// At most one thing to do; then everything is decided anew.
    pub effect: Option<Effect>,
    /// When to look again by itself; `None` only for what never changes again.
    pub requeue: Option<Duration>,
}

/// Decides.
pub fn decide(request: &DeployRequest, facts: &Facts, now: Timestamp) -> Decision {
    Machine {
        request,
        facts,
        now,
        uid: request.metadata.uid.as_deref().unwrap_or_default(),
    }
    .decide()
}

struct Machine<'a> {
    request: &'a DeployRequest,
    facts: &'a Facts,
    now: Timestamp,
    uid: &'a str,
}

impl Machine<'_> {
    fn decide(&self) -> Decision {
        if let TargetFact::Ready(status) = &self.facts.target
            && self.phase().is_some_and(Phase::is_terminal)
            && let Some(active) = target::held_by(status, self.uid)
        {
            return self.let_go(active);
        }
        if self.phase().is_some_and(Phase::is_terminal) {
            return self.after_the_end();
        }
        match self
            .request
            .metadata
            .annotations
            .as_ref()
            .and_then(|all| all.get(SEEN_ANNOTATION))
        {
            _ if self.facts.gone => {}
            None => return self.act(Effect::MarkSeen),
            Some(seen) if seen != self.uid => {
                return self.end(&Outcome::new(
                    Phase::Expired,
                    Reason::Restored,
                    "this is a copy of another object (a restored backup, or an export), so it starts nothing; make a new request without the annotation foredeck.dev/seen.",
                ));
            }
            Some(_) => {}
        }
        if let TargetFact::Ready(status) = &self.facts.target {
            if let Some(active) = target::held_by(status, self.uid) {
                return self.holding(active);
            }
            if let Some(run) = target::run_of(status, self.uid) {
                return self.end_as(run);
            }
            if let Some(record) = status.keys.iter().find(|record| record.uid == self.uid)
                && let Some(phase) = record.outcome
            {
                return self.end(&Outcome::new(
                    phase,
                    Reason::AlreadyRan,
                    "it ended; its status was lost since.",
                ));
            }
        }
        self.wanting()
    }

    // === Not holding the target: nothing was sent ===

    fn wanting(&self) -> Decision {
        if self.facts.gone {
            return self.keep();
        }
        if let Some(outcome) = self.canceled_before_the_start() {
            return self.end(&outcome);
        }
        // It was sent, and its target lost that: rebuild before anything else.
        if matches!(self.facts.target, TargetFact::Unprepared) && self.may_have_been_sent() {
            return self.prepare();
        }
        let plan = match &self.facts.plan {
            Ok(plan) => plan,
            Err(refusal) => return self.refused(refusal),
        };
        if self.request.spec.dry_run {
            return self.end(&Outcome::new(
                Phase::Succeeded,
                Reason::DryRun,
                "everything is in order; nothing was started, as this is a dry run.",
            ));
        }
        if let Some(outcome) = self.expired() {
            return self.end(&outcome);
        }
        match &self.facts.target {
            TargetFact::Unresolved | TargetFact::Unprepared => self.prepare(),
            TargetFact::Unreadable(problem) => self.wait(
                Phase::Queued,
                &Refusal::passing(
                    WaitingFor::Person,
                    Reason::TargetUnreadable,
                    format!("DeployTarget {:?} can't be read ({problem}); until somebody mends or deletes it, nothing starts there.", plan.resolved.deploy_target),
                ),
            ),
            TargetFact::Ready(status) => self.queued(plan, status),
        }
    }

    fn prepare(&self) -> Decision {
        match &self.facts.trouble {
            Some(trouble) => self.wait(self.phase().unwrap_or_default(), trouble),
            None => self.act(Effect::PrepareTarget),
        }
    }

    fn queued(&self, plan: &Plan, status: &DeployTargetStatus) -> Decision {
        let key = self.key();
        if let Some(earlier) = target::earlier(status, &key, self.uid) {
            if earlier.digest != ids::ask_digest(&self.request.spec) {
                return self.end(&Outcome::new(
                    Phase::Failed,
                    Reason::IdempotencyKeyReused,
                    format!("its idempotency key was used by {:?} for something else; give it another key.", earlier.name),
                ));
            }
            if let Some(phase) = earlier.outcome {
                return self.end(&Outcome::new(
                    phase,
                    Reason::AlreadyRan,
                    format!(
                        "it ran on {} as {:?}{}; to run it again, give it another name or idempotency key.",
                        earlier.at.0.strftime("%Y-%m-%d %H:%M UTC"),
                        earlier.name,
                        earlier.execution_id.as_ref().map(|id| format!(", execution {id}")).unwrap_or_default()
                    ),
                ));
            }
        }
        let taken = status.active.as_ref().map(|active| active.name.as_str());
        if taken.is_some() || self.facts.ahead.is_some() || self.facts.rerun.is_some() {
            return self.in_line(plan, taken);
        }
        if let Some(trouble) = &self.facts.trouble {
            return self.wait(Phase::Queued, trouble);
        }
        self.act(Effect::Claim(Box::new(self.claim(plan))))
    }

    fn in_line(&self, plan: &Plan, taken: Option<&str>) -> Decision {
        if plan.concurrency == Concurrency::Reject
            && let Some(holder) = taken
        {
            return self.end(&Outcome::new(
                Phase::Failed,
                Reason::TargetBusy,
                format!("{holder:?} holds the target, and the Environment does not queue; ask again when it is done."),
            ));
        }
        if plan.concurrency == Concurrency::Supersede
            && let Some(newer) = &self.facts.newer
        {
            return self.end(&Outcome::new(
                Phase::Canceled,
                Reason::Superseded,
                format!("the newer {newer:?} took its place in the queue; nothing was started."),
            ));
        }
        let (reason, message) = match (taken, &self.facts.rerun, &self.facts.ahead) {
            (Some(holder), _, _) => (Reason::Queued, format!("{holder:?} holds the target.")),
            (None, Some(rerun), _) => (
                Reason::ExecutionRerun,
                format!("somebody restarted {rerun}, which had ended; it has to end again first."),
            ),
            (None, None, ahead) => (
                Reason::Queued,
                format!(
                    "{:?} comes first.",
                    ahead.as_deref().unwrap_or("an older request")
                ),
            ),
        };
        let refusal = Refusal::passing(WaitingFor::Queue, reason, message);
        let requeue = if self.facts.rerun.is_some() {
            Duration::from_secs(5)
        } else {
            QUEUE_CHECK
        };
        self.decision(
            self.next()
                .waiting(Phase::Queued, &refusal, Some(self.expires_at()), None),
            self.by_expiry(requeue),
        )
    }

    fn claim(&self, plan: &Plan) -> Active {
        Active {
            uid: self.uid.to_owned(),
            name: self.request.metadata.name.clone().unwrap_or_default(),
            key: self.key(),
            digest: plan.resolved.digest.clone(),
            action: self.request.spec.action.clone(),
            version: plan.resolved.version.clone(),
            attempt: plan.attempt.clone(),
            sends: 0,
            execution: None,
            cancel_requested_at: None,
        }
    }

    fn refused(&self, refusal: &Refusal) -> Decision {
        if refusal.waiting_for.is_none() {
            return self.end(&Outcome::new(
                Phase::Failed,
                refusal.reason,
                refusal.message.clone(),
            ));
        }
        match self.expired() {
            Some(outcome) => self.end(&outcome),
            None => self.wait(Phase::Pending, refusal),
        }
    }

    // === Holding the target ===

    fn holding(&self, active: &Active) -> Decision {
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
    fn unsent(&self, active: &Active) -> Decision {
        let blocked = match &self.facts.plan {
            Err(_) => true,
            Ok(_) => self.canceled_before_the_start().is_some() || self.expired().is_some(),
        };
        if blocked {
            return self.act(Effect::Release);
        }
        let Ok(plan) = &self.facts.plan else {
            return self.act(Effect::Release);
        };
        if let Some(trouble) = &self.facts.trouble {
            return self.wait(Phase::Starting, trouble);
        }
        let same =
            active.attempt.pinned == plan.attempt.pinned && active.digest == plan.resolved.digest;
        match &self.facts.sighting {
            // Somebody sent it and the target forgot: it is followed, not sent.
            Sighting::Seen(observation) if outcome::is_ours(active, observation) => {
                self.act(Effect::Adopt(seen(observation)))
            }
            Sighting::Seen(observation) => self.conflict(active, observation),
            Sighting::Absent(_) if !same => self.act(Effect::Claim(Box::new(self.claim(plan)))),
            Sighting::Absent(_) => self.act(Effect::Send(Box::new(plan.clone()))),
            Sighting::Unclear(refusal) => self.wait(Phase::Starting, refusal),
            Sighting::NotAsked => self.keep(),
        }
    }

    fn seen(&self, active: &Active, observation: &Observation) -> Decision {
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
            None => {
                let note = observation.judgment.as_ref().map(|stage| {
                    Refusal::passing(
                        WaitingFor::Judgment,
                        Reason::Running,
                        format!("stage {stage:?} waits for a person's judgment in Spinnaker."),
                    )
                });
                let status = self.mirrored(active).running(observation, note);
                self.decision(
                    status,
                    Some(backoff::poll(self.uid, observation.changed, self.now)),
                )
            }
        }
    }

    /// Clean "not found" answers for so long.
    fn absent(&self, active: &Active, duration: Duration) -> Decision {
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
                if plan.attempt.pinned != active.attempt.pinned
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
            Ok(plan) => match &self.facts.trouble {
                Some(trouble) => self.unknown(
                    active,
                    WaitingFor::Spinnaker,
                    trouble.reason,
                    trouble.message.clone(),
                    None,
                ),
                None => self.act(Effect::Send(Box::new(plan.clone()))),
            },
            Err(refusal) => {
                let message = format!(
                    "whether Spinnaker started it can't be known; it is not sent again, since {}",
                    refusal.message
                );
                self.unknown(active, WaitingFor::Person, refusal.reason, message, None)
            }
        }
    }

    fn unclear(&self, active: &Active, refusal: &Refusal) -> Decision {
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
            return self.decision(status, Some(self.retry_after(refusal)));
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
        self.decision(
            status,
            Some(self.retry_after(refusal).min(Duration::from_secs(10))),
        )
    }

    fn conflict(&self, active: &Active, observation: &Observation) -> Decision {
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

    fn unknown(
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
        self.decision(status, Some(requeue))
    }

    // === Cancelling ===

    fn canceled_before_the_start(&self) -> Option<Outcome> {
        let cancel = self.request.spec.cancel.as_ref()?;
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
    fn cancel_wanted(&self, active: &Active, observation: Option<&Observation>) -> Option<Outcome> {
        if let Some(cancel) = &self.request.spec.cancel {
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
        let limit: Duration = self.request.spec.timeout?.into();
        let late = observation.is_some_and(|observation| observation.worked > limit);
        (late || active.cancel_requested_at.is_some()).then(|| {
            Outcome::new(
                Phase::Failed,
                Reason::TimedOut,
                format!("it ran longer than its timeout of {limit:?} and was cancelled."),
            )
        })
    }

    fn canceling(
        &self,
        active: &Active,
        outcome: &Outcome,
        observation: Option<&Observation>,
    ) -> Decision {
        let asked = active
            .cancel_requested_at
            .as_ref()
            .map(|time| backoff::elapsed(time.0, self.now));
        // Once, and again when a while has passed: Orca answers 200 to a cancel that it lost.
        let due = match (asked, observation) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(passed), Some(_)) => {
                self.facts.trouble.is_none()
                    && passed.as_secs() % CANCEL_AGAIN.as_secs() < 2
                    && passed >= CANCEL_AGAIN
            }
        };
        if due && self.facts.trouble.is_none() {
            return self.act(Effect::Cancel {
                reason: outcome.message.clone(),
                execution: observation.map(|observation| observation.execution.id.clone()),
            });
        }
        let refusal = Refusal::passing(
            WaitingFor::Spinnaker,
            Reason::CancelRequested,
            match &self.facts.trouble {
                Some(trouble) => format!("it is to be cancelled, but {}", trouble.message),
                None => "it is to be cancelled; Spinnaker has not ended it yet.".to_owned(),
            },
        );
        let status = match observation {
            Some(observation) => self.mirrored(active).running(observation, Some(refusal)),
            None => self
                .mirrored(active)
                .waiting(Phase::Unknown, &refusal, None, None),
        };
        self.decision(status, Some(Duration::from_secs(1)))
    }

    // === Ending ===

    fn let_go(&self, active: &Active) -> Decision {
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

    fn finish(
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
    fn end_as(&self, run: &Run) -> Decision {
        let observation = match &self.facts.sighting {
            Sighting::Seen(observation)
                if run.execution_id.as_deref() == Some(observation.execution.id.as_str()) =>
            {
                Some(&**observation)
            }
            _ => None,
        };
        let status = self.next().ended_as(run, observation);
        self.decision(status, self.after_end_check())
    }

    fn end(&self, outcome: &Outcome) -> Decision {
        let status = self
            .next()
            .with(|status| self.plan_into(status))
            .ended(outcome, None);
        self.decision(status, self.after_end_check())
    }

    /// Terminal phases are absorbing: all that may change is what Spinnaker shows of a restarted execution.
    fn after_the_end(&self) -> Decision {
        let status = self.request.status.clone().unwrap_or_default();
        let finished = status.finished_at.as_ref().map_or(self.now, |time| time.0);
        if let Some(ttl) = self.request.spec.ttl_after_finished {
            let left = Duration::from(ttl).checked_sub(backoff::elapsed(finished, self.now));
            match left {
                None | Some(Duration::ZERO) => return self.act(Effect::Delete),
                Some(left) => {
                    return self.decision(
                        self.rerun_into(status),
                        Some(self.after_end_check().map_or(left, |check| check.min(left))),
                    );
                }
            }
        }
        self.decision(self.rerun_into(status), self.after_end_check())
    }

    fn rerun_into(&self, mut status: DeployRequestStatus) -> DeployRequestStatus {
        if let (Sighting::Seen(observation), Some(execution)) =
            (&self.facts.sighting, &mut status.execution)
            && observation.execution.id == execution.id
        {
            let again = outcome::started_again(execution.build_time, observation);
            if observation.ended.is_none() || again || execution.rerun.is_some() {
                let word = &observation.execution.status;
                execution.rerun = Some(if again {
                    format!("{word} (started twice)")
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
        status.execution.as_ref()?;
        let finished = status.finished_at.as_ref().map_or(self.now, |time| time.0);
        let runs_again = matches!(&self.facts.sighting, Sighting::Seen(observation) if observation.ended.is_none());
        (runs_again || backoff::elapsed(finished, self.now) < WATCH_FINISHED).then_some(WATCH_EVERY)
    }

    // === Building blocks ===

    fn phase(&self) -> Option<Phase> {
        self.request.status.as_ref().and_then(|status| status.phase)
    }

    fn key(&self) -> String {
        let known = self
            .request
            .status
            .as_ref()
            .and_then(|status| status.idempotency_key.clone());
        known.unwrap_or_else(|| {
            let metadata = &self.request.metadata;
            ids::idempotency_key(
                metadata.namespace.as_deref().unwrap_or_default(),
                metadata.name.as_deref().unwrap_or_default(),
                &self.request.spec,
            )
        })
    }

    fn may_have_been_sent(&self) -> bool {
        let attempt = self
            .request
            .status
            .as_ref()
            .and_then(|status| status.attempt.as_ref());
        attempt.is_some_and(|attempt| attempt.sent_at.is_some())
    }

    fn next(&self) -> Next {
        let key = self.key();
        Next::of(self.request, self.now).with(|status| status.idempotency_key = Some(key))
    }

    fn plan_into(&self, status: &mut DeployRequestStatus) {
        if let Ok(plan) = &self.facts.plan {
            status.resolved = Some(plan.resolved.clone());
        }
    }

    /// The next status, with the target's attempt mirrored.
    fn mirrored(&self, active: &Active) -> Next {
        self.next().with(|status| {
            if active.attempt.sent_at.is_none() || status.resolved.is_none() {
                self.plan_into(status);
            }
            status.attempt = Some(active.attempt.clone());
        })
    }

    fn wait(&self, phase: Phase, refusal: &Refusal) -> Decision {
        let next = self.next().with(|status| self.plan_into(status));
        // Configuration wakes us when it changes; what only time can mend is tried again, ever more slowly.
        let subject = refusal.waiting_for.unwrap_or(WaitingFor::Person);
        let since = next.waiting_since(subject);
        let retry = backoff::retry(self.uid, since, self.now, refusal.retry_after);
        let recorded = (subject == WaitingFor::Spinnaker).then_some(retry);
        let status = next.waiting(phase, refusal, Some(self.expires_at()), recorded);
        self.decision(status, self.by_expiry(retry))
    }

    fn retry_after(&self, refusal: &Refusal) -> Duration {
        let since = self
            .next()
            .waiting_since(refusal.waiting_for.unwrap_or(WaitingFor::Spinnaker));
        backoff::retry(self.uid, since, self.now, refusal.retry_after)
    }

    fn expires_at(&self) -> Timestamp {
        let created = self
            .request
            .metadata
            .creation_timestamp
            .as_ref()
            .map_or(self.now, |time| time.0);
        created + self.facts.expire_after
    }

    fn expired(&self) -> Option<Outcome> {
        (self.now >= self.expires_at()).then(|| {
            let waited = self
                .request
                .status
                .as_ref()
                .and_then(|status| status.waiting.as_ref());
            let last = waited
                .map(|waiting| format!(" It last waited because {}", waiting.message))
                .unwrap_or_default();
            Outcome::new(
                Phase::Expired,
                Reason::Expired,
                format!(
                    "it could not start within {}.{last}",
                    humane(self.facts.expire_after)
                ),
            )
        })
    }

    fn by_expiry(&self, requeue: Duration) -> Option<Duration> {
        let left =
            Duration::try_from(self.expires_at().duration_since(self.now)).unwrap_or_default();
        Some(requeue.min(left.max(Duration::from_millis(100))))
    }

    fn act(&self, effect: Effect) -> Decision {
        Decision {
            status: self.next().unchanged(),
            effect: Some(effect),
            requeue: Some(LOOK_AGAIN),
        }
    }

    /// Nothing to say: look again soon.
    fn keep(&self) -> Decision {
        self.decision(self.next().unchanged(), Some(LOOK_AGAIN))
    }

    fn decision(&self, status: DeployRequestStatus, requeue: Option<Duration>) -> Decision {
        Decision {
            status,
            effect: None,
            requeue,
        }
    }
}

/// The settle time where nobody says otherwise, and the shortest that is safe: Gate waits 120 s for Orca.
pub const SHORTEST_SETTLE: Duration = Duration::from_secs(150);

const STILL_LOOKING: &str = "whether Spinnaker started it can't be known yet; it is looked for before anything is sent again.";

fn seen(observation: &Observation) -> Seen {
    Seen {
        id: observation.execution.id.clone(),
        build_time: observation.execution.build_time,
    }
}

/// `24h`, `90s`: the largest unit that says it exactly.
fn humane(duration: Duration) -> String {
    match duration.as_secs() {
        0 => format!("{}ms", duration.as_millis()),
        seconds if seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        seconds if seconds % 60 == 0 => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
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
