//! What ran before: idempotency keys, history, rollback, restart, copies.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use foredeck::api::{DeployRequest, DeployTarget, deploy_request::Phase};
use foredeck_testkit::gate::{Effect, Fault, Operation};
use kube::{ResourceExt, api::PostParams};
use serde_json::{Value, json};

use crate::support::{Bed, deploy, message, reason};

const QUICK: Duration = Duration::from_millis(50);

impl Bed {
    async fn run(&self, name: &str, spec: Value) -> Result<DeployRequest> {
        self.request(name, spec).await?;
        self.until_phase(name, Phase::Succeeded).await
    }
}

fn keyed(key: &str, version: &str) -> Value {
    let mut spec = deploy("staging", version);
    spec["idempotencyKey"] = json!(key);
    spec
}

fn act(action: &str, environment: &str) -> Value {
    json!({"application": "checkout", "environment": environment, "action": action})
}

impl Bed {
    /// Lifts what a rollback left on staging.
    async fn unhold(&self) -> Result<()> {
        let target = self.target("staging").await?;
        let hold = target
            .status
            .as_ref()
            .and_then(|status| status.hold.as_ref());
        let uid = &hold.context("no hold")?.uid;
        let unhold = json!({"spec": {"unhold": {"uid": uid}}});
        self.merge::<DeployTarget>(&target.name_any(), unhold)
            .await?;
        Ok(())
    }
}

