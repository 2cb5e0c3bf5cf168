//! Cancels and closed gates that the API server acknowledged just before a start, while the controller can't see them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use foredeck::api::{
    Application, Environment, SpinnakerConnection,
    deploy_request::{Phase, WaitingFor},
};
use foredeck_testkit::gate::Status;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::{
    CONFIGURATION, KINDS, MARK, PATCH, REQUEST_STATUS, Stage, TAKEN_BACK, TARGET_STATUS, status_of,
};
use crate::support::{phase_of, reason};

const QUICK: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_mins(2);

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_before_the_mark_is_heeded_by_a_controller_that_does_not_see_it() -> Result<()> {
    let stage = Stage::new("cancel", QUICK).await?;
    let mut mark = stage.proxy.hold(PATCH, REQUEST_STATUS, MARK);
    let _controller = stage.controller()?;
    stage.bed.deploy("first").await?;
    let written = mark.arrived().await?;
    ensure!(status_of(&written)?["phase"] == "Starting", "{written}");
    stage.withhold(&KINDS);
    stage.cancel("first").await?;
    mark.release();
    stage.bed.until_phase("first", Phase::Canceled).await?;
    stage.nothing_started().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_after_the_mark_cancels_the_execution() -> Result<()> {
    let stage = Stage::new("after", LONG).await?;
    // The request is marked when its target is about to be.
    let mut mark = stage.proxy.hold(PATCH, TARGET_STATUS, MARK);
    let _controller = stage.controller()?;
    let request = stage.bed.deploy("first").await?;
    mark.arrived().await?;
    stage.withhold(&["deployrequests"]);
    stage.cancel("first").await?;
    mark.release();
    stage.bed.until_phase("first", Phase::Canceled).await?;
    let launches = stage
        .bed
        .gate
        .launches_of(&request.uid().unwrap_or_default());
    ensure!(launches.len() == 1, "{launches:?}");
    ensure!(stage.bed.gate.status(&launches[0].execution_id) == Some(Status::Canceled));
    stage.bed.until_free().await?;
    stage.holds_what_it_promises()
}

/// A mark that is taken back and made again is a new mark: a cancel in between is in time.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_between_two_marks_is_heeded() -> Result<()> {
    let stage = Stage::new("between", QUICK).await?;
    let mut mark = stage.proxy.hold(PATCH, TARGET_STATUS, MARK);
    let _controller = stage.controller()?;
    stage.bed.deploy("first").await?;
    mark.arrived().await?;
    stage.withhold(&KINDS);
    // Of no consequence to the request, but the controller can't know that before it has looked.
    let harmless = json!({"spec": {"allowTargets": {"accounts": ["eks-other"]}}});
    stage.bed.merge::<Environment>("staging", harmless).await?;
    let mut back = stage.proxy.hold(PATCH, TARGET_STATUS, TAKEN_BACK);
    mark.release();
    back.arrived().await?;
    stage.cancel("first").await?;
    back.release();
    stage.bed.until_phase("first", Phase::Canceled).await?;
    stage.nothing_started().await
}

/// What somebody does to the configuration, as what the request ends by, or waits for.
struct Closing {
    name: &'static str,
    close: fn(&Stage) -> futures::future::BoxFuture<'_, Result<()>>,
    ends: Option<&'static str>,
    waits: Option<&'static str>,
}

const CLOSINGS: [Closing; 4] = [
    Closing {
        name: "allow",
        close: |stage| {
            Box::pin(async {
                let nothing = json!({"spec": {"allow": {"accounts": []}}});
                merge::<SpinnakerConnection>(stage, "gate", nothing).await
            })
        },
        ends: Some("NotAllowedByConnection"),
        waits: None,
    },
    Closing {
        name: "action",
        close: |stage| {
            Box::pin(async {
                let without = json!({"spec": {"actions": {"deploy": null}}});
                merge::<Application>(stage, "checkout", without).await
            })
        },
        ends: Some("ActionNotFound"),
        waits: None,
    },
    Closing {
        name: "environment",
        close: |stage| Box::pin(stage.bed.delete::<Environment>("staging")),
        ends: None,
        waits: Some("EnvironmentNotFound"),
    },
    Closing {
        name: "connection",
        close: |stage| Box::pin(stage.bed.delete::<SpinnakerConnection>("gate")),
        ends: None,
        waits: Some("ConnectionNotFound"),
    },
];

