//! The controller dies around a start that somebody had approved, and while it is down the approval is taken back: nothing
//! is sent until somebody says yes again, and then once.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use foredeck::api::{
    DeployApproval,
    deploy_request::{Phase, WaitingFor},
};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::DeleteParams;
use serde_json::json;

use crate::support::{Bed, deploy, phase_of};

const QUICK: Duration = Duration::from_millis(300);
const CAROL: &str = "carol@corp.example";
const DAVE: &str = "dave@corp.example";
/// Where the approval is taken back before anything was sent.
const POINTS: [&str; 6] = [
    "after-claim-target",
    "before-mark-request",
    "after-mark-request",
    "before-mark-target",
    "after-mark-target",
    "before-post",
];

async fn approved(point: &'static str) -> Result<()> {
    let bed = Bed::new("approved", QUICK).await?;
    bed.let_people_write().await?;
    for username in [CAROL, DAVE] {
        bed.let_them(username, &["approve"], "staging").await?;
    }
    bed.protect("staging", json!({"approvals": {"required": 1}}))
        .await?;
    let mut first = bed.controller_with(&["--test-crash-at", point])?;
    let request = bed.request("first", deploy("staging", "v1.0.0")).await?;
    bed.until_phase("first", Phase::AwaitingApproval).await?;
    bed.approve(CAROL, "first").await?;
    first.until_ended().await?;
    bed.delete::<DeployApproval>("first-carol").await?;
    bed.api::<Lease>()
        .delete("foredeck-controller", &DeleteParams::default())
        .await?;
    let _second = bed.controller()?;
    // Where it may have been sent it is looked for, and not sent again; else it waits as if nothing had been.
    let waits = bed
        .until("first", "waiting for an approval", |request| {
            let status = request.status.as_ref();
            let waiting = status.and_then(|status| status.waiting.as_ref());
            waiting.is_some_and(|waiting| waiting.subject == WaitingFor::Approval)
        })
        .await?;
    let phase = phase_of(&waits);
    ensure!(
        matches!(phase, Phase::AwaitingApproval | Phase::Unknown) && bed.launches(&request) == 0,
        "{:?}",
        waits.status
    );
    bed.approve(DAVE, "first").await?;
    bed.until_phase("first", Phase::Succeeded).await?;
    bed.until_free().await?;
    ensure!(bed.launches(&request) == 1, "{:?}", bed.gate.launches());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_that_is_taken_back_while_the_controller_is_down_is_never_passed_over()
-> Result<()> {
    let all = POINTS.map(async |point| approved(point).await.with_context(|| point));
    futures::future::try_join_all(all).await.map(drop)
}
