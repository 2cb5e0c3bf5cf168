//! Does one effect. Each is safe to repeat and safe to die in: whatever was not recorded is found again by looking.
//! Touches the API server and Gate. The start and the answer to a judgment have files of their own: `send` and `judge`.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Preconditions},
};

use super::{
    connections::{Gate, refusal},
    context::Context,
    dereference::{Gathered, Memo, running_now},
    error::ControllerError,
    objects::{self, within},
    rebuild::{self, Lost},
};
use crate::{
    api::{
        DeployRequest, DeployTarget, SEEN_ANNOTATION,
        conditions::Reason,
        deploy_request::WaitingFor,
        deploy_target::{DeployTargetSpec, DeployTargetStatus},
    },
    domain::{Effect, ids, refusal::Refusal, resolve, target},
    runtime::crash,
};

/// What came of an effect.
pub(super) enum Done {
    /// It is done; decide again on what is now.
    Again,
    /// The object is gone.
    Gone,
}

/// One pass over one request.
pub(super) struct Pass<'a> {
    pub context: &'a Context,
    /// As last read or written.
    pub request: DeployRequest,
    pub memo: Memo,
}

impl Pass<'_> {
    /// Does it, and leaves in the memo what the next decision has to know.
    pub(super) async fn act(
        &mut self,
        effect: Effect,
        gathered: &mut Gathered,
    ) -> Result<Done, ControllerError> {
        self.memo.trouble = None;
        match effect {
            Effect::MarkSeen => self.mark_seen().await?,
            Effect::PrepareTarget => self.prepare_target(gathered).await?,
            // The driver records it, as it does whatever is decided.
            Effect::Accept => {}
            Effect::Claim(active) => {
                let next = |status: &DeployTargetStatus| {
                    let mut active = *active.clone();
                    active.attempt.claimed_at = Time(Timestamp::now());
                    Some(DeployTargetStatus {
                        active: Some(active),
                        ..status.clone()
                    })
                };
                self.write_target(
                    gathered,
                    "claim a DeployTarget",
                    ["before-claim-target", "after-claim-target"],
                    next,
                )
                .await?;
            }
            Effect::Send(start) => self.send(&start, gathered).await?,
            Effect::Judge(handover) => Box::pin(self.judge(&handover, gathered)).await?,
            Effect::CancelStray(id) => self.cancel_stray(&id).await?,
            Effect::Adopt(seen) => {
                let (uid, now, ask) = (
                    self.uid(),
                    Timestamp::now(),
                    ids::ask_digest(&self.request.spec),
                );
                let next = |status: &DeployTargetStatus| {
                    target::adopted(status, &uid, &ask, seen.clone(), now)
                };
                self.write_target(
                    gathered,
                    "adopt an execution",
                    ["before-adopt", "after-adopt"],
                    next,
                )
                .await?;
                self.memo.last_sighting = Some(gathered.facts.sighting.clone());
            }
            Effect::Cancel {
                reason,
                execution,
                frozen,
            } => {
                self.cancel(reason, execution, frozen, gathered).await?;
            }
            Effect::Finish(run) => {
                let next = |status: &DeployTargetStatus| target::finished(status, *run.clone());
                self.write_target(
                    gathered,
                    "finish on a DeployTarget",
                    ["before-finish-target", "after-finish-target"],
                    next,
                )
                .await?;
                self.context.absences.over(&run.uid);
                if self.memo.gone_from.is_some() {
                    self.context.audit.forget(&run.uid);
                }
                self.memo.last_sighting = Some(gathered.facts.sighting.clone());
            }
            Effect::Release => {
                let uid = self.uid();
                self.write_target(
                    gathered,
                    "release a DeployTarget",
                    ["before-release", "after-release"],
                    |status| target::released(status, &uid),
                )
                .await?;
                self.context.absences.over(&uid);
            }
            Effect::Delete => {
                self.delete().await?;
                return Ok(Done::Gone);
            }
        }
        Ok(Done::Again)
    }

    pub(super) fn uid(&self) -> String {
        self.request.uid().unwrap_or_default()
    }

    async fn mark_seen(&mut self) -> Result<(), ControllerError> {
        crash::point("before-seen");
        let uid = self.uid();
        self.request =
            objects::annotate(&self.context.client, &self.request, SEEN_ANNOTATION, &uid).await?;
        crash::point("after-seen");
        self.memo.first_sight = true;
        Ok(())
    }

    async fn prepare_target(&mut self, gathered: &Gathered) -> Result<(), ControllerError> {
        let resolved = match (&gathered.facts.plan, &self.request.status) {
            (Ok(plan), _) => Some(plan.resolved.clone()),
            (Err(_), Some(status)) => status.resolved.clone(),
            (Err(_), None) => None,
        };
        let (place, connection, pipelines) = match (resolved, &gathered.named.environment) {
            (Some(resolved), _) => (
                resolved.target,
                resolved.connection,
                vec![resolved.pipeline],
            ),
            // What would run hangs on what ran before; where it would run doesn't.
            (None, Some(environment)) => match resolve::place(&self.request, environment) {
                Ok(place) => (place, environment.spec.connection.clone(), Vec::new()),
                Err(_) => return Ok(()),
            },
            (None, None) => return Ok(()),
        };
        let wanted = DeployTargetSpec {
            application: self.request.spec.application.clone(),
            environment: self.request.spec.environment.clone(),
            place,
            release: None,
            lock: None,
            unhold: None,
        };
        let namespace = self.request.namespace().unwrap_or_default();
        let lost = Lost {
            namespace: &namespace,
            connection: &connection,
            pipelines,
        };
        self.memo.trouble = rebuild::prepare(self.context, wanted, lost).await?.err();
        Ok(())
    }

    /// A compare-and-swap on the target, in the version that the decision was made on.
    pub(super) async fn write_target(
        &mut self,
        gathered: &mut Gathered,
        doing: &'static str,
        [before, after]: [&'static str; 2],
        next: impl Fn(&DeployTargetStatus) -> Option<DeployTargetStatus>,
    ) -> Result<(), ControllerError> {
        let target = gathered
            .target
            .as_ref()
            .ok_or(ControllerError::Conflict { doing })?;
        let status = target.status.clone().unwrap_or_default();
        let next = next(&status).ok_or(ControllerError::Conflict { doing })?;
        crash::point(before);
        if let Some(written) =
            objects::write_status::<DeployTarget, _>(&self.context.client, target, &next, doing)
                .await?
        {
            let accepted = |status: &DeployTargetStatus| {
                let active = status.active.as_ref();
                active.is_some_and(|active| active.execution.is_some())
            };
            // What is known of a deleted request doesn't say when it was created.
            if accepted(&next) && !accepted(&status) && self.memo.gone_from.is_none() {
                self.context.metrics.started(&self.request);
            }
            self.memo.target = Some(written.clone());
            gathered.target = Some(written);
        }
        crash::point(after);
        Ok(())
    }

    /// Forbids a start, and asks Spinnaker to cancel what there is.
    ///
    /// The caches may know a freeze that was lifted since, and what is cancelled doesn't come back: before one begins a cancel,
    /// what it goes by is read anew, and unless it says the same nothing is done but to decide again on that.
    async fn cancel(
        &mut self,
        mut reason: String,
        execution: Option<String>,
        frozen: bool,
        gathered: &mut Gathered,
    ) -> Result<(), ControllerError> {
        let uid = self.uid();
        let status = gathered.target.as_ref();
        let status = status.and_then(|target| target.status.as_ref());
        let held = status.and_then(|status| target::held_by(status, &uid));
        let begun = held.is_some_and(|active| active.cancel_requested_at.is_some());
        if frozen && !begun {
            let context = self.context;
            let looking = running_now(context, &self.request);
            let found = context.unless_stopping(looking).await?;
            let still = found.running.clone();
            self.memo.frozen = Some(found);
            match still {
                Some(still) => reason = still.message,
                None => return Ok(()),
            }
        }
        let now: Timestamp = Timestamp::now();
        self.write_target(
            gathered,
            "forbid a start",
            ["before-forbid", "after-forbid"],
            |status| target::forbidden(status, &uid, frozen.then_some(reason.as_str()), now),
        )
        .await?;
        self.memo.trouble = Some(Refusal::passing(
            WaitingFor::Spinnaker,
            Reason::CancelRequested,
            "Spinnaker has not ended it yet.",
        ));
        let (Some(id), Some(gate)) = (execution, &gathered.gate) else {
            return Ok(());
        };
        let client = Gate::clone(gate).client;
        // The start is forbidden already: whoever works next asks for the end if we leave here.
        let reserved = self
            .context
            .unless_stopping(client.reserve_cancel())
            .await?;
        self.context.may_begin()?;
        crash::point("before-cancel");
        let answer = match reserved {
            Ok(reservation) => reservation.cancel(&id, &reason).await,
            Err(error) => Err(error),
        };
        crash::point("after-cancel");
        if let Err(error) = answer {
            let held = gathered
                .target
                .as_ref()
                .and_then(|target| target.status.as_ref())
                .and_then(|status| status.active.as_ref());
            let connection = held.map_or("", |active| active.attempt.pinned.connection.as_str());
            self.memo.trouble = Some(Refusal {
                waiting_for: Some(WaitingFor::Spinnaker),
                ..refusal(connection, &error)
            });
        }
        Ok(())
    }

    /// One PUT; whether it worked is seen when the execution is looked at next.
    async fn cancel_stray(&mut self, id: &str) -> Result<(), ControllerError> {
        let attempt = self
            .request
            .status
            .as_ref()
            .and_then(|status| status.attempt.as_ref());
        let namespace = self.request.namespace().unwrap_or_default();
        let connections = &self.context.caches.connections;
        let connection =
            attempt.map(|attempt| connections.sent_through(&namespace, &attempt.pinned));
        self.memo.trouble = Some(Refusal::passing(
            WaitingFor::Spinnaker,
            Reason::CancelRequested,
            "Spinnaker has not ended it yet.",
        ));
        let Some(Ok(Some(connection))) = connection else {
            return Ok(());
        };
        let Ok(gate) = self.context.connections.gate(&connection).await else {
            return Ok(());
        };
        let client = gate.of(&self.request).client;
        let reserved = self
            .context
            .unless_stopping(client.reserve_cancel())
            .await?;
        self.context.may_begin()?;
        let answer = match reserved {
            Ok(reservation) => {
                let reason = "its request had ended as cancelled before it appeared";
                reservation.cancel(id, reason).await
            }
            Err(error) => Err(error),
        };
        tracing::warn!(
            execution.id = id,
            ?answer,
            "an execution appeared after its request had been cancelled, and is cancelled on sight"
        );
        Ok(())
    }

    async fn delete(&self) -> Result<(), ControllerError> {
        let api: Api<DeployRequest> = Api::namespaced(
            self.context.client.clone(),
            &self.request.namespace().unwrap_or_default(),
        );
        let preconditions = Preconditions {
            uid: self.request.uid(),
            resource_version: self.request.resource_version(),
        };
        let parameters = DeleteParams {
            preconditions: Some(preconditions),
            ..DeleteParams::default()
        };
        within(
            "delete a finished request",
            api.delete(&self.request.name_any(), &parameters),
        )
        .await
        .map(|_| ())
    }
}
