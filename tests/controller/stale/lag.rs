//! Watches that are late, short and incomplete, lists that are old, answers that are lost.

use std::time::Duration;

use anyhow::{Result, ensure};
use axum::http::Method;
use foredeck::api::deploy_request::Phase;
use foredeck_testkit::{
    api_proxy::{ApiEffect, ApiFault, Lost, Weather},
    gate::Status,
    wait_for,
};
use kube::ResourceExt;

use super::{PATCH, REQUEST_STATUS, Stage, TARGET_STATUS};
use crate::support::{PATIENCE, phase_of};

const QUICK: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_mins(2);

#[tokio::test(flavor = "multi_thread")]
async fn late_events_start_nothing_twice() -> Result<()> {
    let stage = Stage::new("late", QUICK).await?;
    let late = Weather {
        lag: Duration::from_secs(2),
        ..Weather::default()
    };
    stage.proxy.set_all_weather(late);
    let _controller = stage.controller()?;
    let requests = stage.ask("late", 30).await?;
    stage.all_succeed(&requests).await
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_events_start_nothing_twice() -> Result<()> {
    let stage = Stage::new("lost", QUICK).await?;
    let lossy = Weather {
        lost: Lost::Each(3),
        ..Weather::default()
    };
    stage.proxy.set_all_weather(lossy);
    let _controller = stage.controller()?;
    let requests = stage.ask("lost", 30).await?;
    wait_for("a third of the requests has ended", PATIENCE, async || {
        let mut ended = 0;
        for request in &requests {
            let now = stage.bed.get(&request.name_any()).await?;
            ended += usize::from(phase_of(&now).is_terminal());
        }
        ensure!(ended >= 10, "{ended}");
        Ok(())
    })
    .await?;
    // An API server that has lost events says so: 410, upon which everything is listed anew.
    stage.clear_sky();
    stage.proxy.expire_watches();
    stage.all_succeed(&requests).await
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_that_close_all_the_time_only_cost_time() -> Result<()> {
    let stage = Stage::new("short", QUICK).await?;
    let short = Weather {
        lifetime: Some(Duration::from_millis(200)),
        ..Weather::default()
    };
    stage.proxy.set_all_weather(short);
    let _controller = stage.controller()?;
    let requests = stage.ask("short", 12).await?;
    stage.all_succeed(&requests).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_begins_with_a_list_from_before_the_starts_starts_nothing_again()
-> Result<()> {
    let stage = Stage::new("oldlist", LONG).await?;
    let requests = stage.ask("old", 6).await?;
    stage.remember_lists().await?;
    let controller = stage.controller()?;
    for request in &requests {
        stage
            .bed
            .until_phase(&request.name_any(), Phase::Running)
            .await?;
    }
    stage.proxy.serve_old_lists(true);
    stage.withhold(&super::KINDS);
    let before = stage.proxy.writes().len();
    let controller = stage.replace(controller).await?;
    for request in &requests {
        stage.bed.finish(request);
    }
    // By its old list it believes that they wait to be seen for the first time; what it reads says how they ended.
    stage.all_succeed(&requests).await?;
    ensure!(stage.proxy.writes().len() > before);

    // And again, with everything ended: it believes in the same list.
    let _controller = stage.replace(controller).await?;
    let marker = stage.ask("marker", 1).await?;
    stage.clear_sky();
    stage.bed.until_phase("marker-0", Phase::Running).await?;
    stage.bed.finish(&marker[0]);
    stage.all_succeed(&marker).await?;
    stage.all_succeed(&requests).await
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_whose_answers_are_lost_start_nothing_twice() -> Result<()> {
    let stage = Stage::new("answers", QUICK).await?;
    for resource in [REQUEST_STATUS, TARGET_STATUS, "deployrequests"] {
        let fault = ApiFault::new(PATCH, resource, ApiEffect::LoseAnswer);
        stage.proxy.inject(fault.each(2));
    }
    let create = ApiFault::new(Method::POST, "deploytargets", ApiEffect::LoseAnswer);
    stage.proxy.inject(create.times(3));
    let _controller = stage.controller()?;
    let requests = stage.ask("answer", 12).await?;
    stage.all_succeed(&requests).await?;
    let lost = stage.proxy.writes();
    let lost = lost.iter().filter(|write| !write.answered).count();
    ensure!(lost > 40, "only {lost} answers were lost");
    Ok(())
}

/// The watches of the kinds are apart: that of the targets may be far behind that of the requests.
#[tokio::test(flavor = "multi_thread")]
async fn what_runs_is_cancelled_although_its_target_is_not_seen_to_be_held() -> Result<()> {
    let stage = Stage::new("behind", LONG).await?;
    let bed = &stage.bed;
    let _controller = stage.controller()?;
    // The cache knows the target as it was between two requests: free.
    let earlier = bed.deploy("earlier").await?;
    bed.until_phase("earlier", Phase::Running).await?;
    bed.finish(&earlier);
    bed.until_phase("earlier", Phase::Succeeded).await?;
    bed.until_free().await?;
    stage.withhold(&["deploytargets"]);

    let running = bed.deploy("running").await?;
    bed.until_phase("running", Phase::Running).await?;
    let waiting = bed.deploy("waiting").await?;
    bed.until_phase("waiting", Phase::Queued).await?;
    bed.cancel("running").await?;
    let ended = bed.until_ended("running").await?;
    let launches = bed.gate.launches_of(&running.uid().unwrap_or_default());
    ensure!(launches.len() == 1, "{launches:?}");
    let shown = bed.gate.status(&launches[0].execution_id);
    ensure!(
        phase_of(&ended) == Phase::Canceled && shown == Some(Status::Canceled),
        "{:?} while Spinnaker shows {shown:?}",
        ended.status
    );

    stage.clear_sky();
    bed.until_phase("waiting", Phase::Running).await?;
    bed.finish(&waiting);
    stage.all_succeed(&[earlier, waiting]).await
}
