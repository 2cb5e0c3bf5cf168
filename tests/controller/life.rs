//! A request's life when nothing goes wrong, and when its execution fails.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use foredeck::api::{Application, Environment, deploy_request::Phase};
use foredeck_testkit::gate::{FailurePlace, Pipeline, Stage};
use serde_json::json;

use crate::support::{Bed, environment, message, reason};

const QUICK: Duration = Duration::from_millis(600);

#[tokio::test(flavor = "multi_thread")]
async fn an_applied_request_starts_one_execution_and_follows_it_to_its_end() -> Result<()> {
    let bed = Bed::new("life", QUICK).await?;
    let _controller = bed.controller()?;
    let request = bed.deploy("first").await?;
    let ended = bed.until_phase("first", Phase::Succeeded).await?;
    ensure!(bed.launches(&request) == 1);
    ensure!(reason(&ended, "Succeeded") == "Succeeded");
    let status = ended.status.unwrap_or_default();
    let execution = status.execution.unwrap_or_default();
    ensure!(execution.status == "SUCCEEDED", "{execution:?}");
    ensure!(execution.stages.len() == 2, "{execution:?}");
    ensure!(execution.url.is_some_and(|url| {
        url.starts_with("https://deck.example/#/applications/checkout/executions/details/")
    }));
    bed.until_free().await?;
    let target = bed.target("staging").await?.status.unwrap_or_default();
    ensure!(target.current.and_then(|run| run.version).as_deref() == Some("main"));
    ensure!(target.history.len() == 1 && target.keys.len() == 1);
    Ok(())
}

impl Bed {
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new("kubectl")
            .arg("--kubeconfig")
            .arg(self.plane.admin_kubeconfig())
            .args(["--namespace", &self.namespace])
            .args(arguments)
            .output()
            .context(
                "this test needs kubectl on the PATH: https://kubernetes.io/docs/tasks/tools/",
            )?;
        ensure!(
            output.status.success(),
            "kubectl {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_names_the_deepest_stage_and_what_it_said_and_nothing_that_is_nobodys_business()
-> Result<()> {
    let bed = Bed::new("failure", QUICK).await?;
    let leaky = "migration 42 failed at https://admin:hunter2@db.internal.example:5432/shop with password=hunter2 on 10.1.2.3";
    let inner = bed
        .gate
        .put_pipeline(Pipeline::new("checkout", "Inner").stage(Stage::fail("Migrate", leaky)));
    let middle = bed
        .gate
        .put_pipeline(Pipeline::new("checkout", "Middle").stage(Stage::pipeline(
            "Run inner",
            "checkout",
            &inner,
        )));
    for pipeline in [
        Pipeline::new("checkout", "Flat")
            .stage(Stage::deploy("Fine", Duration::ZERO))
            .stage(Stage::fail(
                "Apply",
                "deployment exceeded its progress deadline",
            )),
        Pipeline::new("checkout", "Outer").stage(Stage::pipeline(
            "Run middle",
            "checkout",
            &middle,
        )),
        Pipeline::new("checkout", "Checked").stage(Stage::precondition(
            "Is it Monday?",
            "1 == 2",
            "no deployments before Monday",
        )),
        Pipeline::new("checkout", "Hooked").stage(Stage::fail_in(
            "Call",
            FailurePlace::Webhook,
            "the hook answered 500",
        )),
        Pipeline::new("checkout", "Mute").stage(Stage::fail_in("Shrug", FailurePlace::Nowhere, "")),
        Pipeline::new("checkout", "Lenient")
            .stage(Stage::fail("Smoke test", "one of nine is red").ignoring_failure())
            .stage(Stage::deploy("Go on", Duration::ZERO)),
    ] {
        bed.gate.put_pipeline(pipeline);
    }
    let actions = json!({
        "flat": {"pipeline": "Flat"}, "outer": {"pipeline": "Outer"}, "checked": {"pipeline": "Checked"},
        "hooked": {"pipeline": "Hooked"}, "mute": {"pipeline": "Mute"}, "lenient": {"pipeline": "Lenient"},
    });
    bed.create::<Application>(
        "failing",
        json!({"spinnakerApplication": "checkout", "actions": actions}),
    )
    .await?;
    let _controller = bed.controller()?;
    let cases: [(&str, &str, &[&str]); 5] = [
        (
            "flat",
            "Apply",
            &[
                "stage \"Apply\" failed",
                "deployment exceeded its progress deadline",
            ],
        ),
        (
            "outer",
            "Migrate",
            &["stage \"Migrate\" failed", "migration 42 failed"],
        ),
        (
            "checked",
            "Is it Monday?: Check precondition (expression)",
            &["no deployments before Monday"],
        ),
        (
            "hooked",
            "Call",
            &["stage \"Call\" failed", "the hook answered 500"],
        ),
        ("mute", "Shrug", &["Shrug"]),
    ];
    for (action, ..) in cases {
        let spec = json!({"application": "failing", "environment": "staging", "action": action});
        bed.request(action, spec).await?;
    }
    for (action, stage, says) in cases {
        let ended = bed.until_phase(action, Phase::Failed).await?;
        let text = message(&ended);
        ensure!(
            reason(&ended, "Succeeded") == "ExecutionFailed",
            "{action}: {ended:?}"
        );
        for part in says {
            ensure!(text.contains(part), "{action}: {part:?} is not in {text:?}");
        }
        let whole = serde_json::to_string(&ended)?;
        for secret in ["hunter2", "internal", "10.1.2.3"] {
            ensure!(
                !whole.contains(secret),
                "{action}: {secret:?} is in {whole}"
            );
        }
        let status = ended.status.unwrap_or_default();
        ensure!(
            status.stage.as_deref() == Some(stage),
            "{action}: {status:?}"
        );
        let failure = status
            .execution
            .and_then(|execution| execution.failure)
            .context("no failure")?;
        ensure!(
            failure.stage.as_deref() == Some(stage),
            "{action}: {failure:?}"
        );
    }
    let lenient = json!({"application": "failing", "environment": "staging", "action": "lenient"});
    bed.request("lenient", lenient).await?;
    let ended = bed.until_phase("lenient", Phase::Succeeded).await?;
    ensure!(
        reason(&ended, "Succeeded") == "SucceededWithFailedStages"
            && message(&ended).contains("Smoke test"),
        "{}",
        message(&ended)
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_reads_as_a_story_in_kubectl_describe() -> Result<()> {
    let bed = Bed::new("story", QUICK).await?;
    let _controller = bed.controller()?;
    let spec = json!({"application": "checkout", "environment": "later", "action": "restart"});
    bed.request("told", spec).await?;
    bed.until_event("told", "EnvironmentNotFound").await?;
    bed.create::<Environment>("later", environment("later"))
        .await?;
    bed.until_phase("told", Phase::Succeeded).await?;
    bed.until_event("told", "Succeeded").await?;
    let story = bed.kubectl(&["describe", "dr", "told"])?;
    let events = story.split("Events:").nth(1).context("no events")?;
    let places: Vec<Option<usize>> = ["EnvironmentNotFound", "Running", "Succeeded"]
        .iter()
        .map(|word| events.find(word))
        .collect();
    ensure!(
        places.iter().all(Option::is_some) && places.is_sorted(),
        "{events}"
    );
    ensure!(
        events.contains("the execution succeeded.") && events.contains("foredeck"),
        "{events}"
    );
    ensure!(
        events.contains("there is no Environment \"later\""),
        "{events}"
    );
    ensure!(bed.kubectl(&["get", "dr", "told"])?.contains("Succeeded"));
    Ok(())
}
