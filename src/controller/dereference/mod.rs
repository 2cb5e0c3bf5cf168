//! Gathers the facts of one run: what the request names, its target, its place in the queue, what Spinnaker shows.
//! Touches the API server (reads) and Gate (reads).

mod gates;
mod guards;
mod judgments;
mod named;
mod plan;
mod planned;
mod queue;
mod sight;
mod target;
mod version;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Resource, ResourceExt};

use self::{gates::Asking, planned::Looking};
pub(super) use self::{
    gates::{BehindGround, Ground, Now, open_now},
    guards::{Ahead, BehindGuards, Frozen, running_now},
    judgments::judgments_now,
    named::{Behind, Named},
    plan::{Asked, described, not_shared},
    planned::Plans,
    queue::{in_line, place_in_line},
    version::Commits,
};
use super::{connections::Gate, context::Context, error::ControllerError};
use crate::{
    api::{
        DeployApproval, DeployRequest, DeployTarget, Environment, SEEN_ANNOTATION,
        conditions::Reason,
        deploy_request::{Phase, WaitingFor},
        deploy_target::DeployTargetStatus,
        version::Changes,
    },
    domain::{
        Facts,
        approvals::Verdict,
        decide::{SHORTEST_SETTLE, Sighting, TargetFact},
        gates::Gates,
        judgment::JudgmentFacts,
        refusal::Refusal,
        resolve, speaking, target as target_status,
    },
};

/// What one pass carries from run to run.
#[derive(Default)]
pub(super) struct Memo {
    /// Read the request and its target from the API server, not from the caches.
    pub fresh: bool,
    /// The object was deleted, or is being deleted: this target follows what it sent, and nothing is written into it but
    /// that it is cancelled as asked.
    pub gone_from: Option<String>,
    /// As it was last read or written, where it is being deleted and a finalizer keeps it.
    pub going: Option<Box<DeployRequest>>,
    /// What the last effect met.
    pub trouble: Option<Refusal>,
    /// What Spinnaker showed when the end was written to the target.
    pub last_sighting: Option<Sighting>,
    /// This pass wrote the `seen` annotation: nothing can be known of the request elsewhere.
    pub first_sight: bool,
    /// The target as this pass wrote it last.
    pub target: Option<DeployTarget>,
    /// The pipeline as this pass read it.
    pub pipeline: Option<Asked>,
    /// This pass wrote down which commit it is.
    pub accepted: bool,
    /// What lies between two commits, as this pass was told it.
    pub changes: Option<(Option<String>, String, Box<Changes>)>,
    /// Who said what, as this pass read it before a start.
    pub ground: Option<Result<Ground, Refusal>>,
    /// What holds it, as this pass read it before a start.
    pub ahead: Option<Ahead>,
    /// Whether a freeze cancels it, as this pass read it before it would have.
    pub frozen: Option<Frozen>,
    /// Whether each approval counts, as this pass found last: what has been sent since is no more asked about.
    pub verdicts: Vec<(DeployApproval, Verdict)>,
    /// What was answered and by whom, as this pass read it before it would have handed an answer over.
    pub judgments: Option<JudgmentFacts>,
}

/// The facts, and what acting on them takes.
pub(super) struct Gathered {
    pub facts: Facts,
    /// The target as it was read, for guarded writes.
    pub target: Option<DeployTarget>,
    pub gate: Option<Gate>,
    pub named: Named,
}

