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
const QUICKSTART: &str = "examples/quickstart/README.md";
/// Where releases put the chart. Here it is the one of the checkout.
const PUBLISHED: &str = concat!(
    "oci://ghcr.io/foredeck/charts/foredeck --version ",
    env!("CARGO_PKG_VERSION"),
    " "
);
/// People of the quickstart, whom RBAC allows nothing but what it says.
const ALICE: &str = "alice@harbor.example";

/// The commands of a section: lines of its shell blocks, those that go on joined, and each loop as one.
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
    let text = text
        .replace("\\\n", " ")
        .replace(PUBLISHED, "charts/foredeck ");
    let mut commands: Vec<String> = Vec::new();
    for line in text.lines() {
        match commands.last_mut() {
            Some(open) if open.starts_with("for ") && !open.ends_with("\ndone") => {
                open.push('\n');
                open.push_str(line);
            }
            _ => commands.push(line.to_owned()),
        }
    }
    Ok(commands)
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

/// What the quickstart expects.
fn pipelines() -> [Pipeline; 4] {
    [
        ("Deploy to staging", &["branch", "account", "namespace"][..]),
        ("Deploy to production", &["branch", "account", "namespace"]),
        ("Rollback", &["to", "account", "namespace"]),
        ("Restart", &["account", "namespace"]),
    ]
    .map(|(name, parameters)| {
        parameters
            .iter()
            .fold(Pipeline::new("checkout", name), |pipeline, name| {
                pipeline.parameter(Parameter::new(name).required())
            })
            .stage(Stage::deploy("Deploy", Duration::from_millis(200)))
    })
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

/// Whether the API server writes down who asks.
#[derive(Clone, Copy, PartialEq)]
enum Stamps {
    On,
    Off,
}

/// Follows these sections, where somebody is named as them from the moment that the page looks who one is; gives what
/// `kubectl get dr` said last.
async fn leads_to_a_deployment(
    sections: &[(&str, &str)],
    stamps: Stamps,
    asker: Option<&str>,
) -> Result<String> {
    let gate = StandInGate::start().await?;
    for pipeline in pipelines() {
        gate.put_pipeline(pipeline);
    }
    let desk = Desk::on(ControlPlane::start().await?).await?;
    let folder = folder(&desk.plane).await?;
    for secret in ["bot-token", "app-token"] {
        fs::write(folder.join(secret), "xoxb-1")?;
    }
    let connection = folder.join("examples/quickstart/connection.yaml");
    let own = fs::read_to_string(&connection)?.replace("http://127.0.0.1:8084", &gate.url());
    fs::write(&connection, own)?;

    let mut who = desk.plane.admin_kubeconfig().to_owned();
    let mut running = None;
    let mut said = String::new();
    for (page, heading) in sections {
        let folder = match *page {
            QUICKSTART => folder.join("examples/quickstart"),
            _ => folder.clone(),
        };
        for command in commands(page, heading)? {
            let mut command = command.replace("gate.example.com", "127.0.0.1");
            if command.starts_with("kubectl rollout status") {
                // Nothing makes Pods here.
                ensure!(running.is_some(), "{command}: nothing was installed");
                continue;
            }
            if command.starts_with("git clone") {
                // The folder is a checkout.
                continue;
            }
            if command.starts_with("helm upgrade --install") && stamps == Stamps::Off {
                command.push_str(" --set-string admission.mutating=off");
            }
            if let Some(asker) = asker
                && command.starts_with("kubectl auth whoami")
            {
                who = desk.plane.kubeconfig_as(asker, &[], None)?;
            }
            let output = output(&command, &folder, &who).await?;
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
    let pages = [(PAGE, "With helm"), (PAGE, "The first deployment")];
    let said = leads_to_a_deployment(&pages, Stamps::On, Some(ALICE)).await?;
    assert!(said.contains("Succeeded") && said.contains(ALICE), "{said}");
    Ok(())
}

#[tokio::test]
async fn helm_leads_to_the_first_deployment_where_nobody_stamps() -> Result<()> {
    let pages = [(PAGE, "With helm"), (PAGE, "The first deployment")];
    let said = leads_to_a_deployment(&pages, Stamps::Off, Some(ALICE)).await?;
    assert!(said.contains("Succeeded") && said.contains(ALICE), "{said}");
    Ok(())
}

#[tokio::test]
async fn the_readme_leads_to_the_first_deployment() -> Result<()> {
    for stamps in [Stamps::On, Stamps::Off] {
        let said = leads_to_a_deployment(&[("README.md", "Install it")], stamps, None).await?;
        assert!(said.contains("Succeeded"), "{said}");
    }
    Ok(())
}

#[tokio::test]
async fn the_quickstart_leads_to_eight_requests_where_nobody_stamps() -> Result<()> {
    let pages = [
        (PAGE, "With helm"),
        (QUICKSTART, "Configure it"),
        (QUICKSTART, "Ask"),
    ];
    let said = leads_to_a_deployment(&pages, Stamps::Off, None).await?;
    assert_eq!(said.lines().count(), 9, "{said}");
    for request in ["checkout-restart-production", "checkout-rollback-staging"] {
        let line = said.lines().find(|line| line.starts_with(request));
        assert!(
            line.is_some_and(|line| line.contains("Succeeded")),
            "{said}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn what_is_upgraded_keeps_its_values() -> Result<()> {
    let desk = Desk::on(ControlPlane::start().await?).await?;
    let folder = folder(&desk.plane).await?;
    let admin = desk.plane.admin_kubeconfig();
    let install = commands(PAGE, "With helm")?;
    let install = install.first().context("a first command")?;
    ensure!(
        install.starts_with("helm upgrade --install foredeck charts/foredeck "),
        "{install}"
    );
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
