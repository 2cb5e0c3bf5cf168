//! Does one effect. Each is safe to repeat and safe to die in: whatever was not recorded is found again by looking.
//! Touches the API server and Gate.

use std::time::Instant;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Preconditions},
};

use super::{
    connections::{Gate, refusal},
    context::Context,
    dereference::{Gathered, Memo, Named, Now, open_now},
    error::ControllerError,
    metrics::ControllerMetrics,
    objects::{self, within},
    rebuild::{self, Lost},
};
use crate::{
    api::{
        DeployRequest, DeployTarget, SEEN_ANNOTATION,
        conditions::Reason,
        connection::TriggerMode,
        deploy_request::{Phase, Resolved, WaitingFor},
        deploy_target::{DeployTargetSpec, DeployTargetStatus, Seen},
    },
    domain::{
        Effect,
        decide::{Plan, Start},
        ids,
        outcome::Outcome,
        refusal::Refusal,
        resolve,
        status::Next,
        target,
    },
    runtime::{crash, telemetry, traces},
    spinnaker::Sent,
};

/// How often a mark is taken back on a target that others write at the same time.
const TIMES: usize = 10;

/// A start was sent, and this came of it.
fn counted(context: &Context, outcome: &'static str) {
    ControllerMetrics::count(&context.metrics.starts, outcome);
    traces::note("foredeck.start.outcome", outcome);
}

