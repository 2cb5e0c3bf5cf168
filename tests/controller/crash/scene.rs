//! A cell that runs: a controller that dies, what happens while it is down, and its successor.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use foredeck::api::{
    Application, DeployRequest, DeployTarget, SpinnakerConnection,
    deploy_request::{Phase, WaitingFor},
};
use foredeck_testkit::{
    StandInGate,
    gate::{Effect, Fault, Operation, Parameter, Pipeline, Stage, Status},
    wait_for,
};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;

use super::{
    cell::{Cell, Disturbance, ENDLESS, Kill, Restart, SEEN, Story},
    faults::{ABANDONED, Trouble},
    truth,
};
use crate::support::{Bed, Controller, PATIENCE, deploy, furnish, phase_of};

/// Between two looks at what is waited for.
const LOOK: Duration = Duration::from_millis(200);

/// A cell that runs.
pub(super) struct Scene {
    pub(super) cell: Cell,
    pub(super) bed: Bed,
    /// Where the connection is moved to.
    pub(super) other: Option<StandInGate>,
    pub(super) first: String,
    pub(super) second: Option<String>,
    /// The first request had to be cancelled, since it waited for a person.
    pub(super) cancelled: bool,
    controller: Option<Controller>,
    logs: Vec<String>,
}

impl Scene {
    pub(super) async fn new(cell: Cell) -> Result<Self> {
        let bed = Bed::new("crash", cell.work()).await?;
        let other = if cell.disturbance == Some(Disturbance::MoveConnection) {
            let other = StandInGate::start().await?;
            furnish(&other, cell.work());
            quick_pipeline(&other);
            Some(other)
        } else {
            None
        };
        quick_pipeline(&bed.gate);
        let quick = json!({
            "pipeline": "Quick",
            "parameters": {"account": "{{ target.account }}", "namespace": "{{ target.namespace }}"},
        });
        bed.merge::<Application>("checkout", json!({"spec": {"actions": {"quick": quick}}}))
            .await?;
        if cell.v1 {
            bed.merge::<SpinnakerConnection>("gate", json!({"spec": {"trigger": "V1"}}))
                .await?;
        }
        if let Some(trouble) = cell.trouble {
            let start = if cell.v1 {
                Operation::Trigger
            } else {
                Operation::Start
            };
            for fault in trouble.faults(start) {
                bed.gate.inject(fault);
            }
        }
        if matches!(cell.story, Story::CancelClaimed | Story::DeleteClaimed) {
            // Nothing can be sent: the request waits with its target claimed.
            let down = Fault::new(Operation::GetExecution, Effect::ServerErrorBefore);
            bed.gate.inject(down.permanently());
        }
        Ok(Self {
            cell,
            bed,
            other,
            first: String::new(),
            second: None,
            cancelled: false,
            controller: None,
            logs: Vec::new(),
        })
    }

    pub(super) async fn play(&mut self) -> Result<()> {
        self.first_controller().await?;
        if matches!(self.cell.story, Story::CancelClaimed | Story::DeleteClaimed) {
            self.bed.gate.clear_faults();
        }
        if let Some(disturbance) = self.cell.disturbance {
            self.disturb(disturbance).await?;
        }
        // What the other Gate is sent has to be over before the connection leaves it for good.
        let moved = self.other.is_some();
        if !moved {
            self.second().await?;
        }
        if self.cell.restart == Restart::Late {
            self.all_at_gate_has_ended().await?;
        }
        self.start().await?;
        if let Some(disturbance) = self.cell.disturbance {
            self.undo(disturbance).await?;
        }
        if moved {
            self.second().await?;
        }
        self.quiet().await?;
        truth::check(self).await?;
        if let Some((wipe, running)) = self.cell.epilogue {
            if !running {
                self.stop();
            }
            self.disturb(wipe).await?;
            if !running {
                self.start().await?;
            }
            self.quiet().await?;
            truth::check(self).await?;
        }
        Ok(())
    }

    /// Another request for the same target.
    async fn second(&mut self) -> Result<()> {
        let spec = json!({"application": "checkout", "environment": "staging", "action": "quick", "version": "second"});
        let second = self.bed.request("second", spec).await?;
        self.second = second.uid();
        Ok(())
    }

