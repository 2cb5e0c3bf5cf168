//! Hands somebody's answer to the judgment stage that waits for it. Touches the API server and Gate.
//!
//! Dying before the call leaves an answer that is marked and not handed over, dying after it one that Spinnaker has: in both
//! cases the stage shows which, and the answer is handed over again only while it shows nothing.

use jiff::Timestamp;
use kube::ResourceExt;

use super::{
    act::Pass,
    connections::refusal,
    dereference::{Gathered, judgments_now},
    error::ControllerError,
    objects, sighting,
};
use crate::{
    api::{DeployRequest, deploy_request::DeployRequestStatus},
    domain::{
        decide::handed_over,
        judgment::{self, Handover, JudgmentStage, Matter, Moment},
        status::Next,
    },
    runtime::crash,
    spinnaker::{Handed, Lookup},
};

impl Pass<'_> {
    /// Waits for its turn at Gate; looks whether the stage still waits and the answer still counts, as both are now; writes
    /// down who answers; looks once more at the answer; and hands it over, once.
    ///
    /// The write is guarded by the version of the request in which no cancel stood, and the answer is read after it, so
    /// that neither a cancel nor an answer's end that the API server acknowledged before it is passed over. If the answer
    /// is none any more, what was written is taken back.
    pub(super) async fn judge(
        &mut self,
        handover: &Handover,
        gathered: &Gathered,
    ) -> Result<(), ControllerError> {
        let context = self.context;
        let Some(gate) = gathered.gate.clone() else {
            return Ok(());
        };
        if self.memo.gone_from.is_some() {
            return Ok(());
        }
        let connection = self
            .request
            .status
            .as_ref()
            .and_then(|status| status.resolved.as_ref())
            .map(|resolved| resolved.connection.clone())
            .unwrap_or_default();
        let answer = &handover.answer;
        // First of all: no wait for Gate's turn may lie between the last check and the call.
        let reserving = gate.client.reserve_judgment();
        let reservation = match context.unless_stopping(reserving).await? {
            Ok(reservation) => reservation,
            Err(error) => {
                self.memo.trouble = Some(refusal(&connection, &error));
                return Ok(());
            }
        };
        let looking = gate.client.execution(&answer.execution);
        let observation = match context.unless_stopping(looking).await? {
            Lookup::Found(execution) => sighting::observe(&gate, &execution).await,
            Lookup::Absent => return Ok(()),
            Lookup::Unclear(error) => {
                self.memo.trouble = Some(refusal(&connection, &error));
                return Ok(());
            }
        };
        let stages = &observation.judgments;
        let waits = stages
            .iter()
            .any(|stage| stage.judgment.stage == answer.stage && stage.moment == Moment::Waiting);
        if observation.ended.is_some() || !waits {
            // Somebody else answered since; the next look shows it.
            return Ok(());
        }
        let marked = self
            .request
            .status
            .as_ref()
            .and_then(|status| status.judgment.as_ref()?.answer.as_ref())
            .map(|answer| answer.name.clone());
        let marked = marked.as_deref();
        if !self.counts_now(handover, stages, marked).await? {
            return Ok(());
        }
        let before = self.request.status.clone().unwrap_or_default();
        self.mark_judged(handover).await?;
        // Again: what the API server acknowledged before the mark is heeded, whatever it takes to read it.
        let counts = self.counts_now(handover, stages, marked).await;
        let may = context.may_begin();
        if may.is_err() || !matches!(counts, Ok(true)) {
            self.unmark_judged(&before).await?;
            return may.and(counts.map(drop));
        }
        crash::point("before-judge");
        let decision = handover.approval.spec.decision;
        let approval = handover.approval.name_any();
        let handed = reservation
            .judge(answer, decision, &approval, &handover.by)
            .await;
        crash::point("after-judge");
        tracing::info!(execution.id = answer.execution, stage.id = answer.stage, approval.name = approval, outcome = ?handed, "answer to a judgment handed over");
        self.memo.trouble = Some(match handed {
            Handed::Done | Handed::Unknown(_) => handed_over(),
            Handed::Refused(error) => refusal(&connection, &error),
        });
        Ok(())
    }

    /// Whether this answer is the one that counts, as everything is now. If not, what is decided next is decided on what
    /// was read.
    async fn counts_now(
        &mut self,
        handover: &Handover,
        stages: &[JudgmentStage],
        marked: Option<&str>,
    ) -> Result<bool, ControllerError> {
        let execution = &handover.answer.execution;
        let reading = judgments_now(self.context, &self.request, execution, stages);
        let (ground, facts) = Box::pin(reading).await?;
        let matter = Matter {
            request: &self.request,
            execution,
            stages,
            facts: &facts,
        };
        let counted = judgment::weigh(matter, marked).counted;
        let counts = counted.is_some_and(|counted| {
            counted.approval.uid() == handover.approval.uid() && counted.by == handover.by
        });
        if !counts {
            self.memo.ground = Some(ground);
            self.memo.judgments = Some(facts);
        }
        Ok(counts)
    }

    async fn mark_judged(&mut self, handover: &Handover) -> Result<(), ControllerError> {
        let now = Timestamp::now();
        let status = Next::of(&self.request, now)
            .with(|status| judgment::mark(status, handover, now))
            .unchanged();
        crash::point("before-mark-judged");
        self.request = objects::assert_status::<DeployRequest, _>(
            &self.context.client,
            &self.request,
            &status,
            "mark an answer to a judgment",
        )
        .await?;
        crash::point("after-mark-judged");
        Ok(())
    }

    /// Nothing was handed over: nobody has answered.
    async fn unmark_judged(&mut self, before: &DeployRequestStatus) -> Result<(), ControllerError> {
        let written = objects::write_status::<DeployRequest, _>(
            &self.context.client,
            &self.request,
            before,
            "take back an answer to a judgment",
        )
        .await?;
        if let Some(written) = written {
            self.request = written;
        }
        Ok(())
    }
}
