//! A request that does not hold its target: nothing was sent, so everything can still forbid it. Touches nothing.

use std::time::Duration;

use super::{Decision, Effect, LOOK_AGAIN, Machine, Plan, TargetFact, unreadable};
use crate::{
    api::{
        conditions::Reason,
        deploy_request::{Phase, WaitingFor},
        deploy_target::{Active, DeployTargetStatus},
        environment::Concurrency,
        gate::GateKind,
    },
    domain::{ids, moments::when, outcome::Outcome, refusal::Refusal, target},
};

/// How often a request that waits for its turn looks by itself; a target's release wakes it at once.
const QUEUE_CHECK: Duration = Duration::from_secs(30);

impl Machine<'_> {
    pub(super) fn wanting(&self) -> Decision {
        if self.facts.gone {
            return self.keep();
        }
        // It is being deleted: nothing starts, and what ends it is its going.
        let going = self.request.metadata.deletion_timestamp.is_some();
        if going && !self.may_have_been_sent() {
            return self.keep();
        }
        // It may have been sent, and its target can't say: nothing else counts before the target can.
        if self.may_have_been_sent() {
            match &self.facts.target {
                TargetFact::Ready(_) => {}
                TargetFact::Unreadable(problem) => return self.jammed(problem),
                TargetFact::Unresolved | TargetFact::Unprepared => return self.prepare(),
            }
        }
        if let Some(outcome) = self.canceled_before_the_start() {
            return self.end(&outcome);
        }
        if let Some(refusal) = self.facts.gates.undecided_cancel(self.request) {
            return self.shut(refusal);
        }
        let plan = match &self.facts.plan {
            Ok(plan) => plan,
            Err(refusal) if self.hangs_on_the_past(refusal) => {
                return match &self.facts.target {
                    TargetFact::Unreadable(problem) => self.shut(&unreadable(problem)),
                    _ => self.prepare(),
                };
            }
            Err(refusal) => return self.refused(refusal),
        };
        let first = self.table().first();
        if let Some((GateKind::Policies | GateKind::Authorization, refusal)) = &first {
            return match refusal.waiting_for {
                Some(_) => self.shut(refusal),
                None => self.denied(refusal),
            };
        }
        if self.request.spec.dry_run {
            return self.rehearsed(first.as_ref());
        }
        if let Some(outcome) = self.expired() {
            return self.end(&outcome);
        }
        match &self.facts.target {
            TargetFact::Unresolved | TargetFact::Unprepared => self.prepare(),
            TargetFact::Unreadable(_) => self.through(plan, first),
            TargetFact::Ready(status) => match self.ran_before(status) {
                Some(outcome) => self.end(&outcome),
                None => self.through(plan, first),
            },
        }
    }

    /// What the first closed gate makes of it. Who waits for people, for a time, for a freeze or a lock to end waits in nobody's
    /// way: only who is through all of that stands in line.
    fn through(&self, plan: &Plan, first: Option<(GateKind, Refusal)>) -> Decision {
        match first {
            None => self.turn(plan),
            Some((_, refusal)) if refusal.waiting_for.is_none() => self.denied(&refusal),
            Some((GateKind::Queue, refusal)) if refusal.waiting_for == Some(WaitingFor::Person) => {
                self.wait(self.phase().unwrap_or(Phase::Queued), &refusal)
            }
            Some((GateKind::Queue, refusal)) => self.in_line(plan, &refusal),
            Some((
                GateKind::Time | GateKind::Order | GateKind::Freeze | GateKind::Lock,
                refusal,
            )) => match self.superseded(plan) {
                Some(outcome) => self.end(&outcome),
                None => self.wait(Phase::Queued, &refusal),
            },
            Some((GateKind::Approval, refusal)) => self.wait(Phase::AwaitingApproval, &refusal),
            Some((GateKind::Policies | GateKind::Authorization, refusal)) => self.shut(&refusal),
        }
    }

    /// What it would come to, were it no dry run: who may not was told so before.
    fn rehearsed(&self, first: Option<&(GateKind, Refusal)>) -> Decision {
        let message = match first {
            None => "everything is in order; nothing was started, as this is a dry run.".to_owned(),
            Some((_, refusal)) => format!(
                "nothing was started, as this is a dry run. What it asks for is in order, and would not start now: {}",
                refusal.message
            ),
        };
        self.end(&Outcome::new(Phase::Succeeded, Reason::DryRun, message))
    }

    fn denied(&self, refusal: &Refusal) -> Decision {
        self.end(&Outcome::new(
            Phase::Denied,
            refusal.reason,
            refusal.message.clone(),
        ))
    }

    /// It can't be said whether it may; that may come right until it expires.
    fn shut(&self, refusal: &Refusal) -> Decision {
        match self.expired() {
            Some(outcome) => self.end(&outcome),
            None => self.wait(Phase::Pending, refusal),
        }
    }

    fn jammed(&self, problem: &str) -> Decision {
        self.wait(self.phase().unwrap_or(Phase::Queued), &unreadable(problem))
    }

    /// What ran before may decide otherwise, and the target can't say yet what that was.
    fn hangs_on_the_past(&self, refusal: &Refusal) -> bool {
        let versionless = self.request.spec.version.is_none();
        let target = &self.facts.target;
        matches!(target, TargetFact::Unprepared | TargetFact::Unreadable(_))
            && match refusal.reason {
                Reason::NoEarlierVersion => true,
                Reason::TemplateFailed => versionless,
                _ => false,
            }
    }

    fn prepare(&self) -> Decision {
        match &self.facts.trouble {
            Some(trouble) => self.wait(self.phase().unwrap_or_default(), trouble),
            None => self.act(Effect::PrepareTarget),
        }
    }

    /// How it ended under another name, if it did: nobody has to approve that.
    fn ran_before(&self, status: &DeployTargetStatus) -> Option<Outcome> {
        let earlier = target::earlier(status, &self.key(), self.uid)?;
        if earlier.digest != ids::ask_digest(&self.request.spec) {
            return Some(Outcome::new(
                Phase::Failed,
                Reason::IdempotencyKeyReused,
                format!(
                    "its idempotency key was used by {:?} for something else; give it another key.",
                    earlier.name
                ),
            ));
        }
        Some(Outcome::new(
            earlier.outcome?,
            Reason::AlreadyRan,
            format!(
                "it ran on {} as {:?}{}; to run it again, give it another name or idempotency key.",
                when(earlier.at.0),
                earlier.name,
                earlier
                    .execution_id
                    .as_ref()
                    .map(|id| format!(", execution {id}"))
                    .unwrap_or_default()
            ),
        ))
    }

    /// Nothing holds it, and its target is free.
    fn turn(&self, plan: &Plan) -> Decision {
        if let Some(trouble) = &self.facts.trouble {
            return self.wait(Phase::Queued, trouble);
        }
        if plan.found {
            return self.accepted(plan);
        }
        match self.claim(plan) {
            Some(claim) => self.act(Effect::Claim(Box::new(claim))),
            None => self.keep(),
        }
    }

    /// What its version stands for is found: from the moment that this is written nothing of it moves.
    fn accepted(&self, plan: &Plan) -> Decision {
        let next = self.next().with(|status| self.plan_into(status));
        Decision {
            status: next.accepted(self.phase().unwrap_or_default(), &plan.resolved),
            effect: Some(Effect::Accept),
            requeue: Some(LOOK_AGAIN),
        }
    }

    fn in_line(&self, plan: &Plan, refusal: &Refusal) -> Decision {
        if plan.concurrency == Concurrency::Reject
            && let TargetFact::Ready(status) = &self.facts.target
            && let Some(holder) = &status.active
        {
            return self.end(&Outcome::new(
                Phase::Failed,
                Reason::TargetBusy,
                format!(
                    "{:?} holds the target, and the Environment does not queue; ask again when it is done.",
                    holder.name
                ),
            ));
        }
        if let Some(outcome) = self.superseded(plan) {
            return self.end(&outcome);
        }
        let requeue = if self.facts.rerun.is_some() {
            Duration::from_secs(5)
        } else {
            QUEUE_CHECK
        };
        // By what it resolved to, others see that it stands in this line.
        let status = self.next().with(|status| self.plan_into(status)).waiting(
            Phase::Queued,
            refusal,
            Some(self.expires_at()),
            None,
        );
        Decision::record(status, Some(self.in_time(requeue)))
    }

    /// A newer request has its place, where only the newest counts.
    fn superseded(&self, plan: &Plan) -> Option<Outcome> {
        let newer = self.facts.newer.as_ref()?;
        (plan.concurrency == Concurrency::Supersede).then(|| {
            Outcome::new(
                Phase::Canceled,
                Reason::Superseded,
                format!("the newer {newer:?} took its place in the queue; nothing was started."),
            )
        })
    }

    /// The claim of this plan, if it was prepared to be started.
    pub(super) fn claim(&self, plan: &Plan) -> Option<Active> {
        let start = plan.start.as_ref()?;
        Some(Active {
            uid: self.uid.to_owned(),
            name: self.request.metadata.name.clone().unwrap_or_default(),
            key: self.key(),
            digest: plan.resolved.digest.clone(),
            action: self.request.spec.action.clone(),
            version: plan.resolved.version.clone(),
            commit: plan.resolved.commit.clone(),
            artifacts: plan.resolved.artifacts.clone(),
            requester: self.request.spec.requester_name(),
            attempt: start.attempt.clone(),
            sends: 0,
            execution: None,
            cancel_requested_at: None,
            frozen: None,
            overridden_by: self.facts.gates.overrider().map(str::to_owned),
        })
    }

    fn refused(&self, refusal: &Refusal) -> Decision {
        if refusal.waiting_for.is_none() {
            return self.end(&Outcome::new(
                Phase::Failed,
                refusal.reason,
                refusal.message.clone(),
            ));
        }
        self.shut(refusal)
    }
}
