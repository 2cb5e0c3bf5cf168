//! Set and lifted while a request waits.

use super::{Guard, QUICK};
use crate::support::{Bed, PATIENCE, deploy, message, reason};
use anyhow::{Result, ensure};
use foredeck::api::deploy_request::{Phase, WaitingFor};
use foredeck::api::{DeployFreeze, DeployRequest};
use foredeck_testkit::wait_for;
use kube::ResourceExt;
use serde_json::json;
use std::time::Duration;

/// Wakes what is held, and sees that nothing was written of it while a request elsewhere got as far as it may.
async fn woken_in_vain(bed: &Bed, guard: Guard, elsewhere: &str) -> Result<()> {
    let held = bed.get("first").await?;
    bed.touch("first").await?;
    let touched = bed.get("first").await?;
    bed.request(elsewhere, deploy("staging", "v0")).await?;
    if guard == Guard::Freeze {
        bed.until_guarded(elsewhere, guard).await?;
    } else {
        // What holds one target holds no other.
        bed.until_phase(elsewhere, Phase::Succeeded).await?;
    }
    let still = bed.get("first").await?;
    // What comes before says what runs there now.
    ensure!(
        guard == Guard::Order || still.status == held.status,
        "{:?} became {:?}",
        held.status,
        still.status
    );
    ensure!(guard == Guard::Order || still.resource_version() == touched.resource_version());
    Ok(())
}

