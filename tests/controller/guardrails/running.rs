//! Set while a request runs: it goes on, unless a freeze says otherwise.

use axum::http::Method;
use foredeck_testkit::{
    ApiProxy,
    api_proxy::{ApiEffect, ApiFault, Held, Weather},
    gate::{Operation, Status},
};

use super::{ALICE, Guard, LONG};
use crate::support::{Bed, Controller, LEASE, deploy, message, phase_of};
use anyhow::{Result, ensure};
use foredeck::api::deploy_request::Phase;
use foredeck::api::{DeployFreeze, DeployRequest, Environment};
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

/// The same, where the controller sees the API server through a proxy, and production is labelled or not.
async fn running_behind_a_proxy(
    prefix: &str,
    tier: Option<&str>,
) -> Result<(Bed, ApiProxy, Controller, DeployRequest)> {
    let bed = Bed::new(prefix, LONG).await?;
    label(&bed, tier).await?;
    let proxy = ApiProxy::start(bed.plane).await?;
    let kubeconfig = bed.plane.kubeconfig_through(&proxy.url())?;
    let controller = bed.spawn(kubeconfig, &["--lease-duration", LEASE])?;
    let request = bed.request("first", deploy("production", "v1")).await?;
    bed.until_launched(&request).await?;
    bed.until_phase("first", Phase::Running).await?;
    Ok((bed, proxy, controller, request))
}

async fn label(bed: &Bed, tier: Option<&str>) -> Result<()> {
    let labels = json!({"metadata": {"labels": {"tier": tier}}});
    bed.merge::<Environment>("production", labels)
        .await
        .map(drop)
}

/// A freeze that holds now and cancels what runs where production is labelled so.
async fn freeze_what_is_labelled(bed: &Bed) -> Result<()> {
    let spec = json!({
        "reason": "the books are counted", "running": "Cancel",
        "environmentSelector": {"matchLabels": {"tier": "prod"}},
    });
    bed.freeze("books", spec).await?;
    bed.until_freeze("books", "Active", "True Frozen")
        .await
        .map(drop)
}

/// The lists of freezes, as they are read before something is cancelled for one.
fn looks(proxy: &ApiProxy) -> [Held; 2] {
    [(), ()].map(|()| proxy.hold(Method::GET, "deployfreezes", ""))
}

/// Waits until the controller, who thinks that a freeze cancels it, has looked, and has looked again: so it cancelled nothing.
async fn until_spared(bed: &Bed, looks: [Held; 2]) -> Result<()> {
    for mut look in looks {
        bed.touch("first").await?;
        look.arrived().await?;
        look.release();
    }
    let asked = bed.gate.count_calls(Operation::Cancel);
    ensure!(asked == 0, "{asked} cancels");
    let active = bed.target("production").await?.status.unwrap_or_default();
    let forbidden = active.active.map(|active| active.cancel_requested_at);
    ensure!(forbidden == Some(None), "{forbidden:?}");
    Ok(())
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

/// What is so no more, of which the controller's watches tell it nothing.
#[derive(Debug, Clone, Copy)]
enum Past {
    /// The freeze.
    Freeze,
    /// That it is about this action.
    Action,
    /// That production has the label that it selects by.
    Label,
}

async fn cancels_nothing_for(past: Past) -> Result<()> {
    let tier = Some("prod");
    let labelled = match past {
        Past::Label => tier,
        Past::Freeze | Past::Action => None,
    };
    let (bed, proxy, _controller, request) = running_behind_a_proxy("past", labelled).await?;
    let withheld = Weather {
        withheld: true,
        ..Default::default()
    };
    let looks = if labelled.is_some() {
        proxy.set_weather(&["environments"], &withheld);
        label(&bed, None).await?;
        let looks = looks(&proxy);
        freeze_what_is_labelled(&bed).await?;
        looks
    } else {
        freeze_what_is_labelled(&bed).await?;
        proxy.set_weather(&["deployfreezes"], &withheld);
        match past {
            Past::Action => {
                let narrowed = json!({"spec": {"exceptActions": ["deploy"]}});
                bed.merge::<DeployFreeze>("books", narrowed).await?;
            }
            Past::Freeze | Past::Label => bed.delete::<DeployFreeze>("books").await?,
        }
        let looks = looks(&proxy);
        label(&bed, tier).await?;
        looks
    };
    until_spared(&bed, looks).await?;
    bed.until_ran_once(&request).await?;
    ensure!(bed.gate.count_calls(Operation::Cancel) == 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_cancels_nothing_that_it_is_no_longer_about_whatever_the_watches_say() -> Result<()>
{
    let all = [Past::Freeze, Past::Action, Past::Label].map(async |past| {
        let spared = cancels_nothing_for(past).await;
        spared.map_err(|error| error.context(format!("{past:?}")))
    });
    futures::future::try_join_all(all).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn freezes_that_can_not_be_read_cancel_nothing_until_they_can() -> Result<()> {
    let (bed, proxy, _controller, request) = running_behind_a_proxy("unread", None).await?;
    freeze_what_is_labelled(&bed).await?;
    let fault = ApiFault::new(Method::GET, "deployfreezes", ApiEffect::Refuse(500));
    proxy.inject(fault);
    let looks = looks(&proxy);
    label(&bed, Some("prod")).await?;
    until_spared(&bed, looks).await?;
    proxy.clear_faults();
    bed.touch("first").await?;
    let ended = bed.until_phase("first", Phase::Canceled).await?;
    ensure!(
        message(&ended).contains("the books are counted"),
        "{:?}",
        ended.status
    );
    ensure!(bed.gate.count_calls(Operation::Cancel) == 1);
    ensure!(bed.launches(&request) == 1);
    Ok(())
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
