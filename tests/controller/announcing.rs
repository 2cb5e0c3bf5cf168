//! A repository is told how its deployments go: one for each request, whoever dies, and never in the way of a start.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use foredeck::{
    api::{Application, DeployRequest, deploy_request::Phase, version::GitStatus},
    runtime::crash::GIT_POINTS,
};
use foredeck_testkit::{
    toolbox::{Deployment, Github, GithubFault, Node},
    wait_for,
};
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Secret};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};

use crate::support::{Bed, Controller, PATIENCE, deploy};

const REPOSITORY: &str = "acme/checkout";
const QUICK: Duration = Duration::from_millis(200);
/// Until a test ends it itself.
const LONG: Duration = Duration::from_hours(1);
/// Everything that is asked about deployments.
const ABOUT: &str = "/deployments";

/// A GitHub with the repository; nothing if Node is left out.
async fn github() -> Result<Option<Github>> {
    match Node::fetch().await? {
        Some(node) => Ok(Some(Github::start(&node, REPOSITORY).await?)),
        None => Ok(None),
    }
}

/// A bed whose application is in that repository.
async fn bed(prefix: &str, work: Duration, github: &Github) -> Result<Bed> {
    let bed = Bed::new(prefix, work).await?;
    let secret =
        json!({"metadata": {"name": "repository"}, "stringData": {"token": github.token()}});
    let secrets: Api<Secret> = Api::namespaced(bed.client.clone(), &bed.namespace);
    secrets
        .create(&PostParams::default(), &serde_json::from_value(secret)?)
        .await?;
    named(&bed, github, json!({})).await?;
    Ok(bed)
}

/// Names the repository in the application, with more said of it.
async fn named(bed: &Bed, github: &Github, more: Value) -> Result<()> {
    let mut repository =
        json!({"github": REPOSITORY, "apiUrl": github.url(), "secretName": "repository"});
    for (name, value) in more.as_object().into_iter().flatten() {
        repository[name] = value.clone();
    }
    bed.merge::<Application>("checkout", json!({"spec": {"repository": repository}}))
        .await?;
    Ok(())
}

fn controller(bed: &Bed, arguments: &[&str]) -> Result<Controller> {
    let hosts = ["--allow-git-hosts", "127.0.0.1"];
    bed.controller_lasting("30s", &[&hosts, arguments].concat())
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
        let last = states(&one).pop();
        ensure!(last.as_deref() == Some(state), "{one:?}");
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
    let Some(github) = github().await? else {
        return Ok(());
    };
    let bed = bed("tell-order", LONG, &github).await?;
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
    let Some(github) = github().await? else {
        return Ok(());
    };
    let cells = GIT_POINTS
        .iter()
        .map(async |point| crashed(point, &github).await.context(*point));
    futures::future::try_join_all(cells).await?;
    Ok(())
}

async fn crashed(point: &str, github: &Github) -> Result<()> {
    let bed = bed("tell-crash", QUICK, github).await?;
    let mut first = controller(&bed, &["--test-crash-at", point])?;
    let request = bed.deploy("first").await?;
    ensure!(!first.until_ended().await?.success());
    let leases = bed.api::<Lease>();
    leases
        .delete("foredeck-controller", &DeleteParams::default())
        .await?;
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
    let Some(github) = github().await? else {
        return Ok(());
    };
    let bed = bed("tell-lost", LONG, &github).await?;
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
    let Some(github) = github().await? else {
        return Ok(());
    };
    let bed = bed("tell-right", QUICK, &github).await?;
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
    let Some(github) = github().await? else {
        return Ok(());
    };
    let bed = bed("tell-slow", QUICK, &github).await?;
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
    let Some(github) = github().await? else {
        return Ok(());
    };
    let bed = bed("tell-gone", LONG, &github).await?;
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
async fn a_copy_of_what_ran_is_told_of_nobody_and_neither_is_what_says_never() -> Result<()> {
    let Some(github) = github().await? else {
        return Ok(());
    };
    let bed = bed("tell-copy", QUICK, &github).await?;
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
    named(&bed, &github, json!({"deployments": "Never"})).await?;
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
    let Some(github) = github().await? else {
        return Ok(());
    };
    let bed = bed("tell-many", QUICK, &github).await?;
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
