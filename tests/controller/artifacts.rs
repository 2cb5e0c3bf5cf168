//! What the pipeline gets is what it expects: else nothing starts.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use foredeck::api::{Application, deploy_request::Phase};
use foredeck_testkit::gate::{
    ExpectedArtifact, LaunchKind, Operation, Parameter, Pipeline, Stage, Status,
};
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::support::{Bed, deploy, message, reason};

const QUICK: Duration = Duration::from_millis(200);
const IMAGE: &str = "registry.example/shop/checkout";

fn image(version: &str) -> Value {
    json!({"type": "docker/image", "name": IMAGE, "version": version})
}

fn expected() -> ExpectedArtifact {
    ExpectedArtifact::new("e-image", "docker/image", ".*/checkout")
}

impl Bed {
    /// Gives the action `deploy` these artifacts, and a pipeline `Ship`.
    async fn give(&self, artifacts: Value, allow_default: bool) -> Result<()> {
        let action = json!({
            "pipeline": "Ship", "artifacts": artifacts, "allowDefaultArtifact": allow_default,
        });
        let spec = json!({"spec": {"actions": {"deploy": action}}});
        self.merge::<Application>("checkout", spec).await?;
        Ok(())
    }

    /// Makes the pipeline expect these.
    fn expect(&self, stage: Stage, expected: &[ExpectedArtifact]) {
        let pipeline = Pipeline::new("checkout", "Ship")
            .id("ship")
            .parameter(Parameter::new("account"))
            .parameter(Parameter::new("namespace"))
            .parameter(Parameter::new("branch"))
            .stage(stage);
        let all = expected.iter().cloned();
        self.gate
            .put_pipeline(all.fold(pipeline, Pipeline::expects));
    }

    async fn refused(&self, name: &str, version: &str, why: &str, says: &[&str]) -> Result<()> {
        self.request(name, deploy("staging", version)).await?;
        let failed = self.until_phase(name, Phase::Failed).await?;
        ensure!(reason(&failed, "Succeeded") == why, "{failed:?}");
        for part in says {
            ensure!(message(&failed).contains(part), "{}", message(&failed));
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_execution_gets_the_actions_artifacts_and_starts_with_no_other() -> Result<()> {
    let bed = Bed::new("artifacts", QUICK).await?;
    bed.expect(Stage::deploy("Deploy", QUICK), &[expected()]);
    bed.give(json!([image("{{ version }}")]), false).await?;
    let _controller = bed.controller()?;
    let request = bed.request("matched", deploy("staging", "v1")).await?;
    let ended = bed.until_phase("matched", Phase::Succeeded).await?;
    let id = bed.until_launched(&request).await?;
    let trigger = bed.gate.execution(&id).context("no execution")?["trigger"].clone();
    ensure!(trigger["artifacts"] == json!([image("v1")]), "{trigger}");
    let bound = &trigger["resolvedExpectedArtifacts"][0];
    ensure!(
        bound["id"] == "e-image" && bound["boundArtifact"] == image("v1"),
        "{trigger}"
    );
    let resolved = ended.status.and_then(|status| status.resolved);
    ensure!(json!(resolved.context("not resolved")?.artifacts) == json!([image("v1")]));
    bed.until_free().await?;
    let target = bed.target("staging").await?.status.unwrap_or_default();
    for run in target.history.iter().chain(&target.current) {
        ensure!(json!(run.artifacts) == json!([image("v1")]), "{run:?}");
    }
    ensure!(target.current.is_some() && target.history.len() == 1);

    let starts = bed.gate.count_calls(Operation::Start);
    bed.give(json!([{"type": "docker/image", "name": "other"}]), false)
        .await?;
    let both = ["docker/image other", "docker/image .*/checkout"];
    bed.refused("unmatched", "v2", "ArtifactUnmatched", &both)
        .await?;
    bed.expect(
        Stage::deploy("Deploy", QUICK),
        &[expected().default_artifact(image("old"))],
    );
    bed.refused(
        "defaulted",
        "v3",
        "ArtifactDefault",
        &["allowDefaultArtifact"],
    )
    .await?;
    ensure!(bed.gate.count_calls(Operation::Start) == starts);

    bed.give(json!([]), true).await?;
    let request = bed.request("allowed", deploy("staging", "v4")).await?;
    bed.until_phase("allowed", Phase::Succeeded).await?;
    let id = bed.until_launched(&request).await?;
    let trigger = bed.gate.execution(&id).context("no execution")?["trigger"].clone();
    ensure!(trigger["artifacts"] == json!([image("old")]), "{trigger}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_that_is_expected_only_since_it_was_accepted_lets_nothing_start() -> Result<()>
{
    let bed = Bed::new("expected-late", QUICK).await?;
    bed.expect(Stage::held("Deploy"), &[expected()]);
    bed.give(json!([image("{{ version }}")]), false).await?;
    let _controller = bed.controller()?;
    let first = bed.request("first", deploy("staging", "v1")).await?;
    bed.until_launched(&first).await?;
    let second = bed.request("second", deploy("staging", "v2")).await?;
    bed.until_phase("second", Phase::Queued).await?;
    let chart = ExpectedArtifact::new("e-chart", "helm/chart", "checkout");
    bed.expect(Stage::held("Deploy"), &[expected(), chart]);
    ensure!(bed.finish(&first));
    let failed = bed.until_phase("second", Phase::Failed).await?;
    ensure!(
        reason(&failed, "Succeeded") == "ArtifactUnmatched",
        "{failed:?}"
    );
    ensure!(
        message(&failed).contains("helm/chart checkout"),
        "{}",
        message(&failed)
    );
    ensure!(bed.launches(&second) == 0 && bed.gate.count_calls(Operation::Start) == 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_gate_refuses_all_the_same_ends_with_its_sentence_and_is_sent_once() -> Result<()> {
    let bed = Bed::new("refused-late", QUICK).await?;
    // There is no earlier execution: only Orca knows.
    bed.expect(
        Stage::deploy("Deploy", QUICK),
        &[expected().prior_artifact()],
    );
    bed.give(json!([]), true).await?;
    let _controller = bed.controller()?;
    let request = bed.request("late", deploy("staging", "v1")).await?;
    let failed = bed.until_phase("late", Phase::Failed).await?;
    ensure!(
        message(&failed).contains("Unmatched expected artifact"),
        "{}",
        message(&failed)
    );
    ensure!(bed.launches(&request) == 0 && bed.gate.count_calls(Operation::Start) == 1);
    let stored = bed.gate.stored_starts();
    ensure!(
        stored.len() == 1 && stored[0].kind == LaunchKind::Refused,
        "{stored:?}"
    );
    ensure!(bed.gate.status(&stored[0].execution_id) == Some(Status::Terminal));
    bed.until_free().await?;
    ensure!(request.uid().is_some());
    Ok(())
}