    /// Lets the first controller work until it dies where it should.
    async fn first_controller(&mut self) -> Result<()> {
        let at = match self.cell.kill {
            Kill::At(point) => vec!["--test-crash-at", point],
            Kill::WhilePosting => vec![],
        };
        let controller = self.bed.controller_with(&at)?;
        let controller = self.controller.insert(controller);
        let first = self
            .bed
            .request("first", deploy("staging", "first"))
            .await?;
        self.first = first.uid().unwrap_or_default();
        let told = tell(&self.bed, self.cell.story).await;
        let died = match self.cell.kill {
            Kill::At(point) => {
                let died = until_dead(&self.bed, controller).await;
                died.with_context(|| format!("the controller never died {point}"))
            }
            Kill::WhilePosting => {
                let posted = wait_for("the POST", PATIENCE, async || {
                    let gate = &self.bed.gate;
                    let posts =
                        gate.count_calls(Operation::Start) + gate.count_calls(Operation::Trigger);
                    ensure!(posts > 0, "none");
                    Ok(())
                });
                posted.await
            }
        };
        // Whoever died before the story was told may be why it could not be.
        died.and(told)?;
        let log = controller.log();
        if let Kill::At(point) = self.cell.kill {
            let name = self.cell.point().unwrap_or_default();
            ensure!(
                log.contains(&format!("crash point {name}: aborting, as asked")),
                "the controller died, but not {point}"
            );
        }
        self.stop();
        Ok(())
    }

    fn stop(&mut self) {
        if let Some(controller) = self.controller.take() {
            self.logs.push(controller.log());
            controller.kill();
        }
    }

    /// Starts the next controller, which need not wait for the Lease of the one that died.
    async fn start(&mut self) -> Result<()> {
        let leases: Api<Lease> = self.bed.api();
        let deleted = leases
            .delete("foredeck-controller", &DeleteParams::default())
            .await;
        if let Err(error) = deleted {
            ensure!(
                matches!(&error, kube::Error::Api(status) if status.code == 404),
                "delete the Lease: {error}"
            );
        }
        self.controller = Some(self.bed.controller()?);
        Ok(())
    }

    async fn all_at_gate_has_ended(&self) -> Result<()> {
        let gate = &self.bed.gate;
        if self.cell.trouble.is_some_and(Trouble::lingers) {
            abandoned_is_over(gate).await?;
        }
        if self.cell.work() == ENDLESS {
            for launch in gate.launches() {
                let status = gate.status(&launch.execution_id);
                if status.is_some_and(|status| !status.is_complete()) {
                    gate.finish(&launch.execution_id);
                }
            }
        }
        // Longer than an execution would have lasted that was accepted at this moment.
        tokio::time::sleep(self.cell.work().min(SEEN) + Duration::from_millis(200)).await;
        wait_for("all executions to end", PATIENCE, async || {
            for launch in gate.launches() {
                let status = gate.status(&launch.execution_id);
                ensure!(
                    status.is_none_or(Status::is_complete),
                    "{launch:?} is {status:?}"
                );
            }
            Ok(())
        })
        .await
    }

    async fn disturb(&self, disturbance: Disturbance) -> Result<()> {
        let bed = &self.bed;
        let url = |url: String| json!({"spec": {"gateUrl": url}});
        match disturbance {
            Disturbance::Cancel => drop(bed.cancel("first").await?),
            Disturbance::Delete => bed.delete::<DeployRequest>("first").await?,
            Disturbance::WipeRequest => bed.wipe_status::<DeployRequest>("first").await?,
            Disturbance::WipeTarget => self.wipe_target().await?,
            Disturbance::WipeBoth => {
                bed.wipe_status::<DeployRequest>("first").await?;
                self.wipe_target().await?;
            }
            Disturbance::DeleteTarget => {
                for target in bed.targets().await? {
                    bed.delete::<DeployTarget>(&target.name_any()).await?;
                }
            }
            Disturbance::RewindTarget => self.rewind_target().await?,
            Disturbance::DeleteAndWipe => {
                bed.delete::<DeployRequest>("first").await?;
                self.wipe_target().await?;
            }
            Disturbance::MoveConnection => {
                let other = self.other.as_ref().map(StandInGate::url);
                bed.merge::<SpinnakerConnection>("gate", url(other.unwrap_or_default()))
                    .await?;
            }
            Disturbance::KillConnection => {
                bed.merge::<SpinnakerConnection>("gate", url("http://127.0.0.1:1".to_owned()))
                    .await?;
            }
            Disturbance::ChangeTrigger => {
                bed.merge::<SpinnakerConnection>("gate", json!({"spec": {"trigger": "V1"}}))
                    .await?;
            }
            Disturbance::GateDown => bed.gate.stop().await,
            Disturbance::OrcaDown => bed.gate.set_orca_down(true),
        }
        Ok(())
    }

