//! Every manifest under `examples/` is what a real API server takes, and what its README says is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use axum::http::Request;
use foredeck_testkit::ControlPlane;
use serde_json::Value;

#[tokio::test]
async fn a_real_api_server_takes_every_example() -> Result<()> {
    let definitions = foredeck::api::crds();
    let plane = ControlPlane::shared().await;
    plane.install_crds(&definitions).await?;
    let namespace = plane.namespace("examples").await?;
    let mut kinds = BTreeSet::new();
    for (path, mut object) in manifests("examples")? {
        let kind = object["kind"].as_str().unwrap_or_default().to_owned();
        let Some(definition) = definitions
            .iter()
            .find(|definition| definition.spec.names.kind == kind)
            .filter(|_| is_ours(&object))
        else {
            ensure!(
                !is_ours(&object),
                "{}: foredeck has no {kind}",
                path.display()
            );
            continue;
        };
        object["metadata"]["namespace"] = namespace.clone().into();
        let group_version = object["apiVersion"].as_str().unwrap_or_default();
        let plural = &definition.spec.names.plural;
        let url = format!(
            "/apis/{group_version}/namespaces/{namespace}/{plural}?dryRun=All&fieldValidation=Strict"
        );
        let request = Request::post(url)
            .header("content-type", "application/json")
            .body(object.to_string().into_bytes())?;
        plane
            .admin()
            .request::<Value>(request)
            .await
            .with_context(|| format!("{}: {}", path.display(), object["metadata"]["name"]))?;
        kinds.insert(kind);
    }
    // A DeployTarget is the controller's to make.
    let expected = [
        "Application",
        "DeployApproval",
        "DeployFreeze",
        "DeployRequest",
        "Environment",
        "SpinnakerConnection",
    ];
    assert_eq!(
        kinds.iter().map(String::as_str).collect::<Vec<_>>(),
        expected
    );
    Ok(())
}

#[test]
fn requests_name_what_stands_beside_them() -> Result<()> {
    for folder in ["examples/quickstart", "examples/gitops/repository"] {
        let all = manifests(folder)?;
        let named = |kind: &str| -> BTreeMap<&str, &Value> {
            all.iter()
                .filter(|(_, object)| object["kind"] == kind && is_ours(object))
                .filter_map(|(_, object)| {
                    Some((object["metadata"]["name"].as_str()?, &object["spec"]))
                })
                .collect()
        };
        let (applications, environments) = (named("Application"), named("Environment"));
        let requests = named("DeployRequest");
        let files = all
            .iter()
            .filter(|(_, object)| object["kind"] == "DeployRequest");
        assert_eq!(
            requests.len(),
            files.count(),
            "two requests in {folder} have one name"
        );
        assert!(!requests.is_empty(), "{folder}");
        for (name, spec) in requests {
            let application = spec["application"]
                .as_str()
                .and_then(|name| applications.get(name));
            let application = application.with_context(|| format!("{name}: its application"))?;
            let action = spec["action"].as_str().unwrap_or("deploy");
            assert!(
                application["actions"][action].is_object(),
                "{name}: {action}"
            );
            let environment = spec["environment"].as_str().unwrap_or_default();
            let environment = environments
                .get(environment)
                .with_context(|| format!("{name}: its environment"))?;
            let connection = environment["connection"].as_str().unwrap_or_default();
            assert!(
                named("SpinnakerConnection").contains_key(connection),
                "{name}"
            );
        }
    }
    Ok(())
}

#[test]
fn the_quickstart_says_how_each_request_ends() -> Result<()> {
    let page = fs::read_to_string(root().join("examples/quickstart/README.md"))?;
    for entry in fs::read_dir(root().join("examples/quickstart/requests"))? {
        let path = entry?.path();
        let file = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let row = page
            .lines()
            .find(|line| line.starts_with('|') && line.contains(&format!("(requests/{file})")))
            .with_context(|| format!("the table has no row for {file}"))?;
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let comment = fs::read_to_string(&path)?;
        let ending = match (cells[2], cells[3]) {
            ("Succeeded", "Succeeded") => "# Ends as Succeeded".to_owned(),
            (phase, reason) => format!("# Ends as {phase}, reason {reason}"),
        };
        assert!(
            comment.starts_with(&ending),
            "{file} doesn't begin with {ending:?}"
        );
    }
    Ok(())
}

#[test]
fn the_gitops_repository_builds() -> Result<()> {
    let folder = root().join("examples/gitops/repository");
    let output = Command::new("kubectl")
        .arg("kustomize")
        .arg(&folder)
        .output()
        .context("this test needs kubectl on the PATH: https://kubernetes.io/docs/tasks/tools/")?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let built = objects(&String::from_utf8(output.stdout)?)?;
    let written = manifests("examples/gitops/repository")?;
    let is_input = |object: &Value| object["kind"] == "Kustomization";
    let inputs = written.iter().filter(|(_, object)| !is_input(object));
    assert_eq!(
        built.len(),
        inputs.count(),
        "each manifest is in the kustomization"
    );
    assert!(
        built
            .iter()
            .all(|object| object["metadata"]["namespace"] == "shop")
    );
    Ok(())
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn is_ours(object: &Value) -> bool {
    object["apiVersion"]
        .as_str()
        .is_some_and(|version| version.starts_with("foredeck.dev/"))
}

/// Every object in every YAML file below a folder of the repository.
fn manifests(folder: &str) -> Result<Vec<(PathBuf, Value)>> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "yaml" || extension == "yml")
            {
                let read = objects(&fs::read_to_string(&path)?);
                let read = read.with_context(|| path.display().to_string())?;
                found.extend(read.into_iter().map(|object| (path.clone(), object)));
            }
        }
    }
    Ok(found)
}

fn objects(text: &str) -> Result<Vec<Value>> {
    Ok(serde_saphyr::from_multiple(text)?)
}
