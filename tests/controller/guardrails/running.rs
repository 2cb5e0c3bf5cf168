//! Set while a request runs: it goes on, unless a freeze says otherwise.

use foredeck_testkit::gate::{Operation, Status};

use super::{ALICE, Guard, LONG};
use crate::support::{Bed, Controller, deploy, message, phase_of};
use anyhow::{Result, ensure};
use foredeck::api::DeployRequest;
use foredeck::api::deploy_request::Phase;
use serde_json::json;

/// A request that runs on production, until somebody says that it ends.
async fn running(prefix: &str) -> Result<(Bed, Controller, DeployRequest, String)> {
    let bed = Bed::new(prefix, LONG).await?;
    let controller = bed.controller()?;
    let request = bed.request("first", deploy("production", "v1")).await?;
    let execution = bed.until_launched(&request).await?;
    bed.until_phase("first", Phase::Running).await?;
    Ok((bed, controller, request, execution))
}

async fn goes_on(guard: Guard) -> Result<()> {
    let (bed, _controller, request, execution) = running("running").await?;
    guard.set(&bed).await?;
    let next = bed.request("next", deploy("production", "v2")).await?;
    bed.until_kept_by("next", guard.subject(), guard.says())
        .await?;
    ensure!(
        bed.gate
            .status(&execution)
            .is_some_and(|status| !status.is_complete())
    );
    bed.until_ran_once(&request).await?;
    bed.until_guarded("next", guard).await?;
    ensure!(bed.launches(&next) == 0 && bed.gate.count_calls(Operation::Cancel) == 0);
    guard.lift(&bed).await?;
    bed.until_ran_once(&next).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_goes_on_whatever_is_set_and_the_next_is_held() -> Result<()> {
    let all = Guard::ALL.map(async |guard| {
        let goes_on = goes_on(guard).await;
        goes_on.map_err(|error| error.context(format!("{guard:?}")))
    });
    futures::future::try_join_all(all).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_that_cancels_what_runs_cancels_it_once() -> Result<()> {
    let (bed, _controller, request, execution) = running("cancels").await?;
    let elsewhere = bed.request("elsewhere", deploy("staging", "v1")).await?;
    bed.until_launched(&elsewhere).await?;
    let spec =
        json!({"reason": "the books are counted", "environments": ["prod*"], "running": "Cancel"});
    bed.freeze("books", spec).await?;
    let ended = bed.until_phase("first", Phase::Canceled).await?;
    ensure!(
        message(&ended).contains("the books are counted"),
        "{:?}",
        ended.status
    );
    bed.until_target("production", "free", |status| status.active.is_none())
        .await?;
    ensure!(bed.gate.status(&execution) == Some(Status::Canceled));
    ensure!(bed.gate.count_calls(Operation::Cancel) == 1);
    ensure!(bed.launches(&request) == 1);
    // What it doesn't select goes on.
    ensure!(phase_of(&bed.get("elsewhere").await?) == Phase::Running);
    bed.finish(&elsewhere);
    bed.until_phase("elsewhere", Phase::Succeeded)
        .await
        .map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_that_cancels_what_runs_leaves_what_an_override_started() -> Result<()> {
    let bed = Bed::new("overridden", LONG).await?;
    bed.let_people_write().await?;
    bed.let_them(ALICE, &["deploy", "override"], "production")
        .await?;
    let _controller = bed.controller()?;
    let elsewhere = bed.request("elsewhere", deploy("staging", "v1")).await?;
    bed.until_launched(&elsewhere).await?;
    bed.until_phase("elsewhere", Phase::Running).await?;
    let books = json!({"reason": "the books are counted", "environments": ["prod*"]});
    bed.freeze("books", books).await?;
    let mut spec = deploy("production", "v1");
    spec["override"] = json!({"reason": "the site is down"});
    let alice = bed.somebody(ALICE, &[]);
    let request = bed.request_as(&alice, "first", spec).await?;
    let execution = bed.until_launched(&request).await?;
    bed.until_phase("first", Phase::Running).await?;
    let all = json!({"reason": "nothing may run", "running": "Cancel"});
    bed.freeze("all", all).await?;
    // It is in force, as who passed nothing gets to know.
    bed.until_phase("elsewhere", Phase::Canceled).await?;
    bed.touch("first").await?;
    ensure!(
        bed.gate
            .status(&execution)
            .is_some_and(|status| !status.is_complete())
    );
    bed.until_ran_once(&request).await?;
    ensure!(bed.gate.count_calls(Operation::Cancel) == 1);
    Ok(())
}