async fn held_and_released(guard: Guard) -> Result<()> {
    let bed = Bed::new("held", QUICK).await?;
    let _controller = bed.controller()?;
    bed.with_v0().await?;
    guard.set(&bed).await?;
    let request = bed.request("first", deploy("production", "v1")).await?;
    bed.until_guarded("first", guard).await?;
    // Whatever wakes it, it goes on waiting, and asks Gate for nothing. Caches may be behind what ran before, the first time.
    let calls = bed.gate.calls().len();
    let first = woken_in_vain(&bed, guard, "elsewhere").await;
    if first.is_err() {
        woken_in_vain(&bed, guard, "again").await?;
    }
    if guard == Guard::Freeze {
        ensure!(bed.launches(&request) == 0 && bed.gate.launches().len() == 1);
    }
    let of_first = bed.gate.calls().len() - calls;
    ensure!(
        guard != Guard::Freeze || of_first < 20,
        "{of_first} calls of Gate while everything waits"
    );
    guard.lift(&bed).await?;
    bed.until_ran_once(&request).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_waits_in_line_says_why_and_starts_once_it_is_lifted() -> Result<()> {
    let all = Guard::ALL.map(async |guard| {
        let held = held_and_released(guard).await;
        held.map_err(|error| error.context(format!("{guard:?}")))
    });
    futures::future::try_join_all(all).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_stands_in_nobodys_way_and_the_oldest_goes_first_afterwards() -> Result<()> {
    let bed = Bed::new("aside", QUICK).await?;
    let _controller = bed.controller()?;
    bed.with_v0().await?;
    let only = json!({"reason": "the books are counted", "actions": ["deploy"]});
    bed.freeze("books", only).await?;
    let mut waiting = Vec::new();
    for version in ["v1", "v2"] {
        waiting.push(bed.request(version, deploy("production", version)).await?);
        bed.until_guarded(version, Guard::Freeze).await?;
    }
    let restart =
        json!({"application": "checkout", "environment": "production", "action": "restart"});
    let restart = bed.request("restart", restart).await?;
    bed.until_ran_once(&restart).await?;
    bed.delete::<DeployFreeze>("books").await?;
    waiting.sort_by_key(|request| {
        (
            request.creation_timestamp().map(|time| time.0),
            request.uid(),
        )
    });
    for request in &waiting {
        bed.until_ran_once(request).await?;
    }
    let started: Vec<String> = bed
        .gate
        .launches()
        .into_iter()
        .filter_map(|launch| launch.request_uid)
        .skip(2)
        .collect();
    let asked: Vec<String> = waiting.iter().filter_map(ResourceExt::uid).collect();
    ensure!(started == asked, "{started:?} instead of {asked:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_request_takes_the_place_of_one_that_is_held_as_it_is_itself() -> Result<()> {
    let bed = Bed::new("newest", QUICK).await?;
    let _controller = bed.controller()?;
    bed.with_v0().await?;
    bed.protect("production", json!({"concurrency": "Supersede"}))
        .await?;
    Guard::Freeze.set(&bed).await?;
    let first = bed.request("first", deploy("production", "v1")).await?;
    bed.until_guarded("first", Guard::Freeze).await?;
    // Those of one second have no order of their own.
    wait_for("another second", PATIENCE, async || {
        let created = first.creation_timestamp().map(|time| time.0.as_second());
        ensure!(Some(jiff::Timestamp::now().as_second()) > created);
        Ok(())
    })
    .await?;
    let newest = bed.request("newest", deploy("production", "v2")).await?;
    let ended = bed.until_phase("first", Phase::Canceled).await?;
    ensure!(
        reason(&ended, "Succeeded") == "Superseded" && message(&ended).contains("\"newest\""),
        "{:?}",
        ended.status
    );
    bed.until_guarded("newest", Guard::Freeze).await?;
    Guard::Freeze.lift(&bed).await?;
    bed.until_ran_once(&newest).await?;
    ensure!(bed.launches(&first) == 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_of_foredecks_own_namespace_holds_everywhere_also_where_that_is_not_watched()
-> Result<()> {
    let home = Bed::new("home", QUICK).await?;
    let team = Bed::new("team", QUICK).await?;
    let _controller = team.controller_with(&["--home-namespace", &home.namespace])?;
    team.with_v0().await?;
    Guard::Freeze.set(&home).await?;
    let request = team.request("first", deploy("production", "v1")).await?;
    team.until_guarded("first", Guard::Freeze).await?;
    home.until_freeze("books", "Active", "True Frozen").await?;
    Guard::Freeze.lift(&home).await?;
    team.until_ran_once(&request).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_goes_on_once_it_has_stayed_long_enough_where_it_comes_before() -> Result<()> {
    let bed = Bed::new("soak", QUICK).await?;
    let _controller = bed.controller()?;
    bed.with_v0().await?;
    let rules = json!({"after": [{"environment": "staging", "for": "10s"}]});
    bed.protect("production", rules).await?;
    let request = bed.request("first", deploy("production", "v1")).await?;
    bed.until_guarded("first", Guard::Order).await?;
    let before = bed.request("staging", deploy("staging", "v1")).await?;
    bed.until_ran_once(&before).await?;
    bed.until_kept_by("first", WaitingFor::Order, "has to stay until")
        .await?;
    bed.until_ran_once(&request).await?;
    let succeeded = bed.target("staging").await?.status.unwrap_or_default();
    let succeeded = succeeded.current.map(|run| run.finished_at.0);
    let started = bed.gate.launches_of(&request.uid().unwrap_or_default())[0].at;
    let succeeded = succeeded.map_or(0, jiff::Timestamp::as_millisecond);
    // What is remembered of the end has no parts of a second.
    ensure!(i64::try_from(started)? >= succeeded + 9_000, "{started}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_starts_at_its_time_and_never_after_it() -> Result<()> {
    let bed = Bed::new("time", QUICK).await?;
    let _controller = bed.controller()?;
    bed.with_v0().await?;
    let begins = jiff::Timestamp::now() + Duration::from_secs(12);
    let mut spec = deploy("production", "v1");
    spec["notBefore"] = json!(begins.to_string());
    let request = bed.request("later", spec).await?;
    bed.until_kept_by("later", WaitingFor::Time, "at the earliest")
        .await?;
    bed.until_ran_once(&request).await?;
    let started = bed.gate.launches_of(&request.uid().unwrap_or_default())[0].at;
    ensure!(i64::try_from(started)? >= begins.as_second() * 1_000);

    Guard::Freeze.set(&bed).await?;
    let ends = jiff::Timestamp::now() + Duration::from_secs(10);
    let mut spec = deploy("production", "v2");
    spec["startBefore"] = json!(ends.to_string());
    let late = bed.request("late", spec).await?;
    bed.until_guarded("late", Guard::Freeze).await?;
    let ended = bed.until_phase("late", Phase::Expired).await?;
    let said = message(&ended);
    ensure!(
        said.contains("spec.startBefore") && said.contains("Freeze"),
        "{said}"
    );
    ensure!(bed.launches(&late) == 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_applied_again_and_again_during_a_freeze_starts_once_afterwards()
-> Result<()> {
    use kube::api::{Patch, PatchParams};
    let bed = Bed::new("gitops", QUICK).await?;
    let _controller = bed.controller()?;
    bed.with_v0().await?;
    Guard::Freeze.set(&bed).await?;
    let wanted = json!({
        "apiVersion": "foredeck.dev/v1alpha1", "kind": "DeployRequest",
        "metadata": {"name": "first", "namespace": bed.namespace}, "spec": deploy("production", "v1"),
    });
    let apply = async || -> Result<DeployRequest> {
        let parameters = PatchParams::apply("kustomize-controller").force();
        let (api, patch) = (bed.api::<DeployRequest>(), Patch::Apply(&wanted));
        Ok(api.patch("first", &parameters, &patch).await?)
    };
    let request = apply().await?;
    bed.until_guarded("first", Guard::Freeze).await?;
    for _ in 0..5 {
        ensure!(apply().await?.uid() == request.uid());
    }
    Guard::Freeze.lift(&bed).await?;
    apply().await?;
    bed.until_ran_once(&request).await?;
    apply().await?;
    ensure!(bed.launches(&request) == 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_that_nobody_understands_holds_all_the_time_and_says_so() -> Result<()> {
    let bed = Bed::new("odd", QUICK).await?;
    let _controller = bed.controller()?;
    bed.with_v0().await?;
    let odd = json!({
        "apiVersion": "foredeck.dev/v1alpha1", "kind": "DeployFreeze", "metadata": {"name": "odd"},
        "spec": {"reason": "the books are counted", "schedule": {"cron": "0 0 31 2 *", "duration": "1h"}},
    });
    bed.freeze("odd", odd["spec"].clone()).await?;
    bed.until_freeze("odd", "Ready", "False ScheduleInvalid")
        .await?;
    bed.until_freeze("odd", "Active", "True Frozen").await?;
    let request = bed.request("first", deploy("production", "v1")).await?;
    bed.until_kept_by("first", WaitingFor::Freeze, "its times can't be understood")
        .await?;
    bed.delete::<DeployFreeze>("odd").await?;
    bed.until_ran_once(&request).await.map(drop)
}
