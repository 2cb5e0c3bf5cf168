//! Objects with fields of a later version, under a controller that doesn't know them: one that was rolled back, or that isn't
//! upgraded yet. It must lose nothing of them.

use std::time::Duration;

use anyhow::{Result, ensure};
use foredeck::api::crds;
use foredeck_testkit::{ControlPlane, role::RoleCommand, wait_for};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps,
};
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::Kind;

const PATIENCE: Duration = Duration::from_mins(1);

/// The definitions of a later version: each kind has one more field in its spec and in its status.
fn later() -> Vec<CustomResourceDefinition> {
    let field = JSONSchemaProps {
        type_: Some("string".to_owned()),
        max_length: Some(64),
        ..JSONSchemaProps::default()
    };
    let mut all = crds();
    for version in all.iter_mut().flat_map(|one| &mut one.spec.versions) {
        let schema = version.schema.as_mut();
        let root = schema.and_then(|schema| schema.open_api_v3_schema.as_mut());
        let Some(parts) = root.and_then(|root| root.properties.as_mut()) else {
            continue;
        };
        for part in ["spec", "status"] {
            let part = parts
                .get_mut(part)
                .and_then(|part| part.properties.as_mut());
            if let Some(part) = part {
                part.insert("later".to_owned(), field.clone());
            }
        }
    }
    all
}

#[tokio::test]
async fn a_controller_of_before_keeps_fields_of_later() -> Result<()> {
    let plane = ControlPlane::start().await?;
    plane.install_crds(&later()).await?;
    let home = plane.namespace("later").await?;
    let objects = [
        (
            "SpinnakerConnection",
            "gate",
            json!({"gateUrl": "https://gate.example"}),
        ),
        (
            "Environment",
            "staging",
            json!({"connection": "gate", "target": {"account": "one", "namespace": "shop"}}),
        ),
        (
            "Application",
            "checkout",
            json!({"actions": {"deploy": {"pipeline": "Deploy"}}}),
        ),
        (
            "DeployRequest",
            "main",
            json!({"application": "checkout", "environment": "staging", "version": "main"}),
        ),
    ];
    for (kind, name, spec) in &objects {
        let kind = Kind::named(kind)?;
        let api = kind.api(&plane, &home);
        let mut spec = spec.clone();
        spec["later"] = json!("spec");
        api.create(&PostParams::default(), &kind.object(name, spec))
            .await?;
        let status = Patch::Merge(json!({"status": {"later": "status"}}));
        api.patch_status(name, &PatchParams::default(), &status)
            .await?;
    }
    let controller = RoleCommand::new(
        env!("CARGO_BIN_EXE_foredeck"),
        "controller",
        plane.directory(),
    )?
    .kubeconfig(plane.admin_kubeconfig())
    .arguments(["--lease-namespace", &home, "--home-namespace", &home])
    .start()?;
    for (kind, name, _) in &objects {
        let api = Kind::named(kind)?.api(&plane, &home);
        let written = async || {
            let object = api.get(name).await?;
            let conditions = &object.data["status"]["conditions"];
            let told = conditions.as_array().is_some_and(|all| !all.is_empty());
            ensure!(told, "{}", object.data);
            Ok(object)
        };
        let object = wait_for(&format!("{kind} to be told of"), PATIENCE, written).await?;
        ensure!(object.data["spec"]["later"] == "spec", "{}", object.data);
        ensure!(
            object.data["status"]["later"] == "status",
            "{}",
            object.data
        );
        if *kind == "DeployRequest" {
            let seen = object.metadata.annotations.unwrap_or_default();
            let seen: Value = json!(seen);
            ensure!(seen["foredeck.dev/seen"].is_string(), "{seen}");
        }
    }
    drop(controller);
    Ok(())
}
