//! Requests that are deleted and stay, since somebody's finalizer keeps them: they count as gone.

use anyhow::{Context, Result, ensure};
use foredeck::api::{
    DeployFreeze, DeployRequest,
    deploy_request::{DecisionKind, Phase},
};
use foredeck_testkit::{gate::Status, wait_for};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::ENDLESS;
use crate::{
    people::in_slack,
    support::{Bed, PATIENCE, deploy},
};

impl Bed {
    async fn finalizers(&self, name: &str, finalizers: Value) -> Result<()> {
        let patch = json!({"metadata": {"finalizers": finalizers}});
        self.merge::<DeployRequest>(name, patch).await.map(drop)
    }

    /// Deletes a request that stays.
    async fn delete_kept(&self, name: &str) -> Result<()> {
        self.finalizers(name, json!(["example.com/kept"])).await?;
        self.delete::<DeployRequest>(name).await?;
        self.ensure_kept(name).await
    }

    async fn ensure_kept(&self, name: &str) -> Result<()> {
        let kept = self.get(name).await?;
        ensure!(kept.metadata.deletion_timestamp.is_some(), "{kept:?}");
        Ok(())
    }

    /// How many of its decisions say that it was cancelled.
    async fn canceled(&self, name: &str) -> Result<usize> {
        let decisions = self.get(name).await?.status.unwrap_or_default().decisions;
        let canceled = decisions
            .iter()
            .filter(|decision| decision.what == DecisionKind::Canceled);
        Ok(canceled.count())
    }

    async fn let_go_of(&self, name: &str) -> Result<()> {
        self.finalizers(name, Value::Null).await?;
        wait_for(&format!("{name} is gone"), PATIENCE, async || {
            let found = self.api::<DeployRequest>().get_opt(name).await?;
            ensure!(found.is_none(), "{found:?}");
            Ok(())
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_a_finalizer_keeps_is_followed_to_its_end() -> Result<()> {
    let bed = Bed::new("kept", ENDLESS).await?;
    let controller = bed.controller()?;
    let (first, second) = bed.one_runs_one_waits().await?;
    bed.delete_kept("first").await?;
    bed.ends_one_after_the_other(&first, &second).await?;
    bed.ensure_kept("first").await?;
    let before = bed.target("staging").await?.status.unwrap_or_default();
    bed.let_go_of("first").await?;
    let third = bed.request("third", deploy("staging", "v3")).await?;
    bed.until_launched(&third).await?;
    let after = bed.until_held_by(&third).await?;
    ensure!(after.history == before.history && after.current == before.current);
    let uid = first.uid().unwrap_or_default();
    let lines = controller.audit()?;
    let starts = lines
        .iter()
        .filter(|line| line["uid"] == uid.as_str() && line["what"] == "Started");
    ensure!(starts.count() == 1, "{lines:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_a_finalizer_keeps_in_line_is_in_nobodys_way() -> Result<()> {
    let bed = Bed::new("kept-line", ENDLESS).await?;
    let _controller = bed.controller()?;
    let (first, second) = bed.one_runs_one_waits().await?;
    bed.delete_kept("second").await?;
    let third = bed.request("third", deploy("staging", "v3")).await?;
    bed.until_phase("third", Phase::Queued).await?;
    bed.ends_one_after_the_other(&first, &third).await?;
    bed.ensure_kept("second").await?;
    ensure!(bed.launches(&second) == 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_request_runs_that_a_finalizer_keeps_is_cancelled_by_people_and_freezes()
-> Result<()> {
    let bed = Bed::new("kept-cancel", ENDLESS).await?;
    let controller = bed.controller()?;
    let people = bed.deploy("people").await?;
    let freeze = bed.request("freeze", deploy("production", "main")).await?;
    for request in [&people, &freeze] {
        let name = request.name_any();
        bed.until_phase(&name, Phase::Running).await?;
        bed.delete_kept(&name).await?;
    }
    bed.cancel("people").await?;
    let books =
        json!({"reason": "the books are counted", "environments": ["prod*"], "running": "Cancel"});
    bed.create::<DeployFreeze>("books", books).await?;
    for request in [&people, &freeze] {
        let run = bed.until_in_history(request).await?;
        ensure!(run.phase == Phase::Canceled, "{run:?}");
        let execution = bed.until_launched(request).await?;
        ensure!(bed.gate.status(&execution) == Some(Status::Canceled));
        ensure!(bed.launches(request) == 1);
        bed.ensure_kept(&request.name_any()).await?;
    }
    // What people wanted stands in the request and was told, once; a freeze's end is nobody's decision.
    for (request, wanted) in [(&people, 1), (&freeze, 0)] {
        ensure!(bed.canceled(&request.name_any()).await? == wanted);
        let uid = request.uid().unwrap_or_default();
        let lines = controller.audit()?;
        let told = lines
            .iter()
            .filter(|line| line["uid"] == uid.as_str() && line["what"] == "Canceled")
            .collect::<Vec<_>>();
        ensure!(told.len() == wanted, "{lines:?}");
        ensure!(
            told.iter().all(|line| line["why"] == "changed my mind"),
            "{told:?}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_that_was_heeded_before_a_request_was_deleted_stays_so() -> Result<()> {
    let bed = Bed::new("kept-heeded", ENDLESS).await?;
    bed.let_people_write().await?;
    let controller = bed.controller()?;
    let request = bed.deploy("first").await?;
    let runs = bed.until_phase("first", Phase::Running).await?;
    controller.kill();
    // A controller wrote that down and came no further; who wanted it may not any more.
    let decisions = runs.status.unwrap_or_default().decisions;
    let mut decisions = serde_json::to_value(decisions)?;
    let canceled =
        json!({"at": "2026-03-02T12:00:00Z", "what": "Canceled", "by": "bob@corp.example"});
    let all = decisions.as_array_mut().context("they are a list")?;
    all.push(canceled);
    bed.merge_status("first", json!({"status": {"decisions": decisions}}))
        .await?;
    bed.cancel_in_slack("first", &in_slack("bob@corp.example", "U2"))
        .await?;
    bed.delete_kept("first").await?;
    let _controller = bed.controller()?;
    let run = bed.until_in_history(&request).await?;
    ensure!(run.phase == Phase::Canceled, "{run:?}");
    let execution = bed.until_launched(&request).await?;
    ensure!(bed.gate.status(&execution) == Some(Status::Canceled));
    ensure!(bed.canceled("first").await? == 1);
    Ok(())
}
