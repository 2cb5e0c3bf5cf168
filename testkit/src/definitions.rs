//! The real definitions of others' custom resources that the chart writes, fetched once: Prometheus operator's, Gateway
//! API's, Cilium's. Touches the target folder, and runs `go`, which has them as files of the projects' modules.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;

use crate::provision::{Places, once, run, say, short_hash};

/// What is fetched: the module, its folder of definitions, and those that foredeck's chart has to do with.
const MODULES: [(&str, &str, &[&str]); 3] = [
    (
        "github.com/prometheus-operator/prometheus-operator",
        "example/prometheus-operator-crd",
        &[
            "monitoring.coreos.com_podmonitors.yaml",
            "monitoring.coreos.com_prometheusrules.yaml",
            "monitoring.coreos.com_servicemonitors.yaml",
        ],
    ),
    (
        "sigs.k8s.io/gateway-api",
        "config/crd/standard",
        &[
            "gateway.networking.k8s.io_gateways.yaml",
            "gateway.networking.k8s.io_httproutes.yaml",
        ],
    ),
    (
        "github.com/cilium/cilium",
        "pkg/k8s/apis/cilium.io/client/crds/v2",
        &["ciliumnetworkpolicies.yaml"],
    ),
];

/// `PodMonitor`, `PrometheusRule` and `ServiceMonitor` of Prometheus operator.
///
/// # Errors
/// When they cannot be had: without Go, say. So with the others.
pub async fn prometheus_operator() -> Result<Vec<CustomResourceDefinition>> {
    of_module(0).await
}

/// `Gateway` and `HTTPRoute` of Gateway API's standard channel.
pub async fn gateway_api() -> Result<Vec<CustomResourceDefinition>> {
    of_module(1).await
}

/// `CiliumNetworkPolicy`.
pub async fn cilium() -> Result<Vec<CustomResourceDefinition>> {
    of_module(2).await
}

/// The definitions of one of [`MODULES`], for [`crate::ControlPlane::install_crds`].
async fn of_module(number: usize) -> Result<Vec<CustomResourceDefinition>> {
    let fetched = tokio::task::spawn_blocking(fetch_once)
        .await
        .context("the fetch broke off")??;
    let (_, _, files) = MODULES[number];
    files.iter().map(|file| read(&fetched.join(file))).collect()
}

fn read(file: &Path) -> Result<CustomResourceDefinition> {
    let text =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_saphyr::from_str(&text).with_context(|| format!("{} holds no definition", file.display()))
}

/// Gives the folder with all the files, after fetching them if no process has done so yet.
fn fetch_once() -> Result<PathBuf> {
    let places = Places::find()?;
    let module = places.testkit.join("definitions");
    let (go_mod, go_sum) = (
        fs::read_to_string(module.join("go.mod")).context("cannot read go.mod")?,
        fs::read_to_string(module.join("go.sum")).context("cannot read go.sum")?,
    );
    let key = short_hash(&format!("{go_mod}\n{go_sum}\n{MODULES:?}"));
    once(
        &places.kept.join("definitions"),
        &key,
        "others' definitions",
        |folder| {
            let found = Command::new("go").arg("version").output();
            ensure!(
                found.is_ok_and(|output| output.status.success()),
                "the definitions of Prometheus operator, Gateway API and Cilium are files of their Go modules, and there \
                 is no `go` on the PATH to fetch them: install Go (https://go.dev/dl/)"
            );
            say(
                "fetching the definitions of Prometheus operator, Gateway API and Cilium with Go: 45 MB, once",
            );
            run(
                download(&module, &[]),
                "fetch three Go modules",
                "lines of it",
            )?;
            for (name, definitions, files) in MODULES {
                let unpacked = unpacked(&module, name)?.join(definitions);
                for file in files {
                    let from = unpacked.join(file);
                    // Not fs::copy: the module cache is read-only, and so would be the copies.
                    let text = fs::read(&from)
                        .with_context(|| format!("{name} has no {}", from.display()))?;
                    fs::write(folder.join(file), text)?;
                }
            }
            Ok(())
        },
    )
}

/// `go mod download`, which holds what it gets to go.sum.
fn download(module: &Path, more: &[&str]) -> Command {
    let mut go = Command::new("go");
    go.args(["mod", "download"])
        .args(more)
        .args(MODULES.map(|(name, ..)| name))
        .current_dir(module)
        // From this module alone.
        .env("GOWORK", "off");
    go
}

/// Where Go keeps the files of a module that it has fetched.
fn unpacked(module: &Path, name: &str) -> Result<PathBuf> {
    let output = download(module, &["-json"])
        .stdin(Stdio::null())
        .output()
        .context("cannot run go")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let modules = serde_json::Deserializer::from_str(&said).into_iter::<Value>();
    for fetched in modules {
        let fetched = fetched.context("go mod download said no JSON")?;
        if fetched["Path"] == name {
            let folder = fetched["Dir"].as_str();
            return Ok(folder
                .with_context(|| format!("{name}: {}", fetched["Error"]))?
                .into());
        }
    }
    anyhow::bail!("go mod download told nothing of {name}")
}
