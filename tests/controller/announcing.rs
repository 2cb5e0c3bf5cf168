//! A repository is told how its deployments go: one for each request, whoever dies, and never in the way of a start.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use foredeck::{
    api::{
        Application, DeployRequest, DeployTarget, Environment, deploy_request::Phase,
        version::GitStatus,
    },
    runtime::crash::GIT_POINTS,
};
use foredeck_testkit::{
    toolbox::{Deployment, Github, GithubFault, Node},
    wait_for,
};
use jiff::Timestamp;
use k8s_openapi::{api::coordination::v1::Lease, apimachinery::pkg::apis::meta::v1::Time};
use kube::{
    ResourceExt,
    api::{ListParams, PostParams},
};
use serde_json::json;

use crate::{
    repository::REPOSITORY,
    support::{Bed, Controller, PATIENCE, deploy},
};

const QUICK: Duration = Duration::from_millis(200);
/// Until a test ends it itself.
const LONG: Duration = Duration::from_hours(1);
/// Everything that is asked about deployments.
const ABOUT: &str = "/deployments";

/// A bed whose application is in a repository of its own; nothing if Node is left out.
async fn bed(prefix: &str, work: Duration) -> Result<Option<(Bed, Github)>> {
    let bed = Bed::new(prefix, work).await?;
    let github = bed.repository().await?;
    Ok(github.map(|github| (bed, github)))
}

fn controller(bed: &Bed, arguments: &[&str]) -> Result<Controller> {
    bed.controller_with(arguments)
}

fn git(request: &DeployRequest) -> GitStatus {
    let status = request.status.clone().unwrap_or_default();
    status.git.map(|git| *git).unwrap_or_default()
}

/// What GitHub has of this request.
fn made(github: &Github, request: &DeployRequest) -> Vec<Deployment> {
    let uid = request.uid().unwrap_or_default();
    let all = github.deployments().into_iter();
    all.filter(|one| one.payload.to_string().contains(&uid))
        .collect()
}

fn states(deployment: &Deployment) -> Vec<String> {
    let states = deployment.states.iter();
    states.map(|state| state.state.clone()).collect()
}

/// Waits until GitHub's only deployment of this request is in that state, and gives it.
async fn until_told(github: &Github, request: &DeployRequest, state: &str) -> Result<Deployment> {
    let what = format!("{} told as {state}", request.name_any());
    wait_for(&what, PATIENCE, async || {
        let mut all = made(github, request);
        ensure!(all.len() <= 1, "two of one request: {all:?}");
        let one = all.pop().context("none is made")?;
        // GitHub makes what went well before inactive.
        let replaced = states(&one).ends_with(&[state.to_owned(), "inactive".to_owned()]);
        let last = states(&one).pop();
        ensure!(replaced || last.as_deref() == Some(state), "{one:?}");
        Ok(one)
    })
    .await
}

