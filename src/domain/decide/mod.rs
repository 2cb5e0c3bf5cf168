//! The request's state machine: one total function from what is seen to what is next. Touches nothing.
//!
//! Two facts carry everything: whether the request holds its target, and whether it may have been sent. Both stand in
//! the `DeployTarget`, whose writes are compare-and-swaps; the request's own status tells people and linearises a
//! cancel, and may be wiped at any time without a second start.

mod cancel;
mod ending;
mod facts;
mod holding;
mod judging;
#[cfg(test)]
mod tests;
mod waiting;

use std::time::Duration;

use jiff::Timestamp;

pub use self::{
    ending::WATCH_FINISHED,
    facts::{Facts, Plan, Sighting, Start, TargetFact},
    judging::{handed_over, verdicts},
};

use super::{
    access, backoff, decisions,
    gates::{self, Table},
    ids,
    judgment::{self, Handover},
    moments::{span, when},
    outcome::Outcome,
    refusal::Refusal,
    speaking,
    status::Next,
    target,
};
use crate::api::{
    DeployRequest, SEEN_ANNOTATION,
    conditions::Reason,
    deploy_request::{Cancel, DeployRequestStatus, Phase, WaitingFor},
    deploy_target::{Active, Run, Seen},
    gate::{GateState, GateStatus},
};

/// How often an execution that may appear is looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// How often a request looks by itself, at most, that waits for people, a time, a freeze, a lock or an Environment that comes
/// before: what they come to wakes it at once.
const HELD_CHECK: Duration = Duration::from_secs(30);

/// One thing to do outside. Each is safe to repeat.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Write the `seen` annotation.
    MarkSeen,
    /// Create the target, or rebuild its status.
    PrepareTarget,
    /// Record the decision's status: which commit it is stands there before anything is claimed for it.
    Accept,
    /// Claim the target, or pin the attempt anew on one that is held and unsent.
    Claim(Box<Active>),
    /// Mark it sent, then send it.
    Send(Box<Start>),
    /// Remember on the target what Spinnaker has shown.
    Adopt(Seen),
    /// Forbid any further send, then ask Spinnaker to cancel.
    Cancel {
        /// For Spinnaker's record.
        reason: String,
        /// Spinnaker's id, if there is something to cancel.
        execution: Option<String>,
        /// Whether a freeze wants it, and nobody in particular.
        frozen: bool,
    },
    /// Write down whose answer counts, then hand it to the judgment stage that waits.
    Judge(Box<Handover>),
    /// Ask Spinnaker to cancel an execution that appeared after its request had ended as cancelled.
    CancelStray(String),
    /// Append to the target's history and let go.
    Finish(Box<Run>),
    /// Let go of a target on which nothing was sent.
    Release,
    /// Remove the object after its time.
    Delete,
}

/// What to write, what to do, when to look again.
#[derive(Debug, Clone)]
pub struct Decision {
    /// The request's status, to be recorded when there is no effect, or when that is the effect.
    pub status: DeployRequestStatus,
    /// At most one thing to do; then everything is decided anew.
    pub effect: Option<Effect>,
    /// When to look again by itself; `None` only for what never changes again.
    pub requeue: Option<Duration>,
}

impl Decision {
    fn record(status: DeployRequestStatus, requeue: Option<Duration>) -> Self {
        Self {
            status,
            effect: None,
            requeue,
        }
    }
}

/// Decides.
pub fn decide(request: &DeployRequest, facts: &Facts, now: Timestamp) -> Decision {
    let mut decision = Machine {
        request,
        facts,
        now,
        uid: request.metadata.uid.as_deref().unwrap_or_default(),
    }
    .decide();
    if !facts.gone && matches!(decision.effect, None | Some(Effect::Accept)) {
        decisions::append(request, &mut decision.status, &facts.gates, now);
        say_unlisted(request, facts, &mut decision.status, now);
    }
    decision
}

