//! A request that does not hold its target: nothing was sent, so everything can still forbid it. Touches nothing.

use std::time::Duration;

use super::{Decision, Effect, LOOK_AGAIN, Machine, Plan, TargetFact};
use crate::{
    api::{
        conditions::Reason,
        deploy_request::{Phase, WaitingFor},
        deploy_target::{Active, DeployTargetStatus},
        environment::Concurrency,
    },
    domain::{
        gates::{self, Access, Approval},
        ids,
        outcome::Outcome,
        refusal::Refusal,
        target,
    },
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
                TargetFact::Unreadable(problem) => return self.unreadable(problem),
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
            Err(refusal) if self.hangs_on_the_past(refusal) => return self.prepare(),
            Err(refusal) => return self.refused(refusal),
        };
        match &self.facts.gates.vouched {
            Ok(()) => {}
            Err(refusal) if refusal.waiting_for.is_some() => return self.shut(refusal),
            Err(refusal) => return self.denied(refusal),
        }
        match &self.facts.gates.access {
            Access::Granted { .. } => {}
            Access::Unknown(refusal) => return self.shut(refusal),
            Access::Denied(refusal) => return self.denied(refusal),
        }
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
            TargetFact::Unreadable(problem) => self.unreadable(problem),
            TargetFact::Ready(status) => match self.ran_before(status) {
                Some(outcome) => self.end(&outcome),
                None => self.approved(plan, status),
            },
        }
    }

    /// It waits for people to say yes, in nobody's way: only who is through stands in line.
    fn approved(&self, plan: &Plan, status: &DeployTargetStatus) -> Decision {
        match &self.facts.gates.approval {
            Approval::NotNeeded | Approval::Enough(_) => self.queued(plan, status),
            Approval::Missing(_, refusal) => self.wait(Phase::AwaitingApproval, refusal),
            Approval::Rejected { by, comment } => self.denied(&gates::rejected(by, comment)),
        }
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

    fn unreadable(&self, problem: &str) -> Decision {
        let message = format!(
            "its DeployTarget can't be read ({problem}); until somebody mends or deletes that, nothing starts there."
        );
        let refusal = Refusal::passing(WaitingFor::Person, Reason::TargetUnreadable, message);
        self.wait(self.phase().unwrap_or(Phase::Queued), &refusal)
    }

    /// What ran before may decide otherwise, and the target can't say yet what that was.
    fn hangs_on_the_past(&self, refusal: &Refusal) -> bool {
        let versionless = self.request.spec.version.is_none();
        matches!(self.facts.target, TargetFact::Unprepared)
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
                earlier.at.0.strftime("%Y-%m-%d %H:%M UTC"),
                earlier.name,
                earlier
                    .execution_id
                    .as_ref()
                    .map(|id| format!(", execution {id}"))
                    .unwrap_or_default()
            ),
        ))
    }

    fn queued(&self, plan: &Plan, status: &DeployTargetStatus) -> Decision {
        let taken = status.active.as_ref().map(|active| active.name.as_str());
        if taken.is_some() || self.facts.ahead.is_some() || self.facts.rerun.is_some() {
            return self.in_line(plan, taken);
        }
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
        // By what it resolved to, others see that it stands in this line.
        let status = self.next().with(|status| self.plan_into(status)).waiting(
            Phase::Queued,
            &refusal,
            Some(self.expires_at()),
            None,
        );
        Decision::record(status, Some(self.in_time(requeue)))
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
