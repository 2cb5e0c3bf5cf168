//! The main job on one machine: a real Kubernetes API server, a stand-in for Spinnaker's Gate, the controller, and the
//! quickstart's requests applied one after the other.
//!
//! `cargo run --example demo` goes on until Ctrl-C, so that you can apply requests of your own from another terminal;
//! `cargo run --example demo -- --once` ends with the last of the quickstart's requests, and fails if one of them
//! doesn't end as its README says.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use foredeck::{
    api::{DeployRequest, deploy_request::Phase},
    controller::{self, ControllerSettings},
    runtime::{
        admin::Readiness,
        client,
        lease::{Lease, LeaseSettings, unique_holder},
        metrics::Metrics,
    },
};
use foredeck_testkit::{
    ControlPlane, StandInGate,
    gate::{Parameter, Pipeline, Stage},
};
use futures::TryStreamExt;
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
    runtime::{WatchStreamExt, watcher},
};
use tokio_util::sync::CancellationToken;

/// Where the quickstart's objects are made.
const NAMESPACE: &str = "default";
/// How long one of its requests may take.
const PATIENCE: Duration = Duration::from_mins(1);

#[tokio::main]
async fn main() -> Result<()> {
    foredeck::runtime::tls::install();
    let once = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => false,
        [only] if only == "--once" => true,
        _ => bail!("the demo takes no argument but --once"),
    };
    let plane = ControlPlane::start().await?;
    plane.install_crds(&foredeck::api::crds()).await?;
    let gate = StandInGate::start().await?;
    for pipeline in pipelines() {
        gate.put_pipeline(pipeline);
    }
    println!("Kubernetes API server  {}", plane.url());
    println!("stand-in Gate          {}", gate.url());

    let shutdown = CancellationToken::new();
    let controller = start_controller(&plane, shutdown.clone())?;
    let watching = tokio::spawn(show(plane.admin()));
    let story = async {
        apply_quickstart(&plane, &gate).await?;
        if once {
            return Ok(());
        }
        println!("\nTry it from another terminal:\n");
        println!("  export KUBECONFIG={}", plane.admin_kubeconfig().display());
        println!("  kubectl get dr -w");
        println!(
            "  sed 's/name: .*/name: my-first/' examples/quickstart/requests/02-deploy-main-staging.yaml | kubectl apply -f -"
        );
        println!("  kubectl describe dr my-first\n\nCtrl-C ends it.");
        std::future::pending().await
    };
    let outcome = tokio::select! {
        outcome = story => outcome,
        _ = tokio::signal::ctrl_c() => { println!("\nstopping"); Ok(()) }
    };
    watching.abort();
    shutdown.cancel();
    controller.await.context("the controller broke down")??;
    outcome
}

/// The controller as `foredeck controller` runs it, in this process.
fn start_controller(
    plane: &ControlPlane,
    shutdown: CancellationToken,
) -> Result<tokio::task::JoinHandle<Result<()>>> {
    let client = Client::try_from(client::bounded(plane.admin_config()))?;
    let settings = LeaseSettings::new(
        NAMESPACE.to_owned(),
        "foredeck-controller".to_owned(),
        unique_holder(),
    );
    let drained = CancellationToken::new();
    let (claim, lease) = Lease::new(client.clone(), settings)?.hold(drained.clone());
    Ok(tokio::spawn(async move {
        claim.held().await?;
        let settings = ControllerSettings::default();
        controller::run(
            settings,
            client,
            claim,
            Readiness::default(),
            Metrics::default(),
            shutdown,
        )
        .await?;
        drained.cancel();
        lease.await??;
        Ok(())
    }))
}

/// Applies the configuration, then each request, and waits for its end: as its first comment says.
async fn apply_quickstart(plane: &ControlPlane, gate: &StandInGate) -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/quickstart");
    let client = plane.admin();
    for file in ["connection.yaml", "application.yaml", "environments.yaml"] {
        let text =
            fs::read_to_string(folder.join(file))?.replace("http://127.0.0.1:8084", &gate.url());
        apply(&client, &text)
            .await
            .with_context(|| format!("apply {file}"))?;
    }
    println!("\nkubectl apply -f examples/quickstart/requests/, one by one:\n");
    println!(
        "{:<37} {:<13} {:<12} {:<10} STAGE OR MESSAGE",
        "NAME", "VERSION", "ENVIRONMENT", "PHASE"
    );
    let requests: Api<DeployRequest> = Api::namespaced(client.clone(), NAMESPACE);
    for file in sorted(&folder.join("requests"))? {
        let text = fs::read_to_string(&file)?;
        for name in apply(&client, &text)
            .await
            .with_context(|| format!("apply {}", file.display()))?
        {
            let ended = tokio::time::timeout(PATIENCE, until_ended(requests.clone(), &name))
                .await
                .with_context(|| format!("{name} did not end within {} s", PATIENCE.as_secs()))??;
            let promised = text
                .strip_prefix("# Ends as ")
                .context("a request of the quickstart says how it ends")?;
            ensure!(
                promised.starts_with(&format!("{ended:?}")),
                "{name} ended as {ended:?}, but its comment says: {promised}"
            );
        }
    }
    Ok(())
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
        let resource = kube::api::ApiResource::from_gvk(&GroupVersionKind::try_from(&types)?);
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), NAMESPACE, &resource);
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

async fn until_ended(requests: Api<DeployRequest>, name: &str) -> Result<Phase> {
    let ended =
        kube::runtime::wait::await_condition(requests, name, |request: Option<&DeployRequest>| {
            request
                .and_then(|request| request.status.as_ref())
                .and_then(|status| status.phase)
                .is_some_and(Phase::is_terminal)
        });
    let request = ended.await?.context("it was deleted")?;
    request
        .status
        .and_then(|status| status.phase)
        .context("it has no phase")
}

/// One line whenever a request moves.
async fn show(client: Client) -> Result<()> {
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

/// What the quickstart expects in Spinnaker.
fn pipelines() -> Vec<Pipeline> {
    let placed = |name: &str| {
        Pipeline::new("checkout", name)
            .parameter(Parameter::new("account").required())
            .parameter(Parameter::new("namespace").required())
    };
    let deploy = |name: &str| {
        placed(name)
            .parameter(Parameter::new("branch").required())
            .stage(Stage::wait("Bake", Duration::from_millis(1500)))
            .stage(Stage::precondition(
                "Smoke test",
                "${parameters.branch != 'broken'}",
                "GET /healthz answered 503 for two minutes",
            ))
            .stage(Stage::deploy("Deploy", Duration::from_secs(2)))
    };
    vec![
        deploy("Deploy to staging"),
        deploy("Deploy to production"),
        placed("Rollback")
            .parameter(Parameter::new("to").required())
            .stage(Stage::deploy("Roll back", Duration::from_secs(2))),
        placed("Restart").stage(Stage::deploy("Restart", Duration::from_secs(1))),
    ]
}
