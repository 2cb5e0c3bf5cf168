//! An operator's desk: an API server that knows nothing of foredeck yet, the repository, helm and kubectl. Touches the API server,
//! files and processes.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use foredeck::api::{
    Application, DeployRequest, DeployTarget, Environment, SpinnakerConnection,
    deploy_request::Phase,
};
use foredeck_testkit::{
    ControlPlane, StandInGate,
    gate::{Parameter, Pipeline, Stage},
    helm,
    role::{Role, RoleCommand},
    wait_for,
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::PATIENCE;

const PAGE: &str = "docs/operations.md";
const HOME: &str = "foredeck-system";
/// Longer than a test: who starts an execution ends it.
const LONG: Duration = Duration::from_hours(1);

/// Where releases put the chart. Here it is the one of the checkout, also in the place of an older one.
const PUBLISHED: [&str; 2] = [
    concat!(
        "oci://ghcr.io/foredeck/charts/foredeck --version ",
        env!("CARGO_PKG_VERSION"),
        " "
    ),
    "oci://ghcr.io/foredeck/charts/foredeck --version OLDER ",
];

/// The commands of a section: lines of its shell blocks.
pub(crate) fn commands(heading: &str) -> Result<Vec<String>> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE))?;
    let (_, section) = page
        .split_once(&format!("\n## {heading}\n"))
        .with_context(|| format!("a section {heading}"))?;
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut inside = false;
    let mut all = Vec::new();
    for line in section.lines().map(str::trim) {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            command if inside => {
                let command = PUBLISHED.iter().fold(command.to_owned(), |command, chart| {
                    command.replace(chart, "charts/foredeck ")
                });
                all.push(command);
            }
            _ => {}
        }
    }
    ensure!(!all.is_empty(), "{heading} has no commands");
    Ok(all)
}

pub(crate) struct Desk {
    pub(crate) plane: ControlPlane,
    pub(crate) gate: StandInGate,
    folder: PathBuf,
}

impl Desk {
    pub(crate) async fn new() -> Result<Self> {
        let plane = ControlPlane::start().await?;
        let folder = plane.directory().join("desk");
        fs::create_dir_all(folder.join("bin"))?;
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for name in ["crds", "charts"] {
            symlink(root.join(name), folder.join(name))?;
        }
        let helm = helm::program().await?;
        if helm.is_absolute() {
            symlink(helm, folder.join("bin/helm"))?;
        }
        Ok(Self {
            plane,
            gate: StandInGate::start().await?,
            folder,
        })
    }

