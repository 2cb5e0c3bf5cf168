//! One request at a time on a target: queue, reject, supersede, expiry.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use foredeck::api::{
    DeployRequest,
    deploy_request::{Phase, WaitingFor},
};
use foredeck_testkit::gate::Stage;
use kube::ResourceExt;
use serde_json::json;

use crate::support::{Bed, deploy, message, phase_of, reason};

/// Until somebody says that it ends.
const LONG: Duration = Duration::from_mins(10);

/// The order of the queue, which no two requests share.
fn by_age(mut requests: Vec<DeployRequest>) -> Vec<DeployRequest> {
    requests.sort_by_key(|request| {
        (
            request.creation_timestamp().map(|time| time.0),
            request.uid(),
        )
    });
    requests
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_runs_one_at_a_time_in_order_and_does_not_hold_up_another() -> Result<()> {
    let bed = Bed::new("queue", LONG).await?;
    let _controller = bed.controller()?;
    let first = bed.deploy("first").await?;
    let running = bed.until_launched(&first).await?;
    let mut waiting = Vec::new();
    for name in ["second", "third", "fourth"] {
        waiting.push(bed.deploy(name).await?);
    }
    let elsewhere = bed
        .request("elsewhere", deploy("production", "main"))
        .await?;
    bed.until_launched(&elsewhere).await?;
    for request in &waiting {
        let queued = bed.until_phase(&request.name_any(), Phase::Queued).await?;
        ensure!(reason(&queued, "Reconciling") == "Queued", "{queued:?}");
        ensure!(
            message(&queued).contains("\"first\" holds the target"),
            "{}",
            message(&queued)
        );
        let waits = queued
            .status
            .and_then(|status| status.waiting)
            .context("it does not wait")?;
        ensure!(
            waits.subject == WaitingFor::Queue && waits.until.is_some(),
            "{waits:?}"
        );
    }
    let [second, third, fourth] = by_age(waiting).try_into().ok().context("three")?;
    // Cancelled in the queue: nothing was started, and the others move up.
    bed.cancel(&third.name_any()).await?;
    let canceled = bed.until_phase(&third.name_any(), Phase::Canceled).await?;
    ensure!(
        message(&canceled) == "cancelled before anything was started: changed my mind.",
        "{}",
        message(&canceled)
    );

    let mut ends = running;
    let mut holder = first;
    for next in [second, fourth] {
        ensure!(bed.gate.finish(&ends));
        bed.until_phase(&holder.name_any(), Phase::Succeeded)
            .await?;
        let seen = jiff::Timestamp::now().as_millisecond();
        ends = bed.until_launched(&next).await?;
        let launched = bed.gate.launches_of(&next.uid().unwrap_or_default())[0].at;
        ensure!(
            i64::try_from(launched)? < seen + 2_000,
            "its turn came {} ms before its start",
            i64::try_from(launched)? - seen
        );
        holder = next;
    }
    ensure!(bed.gate.finish(&ends));
    bed.until_phase(&holder.name_any(), Phase::Succeeded)
        .await?;
    ensure!(bed.launches(&third) == 0 && bed.gate.launches().len() == 4);
    for (key, peak) in bed.gate.peak_concurrency() {
        ensure!(
            !key.starts_with("target/") || peak == 1,
            "{key}: {peak} at once"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_while_a_target_is_taken_gets_what_the_environment_says() -> Result<()> {
    let bed = Bed::new("taken", LONG).await?;
    for (name, protection) in [
        ("rejecting", json!({"concurrency": "Reject"})),
        ("superseding", json!({"concurrency": "Supersede"})),
        ("hasty", json!({"expireAfter": "2s"})),
    ] {
        bed.another_environment(name, protection, [Stage::held("Deploy")])
            .await?;
    }
    let _controller = bed.controller()?;
    let mut holders = Vec::new();
    for name in ["rejecting", "superseding", "hasty"] {
        let holder = bed
            .request(&format!("{name}-first"), deploy(name, "v1"))
            .await?;
        holders.push((bed.until_launched(&holder).await?, holder));
    }

    let rejected = bed.request("rejected", deploy("rejecting", "v2")).await?;
    let ended = bed.until_phase("rejected", Phase::Failed).await?;
    ensure!(reason(&ended, "Succeeded") == "TargetBusy", "{ended:?}");
    ensure!(
        message(&ended).contains("\"rejecting-first\" holds the target")
            && message(&ended).contains("ask again"),
        "{}",
        message(&ended)
    );

    let late = bed.request("late", deploy("hasty", "v2")).await?;
    let mut line = Vec::new();
    for name in [
        "superseding-second",
        "superseding-third",
        "superseding-fourth",
    ] {
        line.push(bed.request(name, deploy("superseding", name)).await?);
    }
    let mut line = by_age(line);
    let newest = line.pop().context("nobody")?;
    for older in &line {
        let ended = bed.until_phase(&older.name_any(), Phase::Canceled).await?;
        ensure!(reason(&ended, "Succeeded") == "Superseded", "{ended:?}");
        ensure!(
            message(&ended).contains("took its place")
                && message(&ended).contains("nothing was started"),
            "{}",
            message(&ended)
        );
    }
    let ended = bed.until_phase("late", Phase::Expired).await?;
    ensure!(reason(&ended, "Succeeded") == "Expired", "{ended:?}");
    ensure!(
        message(&ended).contains("could not start within 2s")
            && message(&ended).contains("\"hasty-first\" holds the target"),
        "{}",
        message(&ended)
    );
    ensure!(phase_of(&bed.get(&newest.name_any()).await?) == Phase::Queued);

    for (execution, holder) in &holders {
        ensure!(
            phase_of(&bed.get(&holder.name_any()).await?) == Phase::Running,
            "{} was touched",
            holder.name_any()
        );
        ensure!(bed.gate.finish(execution));
        bed.until_phase(&holder.name_any(), Phase::Succeeded)
            .await?;
    }
    let execution = bed.until_launched(&newest).await?;
    ensure!(bed.gate.finish(&execution));
    bed.until_phase(&newest.name_any(), Phase::Succeeded)
        .await?;
    ensure!(
        line.iter()
            .chain([&rejected, &late])
            .all(|request| bed.launches(request) == 0)
    );
    Ok(())
}