async fn until_written(bed: &Bed, name: &str, state: &str) -> Result<GitStatus> {
    let wanted = |request: &DeployRequest| {
        let git = git(request);
        git.state.as_deref() == Some(state) && git.telling_since.is_none()
    };
    let request = bed.until(name, state, wanted).await?;
    Ok(git(&request))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_has_one_deployment_and_its_states_in_order() -> Result<()> {
    let Some((bed, github)) = bed("tell-order", LONG).await? else {
        return Ok(());
    };
    let _controller = controller(&bed, &[])?;
    let first = bed.deploy("first").await?;
    until_told(&github, &first, "in_progress").await?;
    let second = bed.deploy("second").await?;
    until_told(&github, &second, "queued").await?;
    bed.finish(&first);
    until_told(&github, &first, "success").await?;
    let running = until_told(&github, &second, "in_progress").await?;
    bed.until_launched(&second).await?;
    bed.finish(&second);
    let told = until_told(&github, &second, "success").await?;
    ensure!(
        states(&told) == ["queued", "in_progress", "success"],
        "{told:?}"
    );
    ensure!(told.sha == github.head("main").await?);
    ensure!(told.environment == format!("{}/checkout/staging", bed.namespace));
    ensure!(
        running
            .states
            .iter()
            .all(|state| !state.description.is_empty())
    );
    let written = until_written(&bed, "second", "success").await?;
    ensure!(written.deployment == i64::try_from(told.id).ok() && written.problem.is_none());
    ensure!(
        told.states[2].log_url.starts_with("https://deck.example"),
        "{told:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_point_makes_no_second_deployment() -> Result<()> {
    let Some(node) = Node::fetch().await? else {
        return Ok(());
    };
    let github = Github::start(&node, REPOSITORY).await?;
    let cells = GIT_POINTS
        .iter()
        .map(async |point| crashed(point, &github).await.context(*point));
    futures::future::try_join_all(cells).await?;
    Ok(())
}

async fn crashed(point: &str, github: &Github) -> Result<()> {
    let bed = Bed::new("tell-crash", QUICK).await?;
    bed.is_in(github).await?;
    let mut first = controller(&bed, &["--test-crash-at", point])?;
    let request = bed.deploy("first").await?;
    ensure!(!first.until_ended().await?.success());
    bed.delete::<Lease>("foredeck-controller").await?;
    let _second = controller(&bed, &[])?;
    bed.until_phase("first", Phase::Succeeded).await?;
    let told = until_told(github, &request, "success").await?;
    let mut once = states(&told);
    once.dedup();
    ensure!(once == states(&told), "a state was told twice: {told:?}");
    until_written(&bed, "first", "success").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_makes_no_second_deployment() -> Result<()> {
    let Some((bed, github)) = bed("tell-lost", LONG).await? else {
        return Ok(());
    };
    let _controller = controller(&bed, &[])?;
    github.set_fault_for(
        &format!("POST /repos/{REPOSITORY}{ABOUT}"),
        GithubFault::Lost,
    );
    let request = bed.deploy("first").await?;
    wait_for("the deployment", PATIENCE, async || {
        ensure!(made(&github, &request).len() == 1);
        Ok(())
    })
    .await?;
    bed.until_launched(&request).await?;
    github.set_fault(None);
    bed.finish(&request);
    until_told(&github, &request, "success").await?;
    until_written(&bed, "first", "success").await?;
    ensure!(made(&github, &request).len() == 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_the_right_is_said_once_and_asked_for_once() -> Result<()> {
    let Some((bed, github)) = bed("tell-right", QUICK).await? else {
        return Ok(());
    };
    let _controller = controller(&bed, &[])?;
    github.forbid_deployments(true);
    bed.deploy("first").await?;
    bed.until_phase("first", Phase::Succeeded).await?;
    let has_problem = |request: &DeployRequest| git(request).problem.is_some();
    let request = bed.until("first", "a problem", has_problem).await?;
    let problem = git(&request).problem.unwrap_or_default();
    ensure!(problem.contains("not told"), "{problem}");
    // What comes after it is told, so all that was asked about the first was asked.
    github.forbid_deployments(false);
    let second = bed.deploy("second").await?;
    until_told(&github, &second, "success").await?;
    let refused = github.calls().into_iter().filter(|call| call.status == 403);
    ensure!(refused.count() == 1);
    ensure!(made(&github, &request).is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_start_waits_for_a_repository_that_is_slow_or_limited() -> Result<()> {
    let Some((bed, github)) = bed("tell-slow", QUICK).await? else {
        return Ok(());
    };
    let _controller = controller(&bed, &[])?;
    github.set_fault_for(ABOUT, GithubFault::Slow(Duration::from_mins(2)));
    let slow = bed.deploy("slow").await?;
    bed.until_phase("slow", Phase::Succeeded).await?;
    ensure!(made(&github, &slow).is_empty());
    github.set_fault(None);
    github.set_fault_for(ABOUT, GithubFault::Limited(3));
    let limited = bed.deploy("limited").await?;
    bed.until_phase("limited", Phase::Succeeded).await?;
    github.set_fault(None);
    until_told(&github, &slow, "success").await?;
    until_told(&github, &limited, "success").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_deleted_request_is_told() -> Result<()> {
    let Some((bed, github)) = bed("tell-gone", LONG).await? else {
        return Ok(());
    };
    let _controller = controller(&bed, &[])?;
    let runs = bed.deploy("runs").await?;
    until_told(&github, &runs, "in_progress").await?;
    let waits = bed.deploy("waits").await?;
    until_told(&github, &waits, "queued").await?;
    bed.delete::<DeployRequest>("waits").await?;
    bed.delete::<DeployRequest>("runs").await?;
    until_told(&github, &waits, "inactive").await?;
    bed.finish(&runs);
    until_told(&github, &runs, "success").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_request_that_was_deleted_while_no_controller_ran_is_told() -> Result<()> {
    let Some((bed, github)) = bed("tell-back", LONG).await? else {
        return Ok(());
    };
    let first = controller(&bed, &[])?;
    let request = bed.deploy("first").await?;
    until_told(&github, &request, "in_progress").await?;
    github.set_fault_for(ABOUT, GithubFault::Status(503));
    bed.finish(&request);
    bed.until_phase("first", Phase::Succeeded).await?;
    first.kill();
    bed.delete::<Lease>("foredeck-controller").await?;
    bed.delete::<DeployRequest>("first").await?;
    // It was a long night.
    let targets = bed.api::<DeployTarget>();
    let mut target = targets.list(&ListParams::default()).await?.items.remove(0);
    let status = target.status.as_mut().context("a status")?;
    ensure!(status.history.len() == 1);
    let then = Timestamp::now().checked_sub(Duration::from_hours(3))?;
    status.history[0].finished_at = Time(then);
    targets
        .replace_status(&target.name_any(), &PostParams::default(), &target)
        .await?;
    github.set_fault(None);
    let _second = controller(&bed, &[])?;
    until_told(&github, &request, "success").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_request_that_was_deleted_with_its_application_is_told() -> Result<()> {
    let Some((bed, github)) = bed("tell-pruned", LONG).await? else {
        return Ok(());
    };
    let _controller = controller(&bed, &[])?;
    let request = bed.deploy("first").await?;
    until_told(&github, &request, "in_progress").await?;
    bed.delete::<Application>("checkout").await?;
    bed.delete::<DeployRequest>("first").await?;
    bed.finish(&request);
    until_told(&github, &request, "success").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_replaced_or_refused_in_the_middle_of_a_run_is_waited_for() -> Result<()> {
    let Some((bed, github)) = bed("tell-login", LONG).await? else {
        return Ok(());
    };
    let _controller = controller(&bed, &[])?;
    let until_refused = async |status: u16| {
        wait_for("a refusal", PATIENCE, async || {
            let mut calls = github.calls().into_iter();
            ensure!(calls.any(|call| call.status == status && call.path.contains(ABOUT)));
            Ok(())
        })
        .await
    };
    github.set_fault_for(ABOUT, GithubFault::Status(401));
    let request = bed.deploy("first").await?;
    until_refused(401).await?;
    github.set_fault(None);
    until_told(&github, &request, "in_progress").await?;
    github.set_fault_for(ABOUT, GithubFault::Status(403));
    bed.finish(&request);
    until_refused(403).await?;
    github.set_fault(None);
    until_told(&github, &request, "success").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_that_was_edited_after_a_lost_answer_makes_no_second_deployment()
-> Result<()> {
    let Some((bed, github)) = bed("tell-edited", LONG).await? else {
        return Ok(());
    };
    let _controller = controller(&bed, &[])?;
    github.set_fault_for(
        &format!("POST /repos/{REPOSITORY}{ABOUT}"),
        GithubFault::Lost,
    );
    let request = bed.deploy("first").await?;
    bed.until_launched(&request).await?;
    wait_for("the deployment", PATIENCE, async || {
        ensure!(made(&github, &request).len() == 1);
        Ok(())
    })
    .await?;
    let elsewhere = json!({"spec": {"target": {"namespace": "elsewhere"}}});
    bed.merge::<Environment>("staging", elsewhere).await?;
    github.set_fault(None);
    bed.finish(&request);
    let told = until_told(&github, &request, "success").await?;
    ensure!(told.environment == format!("{}/checkout/staging", bed.namespace));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_what_ran_is_told_of_nobody_and_neither_is_what_says_never() -> Result<()> {
    let Some((bed, github)) = bed("tell-copy", QUICK).await? else {
        return Ok(());
    };
    let _controller = controller(&bed, &[])?;
    let keyed = || {
        let mut spec = deploy("staging", "main");
        spec["idempotencyKey"] = json!("one");
        spec
    };
    let first = bed.request("first", keyed()).await?;
    until_told(&github, &first, "success").await?;
    bed.delete::<DeployRequest>("first").await?;
    let copy = bed.request("first", keyed()).await?;
    bed.until_ended("first").await?;
    let mut dry = deploy("staging", "main");
    dry["dryRun"] = json!(true);
    let dry = bed.request("dry", dry).await?;
    bed.until_ended("dry").await?;
    let after = bed.deploy("after").await?;
    until_told(&github, &after, "success").await?;
    ensure!(made(&github, &copy).is_empty() && made(&github, &dry).is_empty());
    let never = json!({"spec": {"repository": {"deployments": "Never"}}});
    bed.merge::<Application>("checkout", never).await?;
    github.forget_calls();
    let never = bed.deploy("never").await?;
    bed.until_phase("never", Phase::Succeeded).await?;
    ensure!(github.calls().iter().all(|call| !call.path.contains(ABOUT)));
    ensure!(
        made(&github, &never).is_empty() && git(&bed.get("never").await?) == GitStatus::default()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_have_one_deployment_each() -> Result<()> {
    let Some((bed, github)) = bed("tell-many", QUICK).await? else {
        return Ok(());
    };
    let names = bed.more_environments(12, QUICK).await?;
    let _controller = controller(&bed, &[])?;
    let mut requests = Vec::new();
    for name in &names {
        requests.push(bed.request(name, deploy(name, "main")).await?);
    }
    for request in &requests {
        until_told(&github, request, "success").await?;
    }
    ensure!(github.deployments().len() == requests.len());
    Ok(())
}
