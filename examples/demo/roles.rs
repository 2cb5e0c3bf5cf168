//! The roles, each a process of its own with its own rights, as they would run in a cluster. Touches processes.

use std::{fs::File, net::TcpListener, path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use foredeck_testkit::{ControlPlane, StandInSlack, wait_for};
use tokio::process::{Child, Command};

use crate::quickstart::examples;

/// Everything here is on this machine.
const PROXIES: [&str; 6] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
];
/// How long a role may take to be ready.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running role.
pub(crate) struct Role {
    name: &'static str,
    child: Child,
    /// What it logs.
    pub(crate) log: PathBuf,
}

impl Role {
    /// Starts this very program as that role, with the rights of its `ServiceAccount`, and waits until it is ready.
    pub(crate) async fn start(
        name: &'static str,
        plane: &ControlPlane,
        slack: &StandInSlack,
    ) -> Result<Self> {
        let account = format!("system:serviceaccount:foredeck-system:foredeck-{name}");
        let kubeconfig = plane.kubeconfig_as(&account, &["system:authenticated"], None)?;
        let log = plane.directory().join(format!("{name}.log"));
        // Free until now, and nobody else picks this one so soon.
        let admin = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args([name, "--admin-listen", &admin.to_string()])
            .env("KUBECONFIG", kubeconfig)
            .env("RUST_LOG", "info")
            .env(
                "FOREDECK_ADMISSION_POLICIES",
                examples().join("install/admission.yaml"),
            )
            .env("FOREDECK_ALLOW_GATE_HOST", "127.0.0.1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .kill_on_drop(true);
        for proxy in PROXIES {
            command.env_remove(proxy);
        }
        if name != "controller" {
            command
                .env("SLACK_API_URL", slack.api_url())
                .env("SLACK_BOT_TOKEN", slack.bot_token());
        }
        if name == "receiver" {
            command.env("SLACK_APP_TOKEN", slack.app_token());
        }
        let child = command
            .spawn()
            .with_context(|| format!("start the {name}"))?;
        let role = Self { name, child, log };
        let http = reqwest::Client::builder().no_proxy().build()?;
        wait_for(&format!("the {name} to be ready"), PATIENCE, async || {
            let answer = http.get(format!("http://{admin}/readyz")).send().await?;
            let (status, text) = (answer.status(), answer.text().await?);
            ensure!(status.is_success(), "{text}");
            Ok(())
        })
        .await
        .with_context(|| format!("its log is {}", role.log.display()))?;
        Ok(role)
    }

    /// Waits for its end, which is an error while it should work.
    pub(crate) async fn ended(&mut self) -> anyhow::Error {
        let status = self.child.wait().await;
        anyhow::anyhow!(
            "the {} ended ({status:?}): its log is {}",
            self.name,
            self.log.display()
        )
    }
}