    async fn wipe_target(&self) -> Result<()> {
        for target in self.bed.targets().await? {
            self.bed
                .wipe_status::<DeployTarget>(&target.name_any())
                .await?;
        }
        Ok(())
    }

    async fn rewind_target(&self) -> Result<()> {
        for target in self.bed.targets().await? {
            let active = target
                .status
                .as_ref()
                .and_then(|status| status.active.as_ref());
            if active.is_none() {
                continue;
            }
            let unsent = json!({"attempt": {"sentAt": null}, "sends": 0, "execution": null});
            let claimed = Patch::Merge(json!({"status": {"active": unsent, "keys": null}}));
            let targets: Api<DeployTarget> = self.bed.api();
            targets
                .patch_status(&target.name_any(), &PatchParams::default(), &claimed)
                .await?;
        }
        Ok(())
    }

    /// What passes by itself does so when the new controller has said something about it.
    async fn undo(&mut self, disturbance: Disturbance) -> Result<()> {
        if !matches!(
            disturbance,
            Disturbance::MoveConnection
                | Disturbance::KillConnection
                | Disturbance::GateDown
                | Disturbance::OrcaDown
        ) {
            return Ok(());
        }
        self.bed
            .until("first", "says why it waits, or has ended", |request| {
                let status = request.status.clone().unwrap_or_default();
                let why = status.waiting.map(|waiting| waiting.message);
                phase_of(request).is_terminal() || why.is_some_and(|why| !why.is_empty())
            })
            .await?;
        if disturbance == Disturbance::MoveConnection {
            wait_for("the other Gate to be left", PATIENCE, async || {
                for target in self.bed.targets().await? {
                    let active = target.status.and_then(|status| status.active);
                    let foreign = active.filter(|active| {
                        active.attempt.sent_at.is_some()
                            && active.attempt.pinned.gate_url != self.bed.gate.url()
                    });
                    ensure!(foreign.is_none(), "{foreign:?}");
                }
                Ok(())
            })
            .await?;
        }
        match disturbance {
            Disturbance::GateDown => self.bed.gate.restart().await?,
            Disturbance::OrcaDown => self.bed.gate.set_orca_down(false),
            _ => {
                let back = json!({"spec": {"gateUrl": self.bed.gate.url()}});
                self.bed.merge::<SpinnakerConnection>("gate", back).await?;
            }
        }
        Ok(())
    }

