//! The commands by which the documentation leads from a cluster that knows nothing of foredeck to the first deployment, run
//! as they stand there, in their order, on a real API server and a stand-in for Spinnaker.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use foredeck_testkit::{
    ControlPlane, StandInGate,
    gate::{Parameter, Pipeline, Stage},
    helm,
    role::Role,
    wait_for,
};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kube::Api;
use serde_json::{Value, json};

use crate::{
    runs::{Desk, SOON},
    support::{HOME, root},
};

const PAGE: &str = "docs/install.md";

/// The commands of a section: lines of its shell blocks, those that go on joined.
fn commands(page: &str, heading: &str) -> Result<Vec<String>> {
    let page = fs::read_to_string(root().join(page))?;
    let (_, section) = page
        .split_once(&format!("\n## {heading}\n"))
        .with_context(|| format!("a section {heading}"))?;
    let section = section.split("\n## ").next().unwrap_or_default();
    let blocks = section.split("```sh\n").skip(1);
    let text: String = blocks
        .map(|block| block.split("```").next().unwrap_or_default())
        .collect();
    let lines = text.replace("\\\n", " ");
    Ok(lines.lines().map(str::to_owned).collect())
}

/// A folder like the repository's, with programs as they would be installed.
async fn folder(plane: &ControlPlane) -> Result<PathBuf> {
    let folder = plane.directory().join("desk");
    let programs = folder.join("bin");
    fs::create_dir_all(&programs)?;
    symlink(env!("CARGO_BIN_EXE_foredeck"), programs.join("foredeck"))?;
    let helm = helm::program().await?;
    if helm.is_absolute() {
        symlink(helm, programs.join("helm"))?;
    }
    for name in ["crds", "charts"] {
        symlink(root().join(name), folder.join(name))?;
    }
    // What people are told to change is a copy.
    copy(&root().join("examples"), &folder.join("examples"))?;
    Ok(folder)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let (from, to) = {
            let entry = entry?;
            (entry.path(), to.join(entry.file_name()))
        };
        if from.is_dir() {
            copy(&from, &to)?;
        } else {
            fs::copy(&from, &to)?;
        }
    }
    Ok(())
}

fn shell(command: &str, folder: &Path, kubeconfig: &Path) -> Result<Command> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = [folder.join("bin")]
        .into_iter()
        .chain(std::env::split_paths(&path));
    let mut shell = Command::new("bash");
    shell
        .args(["-euo", "pipefail", "-c", command])
        .current_dir(folder)
        .env("PATH", std::env::join_paths(path)?)
        .env("KUBECONFIG", kubeconfig)
        .stdin(Stdio::null());
    Ok(shell)
}

async fn output(command: &str, folder: &Path, kubeconfig: &Path) -> Result<Output> {
    let mut shell = shell(command, folder, kubeconfig)?;
    let output = tokio::task::spawn_blocking(move || shell.output()).await??;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command}: {error}");
    Ok(output)
}

/// What the quickstart expects of staging.
fn pipeline() -> Pipeline {
    let pipeline = Pipeline::new("checkout", "Deploy to staging");
    ["branch", "account", "namespace"]
        .into_iter()
        .fold(pipeline, |pipeline, name| {
            pipeline.parameter(Parameter::new(name).required())
        })
        .stage(Stage::deploy("Deploy", Duration::from_millis(200)))
}

/// The installed controller, in a Pod's place.
async fn controller(desk: &Desk) -> Result<Role> {
    let admin = desk.plane.admin();
    let deployment = Api::<Deployment>::namespaced(admin.clone(), HOME)
        .get("foredeck-controller")
        .await?;
    let policies = Api::<ConfigMap>::namespaced(admin, HOME)
        .get("foredeck-admission-policies")
        .await?;
    let mut policies = serde_json::to_value(policies)?;
    policies["kind"] = json!("ConfigMap");
    let deployment = serde_json::to_value(deployment)?;
    let role = desk
        .start(&deployment["spec"]["template"]["spec"], &[policies])
        .await?;
    role.until_ready(SOON).await?;
    Ok(role)
}