/// Gathers.
pub(super) async fn gather(
    context: &Context,
    request: &DeployRequest,
    memo: &mut Memo,
) -> Result<Gathered, ControllerError> {
    let (named, readable) = Named::known(context, request).await;
    let mut gathered = Gathered {
        facts: bare_facts(context, request, &named, memo),
        target: None,
        gate: None,
        named,
    };
    let uid = request.uid().unwrap_or_default();
    let met = request.annotations().get(SEEN_ANNOTATION) == Some(&uid);
    if !met && memo.gone_from.is_none() {
        // New, or a copy of another object: whichever it is, nothing has to be asked to say so.
        return Ok(gathered);
    }
    let namespace = request.namespace().unwrap_or_default();
    let place = match &gathered.named.environment {
        Some(environment) => resolve::place(request, environment),
        None => Err(plan::no_environment(context, request)),
    };
    let found = target::find(context, request, memo, place.as_ref().ok()).await?;
    gathered.facts.target_name = found.name;
    gathered.facts.target = found.fact;
    gathered.facts.release_order = release_order(found.target.as_ref(), &uid);
    gathered.target = found.target;
    let status = match &gathered.facts.target {
        TargetFact::Ready(status) => Some((**status).clone()),
        _ => None,
    };
    let status = status.as_ref();
    let phase = request
        .status
        .as_ref()
        .and_then(|status| status.phase)
        .unwrap_or_default();
    if !memo.fresh && behind(request, phase, status) {
        return Err(ControllerError::Conflict {
            doing: "see the target of what runs as new as its request",
        });
    }
    if phase.is_terminal()
        || status.is_some_and(|status| target_status::run_of(status, &uid).is_some())
    {
        if memo.last_sighting.is_none() {
            gathered.facts.sighting =
                sight::finished(context, request, status, &namespace, &uid).await;
        }
        if !phase.is_terminal() {
            Box::pin(judgments::look(context, request, memo, &mut gathered)).await;
        }
        return Ok(gathered);
    }
    let active = status
        .and_then(|status| target_status::held_by(status, &uid))
        .cloned();
    let following = active
        .as_ref()
        .is_some_and(|active| active.execution.is_some());
    let over = following || gathered.facts.gone;
    let ground = match memo.ground.clone() {
        Some(ground) => ground,
        None if over && request.spec.cancel.is_none() => Ok(Ground::default()),
        None => Ground::known(context, request).await,
    };
    let asking = Asking::Remembered;
    let cancel = Box::pin(gates::cancel(
        context,
        request,
        &gathered.named,
        &ground,
        asking,
    ))
    .await;
    let canceled = request.spec.cancel.is_some() && cancel.is_ok();
    if over || (canceled && active.is_none()) {
        gathered.facts.plan = Err(Refusal::passing(
            WaitingFor::Configuration,
            Reason::Accepted,
            "it was not looked at",
        ));
        if active.is_some() {
            let running = guards::running(context, request, &gathered.named);
            let frozen = Box::pin(running).await;
            let guards = &mut gathered.facts.gates.guards;
            (guards.running, guards.changes_at) = (frozen.running, frozen.changes_at);
        }
    } else {
        let target = (
            gathered.facts.target_name.as_deref(),
            gathered.target.as_ref(),
        );
        let looking = Ahead::look(context, request, &gathered.named, target, memo);
        let ahead = Box::pin(looking).await;
        let overriding = Box::pin(guards::overriding(context, request, &ground, asking)).await;
        let now = Timestamp::now();
        let own = ahead.told(request, &gathered.named, overriding.clone(), now);
        let line = queue::look(context, request, &gathered, (&ahead, &own), now);
        gathered.facts.ahead = line.ahead;
        gathered.facts.newer = line.newer;
        let taken = status.is_some_and(|status| status.active.is_some());
        let waits = active.is_none() && (taken || own.holds() || gathered.facts.ahead.is_some());
        let looking = Looking {
            context,
            request,
            named: &gathered.named,
            readable,
            place,
            target: gathered.target.as_ref(),
            status,
            waits,
            ground: &ground,
            ahead: &ahead,
            overriding: &overriding,
        };
        let planned = Box::pin(looking.look(memo)).await;
        gathered.facts.plan = planned.plan;
        gathered.gate = planned.gate;
        if let Some(found) = planned.found {
            gathered.facts.gates = found.gates;
            memo.verdicts = with_approvals(&ground, found.verdicts);
        }
        if let Some(status) = status.filter(|status| status.active.is_none())
            && gathered.facts.plan.is_ok()
            && gathered.facts.ahead.is_none()
        {
            sight::rerun(status, &mut gathered).await;
        }
    }
    if let Some(frozen) = &memo.frozen {
        let guards = &mut gathered.facts.gates.guards;
        (guards.running, guards.changes_at) = (frozen.running.clone(), frozen.changes_at);
    }
    gathered.facts.gates.cancel = Some(cancel);
    if let Some(active) = &active {
        sight::held(context, request, &namespace, active, &mut gathered).await;
        Box::pin(judgments::look(context, request, memo, &mut gathered)).await;
    }
    Ok(gathered)
}

/// The verdicts, each with what it is about.
fn with_approvals(
    ground: &Result<Ground, Refusal>,
    verdicts: Vec<Verdict>,
) -> Vec<(DeployApproval, Verdict)> {
    let Ok(ground) = ground else {
        return Vec::new();
    };
    let found = verdicts.into_iter().filter_map(|verdict| {
        let mut all = ground.approvals.iter();
        let approval = all.find(|approval| approval.name_any() == verdict.name)?;
        Some((approval.clone(), verdict))
    });
    found.collect()
}

/// Whether the cached target is older than the cached request.
///
/// The watches of the two kinds are apart. What runs holds its target, or has ended there; a target that says
/// otherwise would make of a cancel the end of what goes on running.
fn behind(request: &DeployRequest, phase: Phase, status: Option<&DeployTargetStatus>) -> bool {
    let uid = request.uid().unwrap_or_default();
    let told = status.is_some_and(|status| {
        target_status::held_by(status, &uid).is_some()
            || target_status::run_of(status, &uid).is_some()
    });
    !told && !phase.is_terminal() && phase != Phase::Queued
}

fn bare_facts(context: &Context, request: &DeployRequest, named: &Named, memo: &Memo) -> Facts {
    let connection = named.connection.as_ref();
    let shortest = SHORTEST_SETTLE.max(context.connections.minimum_settle());
    Facts {
        plan: Err(Refusal::passing(
            WaitingFor::Configuration,
            Reason::Accepted,
            "it was not looked at yet",
        )),
        expire_after: expire_after(named.environment.as_ref()),
        // Who decides on these alone asks nobody: not about a cancel either.
        gates: Gates {
            cancel: None,
            ..Gates::open()
        },
        on_unknown: connection
            .map(|connection| connection.spec.on_unknown)
            .unwrap_or_default(),
        settle: connection.map_or(shortest, |connection| {
            context.connections.settle(connection)
        }),
        target: TargetFact::Unresolved,
        target_name: None,
        ahead: None,
        newer: None,
        rerun: None,
        sighting: memo.last_sighting.clone().unwrap_or(Sighting::NotAsked),
        judgments: JudgmentFacts::default(),
        trouble: memo.trouble.clone(),
        gone: memo.gone_from.is_some(),
        release_order: None,
        unlisted: speaking::unlisted(
            request,
            named.environment.as_ref(),
            named.application.as_ref(),
        )
        .map(str::to_owned),
    }
}

fn expire_after(environment: Option<&Environment>) -> Duration {
    environment
        .and_then(|environment| environment.spec.protection.expire_after)
        .map_or(resolve::DEFAULT_EXPIRY, Duration::from)
}

fn release_order(target: Option<&DeployTarget>, uid: &str) -> Option<String> {
    let order = target?.spec.release.as_ref()?;
    (order.request_uid == uid).then(|| order.reason.clone())
}

/// The request, for events.
pub(super) fn about<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    object.object_ref(&())
}
