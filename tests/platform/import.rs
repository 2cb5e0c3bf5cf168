//! `foredeck import`: from what a Gate has to requests that succeed, for many applications, and whatever they are called.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use foredeck::api::{DeployRequest, deploy_request::Phase};
use foredeck_testkit::{
    ControlPlane, StandInGate,
    gate::{Effect, Fault, Operation, Parameter, Pipeline, Stage},
    wait_for,
};
use kube::Api;
use serde_json::{Value, json};

use crate::support::{Bed, PATIENCE, command, finished, text};

fn deploying(application: &str, name: &str, account: &str, namespace: &str) -> Pipeline {
    let stage = Stage::deploy("Roll out", Duration::from_millis(20))
        .with("account", json!(account))
        .with("namespaceOverride", json!(namespace));
    Pipeline::new(application, name)
        .parameter(Parameter::new("tag").required())
        .parameter(Parameter::new("namespace").required())
        .stage(stage)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_imported_is_ready_and_deploys() -> Result<()> {
    let bed = Bed::new().await?;
    bed.gate.put_pipeline(deploying(
        "checkout",
        "Deploy to Production",
        "eks-prod",
        "shop",
    ));
    bed.gate
        .put_pipeline(Pipeline::new("checkout", "Old").disabled());
    let arguments = ["import", "--connection", "spinnaker", "--namespace", "shop"];
    // The controller has not spoken to that Gate, and nobody else says that it is one.
    bed.until_connection(false).await?;
    let refused = finished(bed.command(&arguments))?;
    ensure!(
        !refused.status.success() && text(&refused.stderr).contains("--allow-gate-host"),
        "{refused:?}"
    );
    bed.allow_secrets().await?;
    bed.until_connection(true).await?;

    let imported = finished(bed.command(&arguments))?;
    let (yaml, told) = (text(&imported.stdout), text(&imported.stderr));
    ensure!(imported.status.success(), "{told}");
    ensure!(
        told.contains("1 Applications with 1 actions and 1 Environments")
            && told.contains("\"Old\": it is disabled"),
        "{told}"
    );
    ensure!(!yaml.contains(crate::support::TOKEN), "{yaml}");
    bed.plane.apply(&yaml).await.with_context(|| yaml.clone())?;
    bed.until_application("checkout").await?;

    let request = json!({
        "application": "checkout", "action": "deploy-to-production", "environment": "production", "version": "1.4.0",
    });
    bed.ours("DeployRequest", "first", &request).await?;
    let api: Api<DeployRequest> = Api::namespaced(bed.plane.admin(), "shop");
    wait_for("the request to succeed", PATIENCE, async || {
        let status = api.get("first").await?.status.unwrap_or_default();
        ensure!(status.phase == Some(Phase::Succeeded), "{status:?}");
        Ok(())
    })
    .await?;
    let launches = bed.gate.launches();
    ensure!(launches.len() == 1, "{launches:?}");

    // Somebody else's rights are theirs: who can't read the Secret can't use the login.
    let kubeconfig = bed.plane.kubeconfig_as("bob@corp.example", &[], None)?;
    let refused = finished(command(&kubeconfig, &arguments))?;
    ensure!(
        !refused.status.success() && text(&refused.stdout).is_empty(),
        "{refused:?}"
    );
    Ok(())
}

/// The binary without a cluster.
fn import(gate: &StandInGate, more: &[&str]) -> Result<(bool, String, String)> {
    let url = gate.url();
    let usual = ["import", "--connection", "spinnaker", "--gate-url", &url];
    let output = finished(command(
        std::path::Path::new("/nonexistent"),
        &[&usual, more].concat(),
    ))?;
    Ok((
        output.status.success(),
        text(&output.stdout),
        text(&output.stderr),
    ))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_and_fifty_applications_take_seconds_and_few_calls_at_once() -> Result<()> {
    let gate = StandInGate::start().await?;
    for application in 0..150 {
        for number in 0..10 {
            gate.put_pipeline(deploying(
                &format!("app-{application:03}"),
                &format!("Pipeline {number}"),
                &format!("eks-{number}"),
                "shop",
            ));
        }
    }
    let begun = Instant::now();
    let (well, yaml, told) = import(&gate, &[])?;
    ensure!(
        well && told.contains("150 Applications with 1500 actions and 10 Environments"),
        "{told}"
    );
    ensure!(
        begun.elapsed() < Duration::from_secs(30),
        "{:?}",
        begun.elapsed()
    );
    ensure!(
        gate.count_calls(Operation::Any) < 160,
        "{}",
        gate.count_calls(Operation::Any)
    );
    // As often as it is asked, it says the same.
    ensure!(import(&gate, &[])?.1 == yaml, "another page");
    let few = import(&gate, &["--application", "app-007,app-003,nowhere"])?;
    ensure!(
        !few.0 && few.2.contains("2 Applications") && few.2.contains("not read: nowhere"),
        "{}",
        few.2
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_cant_be_read_costs_itself_alone() -> Result<()> {
    let gate = StandInGate::start().await?;
    for name in ["a", "b", "c"] {
        gate.put_pipeline(deploying(name, "Deploy", "eks-prod", "shop"));
    }
    gate.inject(Fault::new(
        Operation::ListConfigs,
        Effect::ServerErrorBefore,
    ));
    let (well, yaml, told) = import(&gate, &[])?;
    ensure!(
        !well && told.contains("2 Applications") && told.contains("not read: "),
        "{told}"
    );
    ensure!(
        yaml.contains("could not be read") && yaml.matches("kind: Application").count() == 2,
        "{yaml}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_are_made_to_break_it_are_names() -> Result<()> {
    let gate = StandInGate::start().await?;
    let hostile = [
        "{{ version }}",
        "${ #exec('x') }",
        "a\"\nkind: Secret\n#",
        "'*&!|>%@`",
        "yes",
        "null",
        "---",
        "- x: y",
        "部署",
        "\u{202e}evil",
        "deploy\u{0}",
        "{% for a in b %}",
        "a/b",
        "x: \"{{ reason }}\"",
    ];
    for (number, name) in hostile.iter().enumerate() {
        let mut pipeline = deploying("shop", name, name, name)
            .parameter(Parameter::new(name).required().default_value(name));
        pipeline = pipeline.id(&format!("id-{number}"));
        gate.put_pipeline(pipeline);
    }
    let (well, yaml, told) = import(&gate, &["--namespace", "shop"])?;
    ensure!(well, "{told}");
    let plane = ControlPlane::shared().await;
    plane.install_crds(&foredeck::api::crds()).await?;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    plane.apply(&namespace.to_string()).await?;
    plane.apply(&yaml).await.with_context(|| yaml.clone())?;
    let documents: Vec<Value> = serde_saphyr::from_multiple(&yaml)?;
    let kinds: BTreeSet<&str> = documents
        .iter()
        .filter_map(|document| document["kind"].as_str())
        .collect();
    ensure!(
        kinds == BTreeSet::from(["Application", "Environment"]),
        "{kinds:?}"
    );
    let actions = documents
        .iter()
        .filter_map(|document| document["spec"]["actions"].as_object())
        .flatten();
    for (verb, action) in actions {
        let pipeline = action["pipeline"].as_str().unwrap_or_default();
        ensure!(
            !["{{", "{%", "${", "\n"]
                .iter()
                .any(|sign| pipeline.contains(sign)),
            "{verb}: {pipeline}"
        );
    }
    Ok(())
}
