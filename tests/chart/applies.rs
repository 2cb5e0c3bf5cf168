//! Tools that apply the same manifest again and again fight nobody: what is stamped stays, and nothing is refused.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use foredeck::api::DeployRequest;
use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

use crate::support::{ALICE, Bed, WRITERS, request};

const FLUX: &str = "system:serviceaccount:flux-system:kustomize-controller";

/// As it stands in a repository, without who asks and cancels.
fn manifest(name: &str, more: &Value) -> Value {
    json!({
        "apiVersion": "foredeck.dev/v1alpha1", "kind": "DeployRequest",
        "metadata": {"name": name, "labels": {"team": "shop"}}, "spec": request(more),
    })
}

fn rows() -> [(&'static str, Value); 2] {
    [
        ("plain", json!({})),
        (
            "cancelled",
            json!({"cancel": {"reason": "not in this release"}}),
        ),
    ]
}

fn unchanged(what: &str, before: &DynamicObject, after: &DynamicObject) -> Result<()> {
    ensure!(
        before.data == after.data && before.resource_version() == after.resource_version(),
        "{what}: {before:?} became {after:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_server_side_apply_again_changes_nothing() -> Result<()> {
    let bed = Bed::new(true, "flux").await?;
    let api = bed.somebody(FLUX, &[]).api::<DeployRequest>();
    for force in [false, true] {
        let manager = PatchParams {
            force,
            ..PatchParams::apply("kustomize-controller")
        };
        for (name, more) in rows() {
            let name = format!("{name}-{force}");
            let manifest = manifest(&name, &more);
            let apply = async || api.patch(&name, &manager, &Patch::Apply(&manifest)).await;
            let first = apply().await?;
            assert_eq!(first.data["spec"]["requester"]["username"], FLUX);
            if name.starts_with("cancelled") {
                assert_eq!(first.data["spec"]["cancel"]["by"]["username"], FLUX);
            }
            let again = apply().await.with_context(|| name.clone())?;
            unchanged(&name, &first, &again)?;
        }
    }
    // A cancel that comes with a later commit, and is then applied again.
    let manager = PatchParams::apply("kustomize-controller").force();
    let [_, (_, canceled)] = rows();
    let canceled = manifest("plain-true", &canceled);
    let apply = async || {
        api.patch("plain-true", &manager, &Patch::Apply(&canceled))
            .await
    };
    let first = apply().await?;
    assert_eq!(first.data["spec"]["cancel"]["by"]["username"], FLUX);
    unchanged("a later cancel", &first, &apply().await?)
}

#[tokio::test]
async fn a_client_side_apply_again_changes_nothing() -> Result<()> {
    let bed = Bed::new(true, "kubectl").await?;
    let kubeconfig = bed.plane.kubeconfig_as(ALICE, &[WRITERS], None)?;
    let api = bed.somebody(ALICE, &[]).api::<DeployRequest>();
    for (name, more) in rows() {
        let file = bed
            .plane
            .directory()
            .join(format!("{}-{name}.json", bed.namespace));
        std::fs::write(&file, manifest(name, &more).to_string())?;
        let apply = || kubectl_apply(&kubeconfig, &bed.namespace, &file);
        let told = apply()?;
        ensure!(told.contains("created"), "{told}");
        let first = api.get(name).await?;
        assert_eq!(first.data["spec"]["requester"]["username"], ALICE);
        let told = apply()?;
        ensure!(told.contains("unchanged"), "{told}");
        unchanged(name, &first, &api.get(name).await?)?;
        // The manifest's labels change, and what was stamped stays.
        let mut relabelled = manifest(name, &more);
        relabelled["metadata"]["labels"]["team"] = json!("cart");
        std::fs::write(&file, relabelled.to_string())?;
        let told = apply()?;
        ensure!(told.contains("configured"), "{told}");
        let after = api.get(name).await?;
        assert_eq!(after.labels()["team"], "cart");
        assert_eq!(after.data["spec"], first.data["spec"]);
    }
    Ok(())
}

fn kubectl_apply(kubeconfig: &Path, namespace: &str, file: &Path) -> Result<String> {
    let output = Command::new("kubectl")
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(["--namespace", namespace, "apply", "--filename"])
        .arg(file)
        .output()
        .context("this test needs kubectl on the PATH: https://kubernetes.io/docs/tasks/tools/")?;
    ensure!(
        output.status.success(),
        "kubectl apply: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}
