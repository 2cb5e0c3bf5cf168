//! Definitions that aren't there, that come, and that go.

use std::cell::RefCell;

use anyhow::{Result, ensure};
use foredeck::api::{DeployRequest, crds};
use foredeck_testkit::{ControlPlane, role::Role, wait_for};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use serde_json::json;

use crate::{PATIENCE, gate, role};

const GATE: &str = "controller-definitions";
const NAME: &str = "deployrequests.foredeck.dev";

async fn deleted(plane: &ControlPlane) -> Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(plane.admin());
    api.delete(NAME, &DeleteParams::default()).await?;
    wait_for("the definition to be gone", PATIENCE, async || {
        ensure!(api.get_opt(NAME).await?.is_none(), "it is there");
        Ok(())
    })
    .await
}

async fn until_said(role: &Role, text: &str) -> Result<()> {
    let what = format!("{GATE} to say {text:?}");
    wait_for(&what, PATIENCE, async || {
        let said = gate(role, GATE).await?.unwrap_or_default();
        ensure!(said.contains(text), "{said:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_role_waits_for_its_definitions_says_so_and_goes_on_by_itself() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let home = plane.namespace("home").await?;
    let lease = ["--lease-duration", "30s"];
    let first = role(&plane, "controller", &home)?
        .arguments(lease)
        .start()?;
    let statuses = RefCell::new(Vec::new());
    wait_for("the definitions to be missed", PATIENCE, async || {
        let (status, said) = first.readyz().await?;
        statuses.borrow_mut().push(status);
        ensure!(said.contains("aren't there"), "{said}");
        Ok(())
    })
    .await?;
    assert!(!statuses.borrow().contains(&200), "{statuses:?}");
    let said = gate(&first, GATE).await?.unwrap_or_default();
    for part in [
        NAME,
        "spinnakerconnections.foredeck.dev",
        "persons.foredeck.dev",
        "install the definitions (crds.install in the chart's values, or kubectl apply -f crds/)",
    ] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(first.read("/livez").await?.0, 200, "waiting is no illness");

    // In a version of the future.
    let mut future = crds();
    future.retain(|known| known.spec.names.plural == "deployrequests");
    for definition in &mut future {
        definition.spec.versions[0].name = "v9".to_owned();
    }
    plane.install_crds(&future).await?;
    until_said(&first, "foredeck.dev is served as v9, and not as v1alpha1").await?;
    deleted(&plane).await?;
    until_said(&first, "aren't there").await?;

    plane.install_crds(&crds()).await?;
    first.until_ready(PATIENCE).await?;
    let said = first.log().matches("aren't there: install").count();
    assert!(
        (1..=3).contains(&said),
        "once for each change, and not for each look: {}",
        first.log()
    );

    // Somebody who waits for the Lease watches nothing, and notices all the same.
    let second = role(&plane, "controller", &home)?
        .arguments(lease)
        .start()?;
    second.until_ready(PATIENCE).await?;
    for (role, leads) in [(&first, 1.0), (&second, 0.0)] {
        let metric = role
            .metric(r#"foredeck_leader{lease="foredeck-controller"}"#)
            .await?;
        assert_eq!(metric, Some(leads));
    }
    deleted(&plane).await?;
    for role in [&first, &second] {
        until_said(role, "deployrequests.foredeck.dev isn't there: install").await?;
    }
    let line = r#"foredeck_watch_restarts_total{kind="DeployRequest",reason="not_found"}"#;
    wait_for("the interruption to be counted", PATIENCE, async || {
        let counted = first.metric(line).await?;
        ensure!(counted > Some(0.0), "{counted:?}");
        Ok(())
    })
    .await?;
    plane.install_crds(&crds()).await?;
    for role in [&first, &second] {
        role.until_ready(PATIENCE).await?;
    }

    // And it works.
    let api: Api<DeployRequest> = Api::namespaced(plane.admin(), &home);
    let request = serde_json::from_value(json!({
        "apiVersion": "foredeck.dev/v1alpha1", "kind": "DeployRequest", "metadata": {"name": "after"},
        "spec": {"application": "checkout", "environment": "staging", "version": "main"},
    }))?;
    api.create(&PostParams::default(), &request).await?;
    wait_for("the request to be met", PATIENCE, async || {
        let status = api.get("after").await?.status;
        ensure!(
            status.is_some_and(|status| status.phase.is_some()),
            "not met"
        );
        Ok(())
    })
    .await
}
