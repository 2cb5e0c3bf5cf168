//! Set between the mark of a start and its POST, and lifted afterwards.

use std::time::Duration;

use axum::http::Method;
use foredeck_testkit::{
    ApiProxy,
    api_proxy::{Held as HeldCall, Weather},
    wait_for,
};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{ALICE, Guard, QUICK, overridden};
use crate::support::{Bed, Controller, LEASE, PATIENCE, deploy, message, phase_of};
use anyhow::{Result, ensure};
use foredeck::api::{
    DeployRequest, DeployTarget, Environment,
    deploy_request::{DecisionKind, Phase, WaitingFor},
};

const TARGET_STATUS: &str = "deploytargets/status";
/// In the body of a write that marks a start.
const MARK: &str = "\"sentAt\":\"";

struct Stage {
    bed: Bed,
    proxy: ApiProxy,
    _controller: Controller,
}

/// A controller that sees the API server through a proxy, and a target with v0 on it.
async fn stage() -> Result<Stage> {
    stage_on(Bed::new("between", QUICK).await?).await
}

async fn stage_on(bed: Bed) -> Result<Stage> {
    let proxy = ApiProxy::start(bed.plane).await?;
    let kubeconfig = bed.plane.kubeconfig_through(&proxy.url())?;
    let controller = bed.spawn(kubeconfig, &["--lease-duration", LEASE])?;
    bed.with_v0().await?;
    Ok(Stage {
        bed,
        proxy,
        _controller: controller,
    })
}

/// What is held of the controller's calls while the guard is set.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Held {
    /// The mark on the target.
    Mark,
    /// What is read once it is marked: the list of freezes.
    Freezes,
    /// The target itself.
    Target,
    /// The target of the Environment that comes before.
    Before,
}

/// How many may read a target at once: whoever looks for what else runs there reads it, too.
const READERS: usize = 4;

/// Holds what is read between the mark and the POST, and waits until it is asked for.
async fn held_after_the_mark(
    stage: &Stage,
    held: Held,
    mut mark: HeldCall,
) -> Result<Vec<HeldCall>> {
    let (bed, proxy) = (&stage.bed, &stage.proxy);
    let target = async |environment: &str| -> Result<Vec<HeldCall>> {
        let name = bed.target(environment).await?.name_any();
        let one = |_| proxy.hold_of(&name, Method::GET, "deploytargets", "");
        Ok((0..READERS).map(one).collect())
    };
    mark.arrived().await?;
    let mut reads = match held {
        Held::Mark => return Ok(vec![mark]),
        Held::Freezes => vec![proxy.hold(Method::GET, "deployfreezes", "")],
        Held::Target => target("production").await?,
        Held::Before => target("staging").await?,
    };
    mark.release();
    if let Some(read) = reads.first_mut() {
        read.arrived().await?;
    }
    let marked = bed.target("production").await?.status.unwrap_or_default();
    let sent_at = marked.active.and_then(|active| active.attempt.sent_at);
    ensure!(sent_at.is_some(), "{held:?} is read, and nothing is marked");
    Ok(reads)
}

/// What ran in staging was another version.
async fn take_from_staging(bed: &Bed) -> Result<()> {
    let target = bed.target("staging").await?;
    let mut status = serde_json::to_value(&target.status)?;
    status["current"]["version"] = json!("v9");
    for run in status["history"].as_array_mut().into_iter().flatten() {
        run["version"] = json!("v9");
    }
    let patch = Patch::Merge(json!({"status": status}));
    bed.api::<DeployTarget>()
        .patch_status(&target.name_any(), &PatchParams::default(), &patch)
        .await?;
    Ok(())
}

async fn set_between(guard: Guard, held: Held) -> Result<()> {
    set_between_on(&stage().await?, guard, held).await
}

