//! helm itself, on the real API server: what it says afterwards, what an upgrade changes, and what an uninstall leaves.

use std::path::Path;

use anyhow::{Context, Result};
use foredeck::api::Application;
use foredeck_testkit::{ControlPlane, helm, wait_for};
use k8s_openapi::{
    api::apps::v1::Deployment,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, ResourceExt,
    api::{ListParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    modes::empty,
    support::{HOME, root, set},
};

/// Installs or upgrades; gives what it says.
async fn upgrade(plane: &ControlPlane, values: &Value) -> Result<String> {
    let chart = root().join("charts/foredeck");
    let arguments = set(values);
    let mut all = vec!["upgrade", "--install", "foredeck", text(&chart)?];
    all.extend(["--namespace", HOME]);
    all.extend(arguments.iter().map(String::as_str));
    let said = helm::run(&all, Some(plane.admin_kubeconfig())).await?;
    let (_, notes) = said.split_once("NOTES:\n").context("notes")?;
    Ok(notes.to_owned())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is text")
}

async fn deployments(plane: &ControlPlane) -> Result<Vec<String>> {
    let all = Api::<Deployment>::namespaced(plane.admin(), HOME);
    let there = all.list(&ListParams::default()).await?;
    Ok(there.iter().map(ResourceExt::name_any).collect())
}

#[tokio::test]
async fn an_upgrade_takes_another_mode_and_an_uninstall_leaves_what_was_asked_for() -> Result<()> {
    let plane = empty().await?;
    let notes = upgrade(&plane, &json!({})).await?;
    // Each says what is missing, with the command that mends it.
    for words in [
        "Foredeck 0.1.0 is installed in foredeck-system: 2 controllers.",
        "It works in all namespaces.",
        "No Gate may be spoken to",
        "--set 'controller.allowGateHosts={gate.corp.example}'",
        "may speak for any user name",
        "--set 'identity.emailDomains={corp.example}'",
        "Slack is off",
        "kubectl rollout status --namespace foredeck-system deployment/foredeck-controller",
        "docs/install.md",
    ] {
        assert!(notes.contains(words), "{words:?} is missing in:\n{notes}");
    }
    assert_eq!(deployments(&plane).await?, ["foredeck-controller"]);

    let whole = json!({
        "slack": {"enabled": true}, "controller": {"allowGateHosts": ["gate.corp.example"]},
        "identity": {"emailDomains": ["corp.example"]}, "namespaces": ["team-a"],
    });
    let notes = upgrade(&plane, &whole).await?;
    assert!(
        notes.contains("2 controllers, 2 receivers and 2 relays.\nIt works in team-a."),
        "{notes}"
    );
    assert!(!notes.contains("What is missing"), "{notes}");
    let secret = "kubectl create secret generic foredeck-slack --namespace foredeck-system --from-file=bot-token \
                  --from-file=app-token\n";
    assert!(notes.contains(secret), "{notes}");
    assert_eq!(
        deployments(&plane).await?,
        ["foredeck-controller", "foredeck-receiver", "foredeck-relay"]
    );

    let mut single = whole;
    single["mode"] = json!("single");
    single["slack"]["transport"] = json!("http");
    let notes = upgrade(&plane, &single).await?;
    for words in [
        "What that gives up",
        "--from-file=bot-token --from-file=signing-secret\n",
        "Nothing leads there yet",
        "deployment/foredeck\n",
    ] {
        assert!(notes.contains(words), "{words:?} is missing in:\n{notes}");
    }
    assert_eq!(deployments(&plane).await?, ["foredeck"]);
    let unkept = "so does an upgrade with crds.install=false";
    assert!(!notes.contains(unkept), "{notes}");
    single["crds"] = json!({"keep": false});
    let notes = upgrade(&plane, &single).await?;
    assert!(notes.contains(unkept), "{notes}");
    single["crds"] = json!({"keep": true});
    upgrade(&plane, &single).await?;

    // What people made outlives the chart, and the chart comes back to it.
    let application: Application = serde_json::from_value(json!({
        "apiVersion": "foredeck.dev/v1alpha1", "kind": "Application", "metadata": {"name": "checkout"},
        "spec": {"spinnakerApplication": "checkout", "actions": {"deploy": {"pipeline": "Deploy"}}},
    }))?;
    let applications = Api::<Application>::namespaced(plane.admin(), "team-a");
    wait_for(
        "an application",
        std::time::Duration::from_secs(20),
        async || {
            Ok(applications
                .create(&PostParams::default(), &application)
                .await?)
        },
    )
    .await?;
    let uninstall = ["uninstall", "foredeck", "--namespace", HOME];
    helm::run(&uninstall, Some(plane.admin_kubeconfig())).await?;
    assert!(deployments(&plane).await?.is_empty());
    let definitions = Api::<CustomResourceDefinition>::all(plane.admin());
    assert!(
        definitions
            .get_opt("applications.foredeck.dev")
            .await?
            .is_some()
    );
    upgrade(&plane, &json!({})).await?;
    assert!(applications.get_opt("checkout").await?.is_some());
    Ok(())
}
