//! What `docs/operations.md` says of backups, upgrades and uninstalling: its commands, run as they stand there, by helm and kubectl
//! on a real API server, with requests under way.

mod desk;

use std::time::Duration;

use anyhow::{Result, ensure};
use foredeck::api::deploy_request::Phase;
use foredeck_testkit::wait_for;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, api::ListParams};

use crate::desk::{Desk, commands};

const PATIENCE: Duration = Duration::from_mins(2);

#[tokio::test]
async fn what_runs_while_foredeck_is_uninstalled_is_followed_when_it_is_installed_again()
-> Result<()> {
    let desk = Desk::new().await?;
    let upgrade = commands("Upgrade")?;
    let [install, definitions, back] = upgrade.as_slice() else {
        anyhow::bail!("{upgrade:?}");
    };
    desk.install(install).await?;
    desk.team("shop").await?;
    let controller = desk.controller().await?;
    let request = desk.ask("shop", "main").await?;
    desk.until("shop", "main", Phase::Running).await?;
    controller.terminate()?;
    controller.until_ended(PATIENCE).await?;

    let uninstall = commands("Uninstall")?;
    let (leave, for_good) = uninstall.split_at(2);
    for command in leave {
        desk.run(command).await?;
    }
    ensure!(
        desk.until("shop", "main", Phase::Running)
            .await?
            .status
            .is_some()
    );
    ensure!(desk.gate.launches_of(&request).len() == 1);

    desk.install(install).await?;
    let controller = desk.controller().await?;
    let execution = desk.gate.launches_of(&request)[0].execution_id.clone();
    ensure!(desk.gate.finish(&execution), "it ran on");
    desk.until("shop", "main", Phase::Succeeded).await?;
    ensure!(desk.gate.launches_of(&request).len() == 1, "and once only");

    // An upgrade, and back.
    desk.run(definitions).await?;
    ensure!(back.contains("crds.install=false"), "{back}");
    desk.install(back).await?;
    desk.until("shop", "main", Phase::Succeeded).await?;
    for command in commands("Back up and restore")? {
        desk.run(&command).await?;
    }

    controller.terminate()?;
    controller.until_ended(PATIENCE).await?;
    desk.run(&leave[1]).await?;
    for command in for_good {
        desk.run(command).await?;
    }
    let definitions: Api<CustomResourceDefinition> = Api::all(desk.plane.admin());
    wait_for("the definitions to be gone", PATIENCE, async || {
        let left = definitions.list(&ListParams::default()).await?.items.len();
        ensure!(left == 0, "{left} are left");
        Ok(())
    })
    .await
}

/// As a backup tool does it that knows nothing of foredeck: new objects with the old annotations, without uids.
#[tokio::test]
async fn what_is_restored_deploys_nothing_and_what_runs_is_waited_for() -> Result<()> {
    let desk = Desk::new().await?;
    desk.install(&commands("Upgrade")?[0]).await?;
    let mut controller = desk.controller().await?;
    for (team, with_status) in [("plain", false), ("whole", true)] {
        desk.team(team).await?;
        let done = desk.ask(team, "done").await?;
        desk.until(team, "done", Phase::Running).await?;
        let execution = desk.gate.launches_of(&done)[0].execution_id.clone();
        desk.gate.finish(&execution);
        desk.until(team, "done", Phase::Succeeded).await?;
        let running = desk.ask(team, "running").await?;
        desk.until(team, "running", Phase::Running).await?;
        desk.ask(team, "waiting").await?;
        desk.until(team, "waiting", Phase::Queued).await?;
        controller.terminate()?;
        controller.until_ended(PATIENCE).await?;

        let launches = desk.gate.launches().len();
        desk.lose_and_restore(team, with_status).await?;
        controller = desk.controller().await?;
        for name in ["done", "running", "waiting"] {
            let copy = desk.until(team, name, Phase::Expired).await?;
            let conditions = copy
                .status
                .map(|status| status.conditions)
                .unwrap_or_default();
            let restored = conditions
                .iter()
                .any(|condition| condition.reason == "Restored");
            ensure!(restored, "{name}: {conditions:?}");
        }
        let after = desk.ask(team, "after").await?;
        desk.until_told(team, "after").await?;
        ensure!(
            desk.gate.launches().len() == launches,
            "nothing is started beside what runs"
        );
        let execution = desk.gate.launches_of(&running)[0].execution_id.clone();
        ensure!(desk.gate.finish(&execution), "it ran on");
        desk.until(team, "after", Phase::Running).await?;
        let execution = desk.gate.launches_of(&after)[0].execution_id.clone();
        desk.gate.finish(&execution);
        desk.until(team, "after", Phase::Succeeded).await?;
        let peaks = desk.gate.peak_concurrency();
        let targets = peaks.iter().filter(|(key, _)| key.starts_with("target/"));
        ensure!(targets.clone().all(|(_, peak)| *peak == 1), "{peaks:?}");
    }
    Ok(())
}