async fn set_between_on(stage: &Stage, guard: Guard, held: Held) -> Result<()> {
    let bed = &stage.bed;
    if held == Held::Before {
        let staging = bed.request("staging", deploy("staging", "v1")).await?;
        bed.until_ran_once(&staging).await?;
        guard.set(bed).await?;
    }
    let launches = bed.gate.launches().len();
    let mark = stage.proxy.hold(Method::PATCH, TARGET_STATUS, MARK);
    let request = bed.request("first", deploy("production", "v1")).await?;
    let calls = held_after_the_mark(stage, held, mark).await?;
    // Its watches tell the controller nothing of it.
    let withheld = Weather {
        withheld: true,
        ..Default::default()
    };
    let kinds = ["deployfreezes", "environments", "deploytargets"];
    stage.proxy.set_weather(&kinds, &withheld);
    match held {
        Held::Before => take_from_staging(bed).await?,
        _ => guard.set(bed).await?,
    }
    let writes = stage.proxy.writes().len();
    drop(calls);
    let waits = bed
        .until("first", "held", |request| {
            let status = request.status.clone().unwrap_or_default();
            let subject = status.waiting.map(|waiting| waiting.subject);
            status.phase == Some(Phase::Queued) && subject == Some(guard.subject())
        })
        .await?;
    // Nothing was sent, and nobody looks for it: it is as if it had not been marked.
    ensure!(bed.launches(&request) == 0, "{:?}", waits.status);
    bed.until_free().await?;
    let target = bed.target("production").await?.status.unwrap_or_default();
    ensure!(target.keys.len() == 1, "{target:?}");
    // It stays so while the watches are behind, and is not marked again and again.
    bed.touch("first").await?;
    let known = bed.get("first").await?;
    bed.request("second", deploy("production", "v2")).await?;
    bed.until_phase("second", Phase::Queued).await?;
    let now = bed.gate.launches();
    ensure!(now.len() == launches, "{now:?}");
    let writes = stage.proxy.writes().len() - writes;
    ensure!(writes < 40, "{writes} writes for requests that only wait");
    ensure!(phase_of(&known) == Phase::Queued, "{:?}", known.status);

    stage.proxy.set_all_weather(Weather::default());
    guard.lift(bed).await?;
    bed.until_ran_once(&request).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_while_a_start_is_marked_takes_the_mark_back_and_it_starts_once_it_is_lifted()
-> Result<()> {
    let all = Guard::ALL.map(async |guard| {
        let set = set_between(guard, Held::Mark).await;
        set.map_err(|error| error.context(format!("{guard:?}")))
    });
    futures::future::try_join_all(all).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_after_the_mark_takes_it_back_too() -> Result<()> {
    let all = [
        (Guard::Freeze, Held::Freezes),
        (Guard::TargetLock, Held::Target),
        (Guard::Order, Held::Before),
    ];
    let all = all.map(async |(guard, held)| {
        let set = set_between(guard, held).await;
        set.map_err(|error| error.context(format!("{guard:?}, {held:?}")))
    });
    futures::future::try_join_all(all).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_set_after_the_mark_counts_also_where_its_environment_is_being_deleted()
-> Result<()> {
    let bed = Bed::new("going", QUICK).await?;
    // Somebody else has to let go of it first.
    let keep = json!({"metadata": {"finalizers": ["example.com/keep"]}});
    bed.merge::<Environment>("production", keep).await?;
    bed.delete::<Environment>("production").await?;
    let going = bed.api::<Environment>().get("production").await?;
    ensure!(going.metadata.deletion_timestamp.is_some(), "{going:?}");
    let stage = stage_on(bed).await?;
    set_between_on(&stage, Guard::EnvironmentLock, Held::Mark).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_override_that_comes_after_the_mark_passes_nothing_before_it_is_told() -> Result<()> {
    let stage = stage().await?;
    let bed = &stage.bed;
    bed.let_people_write().await?;
    bed.let_them(ALICE, &["deploy", "override"], "production")
        .await?;
    let mark = stage.proxy.hold(Method::PATCH, TARGET_STATUS, MARK);
    let request = bed.request("first", deploy("production", "v1")).await?;
    let calls = held_after_the_mark(&stage, Held::Freezes, mark).await?;
    Guard::Freeze.set(bed).await?;
    let api: Api<DeployRequest> = Api::namespaced(bed.somebody(ALICE, &[]), &bed.namespace);
    let passes = Patch::Merge(json!({"spec": {"override": {"reason": "the site is down"}}}));
    api.patch("first", &PatchParams::default(), &passes).await?;
    let mut again = stage.proxy.hold(Method::PATCH, TARGET_STATUS, MARK);
    drop(calls);
    again.arrived().await?;
    // The first mark came to nothing, and with the next stands by whose word it starts.
    ensure!(bed.launches(&request) == 0);
    let told = bed.get("first").await?.status.unwrap_or_default();
    let mut decisions = told.decisions.iter();
    let told = decisions.find(|decision| decision.what == DecisionKind::Overridden);
    let by = told.and_then(|decision| decision.by.as_deref());
    ensure!(by == Some(ALICE), "{told:?}");
    again.release();
    let ended = bed.until_ran_once(&request).await?;
    ensure!(
        overridden(&ended) == Some(("True".to_owned(), "Overridden".to_owned())),
        "{:?}",
        ended.status
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_whose_time_passes_after_the_mark_has_it_taken_back_and_expires() -> Result<()> {
    let stage = stage().await?;
    let bed = &stage.bed;
    let mark = stage.proxy.hold(Method::PATCH, TARGET_STATUS, MARK);
    let ends = jiff::Timestamp::now() + Duration::from_secs(9);
    let mut spec = deploy("production", "v1");
    spec["startBefore"] = json!(ends.to_string());
    let request = bed.request("first", spec).await?;
    let calls = held_after_the_mark(&stage, Held::Freezes, mark).await?;
    wait_for("its time to pass", PATIENCE, async || {
        let now = jiff::Timestamp::now();
        ensure!(now > ends, "{now}");
        Ok(())
    })
    .await?;
    drop(calls);
    let ended = bed.until_phase("first", Phase::Expired).await?;
    ensure!(
        message(&ended).contains("spec.startBefore"),
        "{:?}",
        ended.status
    );
    bed.until_free().await?;
    ensure!(bed.launches(&request) == 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn freezes_that_can_not_be_read_right_before_a_start_hold_it() -> Result<()> {
    use foredeck_testkit::api_proxy::{ApiEffect, ApiFault};
    let stage = stage().await?;
    let bed = &stage.bed;
    stage.proxy.inject(ApiFault::new(
        Method::GET,
        "deployfreezes",
        ApiEffect::Refuse(500),
    ));
    let request = bed.request("first", deploy("production", "v1")).await?;
    bed.until_kept_by("first", WaitingFor::Freeze, "can't be read")
        .await?;
    ensure!(bed.launches(&request) == 0);
    stage.proxy.clear_faults();
    bed.touch("first").await?;
    bed.until_ran_once(&request).await.map(drop)
}