async fn merge<K>(stage: &Stage, name: &str, patch: Value) -> Result<()>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + serde::de::DeserializeOwned
        + Clone
        + std::fmt::Debug,
{
    stage.bed.merge::<K>(name, patch).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_closed_before_the_marks_is_heeded_by_a_controller_that_does_not_see_it()
-> Result<()> {
    let all = CLOSINGS
        .iter()
        .flat_map(|closing| [REQUEST_STATUS, TARGET_STATUS].map(|held| (closing, held)));
    let all = all.map(|(closing, held)| async move {
        closed_before(closing, held)
            .await
            .with_context(|| format!("{} closed before a write of {held}", closing.name))
    });
    futures::future::try_join_all(all).await.map(drop)
}

async fn closed_before(closing: &Closing, held: &str) -> Result<()> {
    let stage = Stage::new(closing.name, QUICK).await?;
    let mut mark = stage.proxy.hold(PATCH, held, MARK);
    let _controller = stage.controller()?;
    stage.bed.deploy("first").await?;
    mark.arrived().await?;
    stage.withhold(&CONFIGURATION);
    (closing.close)(&stage).await?;
    let before = stage.proxy.writes().len();
    mark.release();
    if let Some(why) = closing.ends {
        let ended = stage.bed.until_phase("first", Phase::Failed).await?;
        ensure!(reason(&ended, "Succeeded") == why, "{:?}", ended.status);
    }
    if let Some(why) = closing.waits {
        let waits = |request: &foredeck::api::DeployRequest| {
            let status = request.status.clone().unwrap_or_default();
            let subject = status.waiting.map(|waiting| waiting.subject);
            status.phase == Some(Phase::Pending)
                && subject == Some(WaitingFor::Configuration)
                && reason(request, "Reconciling") == why
        };
        let waiting = stage.bed.until("first", why, waits).await?;
        stage.bed.until_free().await?;
        // It stays so, although the controller's cache still shows what is no more.
        stage.bed.deploy("second").await?;
        stage
            .bed
            .until("second", why, |request| {
                reason(request, "Reconciling") == why
            })
            .await?;
        let still = stage.bed.get("first").await?;
        ensure!(
            still.resource_version() == waiting.resource_version(),
            "{:?} became {:?}",
            waiting.status,
            still.status
        );
    }
    let writes = stage.proxy.writes().len() - before;
    ensure!(writes < 40, "{writes} writes for a request that only waits");
    stage.nothing_started().await
}

/// The request goes where the Environment leads when it starts, under the lock of that place.
#[tokio::test(flavor = "multi_thread")]
async fn an_environment_that_moved_before_the_marks_is_followed_to_its_new_place() -> Result<()> {
    let stage = Stage::new("moved", QUICK).await?;
    let mut mark = stage.proxy.hold(PATCH, TARGET_STATUS, MARK);
    let _controller = stage.controller()?;
    let request = stage.bed.deploy("first").await?;
    mark.arrived().await?;
    stage.withhold(&CONFIGURATION);
    let moved = json!({"spec": {"target": {"namespace": "elsewhere"}}});
    stage.bed.merge::<Environment>("staging", moved).await?;
    mark.release();
    let ended = stage.bed.until_phase("first", Phase::Succeeded).await?;
    let status = ended.status.clone().unwrap_or_default();
    let resolved = status.resolved.context("nothing resolved")?;
    ensure!(resolved.target.namespace == "elsewhere", "{resolved:?}");
    ensure!(stage.bed.launches(&request) == 1 && phase_of(&ended).is_terminal());
    let peaks = stage.bed.gate.peak_concurrency();
    ensure!(peaks.keys().all(|key| !key.ends_with("/shop")), "{peaks:?}");
    stage.bed.until_free().await?;
    for target in stage.bed.targets().await? {
        let ran = target
            .status
            .as_ref()
            .is_some_and(|status| !status.history.is_empty());
        ensure!(
            ran == (target.spec.place.namespace == "elsewhere"),
            "{target:?}"
        );
    }
    stage.holds_what_it_promises()
}