    /// Runs a command of the page.
    pub(crate) async fn run(&self, command: &str) -> Result<()> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let own = [self.folder.join("bin")];
        let path = std::env::join_paths(own.into_iter().chain(std::env::split_paths(&path)))?;
        let mut shell = Command::new("bash");
        shell
            .args(["-euo", "pipefail", "-c", command])
            .current_dir(&self.folder)
            .env("PATH", path)
            .env("KUBECONFIG", self.plane.admin_kubeconfig())
            .stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || shell.output()).await??;
        ensure!(
            output.status.success(),
            "{command}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    /// Runs one that installs, and waits until what it installed counts.
    pub(crate) async fn install(&self, command: &str) -> Result<()> {
        self.run(command).await?;
        self.plane.policies_in_force().await
    }

    /// The controller as its `ServiceAccount`, with the policies that the chart installed. It is ready.
    pub(crate) async fn controller(&self) -> Result<Role> {
        let maps: Api<ConfigMap> = Api::namespaced(self.plane.admin(), HOME);
        let policies = maps.get("foredeck-admission-policies").await?;
        let policies = policies.data.unwrap_or_default();
        let policies = policies.get("policies.yaml").context("policies.yaml")?;
        let file = self.folder.join("policies.yaml");
        fs::write(&file, policies)?;
        let kubeconfig = self
            .plane
            .kubeconfig_of(HOME, "foredeck-controller", None)
            .await?;
        let binary = env!("CARGO_BIN_EXE_foredeck");
        let role = RoleCommand::new(binary, "controller", self.plane.directory())?
            .kubeconfig(kubeconfig)
            .arguments(["--admission-policies", &file.to_string_lossy()])
            .arguments(["--allow-gate-host", "127.0.0.1"])
            .arguments(["--test-minimum-settle", "1s", "--test-refresh", "2s"])
            .start()?;
        role.until_ready(PATIENCE).await?;
        Ok(role)
    }

    /// A namespace with what it takes to deploy checkout there.
    pub(crate) async fn team(&self, namespace: &str) -> Result<()> {
        let team =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        self.plane.apply(&team.to_string()).await?;
        let pipeline = format!("Deploy {namespace}");
        self.gate.put_pipeline(
            Pipeline::new("checkout", &pipeline)
                .parameter(Parameter::new("account").required())
                .parameter(Parameter::new("namespace").required())
                .parameter(Parameter::new("branch").required())
                .stage(Stage::deploy("Deploy", LONG)),
        );
        let connection = json!({
            "gateUrl": self.gate.url(), "timeouts": {"request": "1s", "settle": "3s"},
            "allow": {"applications": ["checkout"], "accounts": ["*"], "namespaces": ["*"]},
        });
        self.create::<SpinnakerConnection>(namespace, "gate", connection)
            .await?;
        let place = json!({"account": "eks", "namespace": namespace});
        let environment = json!({"connection": "gate", "target": place});
        self.create::<Environment>(namespace, "staging", environment)
            .await?;
        let parameters = json!({
            "branch": "{{ version }}", "account": "{{ target.account }}", "namespace": "{{ target.namespace }}",
        });
        let actions = json!({"deploy": {"pipeline": pipeline, "parameters": parameters}});
        self.create::<Application>(namespace, "checkout", json!({"actions": actions}))
            .await?;
        Ok(())
    }

    /// Asks for a deployment of the version of that name; gives the request's uid.
    pub(crate) async fn ask(&self, namespace: &str, name: &str) -> Result<String> {
        let spec = json!({"application": "checkout", "environment": "staging", "version": name});
        let request = self.create::<DeployRequest>(namespace, name, spec).await?;
        request.uid().context("a uid")
    }

    async fn create<K>(&self, namespace: &str, name: &str, spec: Value) -> Result<K>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + DeserializeOwned
            + Serialize
            + Clone
            + std::fmt::Debug,
    {
        let object: K = serde_json::from_value(json!({
            "apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": {"name": name}, "spec": spec,
        }))?;
        let api: Api<K> = Api::namespaced(self.plane.admin(), namespace);
        let created = api.create(&PostParams::default(), &object).await;
        created.with_context(|| format!("create {name} in {namespace}"))
    }

    /// Waits until it is in that phase.
    pub(crate) async fn until(
        &self,
        namespace: &str,
        name: &str,
        phase: Phase,
    ) -> Result<DeployRequest> {
        let api: Api<DeployRequest> = Api::namespaced(self.plane.admin(), namespace);
        wait_for(
            &format!("{name} of {namespace}: {phase:?}"),
            PATIENCE,
            async || {
                let request = api.get(name).await?;
                let status = request.status.clone().unwrap_or_default();
                ensure!(
                    status.phase == Some(phase),
                    "{:?}: {:?}",
                    status.phase,
                    status.message
                );
                Ok(request)
            },
        )
        .await
    }

    /// Waits until the controller said of it that it waits for its target.
    pub(crate) async fn until_told(&self, namespace: &str, name: &str) -> Result<()> {
        let api: Api<DeployRequest> = Api::namespaced(self.plane.admin(), namespace);
        wait_for(
            &format!("{name} of {namespace} to wait"),
            PATIENCE,
            async || {
                let status = api.get(name).await?.status.unwrap_or_default();
                ensure!(
                    status.resolved.is_some() && status.phase == Some(Phase::Queued),
                    "{:?}: {:?}",
                    status.phase,
                    status.message
                );
                Ok(())
            },
        )
        .await
    }

    /// Loses a namespace's requests and targets, and makes them anew from a copy: targets with their status, or without.
    pub(crate) async fn lose_and_restore(&self, namespace: &str, with_status: bool) -> Result<()> {
        let requests: Api<DeployRequest> = Api::namespaced(self.plane.admin(), namespace);
        let targets: Api<DeployTarget> = Api::namespaced(self.plane.admin(), namespace);
        let (all, plain) = (ListParams::default(), PostParams::default());
        let lost_requests = requests.list(&all).await?.items;
        let lost_targets = targets.list(&all).await?.items;
        ensure!(lost_requests.len() == 3 && lost_targets.len() == 1);
        requests
            .delete_collection(&DeleteParams::default(), &all)
            .await?;
        targets
            .delete_collection(&DeleteParams::default(), &all)
            .await?;
        for mut target in lost_targets {
            bare(&mut target);
            let name = target.name_any();
            let status = target.status.take();
            targets.create(&plain, &target).await?;
            if with_status {
                let status = Patch::Merge(json!({"status": status}));
                targets
                    .patch_status(&name, &PatchParams::default(), &status)
                    .await?;
            }
        }
        for mut request in lost_requests {
            bare(&mut request);
            request.status = None;
            ensure!(request.annotations().contains_key("foredeck.dev/seen"));
            requests.create(&plain, &request).await?;
        }
        Ok(())
    }
}

/// Without what the API server gives.
fn bare(object: &mut impl ResourceExt) {
    let meta = object.meta_mut();
    meta.uid = None;
    meta.resource_version = None;
    meta.creation_timestamp = None;
    meta.managed_fields = None;
    meta.generation = None;
}
