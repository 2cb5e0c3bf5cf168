//! How soon a leader is followed, measured while nothing else of the suite runs: killed, and asked to stop.
//!
//! What is promised counts from the signal: after a kill to the new leader at work, its caches filled; after a clean stop with
//! nothing under way to the new holder in the Lease, which is when it begins to fill them.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use foredeck::api::deploy_request::Phase;

use crate::support::{Bed, CONTROLLERS, GRACE, PATIENCE, RELAYS};

const AFTER_A_KILL: Duration = Duration::from_secs(20);
const AFTER_A_STOP: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_controller_is_followed_within_twenty_seconds_and_a_stopped_one_within_two()
-> Result<()> {
    let bed = Bed::measured("followed", Duration::from_millis(200)).await?;
    let mut roles = vec![bed.started(bed.role("controller")?).await?];
    let (first, _) = bed.until_led(CONTROLLERS, None, &roles, PATIENCE).await?;
    roles.push(bed.started(bed.role("controller")?).await?);

    let killed = Instant::now();
    roles[0].kill();
    let (second, _) = bed
        .until_led(CONTROLLERS, Some(&first), &roles, PATIENCE)
        .await?;
    let took = killed.elapsed();
    eprintln!("another controller at work {took:?} after a kill");
    ensure!(took < AFTER_A_KILL, "{took:?}");
    bed.ask("after-the-kill", 0).await?;
    bed.until_phase("after-the-kill", Phase::Succeeded).await?;

    roles.push(bed.started(bed.role("controller")?).await?);
    let asked = Instant::now();
    roles[1].terminate()?;
    bed.until_held(CONTROLLERS, Some(&second), PATIENCE).await?;
    let took = asked.elapsed();
    bed.until_led(CONTROLLERS, Some(&second), &roles, PATIENCE)
        .await?;
    eprintln!(
        "another controller held the Lease {took:?} after a clean stop, and was at work after {:?}",
        asked.elapsed()
    );
    ensure!(took < AFTER_A_STOP, "{took:?}");
    let status = roles[1].until_ended(GRACE).await?;
    ensure!(status.success(), "{status}");
    bed.ask("after-the-stop", 0).await?;
    bed.until_all_succeeded(2, PATIENCE).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_relay_is_followed_within_two_seconds() -> Result<()> {
    let bed = Bed::measured("hands-over", Duration::from_millis(200)).await?;
    let _controller = bed.started(bed.role("controller")?).await?;
    let relays = [
        bed.started(bed.role("relay")?).await?,
        bed.started(bed.role("relay")?).await?,
    ];
    let (holder, first) = bed.until_led(RELAYS, None, &relays, PATIENCE).await?;
    let asked = Instant::now();
    relays[first].terminate()?;
    bed.until_held(RELAYS, Some(&holder), PATIENCE).await?;
    let took = asked.elapsed();
    eprintln!("another relay held the Lease {took:?} after a clean stop");
    ensure!(took < AFTER_A_STOP, "{took:?}");
    bed.until_led(RELAYS, Some(&holder), &relays, PATIENCE)
        .await?;
    let status = relays[first].until_ended(GRACE).await?;
    ensure!(status.success(), "{status}\n{}", relays[first].tail());
    bed.ask("told", 0).await?;
    bed.until_all_succeeded(1, PATIENCE).await?;
    bed.until_all_told(&["told".to_owned()], PATIENCE).await
}
