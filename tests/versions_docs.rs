//! What docs/versions.md shows is what a real API server takes, and its commands run as they stand there.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use axum::http::Request;
use foredeck::git::secret::{APP_ID, INSTALLATION_ID, PRIVATE_KEY, TOKEN};
use foredeck_testkit::ControlPlane;
use serde_json::{Value, json};

/// The blocks of a language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<String> = None;
    for line in page.lines() {
        let bare = line.trim();
        match &mut open {
            Some(_) if bare == "```" => blocks.extend(open.take()),
            Some(block) => {
                block.push_str(line);
                block.push('\n');
            }
            None if bare == format!("```{language}") => open = Some(String::new()),
            None => {}
        }
    }
    blocks
}

fn page() -> Result<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/versions.md");
    Ok(fs::read_to_string(page)?)
}

#[tokio::test]
async fn what_the_page_shows_is_taken_and_its_commands_run() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let definitions = foredeck::api::crds();
    plane.install_crds(&definitions).await?;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    plane.apply(&namespace.to_string()).await?;

    let page = page()?;
    let mut kinds = Vec::new();
    let mut application = Value::Null;
    for block in blocks(&page, "yaml") {
        let object: Value = serde_saphyr::from_str(&block)?;
        let Some(kind) = object["kind"].as_str() else {
            continue;
        };
        let definition = definitions
            .iter()
            .find(|definition| definition.spec.names.kind == kind)
            .with_context(|| kind.to_owned())?;
        let url = format!(
            "/apis/foredeck.dev/v1alpha1/namespaces/shop/{}?dryRun=All&fieldValidation=Strict",
            definition.spec.names.plural
        );
        let request = Request::post(url)
            .header("content-type", "application/json")
            .body(object.to_string().into_bytes())?;
        let taken = plane.admin().request::<Value>(request).await;
        taken.with_context(|| format!("{kind}: {block}"))?;
        kinds.push(kind.to_owned());
        if application.is_null() && kind == "Application" {
            application = object;
        }
    }
    kinds.sort();
    kinds.dedup();
    assert_eq!(kinds, ["Application", "DeployRequest", "Environment"]);
    plane.apply(&application.to_string()).await?;

    let folder = plane.directory().join("desk");
    fs::create_dir_all(folder.join("bin"))?;
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_foredeck"), folder.join("bin/foredeck"))?;
    for file in ["token", "private-key.pem"] {
        fs::write(folder.join(file), "hush")?;
    }
    let mut said = String::new();
    let mut count = 0;
    let path = std::env::var("PATH").unwrap_or_default();
    for block in blocks(&page, "sh") {
        let mut shell = Command::new("bash");
        shell
            .args(["-euo", "pipefail", "-c", &block])
            .current_dir(&folder)
            .env("PATH", format!("{}/bin:{path}", folder.display()))
            .env("KUBECONFIG", plane.admin_kubeconfig())
            .stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || shell.output()).await??;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{block}: {error}");
        said.push_str(&String::from_utf8(output.stdout)?);
        count += 1;
    }
    assert!(count >= 4, "{count}");
    for words in [
        "secret/github created",
        "secret/github-app created",
        "foredeck-repositories",
        "name: foredeck-receiver",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    Ok(())
}

/// What the Secrets' keys are called is what is looked for.
#[test]
fn the_keys_of_a_secret_are_those_of_the_kind() -> Result<()> {
    let page = page()?;
    let definitions = foredeck::api::crds();
    let definition = serde_json::to_string(&definitions)?;
    for key in [TOKEN, APP_ID, PRIVATE_KEY, INSTALLATION_ID] {
        assert!(page.contains(key), "{key}");
        assert!(definition.contains(key), "{key}");
    }
    Ok(())
}
