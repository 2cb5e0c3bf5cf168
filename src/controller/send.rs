//! Makes a start: marks it, sends it, records what came of it, and takes the mark back where nothing was sent. Touches the API
//! server and Gate.
//!
//! A mark that was left is a start that may have been sent: whoever works next looks for it at Spinnaker.

use std::time::Instant;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::{
    act::Pass,
    connections::refusal,
    context::Context,
    dereference::{Gathered, Named, Now, open_now},
    error::ControllerError,
    metrics::ControllerMetrics,
    objects,
};
use crate::{
    api::{
        DeployRequest, DeployTarget,
        conditions::Reason,
        connection::TriggerMode,
        deploy_request::{Phase, Resolved, WaitingFor},
        deploy_target::{DeployTargetStatus, Seen},
    },
    domain::{
        decide::{Plan, Start},
        ids,
        outcome::Outcome,
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

impl Pass<'_> {
    /// Marks it sent, on the request and on the target, and sends it.
    ///
    /// The request's write is guarded by the version in which no cancel stood; the target's by the one in which this
    /// request held it. Everything else that can forbid the start is read after both, so that whatever the API server
    /// acknowledged before them is heeded; if it forbids, the marks are taken back, for nothing was sent.
    pub(super) async fn send(
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
}
