//! What a Pod says of itself while something that it needs is missing, and when that appears: real API server, real binary.

mod definitions;
mod line;
mod rights;
mod unreachable;

use std::time::Duration;

use anyhow::Result;
use foredeck_testkit::{
    ControlPlane,
    role::{Role, RoleCommand},
};

/// How long anything here may take: far longer than it does.
const PATIENCE: Duration = Duration::from_mins(2);

/// A role of this plane, with its Lease and its `Person`s in that namespace, and with a Slack that is not there.
fn role(plane: &ControlPlane, name: &str, home: &str) -> Result<RoleCommand> {
    let binary = env!("CARGO_BIN_EXE_foredeck");
    let command = RoleCommand::new(binary, name, plane.directory())?
        .kubeconfig(plane.admin_kubeconfig())
        .env("RUST_LOG", "info,kube_runtime::watcher=off")
        .env("FOREDECK_HOME_NAMESPACE", home)
        .env("FOREDECK_LEASE_NAMESPACE", home)
        .env("SLACK_API_URL", "http://127.0.0.1:1/api/")
        .env("SLACK_BOT_TOKEN", "xoxb-test")
        .env("SLACK_APP_TOKEN", "xapp-test");
    Ok(command)
}

/// What `/readyz` says of one gate; nothing when it is open.
async fn gate(role: &Role, name: &str) -> Result<Option<String>> {
    let (_, said) = role.readyz().await?;
    let begin = format!("{name}: ");
    let found = said.lines().find_map(|line| line.strip_prefix(&begin));
    Ok(found.map(str::to_owned))
}
