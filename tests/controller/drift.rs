//! What targets say of what runs on them: whether it does, and how far it is behind.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use foredeck::api::{
    Application, DeployTarget, deploy_request::Phase, deploy_target::DeployTargetStatus,
};
use foredeck_testkit::{
    gate::{Effect, Fault, Operation, Stage},
    toolbox::GithubFault,
    wait_for,
};
use kube::ResourceExt;
use serde_json::json;

use crate::support::{Bed, PATIENCE, deploy};

const QUICK: Duration = Duration::from_millis(600);
const OFTEN: &[&str] = &["--test-upkeep", "500ms"];

/// `True Succeeded: …`, as `kubectl -o wide` has it.
fn known(status: &DeployTargetStatus) -> String {
    let known = status
        .conditions
        .iter()
        .find(|known| known.type_ == "Known");
    known.map_or_else(String::new, |known| {
        format!("{} {}: {}", known.status, known.reason, known.message)
    })
}

impl Bed {
    async fn until_known(&self, environment: &str, beginning: &str) -> Result<String> {
        let wanted = |status: &DeployTargetStatus| known(status).starts_with(beginning);
        let status = self.until_target(environment, beginning, wanted).await?;
        Ok(known(&status))
    }

    async fn deployed(&self, name: &str, environment: &str, version: &str) -> Result<String> {
        let request = self.request(name, deploy(environment, version)).await?;
        self.until_phase(name, Phase::Succeeded).await?;
        self.until_free().await?;
        self.until_launched(&request).await
    }