    /// Waits until every request has ended and no target is held. One that waits for a person gets one: it is cancelled,
    /// and then has to end as well.
    async fn quiet(&mut self) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            let seen = match self.look().await {
                Ok(()) => break,
                Err(seen) => seen,
            };
            if Instant::now() >= end {
                bail!("not quiet after {PATIENCE:?}: {seen:#}");
            }
            if let Some(controller) = &mut self.controller
                && controller.ended().is_some()
            {
                // As whatever runs it in production would.
                ensure!(self.logs.len() < 5, "controllers keep ending");
                self.stop();
                self.start().await?;
            }
            tokio::time::sleep(LOOK).await;
        }
        if self.cell.trouble.is_some_and(Trouble::lingers) {
            abandoned_is_over(&self.bed.gate).await?;
        }
        Ok(())
    }

    async fn look(&mut self) -> Result<()> {
        let requests: Api<DeployRequest> = self.bed.api();
        for name in ["first", "second"] {
            if name == "second" && self.second.is_none() {
                continue;
            }
            let Some(request) = requests.get_opt(name).await? else {
                ensure!(name == "first" && self.cell.is_deleted(), "{name} is gone");
                continue;
            };
            let phase = phase_of(&request);
            let waiting = request
                .status
                .as_ref()
                .and_then(|status| status.waiting.clone());
            if phase == Phase::Unknown
                && let Some(waiting) = waiting
                && waiting.subject == WaitingFor::Person
                && !waiting.message.is_empty()
                && !self.cancelled
                && self.undone()
            {
                self.bed.cancel(name).await?;
                self.cancelled = true;
            }
            ensure!(phase.is_terminal(), "{name} is {phase:?}");
            // Where Gate couldn't be asked at the end, Spinnaker's own word follows later.
            let execution = request.status.and_then(|status| status.execution);
            if let Some(execution) = execution {
                let shown = self.gates().find_map(|gate| gate.status(&execution.id));
                ensure!(
                    shown.is_none_or(|shown| shown.word() == execution.status),
                    "{name} says {} of an execution that is {shown:?}",
                    execution.status
                );
            }
        }
        for target in self.bed.targets().await? {
            let status = target.status.clone().unwrap_or_default();
            ensure!(
                status.initialized.is_some(),
                "{} is not initialised",
                target.name_any()
            );
            ensure!(status.active.is_none(), "{} is held", target.name_any());
        }
        Ok(())
    }

    /// A connection that was moved has to mend things when it is back, without a person.
    fn undone(&self) -> bool {
        matches!(self.cell.disturbance, Some(Disturbance::ChangeTrigger))
    }

    /// All logs, oldest first.
    pub(super) fn logs(&self) -> Vec<String> {
        let current = self.controller.as_ref().map(Controller::log);
        self.logs.iter().cloned().chain(current).collect()
    }

    pub(super) fn gates(&self) -> impl Iterator<Item = &StandInGate> {
        std::iter::once(&self.bed.gate).chain(&self.other)
    }
}

async fn tell(bed: &Bed, story: Story) -> Result<()> {
    match story {
        Story::Plain => return Ok(()),
        Story::CancelRunning | Story::DeleteRunning => {
            bed.until_phase("first", Phase::Running).await?;
        }
        Story::CancelUnknown | Story::DeleteUnknown => {
            bed.until_phase("first", Phase::Unknown).await?;
        }
        Story::CancelClaimed | Story::DeleteClaimed => {
            wait_for("the claim", PATIENCE, async || {
                let status = bed.target("staging").await?.status.unwrap_or_default();
                ensure!(status.active.is_some(), "nobody holds the target");
                Ok(())
            })
            .await?;
        }
    }
    if story.cancels() {
        bed.cancel("first").await.map(drop)
    } else {
        bed.delete::<DeployRequest>("first").await
    }
}

/// Waits until the controller has died, or there is nothing left that it could die of.
async fn until_dead(bed: &Bed, controller: &mut Controller) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    let mut over = 0;
    for look in 1_u32.. {
        if controller.ended().is_some() {
            break;
        }
        ensure!(Instant::now() < end, "it lives after {PATIENCE:?}");
        if look % 8 == 0 {
            let requests: Api<DeployRequest> = bed.api();
            let request = requests.get_opt("first").await?;
            over += u32::from(request.is_some_and(|request| phase_of(&request).is_terminal()));
            ensure!(over < 4, "the request ended before");
        }
        tokio::time::sleep(LOOK / 4).await;
    }
    Ok(())
}

/// Waits until the start that was abandoned has done what it does.
async fn abandoned_is_over(gate: &StandInGate) -> Result<()> {
    let abandoned = gate
        .calls()
        .iter()
        .filter(|call| call.fault == Some("AbandonedStart"))
        .map(|call| call.at)
        .max();
    let Some(at) = abandoned else { return Ok(()) };
    let over = Duration::from_millis(at) + ABANDONED + Duration::from_millis(300);
    wait_for("the abandoned start", PATIENCE, async || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
        ensure!(now >= over, "it is not over");
        Ok(())
    })
    .await
}

fn quick_pipeline(gate: &StandInGate) {
    gate.put_pipeline(
        Pipeline::new("checkout", "Quick")
            .parameter(Parameter::new("account").required())
            .parameter(Parameter::new("namespace").required())
            .stage(Stage::deploy("Deploy", Duration::from_millis(300))),
    );
}
