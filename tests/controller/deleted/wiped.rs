//! Targets that are deleted, or lose what they say: what is known elsewhere is put together again.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use foredeck::{
    api::{DeployRequest, DeployTarget, Environment, deploy_request::Phase},
    domain::ids,
};
use foredeck_testkit::gate::{Effect, Fault, Operation, Status};
use kube::{
    ResourceExt,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::ENDLESS;
use crate::support::{Bed, deploy, message, reason};

#[derive(Debug, Clone, Copy)]
enum Damage {
    Deleted,
    Wiped,
}

impl Bed {
    async fn damage(&self, damage: Damage) -> Result<()> {
        let name = self.target("staging").await?.name_any();
        match damage {
            Damage::Deleted => self.delete::<DeployTarget>(&name).await,
            Damage::Wiped => self.wipe_status::<DeployTarget>(&name).await,
        }
    }

    /// A deployment to staging that ran and ended.
    async fn one_done(&self, name: &str) -> Result<DeployRequest> {
        let request = self.request(name, deploy("staging", name)).await?;
        self.until_phase(name, Phase::Running).await?;
        ensure!(self.finish(&request));
        self.until_phase(name, Phase::Succeeded).await?;
        self.until_free().await?;
        Ok(request)
    }

    /// Merges into the status of staging's target, which may not decode before or after.
    async fn scribble(&self, name: &str, status: Value) -> Result<()> {
        let resource = ApiResource::erase::<DeployTarget>(&());
        let api: kube::Api<DynamicObject> =
            kube::Api::namespaced_with(self.client.clone(), &self.namespace, &resource);
        let patch = Patch::Merge(json!({"status": status}));
        api.patch_status(name, &PatchParams::default(), &patch)
            .await?;
        Ok(())
    }
}

async fn a_target_lost_while_a_request_runs(prefix: &str, damage: Damage) -> Result<()> {
    let bed = Bed::new(prefix, ENDLESS).await?;
    let _controller = bed.controller()?;
    let done = bed.one_done("done").await?;
    let forgotten = bed.one_done("forgotten").await?;
    bed.delete::<DeployRequest>("forgotten").await?;
    let (first, second) = bed.one_runs_one_waits().await?;
    bed.damage(damage).await?;
    let rebuilt = bed.until_held_by(&first).await?;
    for request in [&done, &forgotten] {
        let uid = request.uid().unwrap_or_default();
        ensure!(rebuilt.history.iter().any(|run| run.uid == uid));
        ensure!(rebuilt.keys.iter().any(|key| key.uid == uid));
    }
    ensure!(rebuilt.keys.len() == 3, "{:?}", rebuilt.keys);
    bed.until_phase("second", Phase::Queued).await?;
    bed.until_phase("first", Phase::Running).await?;
    bed.ends_one_after_the_other(&first, &second).await?;
    bed.until_phase("first", Phase::Succeeded).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_deleted_while_a_request_runs_is_held_by_it_again() -> Result<()> {
    a_target_lost_while_a_request_runs("target-a", Damage::Deleted).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_wiped_while_a_request_runs_is_held_by_it_again() -> Result<()> {
    a_target_lost_while_a_request_runs("target-b", Damage::Wiped).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_wiped_while_its_deleted_request_runs_is_held_by_it_again() -> Result<()> {
    let bed = Bed::new("target-c", ENDLESS).await?;
    let _controller = bed.controller()?;
    let (first, second) = bed.one_runs_one_waits().await?;
    bed.delete::<DeployRequest>("first").await?;
    bed.damage(Damage::Wiped).await?;
    bed.until_held_by(&first).await?;
    bed.ends_one_after_the_other(&first, &second).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_is_found_however_many_ran_since() -> Result<()> {
    let bed = Bed::new("target-i", ENDLESS).await?;
    let _controller = bed.controller()?;
    let (first, second) = bed.one_runs_one_waits().await?;
    // Somebody else's, of the same pipeline: more than are looked through.
    let pipeline = bed.gate.launches()[0].pipeline_config_id.clone();
    let config = bed.gate.config(&pipeline).context("the pipeline")?;
    let client = reqwest::Client::new();
    for number in 0..120 {
        let mut body = config.clone();
        body["trigger"] = json!({"type": "manual", "parameters": {
            "account": format!("other-{number}"), "namespace": "other", "branch": "main",
        }});
        let start = client.post(format!("{}/pipelines/start", bed.gate.url()));
        let body = body.to_string();
        let start = start.header("Content-Type", "application/json").body(body);
        start.send().await?.error_for_status()?;
    }
    for launch in bed.gate.launches().iter().skip(1) {
        bed.gate.finish(&launch.execution_id);
    }
    bed.delete::<DeployRequest>("first").await?;
    bed.damage(Damage::Deleted).await?;
    bed.until_held_by(&first).await?;
    bed.ends_one_after_the_other(&first, &second).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_lost_while_it_is_idle_still_knows_what_ran() -> Result<()> {
    let bed = Bed::new("target-d", ENDLESS).await?;
    let _controller = bed.controller()?;
    let done = bed.one_done("done").await?;
    let forgotten = bed.one_done("forgotten").await?;
    bed.delete::<DeployRequest>("forgotten").await?;
    let before = bed.target("staging").await?.status.unwrap_or_default();
    for damage in [Damage::Deleted, Damage::Wiped] {
        bed.damage(damage).await?;
        bed.request("forgotten", deploy("staging", "forgotten"))
            .await?;
        let again = bed.until_phase("forgotten", Phase::Succeeded).await?;
        ensure!(reason(&again, "Succeeded") == "AlreadyRan", "{again:?}");
        bed.delete::<DeployRequest>("forgotten").await?;
        let after = bed
            .until_target("staging", "rebuilt", |status| status.initialized.is_some())
            .await?;
        let names = |runs: &[foredeck::api::deploy_target::Run]| {
            runs.iter().map(|run| run.name.clone()).collect::<Vec<_>>()
        };
        ensure!(names(&after.history) == names(&before.history), "{after:?}");
        ensure!(after.keys.len() == before.keys.len(), "{after:?}");
        ensure!(after.current.as_ref().map(super::version_of) == Some("forgotten"));
    }
    ensure!(bed.launches(&done) == 1 && bed.launches(&forgotten) == 1);
    ensure!(bed.gate.launches().len() == 2);
    let next = bed.request("next", deploy("staging", "next")).await?;
    bed.until_launched(&next).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_lost_while_a_start_is_unknown_is_not_sent_to_again() -> Result<()> {
    let bed = Bed::new("target-e", ENDLESS).await?;
    let _controller = bed.controller()?;
    let after = Duration::from_secs(2);
    bed.gate.inject(Fault::new(
        Operation::Start,
        Effect::AbandonedStart { after },
    ));
    let first = bed.deploy("first").await?;
    bed.until_phase("first", Phase::Unknown).await?;
    let second = bed.request("second", deploy("staging", "v2")).await?;
    bed.damage(Damage::Deleted).await?;
    bed.until_held_by(&first).await?;
    bed.until_phase("second", Phase::Queued).await?;
    bed.until_phase("first", Phase::Running).await?;
    bed.ends_one_after_the_other(&first, &second).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_and_a_target_that_both_lost_their_status_are_found_again() -> Result<()> {
    let bed = Bed::new("target-f", ENDLESS).await?;
    let controller = bed.controller()?;
    let (first, second) = bed.one_runs_one_waits().await?;
    controller.kill();
    for request in ["first", "second"] {
        bed.wipe_status::<DeployRequest>(request).await?;
    }
    bed.damage(Damage::Wiped).await?;
    let _controller = bed.controller()?;
    bed.until_held_by(&first).await?;
    bed.until_phase("first", Phase::Running).await?;
    bed.until_phase("second", Phase::Queued).await?;
    // And while somebody works.
    bed.wipe_status::<DeployRequest>("first").await?;
    bed.damage(Damage::Wiped).await?;
    bed.until_held_by(&first).await?;
    bed.until_phase("first", Phase::Running).await?;
    bed.ends_one_after_the_other(&first, &second).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_that_meets_a_lost_target_still_cancels_what_runs() -> Result<()> {
    let bed = Bed::new("target-g", ENDLESS).await?;
    let controller = bed.controller()?;
    let (first, second) = bed.one_runs_one_waits().await?;
    controller.kill();
    bed.damage(Damage::Deleted).await?;
    bed.cancel("first").await?;
    let _controller = bed.controller()?;
    let ended = bed.until_phase("first", Phase::Canceled).await?;
    let execution = ended.status.and_then(|status| status.execution);
    let execution = execution.context("its execution")?;
    ensure!(bed.gate.status(&execution.id) == Some(Status::Canceled));
    bed.until_launched(&second).await?;
    ensure!(bed.launches(&first) == 1 && bed.peak() == 1);
    Ok(())
}

/// The schema takes any offset, which no clock has.
const UNREADABLE: &str = "2026-01-01T00:00:00+99:99";

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_cannot_be_read_blocks_until_it_is_mended() -> Result<()> {
    let bed = Bed::new("target-h", ENDLESS).await?;
    let _controller = bed.controller()?;
    bed.one_done("done").await?;
    let target = bed.target("staging").await?;
    let initialized = serde_json::to_value(&target)?["status"]["initialized"].clone();
    bed.scribble(&target.name_any(), json!({"initialized": UNREADABLE}))
        .await?;
    ensure!(bed.target("staging").await.is_err());
    let first = bed.deploy("first").await?;
    let waits = bed
        .until("first", "waits for a person", |request| {
            reason(request, "Stalled") == "TargetUnreadable"
        })
        .await?;
    ensure!(message(&waits).contains("mends or deletes"), "{waits:?}");
    ensure!(bed.launches(&first) == 0);
    bed.scribble(&target.name_any(), json!({"initialized": initialized}))
        .await?;
    bed.until_phase("first", Phase::Running).await?;

    // And under a request that runs.
    let second = bed.request("second", deploy("staging", "v2")).await?;
    bed.until_phase("second", Phase::Queued).await?;
    bed.scribble(&target.name_any(), json!({"initialized": UNREADABLE}))
        .await?;
    for name in ["first", "second"] {
        bed.until(name, "waits for a person", |request| {
            reason(request, "Stalled") == "TargetUnreadable"
        })
        .await?;
    }
    ensure!(bed.launches(&second) == 0);
    bed.scribble(&target.name_any(), json!({"initialized": initialized}))
        .await?;
    bed.until_phase("first", Phase::Running).await?;
    bed.ends_one_after_the_other(&first, &second).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_not_what_its_name_says_is_not_used_until_it_is_deleted() -> Result<()> {
    let bed = Bed::new("target-j", ENDLESS).await?;
    let _controller = bed.controller()?;
    let staging = bed.api::<Environment>().get("staging").await?;
    let name = ids::target_name("checkout", "staging", &staging.spec.target);
    let forged = json!({
        "application": "checkout", "environment": "staging", "place": {"account": "eks-staging", "namespace": "toy"},
    });
    bed.create::<DeployTarget>(&name, forged).await?;
    bed.until_event(&name, "TargetUnreadable").await?;
    let first = bed.deploy("first").await?;
    let waits = bed
        .until("first", "waits for a person", |request| {
            reason(request, "Stalled") == "TargetUnreadable"
        })
        .await?;
    ensure!(message(&waits).contains("delete it"), "{waits:?}");
    ensure!(bed.launches(&first) == 0);
    let untouched = bed.target("staging").await?;
    ensure!(untouched.status.is_none(), "{untouched:?}");

    bed.delete::<DeployTarget>(&name).await?;
    bed.until_phase("first", Phase::Running).await?;
    let own = bed.target("staging").await?;
    ensure!(own.spec.place == staging.spec.target, "{own:?}");
    Ok(())
}
