//! Ends that somebody or something asks for: cancel, timeout, TTL; and executions that run again after their end.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use foredeck::api::{
    DeployRequest,
    deploy_request::{Phase, WaitingFor},
};
use foredeck_testkit::{
    gate::{Effect, Fault, Operation, Stage, Status},
    wait_for,
};
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::support::{Bed, PATIENCE, deploy, message, phase_of, reason};

const LONG: Duration = Duration::from_mins(10);
const QUICK: Duration = Duration::from_millis(100);

impl Bed {
    /// A deployment to an environment of its own, whose one stage is held.
    async fn held_in(&self, environment: &str, fields: Value) -> Result<(DeployRequest, String)> {
        self.another_environment(environment, json!({}), [Stage::held("Deploy")])
            .await?;
        let mut spec = deploy(environment, "main");
        if let (Some(spec), Value::Object(fields)) = (spec.as_object_mut(), fields) {
            spec.extend(fields);
        }
        let request = self.request(environment, spec).await?;
        let execution = self.until_launched(&request).await?;
        self.until_phase(environment, Phase::Running).await?;
        Ok((request, execution))
    }

    async fn until_rerun(&self, name: &str, word: &str) -> Result<DeployRequest> {
        self.touch(name).await?;
        self.until(name, word, |request| {
            let execution = request
                .status
                .as_ref()
                .and_then(|status| status.execution.as_ref());
            execution.and_then(|execution| execution.rerun.as_deref()) == Some(word)
        })
        .await
    }
}

