//! An installation of the chart on a control plane of its own, with a controller that runs under the chart's rights, and the
//! binary as people call it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use foredeck::api::{
    Application, SpinnakerConnection,
    conditions::{self, ConditionType},
};
use foredeck_testkit::{
    ControlPlane, FalseVault, Role, RoleCommand, StandInGate, StandInSlack, helm, wait_for,
};
use kube::Api;
use serde_json::{Value, json};

/// Where foredeck itself lives.
pub(crate) const HOME: &str = "foredeck-system";
/// The token that the stand-in Gate takes.
pub(crate) const TOKEN: &str = "spk_hush";
/// How long anything here may take: far longer than it does.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);
const BINARY: &str = env!("CARGO_BIN_EXE_foredeck");

pub(crate) struct Bed {
    pub(crate) plane: ControlPlane,
    pub(crate) gate: StandInGate,
    pub(crate) slack: StandInSlack,
    pub(crate) vault: FalseVault,
    pub(crate) policies: PathBuf,
    _controller: Role,
}

async fn render(arguments: &[&str]) -> Result<String> {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/foredeck");
    let usual = [
        "--namespace",
        HOME,
        "--set",
        "identity.emailDomains={corp.example}",
        "--set-string",
        "admission.mutating=on",
    ];
    helm::template(&chart, &[&usual, arguments].concat()).await
}

impl Bed {
    /// The chart, a controller, and the namespace `shop` with a Gate that wants a token; no right on any Secret yet.
    pub(crate) async fn new() -> Result<Self> {
        let plane = ControlPlane::start().await?;
        plane.install_crds(&foredeck::api::crds()).await?;
        for name in [HOME, "shop"] {
            let namespace =
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            plane.apply(&namespace.to_string()).await?;
        }
        plane.apply(&render(&[]).await?).await?;
        plane.policies_in_force().await?;
        let policies = plane.directory().join("policies.yaml");
        fs::write(
            &policies,
            render(&["--show-only", "templates/admission.yaml"]).await?,
        )?;
        let gate = StandInGate::start().await?;
        gate.set_authentication(foredeck_testkit::gate::Authentication::Token {
            token: TOKEN.to_owned(),
            principal: "foredeck@corp.example".to_owned(),
        });
        let account = format!("system:serviceaccount:{HOME}:foredeck-controller");
        let controller = RoleCommand::new(BINARY, "controller", plane.directory())?
            .arguments([
                "--allow-gate-host",
                "127.0.0.1",
                "--test-refresh",
                "200ms",
                "--test-secret-age",
                "200ms",
            ])
            .arguments(["--admission-policies", policies.to_str().context("a path")?])
            .kubeconfig(plane.kubeconfig_as(&account, &[], None)?)
            .start()?;
        let bed = Self {
            slack: StandInSlack::start().await?,
            vault: FalseVault::start().await?,
            plane,
            gate,
            policies,
            _controller: controller,
        };
        bed.object(
            "v1",
            "Secret",
            "gate-login",
            "stringData",
            &json!({"token": TOKEN}),
        )
        .await?;
        bed.ours(
            "SpinnakerConnection",
            "spinnaker",
            &json!({
                "gateUrl": bed.gate.url(),
                "auth": {"token": {"secretName": "gate-login"}},
                "allow": {"applications": ["*"], "accounts": ["*"], "namespaces": ["*"]},
            }),
        )
        .await?;
        Ok(bed)
    }

    pub(crate) async fn ours(&self, kind: &str, name: &str, spec: &Value) -> Result<()> {
        self.object("foredeck.dev/v1alpha1", kind, name, "spec", spec)
            .await
    }

    /// A Secret of the team's with this under `token`.
    pub(crate) async fn secret(&self, name: &str, token: &str) -> Result<()> {
        let data = json!({"token": token});
        self.object("v1", "Secret", name, "stringData", &data).await
    }

    async fn object(
        &self,
        version: &str,
        kind: &str,
        name: &str,
        field: &str,
        value: &Value,
    ) -> Result<()> {
        let object = json!({
            "apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "shop"}, field: value,
        });
        self.plane
            .apply(&object.to_string())
            .await
            .with_context(|| format!("{kind} {name}"))
    }

    /// The binary, as the administrator calls it.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        command(self.plane.admin_kubeconfig(), arguments)
    }

    /// Waits until the connection is, or isn't, ready.
    pub(crate) async fn until_connection(&self, ready: bool) -> Result<()> {
        let api: Api<SpinnakerConnection> = Api::namespaced(self.plane.admin(), "shop");
        wait_for(
            &format!("the connection to be ready: {ready}"),
            PATIENCE,
            async || {
                let seen = api.get("spinnaker").await?;
                let status = seen.status.unwrap_or_default();
                let condition = conditions::find(&status.conditions, ConditionType::Ready);
                ensure!(
                    condition.is_some_and(|condition| (condition.status == "True") == ready)
                        && status.observed_generation == seen.metadata.generation,
                    "{status:?}"
                );
                Ok(())
            },
        )
        .await
    }

    /// Waits until an Application is ready.
    pub(crate) async fn until_application(&self, name: &str) -> Result<()> {
        let api: Api<Application> = Api::namespaced(self.plane.admin(), "shop");
        wait_for(
            &format!("the Application {name} to be ready"),
            PATIENCE,
            async || {
                let status = api.get(name).await?.status.unwrap_or_default();
                let condition = conditions::find(&status.conditions, ConditionType::Ready);
                ensure!(
                    condition.is_some_and(|condition| condition.status == "True"),
                    "{status:?}"
                );
                Ok(())
            },
        )
        .await
    }

    /// Lets the controller read what the connections name, as `doctor --print-rbac` says it.
    pub(crate) async fn allow_secrets(&self) -> Result<()> {
        let printed =
            finished(self.command(&["doctor", "--print-rbac", "--allow-git-host", "127.0.0.1"]))?;
        ensure!(printed.status.success(), "{printed:?}");
        self.plane.apply(&text(&printed.stdout)).await
    }
}

/// The binary with nothing of this machine's own environment.
pub(crate) fn command(kubeconfig: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command
        .args(arguments)
        .env_clear()
        .env("KUBECONFIG", kubeconfig);
    command
}

/// What came of it. It ends by itself, or is killed after a while.
pub(crate) fn finished(mut command: Command) -> Result<Output> {
    command.output().context("run foredeck")
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