fn resolved(request: &DeployRequest) -> Option<String> {
    request.status.as_ref()?.resolved.as_ref()?.version.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ran_under_a_key_runs_once_whoever_asks_again() -> Result<()> {
    let bed = Bed::new("keys", QUICK).await?;
    let _controller = bed.controller()?;
    let original = bed.run("release", deploy("staging", "v1")).await?;
    bed.delete::<DeployRequest>("release").await?;
    let again = bed.run("release", deploy("staging", "v1")).await?;
    ensure!(original.uid() != again.uid());
    ensure!(reason(&again, "Succeeded") == "AlreadyRan", "{again:?}");
    let execution = original
        .status
        .and_then(|status| status.execution)
        .context("no execution")?
        .id;
    let text = message(&again);
    ensure!(
        text.contains("as \"release\"")
            && text.contains(&execution)
            && text.contains("give it another name or idempotency key"),
        "{text}"
    );

    bed.run("seven", keyed("release-7", "v2")).await?;
    let seventh = bed.run("seven-again", keyed("release-7", "v2")).await?;
    ensure!(
        reason(&seventh, "Succeeded") == "AlreadyRan" && message(&seventh).contains("\"seven\""),
        "{}",
        message(&seventh)
    );
    bed.request("seven-else", keyed("release-7", "v3")).await?;
    let reused = bed.until_phase("seven-else", Phase::Failed).await?;
    ensure!(
        reason(&reused, "Succeeded") == "IdempotencyKeyReused",
        "{reused:?}"
    );
    ensure!(
        message(&reused).contains("\"seven\"") && message(&reused).contains("give it another key"),
        "{}",
        message(&reused)
    );

    // A failure is an outcome too.
    let refusal = json!({"timestamp": "2026-01-01T00:00:00Z", "status": 400, "error": "Bad Request", "message": "no such trigger"});
    bed.gate
        .inject(Fault::new(Operation::Start, Effect::Answer(400, refusal)));
    bed.request("refused", deploy("staging", "v4")).await?;
    let failed = bed.until_phase("refused", Phase::Failed).await?;
    ensure!(
        reason(&failed, "Succeeded") == "StartRefused"
            && message(&failed).contains("no such trigger"),
        "{}",
        message(&failed)
    );
    bed.delete::<DeployRequest>("refused").await?;
    bed.request("refused", deploy("staging", "v4")).await?;
    let again = bed.until_phase("refused", Phase::Failed).await?;
    ensure!(reason(&again, "Succeeded") == "AlreadyRan", "{again:?}");
    ensure!(bed.gate.launches().len() == 2 && bed.gate.count_calls(Operation::Start) == 3);

    // What was never sent has no outcome: made again, it runs.
    bed.gate
        .set_disabled(&bed.pipeline_of("seven").await?, true);
    bed.request("blocked", deploy("staging", "v5")).await?;
    bed.until_phase("blocked", Phase::Failed).await?;
    bed.gate
        .set_disabled(&bed.pipeline_of("seven").await?, false);
    bed.delete::<DeployRequest>("blocked").await?;
    let ran = bed.run("blocked", deploy("staging", "v5")).await?;
    ensure!(bed.launches(&ran) == 1);
    Ok(())
}

impl Bed {
    async fn pipeline_of(&self, name: &str) -> Result<String> {
        let status = self.get(name).await?.status.unwrap_or_default();
        Ok(status.resolved.context("not resolved")?.pipeline.id)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_goes_to_the_version_that_ran_before_and_a_restart_changes_none() -> Result<()> {
    let bed = Bed::new("rollback", QUICK).await?;
    let _controller = bed.controller()?;
    bed.request("nothing", act("rollback", "production"))
        .await?;
    let failed = bed.until_phase("nothing", Phase::Failed).await?;
    ensure!(
        reason(&failed, "Succeeded") == "NoEarlierVersion"
            && message(&failed).contains("name one in spec.version"),
        "{}",
        message(&failed)
    );

    for version in ["v1", "v2", "v3"] {
        bed.run(version, deploy("staging", version)).await?;
    }
    let restarted = bed.run("restart", act("restart", "staging")).await?;
    ensure!(
        resolved(&restarted).as_deref() == Some("v3"),
        "{restarted:?}"
    );
    let back = bed.run("back", act("rollback", "staging")).await?;
    ensure!(resolved(&back).as_deref() == Some("v2"), "{back:?}");
    let parameters = back
        .status
        .and_then(|status| status.resolved)
        .context("not resolved")?
        .parameters;
    ensure!(
        parameters.get("to").map(String::as_str) == Some("v2"),
        "{parameters:?}"
    );
    let target = bed.target("staging").await?.status.unwrap_or_default();
    ensure!(target.current.and_then(|run| run.version).as_deref() == Some("v2"));
    // Once more goes further back, not to what was left.
    let further = bed.run("further", act("rollback", "staging")).await?;
    ensure!(resolved(&further).as_deref() == Some("v1"), "{further:?}");
    bed.request("too-far", act("rollback", "staging")).await?;
    let failed = bed.until_phase("too-far", Phase::Failed).await?;
    ensure!(
        reason(&failed, "Succeeded") == "NoEarlierVersion",
        "{failed:?}"
    );
    bed.unhold().await?;
    // A target that was deleted is made anew from what ran, before anybody says that nothing did.
    for version in ["v4", "v5"] {
        bed.run(version, deploy("staging", version)).await?;
    }
    let target = bed.target("staging").await?.name_any();
    bed.delete::<DeployTarget>(&target).await?;
    let back = bed.run("after-loss", act("rollback", "staging")).await?;
    ensure!(resolved(&back).as_deref() == Some("v4"), "{back:?}");
    let mut named = act("rollback", "staging");
    named["version"] = json!("v3");
    let forward = bed.run("forward", named).await?;
    ensure!(resolved(&forward).as_deref() == Some("v3"), "{forward:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_remembers_its_last_twenty_and_a_copy_of_a_request_starts_nothing() -> Result<()> {
    let bed = Bed::new("history", QUICK).await?;
    let refusal = json!({"timestamp": "2026-01-01T00:00:00Z", "status": 400, "error": "Bad Request", "message": "no"});
    bed.gate
        .inject(Fault::new(Operation::Start, Effect::Answer(400, refusal)).permanently());
    let _controller = bed.controller()?;
    let names: Vec<String> = (0..22).map(|number| format!("release-{number}")).collect();
    for name in &names {
        bed.request(name, deploy("staging", name)).await?;
    }
    for name in &names {
        bed.until_phase(name, Phase::Failed).await?;
    }
    let target = bed.target("staging").await?.status.unwrap_or_default();
    ensure!(
        target.history.len() == 20 && target.keys.len() == 22,
        "{} and {}",
        target.history.len(),
        target.keys.len()
    );
    ensure!(target.active.is_none() && target.current.is_none());
    let sent: BTreeMap<_, _> = target.history.iter().map(|run| (&run.uid, run)).collect();
    ensure!(sent.len() == 20, "one entry each");
    ensure!(
        target
            .history
            .is_sorted_by(|newer, older| newer.finished_at.0 >= older.finished_at.0),
        "newest first"
    );
    ensure!(bed.gate.count_calls(Operation::Start) == 22);
    bed.gate.clear_faults();

    let mut copy: DeployRequest = serde_json::from_value(json!({
        "apiVersion": "foredeck.dev/v1alpha1", "kind": "DeployRequest",
        "metadata": {"name": "copy", "annotations": {"foredeck.dev/seen": "5ca1ab1e-0000-4000-8000-000000000000"}},
        "spec": deploy("production", "v1"),
    }))?;
    copy.metadata.namespace = Some(bed.namespace.clone());
    bed.api::<DeployRequest>()
        .create(&PostParams::default(), &copy)
        .await?;
    let ended = bed.until_phase("copy", Phase::Expired).await?;
    ensure!(
        reason(&ended, "Succeeded") == "Restored" && message(&ended).contains("foredeck.dev/seen"),
        "{}",
        message(&ended)
    );
    ensure!(
        bed.launches(&ended) == 0
            && bed
                .gate
                .calls_of(Operation::GetConfig)
                .iter()
                .all(|call| call.pipeline.as_deref() != Some("Deploy to production")),
        "Gate was asked for a copy"
    );
    Ok(())
}
