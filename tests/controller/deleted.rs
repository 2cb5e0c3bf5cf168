//! Deleted, pruned, wiped, restored: whatever is taken away, nothing starts a second time and what runs is followed.

mod kept;
mod restored;
mod wiped;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use foredeck::api::{
    Application, DeployRequest, DeployTarget, Environment, SpinnakerConnection,
    deploy_request::Phase,
    deploy_target::{DeployTargetStatus, Run},
};
use foredeck_testkit::{
    gate::{Effect, Fault, Operation},
    wait_for,
};
use kube::{ResourceExt, api::ListParams};
use serde_json::json;

use crate::support::{Bed, PATIENCE, application, deploy, environment, message, reason};

/// Longer than any test: an execution ends when the test says so.
const ENDLESS: Duration = Duration::from_mins(10);

fn version_of(run: &Run) -> &str {
    run.version.as_deref().unwrap_or_default()
}

impl Bed {
    async fn until_held_by(&self, request: &DeployRequest) -> Result<DeployTargetStatus> {
        let uid = request.uid();
        let what = format!("held by {}", request.name_any());
        self.until_target(&request.spec.environment, &what, |status| {
            status.initialized.is_some()
                && status.active.as_ref().map(|active| active.uid.clone()) == uid
        })
        .await
    }

    /// Waits until the target's history tells of the request, and gives that entry.
    async fn until_in_history(&self, request: &DeployRequest) -> Result<Run> {
        let uid = request.uid().unwrap_or_default();
        let what = format!("{} is history", request.name_any());
        let find =
            |status: &DeployTargetStatus| status.history.iter().find(|run| run.uid == uid).cloned();
        let status = self
            .until_target(&request.spec.environment, &what, |status| {
                find(status).is_some()
            })
            .await?;
        find(&status).context("it was there")
    }

    /// A deployment that Spinnaker runs, and one that waits for it.
    async fn one_runs_one_waits(&self) -> Result<(DeployRequest, DeployRequest)> {
        let first = self.deploy("first").await?;
        self.until_phase("first", Phase::Running).await?;
        let second = self.request("second", deploy("staging", "v2")).await?;
        self.until_phase("second", Phase::Queued).await?;
        Ok((first, second))
    }

    /// The first ends, and only then the second starts; each ran once, and never two at a time.
    async fn ends_one_after_the_other(
        &self,
        first: &DeployRequest,
        second: &DeployRequest,
    ) -> Result<()> {
        ensure!(self.launches(first) == 1 && self.launches(second) == 0);
        ensure!(self.finish(first));
        let run = self.until_in_history(first).await?;
        ensure!(run.phase == Phase::Succeeded, "{run:?}");
        self.until_launched(second).await?;
        ensure!(self.finish(second));
        self.until_phase(&second.name_any(), Phase::Succeeded)
            .await?;
        self.until_free().await?;
        ensure!(self.launches(first) == 1 && self.launches(second) == 1);
        ensure!(self.peak() == 1, "{:?}", self.gate.peak_concurrency());
        let status = self.target("staging").await?.status.unwrap_or_default();
        for request in [first, second] {
            let uid = request.uid().unwrap_or_default();
            let key = status.keys.iter().find(|record| record.uid == uid);
            let outcome = key.and_then(|record| record.outcome);
            ensure!(outcome == Some(Phase::Succeeded), "{:?}", status.keys);
        }
        Ok(())
    }

    /// Deletes everything of a kind until nothing of it is left, whatever the controller makes again meanwhile.
    async fn delete_all<K>(&self) -> Result<()>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + serde::de::DeserializeOwned
            + Clone
            + std::fmt::Debug,
    {
        wait_for("nothing is left", PATIENCE, async || {
            let all = self.api::<K>().list(&ListParams::default()).await?.items;
            for object in &all {
                // The controller may have been first.
                drop(self.delete::<K>(&object.name_any()).await);
            }
            ensure!(all.is_empty(), "{} are left", all.len());
            Ok(())
        })
        .await
    }

    async fn delete_configuration(&self) -> Result<()> {
        self.delete_all::<Environment>().await?;
        self.delete_all::<SpinnakerConnection>().await?;
        self.delete_all::<Application>().await
    }

