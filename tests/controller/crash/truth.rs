//! What has to hold when all is quiet, and what is shown of a cell where it doesn't.

use std::fmt::Write;

use anyhow::{Context, Result, ensure};
use foredeck::api::{
    DeployRequest,
    deploy_request::Phase,
    deploy_target::{DeployTargetStatus, Run},
};
use foredeck_testkit::gate::{Launch, Status};
use kube::Api;

use super::scene::Scene;
use crate::support::{phase_of, reason};

/// Lines of each controller's log that are shown.
const TAIL: usize = 60;

/// At most one launch for each request, never two at once on a target, and phases that tell the truth.
pub(super) async fn check(scene: &Scene) -> Result<()> {
    for gate in scene.gates() {
        for (key, peak) in gate.peak_concurrency() {
            ensure!(
                !key.starts_with("target/") || peak <= 1,
                "{peak} executions ran at once on {key}"
            );
        }
    }
    let requests: Api<DeployRequest> = scene.bed.api();
    let uids = [
        ("first", Some(&scene.first)),
        ("second", scene.second.as_ref()),
    ];
    for (name, uid) in uids {
        let Some(uid) = uid else { continue };
        let launches = launches(scene, uid);
        ensure!(
            launches.len() <= 1,
            "{name} was launched {} times",
            launches.len()
        );
        let execution = launches.first().map(|(_, status)| *status);
        match requests.get_opt(name).await? {
            Some(request) => {
                let may_end = scene.cell.may_end(name == "first", scene.cancelled);
                tells_the_truth(&request, execution, &may_end).with_context(|| name.to_owned())?;
            }
            None => followed_to_its_end(scene, uid, execution)
                .await
                .with_context(|| format!("{name}, which was deleted"))?,
        }
    }
    Ok(())
}

/// Every launch of a request, and how its execution ended.
fn launches(scene: &Scene, uid: &str) -> Vec<(Launch, Status)> {
    scene
        .gates()
        .flat_map(|gate| {
            let launches = gate.launches_of(uid);
            launches.into_iter().filter_map(|launch| {
                let status = gate.status(&launch.execution_id)?;
                Some((launch, status))
            })
        })
        .collect()
}

fn tells_the_truth(
    request: &DeployRequest,
    launched: Option<Status>,
    may_end: &[Phase],
) -> Result<()> {
    let phase = phase_of(request);
    ensure!(may_end.contains(&phase), "it ended {phase:?}");
    matches_execution(phase, &reason(request, "Succeeded"), launched)?;
    let status = request.status.clone().unwrap_or_default();
    ensure!(status.finished_at.is_some(), "it has no end");
    ensure!(status.waiting.is_none(), "it ended and waits");
    let rerun = status.execution.and_then(|execution| execution.rerun);
    ensure!(rerun.is_none(), "it says that it ran again");
    Ok(())
}

fn matches_execution(phase: Phase, reason: &str, launched: Option<Status>) -> Result<()> {
    let truth = match phase {
        Phase::Succeeded => launched == Some(Status::Succeeded),
        Phase::Canceled => launched.is_none_or(|status| status == Status::Canceled),
        Phase::Failed => launched.is_none() && reason == "StartRefused",
        _ => false,
    };
    ensure!(
        truth,
        "it ended {phase:?} for {reason:?}, and its execution is {launched:?}"
    );
    Ok(())
}

/// A request that is gone: its target has to tell how it ended, if it was launched.
async fn followed_to_its_end(scene: &Scene, uid: &str, launched: Option<Status>) -> Result<()> {
    let mut runs: Vec<Run> = Vec::new();
    for target in scene.bed.targets().await? {
        let DeployTargetStatus { history, .. } = target.status.unwrap_or_default();
        runs.extend(history.into_iter().filter(|run| run.uid == uid));
    }
    match (runs.as_slice(), launched) {
        ([], None) => Ok(()),
        ([run], launched) => matches_execution(run.phase, &run.reason, launched),
        _ => anyhow::bail!("its execution is {launched:?}, and its target tells of {runs:?}"),
    }
}

/// All that is known of a cell.
pub(super) async fn report(scene: &Scene) -> String {
    let mut report = format!("namespace {}, {:?}\n", scene.bed.namespace, scene.cell);
    let mut line = |text: String| {
        let _infallible = writeln!(report, "{text}");
    };
    let requests: Api<DeployRequest> = scene.bed.api();
    for name in ["first", "second"] {
        match requests.get_opt(name).await {
            Ok(request) => line(format!(
                "{name}: {}",
                request.map_or_else(
                    || "gone".to_owned(),
                    |request| serde_json::to_string(&request.status).unwrap_or_default(),
                )
            )),
            Err(error) => line(format!("{name}: {error}")),
        }
    }
    for target in scene.bed.targets().await.unwrap_or_default() {
        line(format!(
            "target: {}",
            serde_json::to_string(&target.status).unwrap_or_default()
        ));
    }
    for gate in scene.gates() {
        for launch in gate.launches() {
            let status = gate.status(&launch.execution_id);
            line(format!("launch: {status:?} {launch:?}"));
        }
        line(format!("peaks: {:?}", gate.peak_concurrency()));
        for call in gate.calls() {
            line(format!(
                "call {} {} {} {:?} {:?} {}",
                call.at,
                call.method,
                call.path,
                call.status,
                call.fault,
                call.query.get("executionIds").map_or("", String::as_str)
            ));
        }
    }
    for (number, log) in scene.logs().iter().enumerate() {
        let lines: Vec<&str> = log.lines().collect();
        line(format!("--- log of controller {number}"));
        for text in &lines[lines.len().saturating_sub(TAIL)..] {
            line((*text).to_owned());
        }
    }
    report
}
