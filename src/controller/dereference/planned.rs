//! What would run, and what people and policies say of that. Touches Gate and the API server (reads and access reviews).
//!
//! Who waits for people to say yes asks Gate once and goes on waiting on the answer, so that neither their number nor an
//! outage of Gate's is felt. It is resolved anew when the configuration that it names or its target has changed, when
//! that was some minutes ago, and, whatever happened, once enough people said yes. Nothing tells us that somebody edited
//! a pipeline in Spinnaker: that is noticed at the next of these looks, at the latest before the claim, where it makes
//! another digest, so that what was approved is no longer what would run and the approvals don't count.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use kube::ResourceExt;

use super::{
    Ground, Memo, Named,
    gates::{self, Found},
    guards::{Ahead, Overriding},
    named::Version,
    plan,
};
use crate::{
    api::{
        DeployRequest, DeployTarget,
        deploy_request::{Phase, Place, WaitingFor},
        deploy_target::DeployTargetStatus,
    },
    controller::{connections::Gate, context::Context},
    domain::{decide::Plan, gates::Approval, refusal::Refusal},
};

/// How long people are waited for on what was resolved before it is resolved again.
const RESOLVED_ANEW: Duration = Duration::from_mins(3);

/// What there is to look at.
pub(super) struct Looking<'a> {
    pub(super) context: &'a Context,
    pub(super) request: &'a DeployRequest,
    pub(super) named: &'a Named,
    /// Why nothing may start on what it names, if it can't be read.
    pub(super) readable: Result<(), Refusal>,
    pub(super) place: Result<Place, Refusal>,
    pub(super) target: Option<&'a DeployTarget>,
    /// The target's, where it is ready.
    pub(super) status: Option<&'a DeployTargetStatus>,
    /// It is not its turn, or it is held.
    pub(super) waits: bool,
    pub(super) ground: &'a Result<Ground, Refusal>,
    pub(super) ahead: &'a Ahead,
    pub(super) overriding: &'a Overriding,
}

/// What was found.
pub(super) struct Planned {
    pub(super) plan: Result<Plan, Refusal>,
    /// What was asked for the plan, if anything was.
    pub(super) gate: Option<Gate>,
    /// What is said of the plan, where there is one.
    pub(super) found: Option<Found>,
}

impl Planned {
    fn known(plan: Plan, found: Found) -> Self {
        Self {
            plan: Ok(plan),
            gate: None,
            found: Some(found),
        }
    }

    fn refused(refusal: Refusal) -> Self {
        Self {
            plan: Err(refusal),
            gate: None,
            found: None,
        }
    }
}

impl Looking<'_> {
    /// Looks.
    pub(super) async fn look(self, memo: &mut Memo) -> Planned {
        let Self {
            context, request, ..
        } = self;
        if let Some(plan) = plan::known(request, self.named, self.waits) {
            let found = self.judged(&plan).await;
            return Planned::known(plan, found);
        }
        if let Err(refusal) = self.readable {
            return Planned::refused(refusal);
        }
        let basis = Basis::of(self.named, self.target);
        let asked = self.still_asked(&basis).await;
        let asked = match asked {
            Some((plan, found, age)) if age < RESOLVED_ANEW => return Planned::known(plan, found),
            asked => asked,
        };
        let (place, status) = (self.place.clone(), self.status);
        let made = plan::make(context, request, self.named, place, status, memo).await;
        match (made, asked) {
            (Ok((plan, gate)), _) => {
                let found = self.judged(&plan).await;
                if matches!(found.gates.approval, Approval::Missing(..)) {
                    context.plans.made(request, &plan, basis);
                }
                Planned {
                    gate: Some(gate),
                    ..Planned::known(plan, found)
                }
            }
            (Err(refusal), Some((plan, found, _)))
                if refusal.waiting_for == Some(WaitingFor::Spinnaker) =>
            {
                Planned::known(plan, found)
            }
            (Err(refusal), _) => Planned::refused(refusal),
        }
    }

    async fn judged(&self, plan: &Plan) -> Found {
        let Self {
            context,
            request,
            named,
            ground,
            ahead,
            overriding,
            ..
        } = self;
        Box::pin(gates::judged(
            context,
            request,
            named,
            plan,
            ground,
            (ahead, overriding),
        ))
        .await
    }

    /// What was resolved before, how long ago, and what is said of it, where somebody has still to say yes to that.
    async fn still_asked(&self, basis: &Basis) -> Option<(Plan, Found, Duration)> {
        let status = self.request.status.as_ref()?;
        let resolved = status.resolved.as_ref()?;
        if status.phase != Some(Phase::AwaitingApproval) {
            return None;
        }
        let age = self
            .context
            .plans
            .age(self.request, &resolved.digest, basis)?;
        let plan = Plan {
            resolved: resolved.clone(),
            changes: status.changes.clone(),
            found: false,
            concurrency: self.named.environment.as_ref()?.spec.protection.concurrency,
            start: None,
        };
        let found = self.judged(&plan).await;
        matches!(found.gates.approval, Approval::Missing(..)).then_some((plan, found, age))
    }
}

/// What a plan was made of, as far as we are told when it changes: what the request names, and what ran on its target.
#[derive(Debug, PartialEq)]
struct Basis {
    named: Version,
    target: Option<(Option<String>, Option<String>)>,
}

impl Basis {
    fn of(named: &Named, target: Option<&DeployTarget>) -> Self {
        Self {
            named: named.version(),
            target: target.map(|target| (target.uid(), target.resource_version())),
        }
    }
}

/// Of whose plan we know what it was made of, and when: of requests that wait for people, by uid.
#[derive(Debug, Default)]
pub(in crate::controller) struct Plans(Mutex<HashMap<String, Made>>);

#[derive(Debug)]
struct Made {
    digest: String,
    basis: Basis,
    at: Instant,
}

impl Plans {
    /// The request is gone.
    pub(in crate::controller) fn over(&self, uid: &str) {
        self.lock().remove(uid);
    }

    fn made(&self, request: &DeployRequest, plan: &Plan, basis: Basis) {
        let made = Made {
            digest: plan.resolved.digest.clone(),
            basis,
            at: Instant::now(),
        };
        self.lock().insert(request.uid().unwrap_or_default(), made);
    }

    /// How long ago this was made of that.
    fn age(&self, request: &DeployRequest, digest: &str, basis: &Basis) -> Option<Duration> {
        let all = self.lock();
        let made = all.get(&request.uid()?)?;
        (made.digest == digest && made.basis == *basis).then(|| made.at.elapsed())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Made>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
