//! The quickstart, applied as kubectl would, and followed. Touches the API server.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use foredeck::api::{DeployRequest, DeployTarget, Environment, deploy_request::Phase};
use futures::TryStreamExt;
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams},
    core::GroupVersionKind,
    runtime::{WatchStreamExt, watcher},
};
use serde_json::json;

/// Where the quickstart's objects are made.
pub(crate) const NAMESPACE: &str = "default";
/// How long one of its requests may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// The team's configuration: its requests are told in the channel of that id.
pub(crate) async fn configure(client: &Client, gate_url: &str, channel: &str) -> Result<()> {
    for file in [
        "connection.yaml",
        "application.yaml",
        "environments.yaml",
        "people.yaml",
    ] {
        let text = read(&format!("quickstart/{file}"))?.replace("http://127.0.0.1:8084", gate_url);
        apply(client, &text)
            .await
            .with_context(|| format!("apply {file}"))?;
    }
    let environments: Api<Environment> = Api::namespaced(client.clone(), NAMESPACE);
    for name in ["staging", "production"] {
        let told = json!({"spec": {"notify": {"slack": {"channel": channel}}}});
        environments
            .patch(name, &PatchParams::default(), &Patch::Merge(&told))
            .await?;
    }
    Ok(())
}

/// From now on what goes to production needs somebody else's yes.
pub(crate) async fn guard(client: &Client) -> Result<()> {
    let environments: Api<Environment> = Api::namespaced(client.clone(), NAMESPACE);
    let guarded = json!({"spec": {"protection": {"approvals": {"required": 1}}}});
    environments
        .patch(
            "production",
            &PatchParams::default(),
            &Patch::Merge(&guarded),
        )
        .await?;
    Ok(())
}

/// Applies each request, and waits for its end: as its first comment says.
pub(crate) async fn ask(client: &Client) -> Result<()> {
    println!("\nkubectl apply -f examples/quickstart/requests/, one by one:\n");
    println!(
        "{:<37} {:<13} {:<12} {:<10} STAGE OR MESSAGE",
        "NAME", "VERSION", "ENVIRONMENT", "PHASE"
    );
    for file in sorted(&examples().join("quickstart/requests"))? {
        let text = fs::read_to_string(&file)?;
        for name in apply(client, &text)
            .await
            .with_context(|| format!("apply {}", file.display()))?
        {
            let ended = until_ended(client, &name).await?;
            let promised = text
                .strip_prefix("# Ends as ")
                .context("a request of the quickstart says how it ends")?;
            ensure!(
                promised.starts_with(&format!("{ended:?}")),
                "{name} ended as {ended:?}, but its comment says: {promised}"
            );
        }
    }
    unhold(client).await
}

/// Lifts what a rollback left, so that staging takes requests again.
async fn unhold(client: &Client) -> Result<()> {
    let targets: Api<DeployTarget> = Api::namespaced(client.clone(), NAMESPACE);
    for target in targets.list(&ListParams::default()).await? {
        let name = target.name_any();
        let Some(hold) = target.status.and_then(|status| status.hold) else {
            continue;
        };
        let lifted = json!({"spec": {"unhold": {"uid": hold.uid}}});
        println!("\nkubectl patch deploytarget {name} --type merge --patch '{lifted}'\n");
        targets
            .patch(&name, &PatchParams::default(), &Patch::Merge(&lifted))
            .await?;
    }
    Ok(())
}

/// The phase in which a request ends.
pub(crate) async fn until_ended(client: &Client, name: &str) -> Result<Phase> {
    let requests: Api<DeployRequest> = Api::namespaced(client.clone(), NAMESPACE);
    let ended =
        kube::runtime::wait::await_condition(requests, name, |request: Option<&DeployRequest>| {
            request
                .and_then(|request| request.status.as_ref())
                .and_then(|status| status.phase)
                .is_some_and(Phase::is_terminal)
        });
    let request = tokio::time::timeout(PATIENCE, ended)
        .await
        .with_context(|| format!("{name} did not end within {} s", PATIENCE.as_secs()))??;
    request
        .context("it was deleted")?
        .status
        .and_then(|status| status.phase)
        .context("it has no phase")
}

pub(crate) fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

fn read(file: &str) -> Result<String> {
    let path = examples().join(file);
    fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

/// `kubectl apply`, server-side; the names of what was applied.
async fn apply(client: &Client, text: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for document in text.split("\n---\n") {
        let object: DynamicObject = serde_saphyr::from_str(document)?;
        let types = object
            .types
            .clone()
            .context("the document has no apiVersion and kind")?;
        let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(&types)?);
        let namespace = object.namespace().unwrap_or_else(|| NAMESPACE.to_owned());
        let everywhere = ["Namespace", "ClusterRole", "ClusterRoleBinding"];
        let api: Api<DynamicObject> = if everywhere.contains(&types.kind.as_str()) {
            Api::all_with(client.clone(), &resource)
        } else {
            Api::namespaced_with(client.clone(), &namespace, &resource)
        };
        api.patch(
            &object.name_any(),
            &PatchParams::apply("demo"),
            &Patch::Apply(&object),
        )
        .await?;
        names.push(object.name_any());
    }
    Ok(names)
}

/// One line whenever a request moves.
pub(crate) async fn show(client: Client) -> Result<()> {
    let mut shown: BTreeMap<String, String> = BTreeMap::new();
    let changes = watcher(
        Api::<DeployRequest>::namespaced(client, NAMESPACE),
        watcher::Config::default(),
    )
    .default_backoff()
    .applied_objects();
    let mut changes = std::pin::pin!(changes);
    while let Some(request) = changes.try_next().await? {
        let status = request.status.clone().unwrap_or_default();
        let Some(phase) = status.phase else { continue };
        let detail = if phase.is_terminal() {
            status.message
        } else {
            status.stage
        };
        let version = request
            .spec
            .version
            .clone()
            .or_else(|| status.resolved.and_then(|resolved| resolved.version));
        let line = format!(
            "{:<37} {:<13} {:<12} {:<10} {}",
            request.name_any(),
            version.unwrap_or_default(),
            request.spec.environment,
            format!("{phase:?}"),
            detail.unwrap_or_default()
        );
        if shown.insert(request.name_any(), line.clone()).as_ref() != Some(&line) {
            println!("{}", line.trim_end());
        }
    }
    Ok(())
}
