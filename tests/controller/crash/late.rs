//! A start that Gate does only after the settle time, against the contract: it can't be prevented, but it must be told.

use std::time::Duration;

use anyhow::{Result, ensure};
use foredeck::api::deploy_request::Phase;
use foredeck_testkit::{
    gate::{Effect, Fault, Operation, Status},
    wait_for,
};
use k8s_openapi::api::{coordination::v1::Lease, core::v1::ObjectReference, events::v1::Event};
use kube::{Api, ResourceExt, api::DeleteParams, api::ListParams};

use crate::support::{Bed, Controller, PATIENCE, phase_of, reason};

/// Long after the settle time, and after the second POST's execution has ended.
const FAR_TOO_LATE: Duration = Duration::from_secs(14);
const QUICK: Duration = Duration::from_millis(500);

/// A request whose first POST is done far too late, and its controller.
async fn begun(arguments: &[&str]) -> Result<(Bed, Controller, String)> {
    let bed = Bed::new("late", QUICK).await?;
    bed.gate.inject(Fault::new(
        Operation::Start,
        Effect::AbandonedStart {
            after: FAR_TOO_LATE,
        },
    ));
    let controller = bed.controller_with(arguments)?;
    let request = bed.deploy("first").await?;
    Ok((bed, controller, request.uid().unwrap_or_default()))
}

/// Waits until both starts have run.
async fn started_twice(bed: &Bed, uid: &str) -> Result<()> {
    wait_for("the second launch", PATIENCE, async || {
        let launches = bed.gate.launches_of(uid);
        ensure!(launches.len() == 2, "{launches:?}");
        let status = bed.gate.status(&launches[0].execution_id);
        ensure!(status.is_some_and(Status::is_complete), "{status:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_runs_far_too_late_is_told_of_a_request_that_has_ended() -> Result<()> {
    let (bed, _controller, uid) = begun(&[]).await?;
    bed.until_phase("first", Phase::Succeeded).await?;
    ensure!(bed.gate.launches_of(&uid).len() == 1, "it came too early");
    started_twice(&bed, &uid).await?;
    bed.until("first", "says that it ran twice", |request| {
        let status = request.status.clone().unwrap_or_default();
        let rerun = status.execution.and_then(|execution| execution.rerun);
        rerun.is_some_and(|rerun| rerun.contains("started twice"))
    })
    .await?;
    wait_for("an event that says so", PATIENCE, async || {
        let events: Api<Event> = bed.api();
        let events = events.list(&ListParams::default()).await?.items;
        let told = events.iter().any(|event| {
            let about: Option<&ObjectReference> = event.regarding.as_ref();
            event.reason.as_deref() == Some("ExecutionRerun")
                && about.is_some_and(|about| about.uid.as_deref() == Some(&uid))
        });
        ensure!(told, "none");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_runs_far_too_late_is_no_success_of_a_request_that_has_not_ended() -> Result<()>
{
    let (bed, mut controller, uid) = begun(&["--test-crash-at", "before-finish-target"]).await?;
    controller.until_ended().await?;
    ensure!(bed.gate.launches_of(&uid).len() == 1, "it came too early");
    started_twice(&bed, &uid).await?;
    let leases: Api<Lease> = bed.api();
    leases
        .delete("foredeck-controller", &DeleteParams::default())
        .await?;
    let _successor = bed.controller()?;
    let ended = bed
        .until("first", "ended", |request| phase_of(request).is_terminal())
        .await?;
    ensure!(phase_of(&ended) == Phase::Failed, "{:?}", ended.status);
    ensure!(
        reason(&ended, "Succeeded") == "StartedTwice",
        "{:?}",
        ended.status
    );
    bed.until_free().await
}
