//! The commands of docs/guardrails.md, run as they stand there under the chart's policies.

use std::{
    fs,
    process::{Command, Stdio},
};

use anyhow::{Result, ensure};
use foredeck::api::{DeployRequest, DeployTarget, Environment};
use kube::{
    Api, Resource,
    api::{Patch, PatchParams, PostParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

use super::{environment, target};
use crate::support::{installed, request, resource, root};

/// What the page's target and its rollback are called.
const TARGET: &str = "checkout.production.4d2a1e0c9b7f";
const ROLLBACK: &str = "776734e8-449b-4f98-84f1-d6a21c12c9c1";

fn object<K: Resource<DynamicType = ()>>(name: &str, spec: &Value) -> DynamicObject {
    DynamicObject::new(name, &resource::<K>()).data(json!({"spec": spec}))
}

fn api<K: Resource<DynamicType = ()>>(client: kube::Client) -> Api<DynamicObject> {
    Api::namespaced_with(client, "default", &resource::<K>())
}

#[tokio::test]
async fn the_commands_of_the_page_run_as_they_stand_there() -> Result<()> {
    let plane = installed(true).await?;
    let made = async |api: Api<DynamicObject>, object: DynamicObject| -> Result<()> {
        api.create(&PostParams::default(), &object).await?;
        Ok(())
    };
    let nothing = json!({});
    let production = object::<Environment>("production", &environment(&nothing));
    made(api::<Environment>(plane.admin()), production).await?;
    let asked = object::<DeployRequest>("checkout-1.4.0-to-production", &request(&nothing));
    made(api::<DeployRequest>(plane.admin()), asked).await?;
    let targets = api::<DeployTarget>(plane.admin());
    made(
        targets.clone(),
        object::<DeployTarget>(TARGET, &target(&nothing)),
    )
    .await?;
    let hold = json!({"uid": ROLLBACK, "name": "back", "since": "2026-11-27T12:00:00Z"});
    let hold = Patch::Merge(json!({"status": {"hold": hold}}));
    targets
        .patch_status(TARGET, &PatchParams::default(), &hold)
        .await?;

    let page = fs::read_to_string(root().join("docs/guardrails.md"))?;
    let blocks = page.split("\n```sh\n").skip(1);
    let blocks: Vec<&str> = blocks
        .filter_map(|rest| rest.split("\n```").next())
        .collect();
    ensure!(blocks.len() >= 7, "{} blocks", blocks.len());
    for block in blocks {
        let mut shell = Command::new("bash");
        shell
            .args(["-euo", "pipefail", "-c", block])
            .current_dir(root())
            .env("KUBECONFIG", plane.admin_kubeconfig())
            .stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || shell.output()).await??;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{block}: {error}");
    }

    let now = targets.get(TARGET).await?;
    assert_eq!(now.data["spec"].get("lock"), None);
    assert_eq!(now.data["spec"]["unhold"]["uid"], ROLLBACK);
    let by = &now.data["spec"]["unhold"]["by"]["username"];
    assert!(by.as_str().is_some_and(|by| !by.is_empty()), "{by}");
    let tonight = api::<DeployRequest>(plane.admin())
        .get("checkout-1.4.0-tonight")
        .await?;
    assert_eq!(tonight.data["spec"]["override"]["by"]["username"], *by);
    Ok(())
}