/// What tells one mark on a target from another: by whom, when, and how many sends it makes.
fn mark(target: Option<&DeployTarget>, uid: &str) -> Option<(String, Option<Time>, u32)> {
    let active = target::held_by(target?.status.as_ref()?, uid)?;
    let attempt = &active.attempt;
    Some((
        attempt.holder.clone(),
        attempt.sent_at.clone(),
        active.sends,
    ))
}

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
                self.cancel(&reason, execution, frozen, gathered).await?;
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

    fn uid(&self) -> String {
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
    async fn write_target(
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

    /// Marks it sent, on the request and on the target, and sends it.
    ///
    /// The request's write is guarded by the version in which no cancel stood; the target's by the one in which this
    /// request held it. Everything else that can forbid the start is read after both, so that whatever the API server
    /// acknowledged before them is heeded; if it forbids, the marks are taken back, for nothing was sent.
    async fn send(
        &mut self,
        start: &Start,
        gathered: &mut Gathered,
    ) -> Result<(), ControllerError> {
        let context = self.context;
        let uid = self.uid();
        let (Some(gate), Ok(plan)) = (gathered.gate.clone(), gathered.facts.plan.clone()) else {
            return Ok(());
        };
        let resolved = plan.resolved.clone();
        let reservation = match context.unless_stopping(gate.client.reserve()).await? {
            Ok(reservation) => reservation,
            Err(error) => {
                self.memo.trouble = Some(refusal(&resolved.connection, &error));
                return Ok(());
            }
        };
        self.mark_request(&plan, start, gathered).await?;
        context.may_begin()?;
        let ask = ids::ask_digest(&self.request.spec);
        let overrider = gathered.facts.gates.overrider().map(str::to_owned);
        let marked = |status: &DeployTargetStatus| {
            let (holder, overrider) = (&context.holder, overrider.as_deref());
            target::sent(status, &uid, holder, &ask, overrider, Timestamp::now())
        };
        self.write_target(
            gathered,
            "mark a start on a DeployTarget",
            ["before-mark-target", "after-mark-target"],
            marked,
        )
        .await?;
        context.absences.over(&uid);
        let (fresh, now) = self.may_start_now(&plan, gathered).await;
        let unchanged = matches!(&fresh, Ok(fresh) if fresh.version() == gathered.named.version());
        let may = context.may_begin();
        if !unchanged || !now.open || may.is_err() {
            if !unchanged {
                // Also where it can't be read: to decide on the same caches would only mark it again.
                context.behind.found(&self.request);
            }
            if !now.open {
                context.behind_guards.found(&self.request);
            }
            self.take_back(gathered).await?;
            fresh?;
            // What is decided next is decided on what was read.
            self.memo.ground = Some(now.ground);
            self.memo.ahead = Some(now.ahead);
            return may;
        }
        crash::point("before-post");
        let began = Instant::now();
        let mode = start.attempt.pinned.trigger;
        let sent = match mode {
            TriggerMode::Start => reservation.start(start.body.to_vec()).await,
            TriggerMode::V1 => {
                let pipeline = &resolved.pipeline;
                reservation
                    .trigger_v1(&pipeline.application, &pipeline.id, start.body.to_vec())
                    .await
            }
        };
        crash::point("after-post");
        tracing::info!(
            execution.id = %start.attempt.execution_id,
            connection.name = %resolved.connection,
            duration_ms = telemetry::milliseconds(began.elapsed()),
            outcome = ?sent,
            "start sent"
        );
        self.sent(sent, &resolved, start, gathered).await
    }

    /// Takes back a mark of which nothing was sent.
    ///
    /// Who locks the target between the mark and the start makes another version of it. It is taken back there too, as long
    /// as it is this very mark: one that was left would be looked for at Spinnaker, which nothing was sent to.
    async fn take_back(&mut self, gathered: &mut Gathered) -> Result<(), ControllerError> {
        const DOING: &str = "take back a start";
        let (uid, context) = (self.uid(), self.context);
        let namespace = self.request.namespace().unwrap_or_default();
        let mark = mark(gathered.target.as_ref(), &uid);
        for _ in 0..TIMES {
            let written = self
                .write_target(
                    gathered,
                    DOING,
                    ["before-unmark", "after-unmark"],
                    |status| target::unsent(status, &uid),
                )
                .await;
            let Err(ControllerError::Conflict { .. }) = written else {
                return written;
            };
            let name = gathered.target.as_ref().map(ResourceExt::name_any);
            let name = name.unwrap_or_default();
            let read = objects::read::<DeployTarget>(&context.client, &namespace, &name).await?;
            if self::mark(read.as_ref(), &uid) != mark {
                break;
            }
            gathered.target = read;
        }
        Err(ControllerError::Conflict { doing: DOING })
    }

    /// What the request names and whether everything is open, as the API server has it now.
    async fn may_start_now(
        &self,
        plan: &Plan,
        gathered: &Gathered,
    ) -> (Result<Named, ControllerError>, Now) {
        let (context, request) = (self.context, &self.request);
        tokio::join!(
            Box::pin(Named::read(context, request, &plan.resolved.connection)),
            Box::pin(open_now(
                context,
                request,
                &gathered.named,
                plan,
                &gathered.facts.gates
            ))
        )
    }

    async fn mark_request(
        &mut self,
        plan: &Plan,
        start: &Start,
        gathered: &Gathered,
    ) -> Result<(), ControllerError> {
        if self.memo.gone_from.is_some() {
            return Ok(());
        }
        let active = gathered
            .target
            .as_ref()
            .and_then(|target| target.status.as_ref())
            .and_then(|status| status.active.clone());
        let now = Timestamp::now();
        let key = active.as_ref().map(|active| active.key.clone());
        let next = Next::of(&self.request, now).with(|status| {
            // Fixed at first sight, which this is for who never waited.
            status.idempotency_key = status.idempotency_key.take().or(key);
            status.changes.clone_from(&plan.changes);
        });
        let status = next.starting(
            &self.request,
            &gathered.facts.gates,
            &plan.resolved,
            active.map_or_else(|| start.attempt.clone(), |active| active.attempt),
            &self.context.holder,
        );
        crash::point("before-mark-request");
        // Even when it says nothing new, as after a mark that was taken back within the same second: it is not what
        // is written that counts, but that no cancel came before it.
        self.request = objects::assert_status::<DeployRequest, _>(
            &self.context.client,
            &self.request,
            &status,
            "mark a start on a DeployRequest",
        )
        .await?;
        crash::point("after-mark-request");
        Ok(())
    }

    /// What came of the POST. Not being able to record it loses nothing: the target says that it was sent.
    async fn sent(
        &mut self,
        sent: Sent,
        resolved: &Resolved,
        start: &Start,
        gathered: &mut Gathered,
    ) -> Result<(), ControllerError> {
        let context = self.context;
        let uid = self.uid();
        let connection = &resolved.connection;
        // Reads may go on on connections that stood before Gate refused us: only the start tells.
        if let (Sent::NotProcessed { error, .. } | Sent::Unknown { error }, Some(gate)) =
            (&sent, &gathered.gate)
            && error.refuses_login()
        {
            context.connections.distrust_login_of(gate);
        }
        match sent {
            Sent::Accepted { execution_id } => {
                counted(context, "accepted");
                if start.attempt.pinned.trigger == TriggerMode::Start
                    && execution_id != start.attempt.execution_id
                {
                    let message = format!(
                        "Spinnaker answered with execution {execution_id}, which already carries this request's correlation id; nothing of ours was started."
                    );
                    return self
                        .ended_at_the_start(
                            Outcome::new(Phase::Failed, Reason::ExecutionConflict, message),
                            gathered,
                        )
                        .await;
                }
                let seen = Seen {
                    id: execution_id,
                    build_time: None,
                };
                let (now, ask) = (Timestamp::now(), ids::ask_digest(&self.request.spec));
                let next = |status: &DeployTargetStatus| {
                    target::adopted(status, &uid, &ask, seen.clone(), now)
                };
                self.write_target(
                    gathered,
                    "record a start",
                    ["before-record", "after-record"],
                    next,
                )
                .await
            }
            Sent::Refused { message, .. } => {
                counted(context, "refused");
                let message = format!("Spinnaker refused to start it: {message}");
                self.ended_at_the_start(
                    Outcome::new(Phase::Failed, Reason::StartRefused, message),
                    gathered,
                )
                .await
            }
            Sent::NotProcessed { error, retry_after } => {
                counted(context, "not-processed");
                self.take_back(gathered).await?;
                let mut trouble = refusal(connection, &error);
                trouble.retry_after = retry_after.or(trouble.retry_after);
                trouble.waiting_for = Some(WaitingFor::Spinnaker);
                self.memo.trouble = Some(trouble);
                Ok(())
            }
            Sent::Unknown { .. } => {
                counted(context, "unknown");
                Ok(())
            }
        }
    }

    async fn ended_at_the_start(
        &mut self,
        outcome: Outcome,
        gathered: &mut Gathered,
    ) -> Result<(), ControllerError> {
        let uid = self.uid();
        let now = Timestamp::now();
        let next = |status: &DeployTargetStatus| {
            let active = target::held_by(status, &uid)?;
            target::finished(status, outcome.clone().run(active, None, now))
        };
        self.write_target(
            gathered,
            "record a refusal",
            ["before-finish-target", "after-finish-target"],
            next,
        )
        .await
    }

    async fn cancel(
        &mut self,
        reason: &str,
        execution: Option<String>,
        frozen: bool,
        gathered: &mut Gathered,
    ) -> Result<(), ControllerError> {
        let uid = self.uid();
        let now: Timestamp = Timestamp::now();
        self.write_target(
            gathered,
            "forbid a start",
            ["before-forbid", "after-forbid"],
            |status| target::forbidden(status, &uid, frozen.then_some(reason), now),
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
            Ok(reservation) => reservation.cancel(&id, reason).await,
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