/// That nothing is told in a channel that it names; of what has ended nothing is said any more.
fn say_unlisted(
    request: &DeployRequest,
    facts: &Facts,
    status: &mut DeployRequestStatus,
    now: Timestamp,
) {
    let phase = request.status.as_ref().and_then(|status| status.phase);
    if !phase.is_some_and(Phase::is_terminal) {
        let unlisted = facts.unlisted.as_deref();
        speaking::note(&mut status.conditions, request, unlisted, now);
    }
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

    /// Whether it may have been sent: as its target knows, and only where that can't say as its own status says. A mark
    /// on the status alone is one that was taken back, or that a crash left.
    fn may_have_been_sent(&self) -> bool {
        if let TargetFact::Ready(status) = &self.facts.target {
            return match target::held_by(status, self.uid) {
                Some(active) => active.attempt.sent_at.is_some(),
                None => target::knows(status, self.uid),
            };
        }
        let attempt = self
            .request
            .status
            .as_ref()
            .and_then(|status| status.attempt.as_ref());
        attempt.is_some_and(|attempt| attempt.sent_at.is_some())
    }

    /// Whether nobody has seen anything of what may have been sent: then the gates stand before a second send.
    fn may_be_sent_again(&self) -> bool {
        let TargetFact::Ready(status) = &self.facts.target else {
            return false;
        };
        let active = target::held_by(status, self.uid);
        !matches!(self.facts.sighting, Sighting::Seen(_))
            && active.is_some_and(|active| active.execution.is_none())
    }

    fn next(&self) -> Next {
        let key = self.key();
        let known = match &self.facts.target {
            TargetFact::Ready(status) => target::knows(status, self.uid),
            _ => true,
        };
        let sent = self.may_have_been_sent();
        Next::of(self.request, self.now).with(|status| {
            status.idempotency_key = Some(key);
            if !known {
                status.attempt = None;
            }
            if let Some(attempt) = status.attempt.as_mut().filter(|_| !sent) {
                attempt.sent_at = None;
            }
            if let Sighting::Seen(observation) = &self.facts.sighting {
                judgment::close(status, &observation.judgments, self.now);
            }
            let gates = &self.facts.gates;
            gates.tell_cancel(self.request, status, self.now);
            // What may have been sent was let through; nobody asks again. Without a plan there was nothing to ask about.
            let judged = !self.facts.gone && self.facts.plan.is_ok();
            if judged && !sent {
                gates.tell_start(self.request, status, false, self.now);
            }
            if judged && (!sent || self.may_be_sent_again()) {
                let queue = self.queue();
                gates.tell_table(self.request, status, queue.as_ref(), false, self.now);
            }
        })
    }

    /// `spec.cancel`, if it counts. Once it was heeded it counts whatever became of the rights of who wrote it.
    fn cancel(&self) -> Option<&Cancel> {
        let cancel = self.request.spec.cancel.as_ref()?;
        let heeded = self.request.status.as_ref().is_some_and(access::is_heeded);
        (heeded || self.facts.gates.cancel_counts()).then_some(cancel)
    }

    /// Why nothing may be sent now, if anything says so. Its target is its own.
    fn closed(&self) -> Option<Refusal> {
        let closed = self.facts.gates.closed(self.request);
        closed.or_else(|| gates::too_late(self.request, self.now))
    }

    /// Every gate, as it stands for who may hold nothing yet.
    fn table(&self) -> Table {
        self.facts.gates.table(self.queue().as_ref())
    }

    /// Why its target isn't free for it: somebody holds it, or comes first.
    fn queue(&self) -> Option<Refusal> {
        let waits = |reason, message| Some(Refusal::passing(WaitingFor::Queue, reason, message));
        let status = match &self.facts.target {
            TargetFact::Unreadable(problem) => return Some(unreadable(problem)),
            TargetFact::Unresolved | TargetFact::Unprepared => None,
            TargetFact::Ready(status) => Some(status),
        };
        match status.and_then(|status| status.active.as_ref()) {
            Some(active) if active.uid == self.uid => return None,
            Some(active) => {
                return waits(
                    Reason::Queued,
                    format!("{:?} holds the target.", active.name),
                );
            }
            None => {}
        }
        if let Some(rerun) = &self.facts.rerun {
            let message =
                format!("somebody restarted {rerun}, which had ended; it has to end again first.");
            return waits(Reason::ExecutionRerun, message);
        }
        let ahead = self.facts.ahead.as_deref()?;
        waits(Reason::Queued, format!("{ahead:?} comes first."))
    }

    fn plan_into(&self, status: &mut DeployRequestStatus) {
        if let Ok(plan) = &self.facts.plan {
            status.resolved = Some(plan.resolved.clone());
            status.changes.clone_from(&plan.changes);
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
        // What may have been sent stays as it was sent, and where: another plan may name another target.
        let sent = self.may_have_been_sent();
        let next = self.next().with(|status| {
            if !sent || status.resolved.is_none() {
                self.plan_into(status);
            }
        });
        // Configuration wakes us when it changes; what only time can mend is tried again, ever more slowly.
        let subject = refusal.waiting_for.unwrap_or(WaitingFor::Person);
        let since = next.waiting_since(subject);
        let mut retry = backoff::retry(self.uid, since, self.now, refusal.retry_after);
        if matches!(
            subject,
            WaitingFor::Approval
                | WaitingFor::Time
                | WaitingFor::Order
                | WaitingFor::Freeze
                | WaitingFor::Lock
        ) {
            retry = retry.max(HELD_CHECK);
        }
        let recorded = (subject == WaitingFor::Spinnaker).then_some(retry);
        let until = (!sent).then(|| self.expires_at());
        let status = next.waiting(phase, refusal, until, recorded);
        Decision::record(status, Some(self.in_time(retry)))
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
        let spec = &self.request.spec;
        let from = spec
            .not_before
            .as_ref()
            .map_or(created, |time| time.0.max(created));
        // A wait that leads past the end of time is one without end.
        let end = from
            .checked_add(self.facts.expire_after)
            .unwrap_or(Timestamp::MAX);
        spec.start_before
            .as_ref()
            .map_or(end, |time| time.0.min(end))
    }

    fn expired(&self) -> Option<Outcome> {
        (self.now >= self.expires_at()).then(|| {
            let late = gates::too_late(self.request, self.now);
            let begins = self.request.spec.not_before.as_ref();
            let why = match (late, begins) {
                (Some(late), _) => late.message,
                (None, Some(begins)) => format!(
                    "it could not start within {} of {} (`spec.notBefore`).",
                    span(self.facts.expire_after),
                    when(begins.0)
                ),
                (None, None) => format!(
                    "it could not start within {}.",
                    span(self.facts.expire_after)
                ),
            };
            let status = self.request.status.as_ref();
            let waited = status.and_then(|status| status.waiting.as_ref());
            let last = waited
                .map(|waiting| format!(" It last waited for this: {}", waiting.message))
                .unwrap_or_default();
            Outcome::new(
                Phase::Expired,
                Reason::Expired,
                format!("{why}{}{last}", self.held_by()),
            )
        })
    }

    /// Which gates held it until now: as was last recorded, and for who was never looked at before as they stand.
    fn held_by(&self) -> String {
        let status = self.request.status.as_ref();
        let told = status.map_or(&[][..], |status| &status.gates);
        let held =
            |gate: &&GateStatus| matches!(gate.state, GateState::Closed | GateState::Unknown);
        let mut gates: Vec<&str> = told
            .iter()
            .filter(held)
            .map(|told| told.gate.word())
            .collect();
        if told.is_empty() && self.facts.plan.is_ok() {
            gates = self.table().closed().map(|(gate, _)| gate.word()).collect();
        }
        if gates.is_empty() {
            return String::new();
        }
        format!(" Held by: {}.", gates.join(", "))
    }

    /// No later than its expiry, and than the next gate opens or closes by itself.
    fn in_time(&self, requeue: Duration) -> Duration {
        // Past its expiry somebody else decides: a request that may have been sent does not expire.
        let left = backoff::elapsed(self.now, self.expires_at());
        let requeue = if left.is_zero() {
            requeue
        } else {
            requeue.min(left)
        };
        self.by_the_next_change(requeue)
    }

    /// No later than the next gate opens or closes by itself.
    fn by_the_next_change(&self, requeue: Duration) -> Duration {
        let change = self.facts.gates.next_change(self.now);
        change.map_or(requeue, |change| {
            requeue.min(backoff::elapsed(self.now, change))
        })
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
        Decision::record(self.next().unchanged(), Some(LOOK_AGAIN))
    }
}

/// Its target can't say who holds it, for this reason.
pub fn unreadable(problem: &str) -> Refusal {
    let message = format!(
        "its DeployTarget can't be read ({problem}); until somebody mends or deletes that, nothing starts there."
    );
    Refusal::passing(WaitingFor::Person, Reason::TargetUnreadable, message)
}

/// The settle time where nobody says otherwise, and the shortest that is safe: Gate waits 120 s for Orca.
pub const SHORTEST_SETTLE: Duration = Duration::from_secs(150);