    /// Somebody runs the pipeline of that execution by hand, as another login.
    async fn run_by_hand(&self, execution: &str, parameters: serde_json::Value) -> Result<String> {
        let ours = self.gate.execution(execution).context("our execution")?;
        let (application, name) = (&ours["application"], &ours["name"]);
        let url = format!(
            "{}/pipelines/{}/{}",
            self.gate.url(),
            application.as_str().unwrap_or_default(),
            name.as_str().unwrap_or_default().replace(' ', "%20"),
        );
        // A mark is text that anybody can write.
        let mark = json!({
            "uid": "forged", "digest": "d", "target": "no-such-target", "namespace": self.namespace,
        });
        let body = json!({
            "type": "manual", "user": "mallory", "parameters": parameters, "foredeck": mark,
        });
        let answer = reqwest::Client::builder().no_proxy().build()?;
        let answer = answer.post(url).json(&body).send().await?;
        let text = answer.error_for_status()?.text().await?;
        Ok(text)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_after_its_start_is_unknown_until_the_next_success() -> Result<()> {
    let bed = Bed::new("drift-failed", QUICK).await?;
    let stages = [Stage::fail("Apply", "no such image").failing_times(1)];
    bed.another_environment("shaky", json!({}), stages).await?;
    let _controller = bed.controller_with(OFTEN)?;
    bed.request("first", deploy("shaky", "v1")).await?;
    bed.until_phase("first", Phase::Failed).await?;
    let said = bed.until_known("shaky", "False LastRequestFailed").await?;
    ensure!(said.contains("v1") && said.contains("first"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_that_was_run_again_is_told_until_the_next_success() -> Result<()> {
    let bed = Bed::new("drift-rerun", QUICK).await?;
    let _controller = bed.controller_with(OFTEN)?;
    let execution = bed.deployed("first", "staging", "v1").await?;
    bed.until_known("staging", "True Succeeded").await?;
    ensure!(bed.gate.rerun(&execution));
    let said = bed.until_known("staging", "False ExecutionRerun").await?;
    ensure!(said.contains(&execution), "{said}");
    bed.gate.finish(&execution);
    bed.deployed("second", "staging", "v2").await?;
    bed.until_known("staging", "True Succeeded").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_ran_is_told_and_what_we_ran_for_another_target_is_not() -> Result<()> {
    let bed = Bed::new("drift-others", QUICK).await?;
    let shared = json!({"spec": {"actions": {"deploy": {"pipeline": "Deploy to staging"}}}});
    bed.merge::<Application>("checkout", shared).await?;
    let _controller = bed.controller_with(OFTEN)?;
    let execution = bed.deployed("first", "staging", "v1").await?;
    bed.deployed("second", "production", "v2").await?;
    bed.until_known("production", "True Succeeded").await?;
    bed.until_known("staging", "True Succeeded").await?;
    let here = json!({"account": "eks-staging", "namespace": "shop", "branch": "mine"});
    bed.run_by_hand(&execution, here).await?;
    let said = bed.until_known("staging", "False RanElsewhere").await?;
    ensure!(
        said.contains("execution ") && said.contains("It may have changed what runs here"),
        "{said}"
    );
    let elsewhere = bed.target("production").await?.status.unwrap_or_default();
    ensure!(
        known(&elsewhere).starts_with("True"),
        "{}",
        known(&elsewhere)
    );
    // What still ran when ours began could have changed what runs after it.
    let (_, rest) = said.split_once("execution ").context("no execution")?;
    let id = rest.split(',').next().unwrap_or_default();
    wait_for("the other one to end", PATIENCE, async || {
        let shown = bed.gate.execution(id).context("no execution")?;
        ensure!(shown["status"] == "SUCCEEDED", "{shown}");
        Ok(())
    })
    .await?;
    bed.deployed("third", "staging", "v3").await?;
    bed.until_known("staging", "True Succeeded").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_gate_makes_it_late_and_nothing_is_written_while_nothing_changes() -> Result<()> {
    let bed = Bed::new("drift-quiet", QUICK).await?;
    let controller = bed.controller_with(OFTEN)?;
    bed.deployed("first", "staging", "v1").await?;
    bed.until_known("staging", "True Succeeded").await?;
    let version = |target: DeployTarget| target.resource_version();
    let before = version(bed.target("staging").await?);
    let rounds = async |more: usize| {
        let asked = bed.gate.count_calls(Operation::List);
        wait_for("more rounds", PATIENCE, async || {
            let now = bed.gate.count_calls(Operation::List);
            ensure!(now >= asked + more, "{now} after {asked}");
            Ok(())
        })
        .await
    };
    rounds(5).await?;
    let fault = Fault::new(Operation::List, Effect::ServerErrorBefore).permanently();
    bed.gate.inject(fault);
    rounds(3).await?;
    bed.gate.clear_faults();
    controller.kill();
    let _next = bed.controller_with(OFTEN)?;
    rounds(3).await?;
    ensure!(version(bed.target("staging").await?) == before);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_falls_behind_as_the_branch_moves_and_is_at_its_head_once_that_is_deployed() -> Result<()>
{
    let bed = Bed::new("drift-behind", QUICK).await?;
    let Some(github) = bed.repository().await? else {
        return Ok(());
    };
    let first = github.head("main").await?;
    let _controller = bed.controller_with(OFTEN)?;
    bed.deployed("first", "staging", "main").await?;
    let at = |behind: u32, ahead: u32| {
        move |status: &DeployTargetStatus| {
            let drift = status.drift.as_ref();
            drift.is_some_and(|drift| (drift.behind, drift.ahead) == (Some(behind), Some(ahead)))
        }
    };
    let zero = bed.until_target("staging", "at the head", at(0, 0)).await?;
    github.commits("main", 3).await?;
    let three = bed.until_target("staging", "3 behind", at(3, 0)).await?;
    ensure!(three.current == zero.current && three.history == zero.history);
    bed.deployed("second", "production", &first).await?;
    bed.until_target("production", "3 behind", at(3, 0)).await?;
    github.set_fault(Some(GithubFault::Status(404)));
    let gone = |status: &DeployTargetStatus| {
        let drift = status.drift.as_ref();
        drift.is_some_and(|drift| drift.behind.is_none() && drift.problem.is_some())
    };
    bed.until_target("production", "a problem", gone).await?;
    bed.until_known("production", "True Succeeded").await?;
    github.set_fault(None);
    bed.until_target("production", "3 behind", at(3, 0)).await?;
    bed.deployed("third", "staging", "main").await?;
    bed.until_target("staging", "at the head", at(0, 0)).await?;
    github.force_push("main", &first).await?;
    bed.until_target("staging", "3 ahead", at(0, 3)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_repository_there_is_no_drift_and_kubectl_reads_well() -> Result<()> {
    let bed = Bed::new("drift-table", QUICK).await?;
    let _controller = bed.controller_with(OFTEN)?;
    bed.deployed("first", "staging", "v1").await?;
    bed.until_known("staging", "True Succeeded").await?;
    let status = bed.target("staging").await?.status.unwrap_or_default();
    ensure!(status.drift.is_none(), "{:?}", status.drift);
    let output = Command::new("kubectl")
        .arg("--kubeconfig")
        .arg(bed.plane.admin_kubeconfig())
        .args([
            "--namespace",
            &bed.namespace,
            "get",
            "deploytargets",
            "-o",
            "wide",
        ])
        .output()
        .context("this test needs kubectl on the PATH: https://kubernetes.io/docs/tasks/tools/")?;
    let table = String::from_utf8(output.stdout)?;
    for part in [
        "VERSION",
        "COMMIT",
        "SINCE",
        "REQUESTER",
        "BEHIND",
        "KNOWN",
        "WHY",
    ] {
        ensure!(table.contains(part), "{table}");
    }
    let row = table.lines().nth(1).unwrap_or_default();
    ensure!(row.contains(" v1 ") && row.contains(" True "), "{table}");
    ensure!(
        row.contains("the last request that ran here succeeded"),
        "{table}"
    );
    Ok(())
}
