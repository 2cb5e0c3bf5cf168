//! The controller dies around a start, and while it is down something is set: nothing is sent until that is lifted, and then
//! once.

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::DeleteParams;

use super::{Guard, QUICK};
use crate::support::{Bed, deploy, phase_of};
use anyhow::{Result, ensure};
use foredeck::api::deploy_request::Phase;

/// Where nothing was sent yet.
const POINTS: [&str; 6] = [
    "after-claim-target@2",
    "before-mark-request@2",
    "after-mark-request@2",
    "before-mark-target@2",
    "after-mark-target@2",
    "before-post@2",
];

async fn crashed(guard: Guard, point: &'static str) -> Result<()> {
    let bed = Bed::new("crashed", QUICK).await?;
    let mut first = bed.controller_with(&["--test-crash-at", point])?;
    bed.with_v0().await?;
    let request = bed.request("first", deploy("production", "v1")).await?;
    first.until_ended().await?;
    guard.set(&bed).await?;
    bed.api::<Lease>()
        .delete("foredeck-controller", &DeleteParams::default())
        .await?;
    let _second = bed.controller()?;
    // Where it may have been sent it is looked for, and not sent again; else it waits as if nothing had been.
    let waits = bed
        .until_kept_by("first", guard.subject(), guard.says())
        .await?;
    let phase = phase_of(&waits);
    ensure!(
        matches!(phase, Phase::Queued | Phase::Unknown) && bed.launches(&request) == 0,
        "{:?}",
        waits.status
    );
    guard.lift(&bed).await?;
    bed.until_ran_once(&request).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_while_the_controller_is_down_is_never_passed_over() -> Result<()> {
    let freezes = POINTS.map(|point| (Guard::Freeze, point));
    let others = [
        (Guard::EnvironmentLock, "before-post@2"),
        (Guard::TargetLock, "before-post@2"),
        (Guard::TargetLock, "after-claim-target@2"),
        (Guard::Order, "before-post@2"),
    ];
    let all = freezes
        .into_iter()
        .chain(others)
        .map(async |(guard, point)| {
            let crashed = crashed(guard, point).await;
            crashed.map_err(|error| error.context(format!("{guard:?} {point}")))
        });
    futures::future::try_join_all(all).await.map(drop)
}
