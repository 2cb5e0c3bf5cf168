//! A controller that sees the past, and a branch that has moved since: what was accepted is what starts.

use std::time::Duration;

use anyhow::{Result, ensure};
use foredeck::api::deploy_request::Phase;

use super::Stage;
use crate::{repository::commit_of, support::deploy};

const ENDLESS: Duration = Duration::from_mins(10);

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_sees_the_past_starts_what_was_accepted() -> Result<()> {
    let stage = Stage::new("oldcommit", ENDLESS).await?;
    let bed = &stage.bed;
    let Some(github) = bed.repository().await? else {
        return Ok(());
    };
    bed.sends("{{ short_commit }}").await?;
    let controller = stage.controller()?;
    let first = bed.request("first", deploy("staging", "main")).await?;
    bed.until_phase("first", Phase::Running).await?;
    let accepted = github.commit("main", "Accepted", "Robin").await?;
    let second = bed.request("second", deploy("staging", "main")).await?;
    // Lists from now on are those of before it was looked at, or soon after.
    stage.remember_lists().await?;
    let waits = bed.until_phase("second", Phase::Queued).await?;
    ensure!(commit_of(&waits).as_ref() == Some(&accepted));
    github.commit("main", "Later", "Robin").await?;
    stage.withhold(&["deployrequests", "deploytargets"]);
    let _next = stage.replace(controller).await?;
    ensure!(bed.finish(&first));
    stage.clear_sky();
    stage.proxy.expire_watches();
    let trigger = bed.trigger(&second).await?;
    ensure!(trigger["foredeck"]["commit"] == accepted, "{trigger}");
    ensure!(bed.finish(&second));
    bed.until_phase("second", Phase::Succeeded).await?;
    stage.holds_what_it_promises()
}