fn ended_as(request: &DeployRequest, why: &str, says: &[&str]) -> Result<()> {
    let text = message(request);
    ensure!(
        reason(request, "Succeeded") == why,
        "{}: {} {text}",
        request.name_any(),
        reason(request, "Succeeded")
    );
    for part in says {
        ensure!(
            text.contains(part),
            "{}: {part:?} is not in {text:?}",
            request.name_any()
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_ends_only_when_spinnaker_says_so_and_is_repeated_until_then() -> Result<()> {
    let bed = Bed::new("cancel", LONG).await?;
    let _controller = bed.controller()?;
    let (_, plain) = bed.held_in("plain", json!({})).await?;
    let (_, lost) = bed.held_in("lost", json!({})).await?;
    let (_, theirs) = bed.held_in("theirs", json!({})).await?;
    let (_, late) = bed.held_in("late", json!({"timeout": "1s"})).await?;

    bed.cancel("plain").await?;
    ended_as(
        &bed.until_phase("plain", Phase::Canceled).await?,
        "Canceled",
        &["cancelled as asked: changed my mind"],
    )?;
    ensure!(bed.gate.status(&plain) == Some(Status::Canceled));
    ensure!(
        bed.gate.execution(&plain).unwrap_or_default()["cancellationReason"]
            .as_str()
            .is_some_and(|why| why.contains("changed my mind"))
    );

    // Gate says 200, and nothing happens.
    bed.gate
        .inject(Fault::new(Operation::Cancel, Effect::EmptyBody).of_execution(&lost));
    bed.cancel("lost").await?;
    let asked = bed
        .until("lost", "asked", |request| {
            reason(request, "Reconciling") == "CancelRequested"
        })
        .await?;
    ensure!(
        phase_of(&asked) == Phase::Running
            && message(&asked).contains("Spinnaker has not ended it yet"),
        "{asked:?}"
    );
    bed.until_phase("lost", Phase::Canceled).await?;
    ensure!(bed.gate.status(&lost) == Some(Status::Canceled));
    let asked = bed.gate.calls_of(Operation::Cancel);
    ensure!(
        asked
            .iter()
            .filter(|call| call.execution.as_deref() == Some(&lost))
            .count()
            == 2,
        "{asked:?}"
    );

    bed.gate.cancel(&theirs, "bob", "wrong cluster");
    ended_as(
        &bed.until_phase("theirs", Phase::Canceled).await?,
        "ExecutionCanceled",
        &["cancelled in Spinnaker", "bob", "wrong cluster"],
    )?;

    ended_as(
        &bed.until_phase("late", Phase::Failed).await?,
        "TimedOut",
        &["its timeout of 1s", "was cancelled"],
    )?;
    ensure!(bed.gate.status(&late) == Some(Status::Canceled));

    let (away, execution) = bed.held_in("away", json!({})).await?;
    bed.gate.stop().await;
    bed.cancel("away").await?;
    let unknown = bed.until_phase("away", Phase::Unknown).await?;
    ensure!(
        message(&unknown).contains("can't be reached"),
        "{}",
        message(&unknown)
    );
    let held = bed
        .target("away")
        .await?
        .status
        .unwrap_or_default()
        .active
        .context("it let go")?;
    ensure!(Some(held.uid) == away.uid() && held.cancel_requested_at.is_some());
    bed.gate.restart().await?;
    ended_as(
        &bed.until_phase("away", Phase::Canceled).await?,
        "Canceled",
        &["cancelled as asked"],
    )?;
    ensure!(bed.gate.status(&execution) == Some(Status::Canceled));
    bed.until_free().await?;
    ensure!(bed.gate.launches().len() == 5);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn time_spent_waiting_for_a_person_is_shown_and_does_not_count() -> Result<()> {
    let bed = Bed::new("judgment", QUICK).await?;
    let _controller = bed.controller()?;
    let stages = [
        Stage::deploy("Canary", QUICK),
        Stage::judgment("Looks good?", "Look at the dashboard.", ["yes", "no"]),
        Stage::deploy("Everything", QUICK),
    ];
    bed.another_environment("judged", json!({}), stages).await?;
    let mut spec = deploy("judged", "main");
    spec["timeout"] = json!("2s");
    let request = bed.request("judged", spec).await?;
    let execution = bed.until_launched(&request).await?;
    let waits = bed
        .until(
            "judged",
            "waiting for a person for longer than its timeout",
            |request| {
                let waiting = request
                    .status
                    .as_ref()
                    .and_then(|status| status.waiting.as_ref());
                waiting.is_some_and(|waiting| {
                    waiting.subject == WaitingFor::Judgment
                        && jiff::Timestamp::now()
                            .duration_since(waiting.since.0)
                            .as_secs()
                            >= 4
                })
            },
        )
        .await?;
    ensure!(phase_of(&waits) == Phase::Running, "{waits:?}");
    let status = waits.status.unwrap_or_default();
    ensure!(status.stage.as_deref() == Some("Looks good?"), "{status:?}");
    ensure!(status.waiting.is_some_and(|waiting| {
        waiting
            .message
            .contains("\"Looks good?\" waits for a person's judgment")
    }));
    ensure!(bed.gate.judge(&execution, "continue", "carol"));
    let ended = bed.until_phase("judged", Phase::Succeeded).await?;
    ensure!(ended.status.and_then(|status| status.waiting).is_none());

    // No is an answer, and no timeout.
    let request = bed.request("refused", deploy("judged", "other")).await?;
    let execution = bed.until_launched(&request).await?;
    // One that comes before the stage's task runs is lost, in Spinnaker too.
    wait_for("the judgment to be heard", PATIENCE, async || {
        bed.gate.judge(&execution, "stop", "carol");
        let status = bed.gate.status(&execution);
        ensure!(status == Some(Status::Terminal), "{status:?}");
        Ok(())
    })
    .await?;
    ended_as(
        &bed.until_phase("refused", Phase::Failed).await?,
        "ExecutionFailed",
        &["Looks good?"],
    )?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_again_after_its_end_is_shown_and_waited_for_and_the_phase_stays() -> Result<()> {
    let bed = Bed::new("rerun", LONG).await?;
    let _controller = bed.controller()?;
    let first = bed.deploy("first").await?;
    let execution = bed.until_launched(&first).await?;
    ensure!(bed.gate.finish(&execution));
    let ended = bed.until_phase("first", Phase::Succeeded).await?;
    bed.until_free().await?;
    ensure!(bed.gate.restart_finished(&execution));
    let again = bed.until_rerun("first", "RUNNING").await?;
    ensure!(
        phase_of(&again) == Phase::Succeeded && message(&again) == message(&ended),
        "{again:?}"
    );
    bed.until_event("first", "ExecutionRerun").await?;

    let second = bed.request("second", deploy("staging", "v2")).await?;
    let waits = bed
        .until("second", "waiting", |request| {
            reason(request, "Reconciling") == "ExecutionRerun"
        })
        .await?;
    ensure!(
        phase_of(&waits) == Phase::Queued
            && message(&waits).contains(&execution)
            && message(&waits).contains("somebody restarted"),
        "{}",
        message(&waits)
    );
    ensure!(bed.launches(&second) == 0);
    ensure!(bed.gate.finish(&execution));
    let next = bed.until_launched(&second).await?;
    ensure!(bed.gate.finish(&next));
    bed.until_phase("second", Phase::Succeeded).await?;
    let over = bed.until_rerun("first", "SUCCEEDED").await?;
    ensure!(phase_of(&over) == Phase::Succeeded);
    for (key, peak) in bed.gate.peak_concurrency() {
        ensure!(
            !key.starts_with("target/") || peak == 1,
            "{key}: {peak} at once"
        );
    }

    // A TTL takes the object, and leaves the target's memory.
    let mut spec = deploy("production", "v1");
    spec["ttlAfterFinished"] = json!("1s");
    let brief = bed.request("brief", spec).await?;
    ensure!(bed.gate.finish(&bed.until_launched(&brief).await?));
    wait_for("brief to be removed", PATIENCE, async || {
        let left = bed.api::<DeployRequest>().get_opt("brief").await?;
        ensure!(left.is_none(), "{:?}", left.and_then(|left| left.status));
        Ok(())
    })
    .await?;
    let target = bed.target("production").await?.status.unwrap_or_default();
    ensure!(
        target.active.is_none()
            && target
                .history
                .iter()
                .any(|run| Some(&run.uid) == brief.uid().as_ref() && run.phase == Phase::Succeeded),
        "{target:?}"
    );
    Ok(())
}