    async fn create_configuration(&self) -> Result<()> {
        self.create::<SpinnakerConnection>("gate", self.connection())
            .await?;
        self.create::<Application>("checkout", application())
            .await?;
        for name in ["staging", "production"] {
            self.create::<Environment>(name, environment(name)).await?;
        }
        Ok(())
    }
}

// === Deleted in every phase ===

#[tokio::test(flavor = "multi_thread")]
async fn a_request_deleted_before_it_was_sent_starts_nothing() -> Result<()> {
    let bed = Bed::new("unsent", ENDLESS).await?;
    let _controller = bed.controller()?;
    let pending = bed.request("pending", deploy("nowhere", "main")).await?;
    bed.until("pending", "waits", |request| {
        reason(request, "Reconciling") == "EnvironmentNotFound"
    })
    .await?;
    let (first, queued) = bed.one_runs_one_waits().await?;
    bed.delete::<DeployRequest>("pending").await?;
    bed.delete::<DeployRequest>("second").await?;
    bed.create::<Environment>("nowhere", environment("nowhere"))
        .await?;
    // Production's next holds its target, but Gate doesn't say whether its id is free.
    bed.gate
        .inject(Fault::new(Operation::GetExecution, Effect::ServerErrorBefore).permanently());
    let starting = bed
        .request("starting", deploy("production", "main"))
        .await?;
    bed.until_phase("starting", Phase::Starting).await?;
    bed.until_held_by(&starting).await?;
    bed.delete::<DeployRequest>("starting").await?;
    bed.until_target("production", "released", |status| status.active.is_none())
        .await?;
    bed.gate.clear_faults();
    let third = bed.request("third", deploy("staging", "v3")).await?;
    bed.until_phase("third", Phase::Queued).await?;
    bed.ends_one_after_the_other(&first, &third).await?;
    for deleted in [&pending, &queued, &starting] {
        ensure!(bed.launches(deleted) == 0, "{}", deleted.name_any());
    }
    let status = bed.target("production").await?.status.unwrap_or_default();
    ensure!(status.history.is_empty() && status.keys.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_deleted_while_it_runs_is_followed_to_its_end() -> Result<()> {
    let bed = Bed::new("running", ENDLESS).await?;
    let _controller = bed.controller()?;
    let (first, second) = bed.one_runs_one_waits().await?;
    bed.delete::<DeployRequest>("first").await?;
    bed.ends_one_after_the_other(&first, &second).await?;
    let before = bed.target("staging").await?.status.unwrap_or_default();
    ensure!(before.history.len() == 2, "{:?}", before.history);
    ensure!(version_of(&before.history[1]) == "main");
    ensure!(before.current.as_ref().map(version_of) == Some("v2"));
    // Deleted after its end: nothing changes, and who comes next is next.
    bed.delete::<DeployRequest>("second").await?;
    let third = bed.request("third", deploy("staging", "v3")).await?;
    bed.until_launched(&third).await?;
    let after = bed.until_held_by(&third).await?;
    ensure!(after.history == before.history && after.current == before.current);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_deleted_while_its_start_is_unknown_keeps_its_target() -> Result<()> {
    let bed = Bed::new("sent", ENDLESS).await?;
    let _controller = bed.controller()?;
    // Nobody hears of this start until long after the caller gave up.
    let after = Duration::from_secs(2);
    bed.gate.inject(Fault::new(
        Operation::Start,
        Effect::AbandonedStart { after },
    ));
    let first = bed.deploy("first").await?;
    bed.until_phase("first", Phase::Unknown).await?;
    bed.delete::<DeployRequest>("first").await?;
    let second = bed.request("second", deploy("staging", "v2")).await?;
    bed.until_launched(&first).await?;
    bed.until_target("staging", "its execution is known", |status| {
        status
            .active
            .as_ref()
            .is_some_and(|active| active.execution.is_some())
    })
    .await?;
    bed.ends_one_after_the_other(&first, &second).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_request_whose_start_never_appears_lets_go_after_the_settle_time() -> Result<()> {
    let bed = Bed::new("lost", ENDLESS).await?;
    let _controller = bed.controller()?;
    bed.gate
        .inject(Fault::new(Operation::Start, Effect::ResetBeforeEffect));
    let first = bed.deploy("first").await?;
    bed.until_phase("first", Phase::Unknown).await?;
    bed.delete::<DeployRequest>("first").await?;
    let second = bed.request("second", deploy("staging", "v2")).await?;
    let run = bed.until_in_history(&first).await?;
    ensure!(run.phase == Phase::Canceled, "{run:?}");
    bed.until_launched(&second).await?;
    ensure!(bed.launches(&first) == 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_gitops_prunes_while_it_runs_is_not_overtaken() -> Result<()> {
    let bed = Bed::new("pruned", ENDLESS).await?;
    let _controller = bed.controller()?;
    let first = bed.request("checkout-v1", deploy("staging", "v1")).await?;
    bed.until_phase("checkout-v1", Phase::Running).await?;
    bed.delete::<DeployRequest>("checkout-v1").await?;
    let second = bed.request("checkout-v2", deploy("staging", "v2")).await?;
    let queued = bed.until_phase("checkout-v2", Phase::Queued).await?;
    ensure!(message(&queued).contains("checkout-v1"), "{queued:?}");
    bed.ends_one_after_the_other(&first, &second).await
}

// === A namespace deleted and made again ===

#[derive(Debug, Clone, Copy)]
enum First {
    Targets,
    Requests,
    Configuration,
}

async fn a_namespace_made_again_repeats_nothing(prefix: &str, first_gone: First) -> Result<()> {
    let bed = Bed::new(prefix, ENDLESS).await?;
    let _controller = bed.controller()?;
    let done = bed.request("done", deploy("production", "v0")).await?;
    bed.until_phase("done", Phase::Running).await?;
    ensure!(bed.finish(&done));
    bed.until_phase("done", Phase::Succeeded).await?;
    let (first, _) = bed.one_runs_one_waits().await?;
    match first_gone {
        First::Targets => {
            for target in bed.targets().await? {
                bed.delete::<DeployTarget>(&target.name_any()).await?;
            }
            bed.delete_all::<DeployRequest>().await?;
            bed.delete_configuration().await?;
        }
        First::Requests => {
            bed.delete_all::<DeployRequest>().await?;
            bed.delete_configuration().await?;
        }
        First::Configuration => {
            bed.delete_configuration().await?;
            bed.delete_all::<DeployRequest>().await?;
        }
    }
    bed.delete_all::<DeployTarget>().await?;
    bed.create_configuration().await?;
    // The youngest first, and with another action: what runs must be found whatever is asked for.
    let restart = json!({"application": "checkout", "environment": "staging", "action": "restart"});
    let restart = bed.request("restart", restart).await?;
    bed.until_phase("restart", Phase::Queued).await?;
    bed.until_held_by(&first).await?;
    bed.cancel("restart").await?;
    bed.until_phase("restart", Phase::Canceled).await?;
    bed.deploy("first").await?;
    bed.request("done", deploy("production", "v0")).await?;
    let second = bed.request("second", deploy("staging", "v2")).await?;
    let again = bed.until_phase("done", Phase::Succeeded).await?;
    ensure!(reason(&again, "Succeeded") == "AlreadyRan", "{again:?}");
    bed.until_phase("second", Phase::Queued).await?;
    bed.until_phase("first", Phase::Queued).await?;
    bed.ends_one_after_the_other(&first, &second).await?;
    let again = bed.until_phase("first", Phase::Succeeded).await?;
    ensure!(reason(&again, "Succeeded") == "AlreadyRan", "{again:?}");
    ensure!(bed.launches(&restart) == 0);
    ensure!(bed.gate.launches().len() == 3, "{:?}", bed.gate.launches());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_deleted_targets_first_and_made_again_repeats_nothing() -> Result<()> {
    a_namespace_made_again_repeats_nothing("space-a", First::Targets).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_deleted_requests_first_and_made_again_repeats_nothing() -> Result<()> {
    a_namespace_made_again_repeats_nothing("space-b", First::Requests).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_deleted_configuration_first_and_made_again_repeats_nothing() -> Result<()> {
    a_namespace_made_again_repeats_nothing("space-c", First::Configuration).await
}