/// Follows these sections; gives what `kubectl get dr` said last.
async fn leads_to_a_deployment(sections: &[(&str, &str)]) -> Result<String> {
    let gate = StandInGate::start().await?;
    gate.put_pipeline(pipeline());
    let desk = Desk::on(ControlPlane::start().await?).await?;
    let folder = folder(&desk.plane).await?;
    for secret in ["bot-token", "app-token"] {
        fs::write(folder.join(secret), "xoxb-1")?;
    }
    let connection = folder.join("examples/quickstart/connection.yaml");
    let own = fs::read_to_string(&connection)?.replace("http://127.0.0.1:8084", &gate.url());
    fs::write(&connection, own)?;

    let mut running = None;
    let mut said = String::new();
    for (page, heading) in sections {
        for command in commands(page, heading)? {
            let command = command.replace("gate.example.com", "127.0.0.1");
            if command.starts_with("kubectl rollout status") {
                // Nothing makes Pods here.
                ensure!(running.is_some(), "{command}: nothing was installed");
                continue;
            }
            let admin = desk.plane.admin_kubeconfig();
            let output = output(&command, &folder, admin).await?;
            if command.starts_with("kubectl get dr") {
                said = String::from_utf8(output.stdout)?;
            }
            if command.starts_with("helm upgrade --install") {
                desk.plane
                    .install_crds(&foredeck::api::crds())
                    .await
                    .context("to be served")?;
                desk.plane.policies_in_force().await?;
                running = Some(controller(&desk).await?);
            }
        }
    }
    ensure!(running.is_some(), "nothing was installed");
    Ok(said)
}

#[tokio::test]
async fn helm_leads_to_the_first_deployment() -> Result<()> {
    let said =
        leads_to_a_deployment(&[(PAGE, "With helm"), (PAGE, "The first deployment")]).await?;
    assert!(said.contains("Succeeded"), "{said}");
    Ok(())
}

#[tokio::test]
async fn the_readme_leads_to_the_first_deployment() -> Result<()> {
    let said = leads_to_a_deployment(&[("README.md", "Install it")]).await?;
    assert!(said.contains("Succeeded"), "{said}");
    Ok(())
}

#[tokio::test]
async fn what_is_upgraded_keeps_its_values() -> Result<()> {
    let desk = Desk::on(ControlPlane::start().await?).await?;
    let folder = folder(&desk.plane).await?;
    let admin = desk.plane.admin_kubeconfig();
    let install = commands(PAGE, "With helm")?;
    let install = install.first().context("a first command")?;
    output(install, &folder, admin).await?;
    for command in commands(PAGE, "Upgrade and uninstall")? {
        output(&command, &folder, admin).await?;
    }
    let deployments = Api::<Deployment>::namespaced(desk.plane.admin(), HOME);
    let controller = serde_json::to_value(deployments.get("foredeck-controller").await?)?;
    assert_eq!(controller["metadata"]["generation"], 1, "{controller}");
    let container = &controller["spec"]["template"]["spec"]["containers"][0];
    let variables = container["env"].as_array().context("variables")?;
    let hosts = json!({"name": "FOREDECK_ALLOW_GATE_HOST", "value": "gate.example.com"});
    assert!(variables.contains(&hosts), "{container}");
    Ok(())
}

/// Killed when dropped.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Starts a controller by hand, as its own `ServiceAccount`, and stops it once it is ready.
async fn becomes_ready(command: &str, folder: &Path, kubeconfig: &Path) -> Result<()> {
    let admin = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let log = folder.join("controller.log");
    let child = shell(&format!("exec {command}"), folder, kubeconfig)?
        .env("FOREDECK_ADMIN_LISTEN", &admin)
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log)?)
        .spawn()?;
    let mut started = Started(child);
    wait_for(command, SOON, async || {
        let answer = reqwest::get(format!("http://{admin}/readyz")).await;
        let said = answer.with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
        ensure!(said.status().is_success(), "{}", said.text().await?);
        Ok(())
    })
    .await?;
    // Its Lease is given back only by one that is asked to end.
    let pid = started.0.id().to_string();
    Command::new("kill").arg(&pid).status()?;
    ensure!(started.0.wait()?.success(), "{command}");
    Ok(())
}

#[tokio::test]
async fn without_helm_it_is_installed_and_started_by_hand() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let team: Value =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    plane.apply(&team.to_string()).await?;
    let folder = folder(&plane).await?;
    let controller = "system:serviceaccount:foredeck-system:foredeck-controller";
    let controller = plane.kubeconfig_as(controller, &[], None)?;

    let mut starts = 0;
    for command in commands(PAGE, "Without helm")? {
        match command.split(' ').next() {
            Some("foredeck") if command.starts_with("foredeck controller") => {
                ensure!(command.contains("--allow-gate-host"), "{command}");
                becomes_ready(&command, &folder, &controller).await?;
                starts += 1;
            }
            Some("kubectl" | "foredeck" | "helm") => {
                output(&command, &folder, plane.admin_kubeconfig()).await?;
            }
            _ => bail!("{PAGE} has a command that nobody runs: {command}"),
        }
    }
    assert_eq!(starts, 2);
    Ok(())
}
