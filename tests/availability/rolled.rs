//! What an upgrade does: all roles are replaced at once while requests run.

use std::{sync::Mutex, time::Duration};

use anyhow::{Result, ensure};
use foredeck_testkit::{Role, gate::Operation, wait_for};

use crate::support::{Bed, GRACE, PATIENCE};

const TARGETS: usize = 6;
const REQUESTS: usize = 30;
const ROLES: [&str; 3] = ["controller", "receiver", "relay"];

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_of_all_roles_starts_nothing_twice_and_tells_every_end() -> Result<()> {
    let bed = Bed::new("upgrade", TARGETS, Duration::from_secs(1)).await?;
    bed.may_look();
    let mut old: Vec<Vec<Role>> = Vec::new();
    for role in ROLES {
        let both = [bed.role(role)?.start()?, bed.role(role)?.start()?];
        for one in &both {
            one.until_ready(PATIENCE).await?;
        }
        old.push(both.into());
    }
    let versions: Vec<String> = (0..REQUESTS)
        .map(|number| format!("r{number:03}"))
        .collect();
    let asking = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(400));
        for (number, version) in versions.iter().enumerate() {
            ticks.tick().await;
            bed.ask(version, number % TARGETS).await?;
        }
        anyhow::Ok(())
    };
    let new: Mutex<Vec<Role>> = Mutex::default();
    let replaced = async |both: &[Role]| -> Result<()> {
        // A surge of one: the new one is ready, then the old one goes.
        for role in both {
            let next = bed.started(bed.role(role.name())?).await?;
            if let Ok(mut new) = new.lock() {
                new.push(next);
            }
            role.terminate()?;
            let status = role.until_ended(GRACE).await?;
            ensure!(status.success(), "{status}\n{}", role.tail());
        }
        Ok(())
    };
    let rolling = async {
        wait_for("work to be under way", PATIENCE, async || {
            let starts = bed.gate.count_calls(Operation::Start);
            ensure!(starts >= 3, "{starts} starts");
            Ok(())
        })
        .await?;
        let (controllers, receivers, relays) =
            tokio::join!(replaced(&old[0]), replaced(&old[1]), replaced(&old[2]));
        controllers.and(receivers).and(relays)
    };
    tokio::try_join!(asking, rolling)?;
    bed.until_all_succeeded(REQUESTS, PATIENCE).await?;
    bed.until_all_told(&versions, PATIENCE * 2).await?;
    ensure!(
        bed.gate.count_calls(Operation::Start) == REQUESTS,
        "a clean end leaves nothing to be sent again"
    );
    Ok(())
}
