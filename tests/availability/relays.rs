//! Two relays under one Lease: killed again and again while requests go on.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::support::{Bed, Chance, PATIENCE, RELAYS, Replicas};

const TARGETS: usize = 8;
const KILLS: usize = 10;
const ASKED_FOR_EACH: usize = 4;
const SHORT_LEASE: [&str; 2] = ["--lease-duration", "3s"];
/// That Lease, and what a loaded machine adds.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(3 + 5);

#[tokio::test(flavor = "multi_thread")]
async fn ten_kills_of_the_relay_that_leads_leave_one_message_for_each_of_forty_requests()
-> Result<()> {
    let bed = Bed::of_killing("tells", TARGETS, Duration::from_millis(600)).await?;
    bed.may_look();
    let _controller = bed.started(bed.role("controller")?).await?;
    let mut chance = Chance::new()?;
    let mut relays = Replicas::new(&bed, "relay", RELAYS, &SHORT_LEASE)?;
    let began = Instant::now();
    let mut versions = Vec::new();
    while relays.kills < KILLS {
        ensure!(relays.ended < KILLS * 4, "relays end by themselves");
        let leader = relays.led().await?;
        for number in versions.len()..(relays.kills + 1) * ASKED_FOR_EACH {
            let version = format!("r{number:03}");
            bed.ask(&version, number % TARGETS).await?;
            versions.push(version);
        }
        // While it looks whether Slack accepts it, while it posts, while it writes down.
        let life = Duration::from_millis(200 + chance.below(1800));
        tokio::time::sleep_until(tokio::time::Instant::now() + life).await;
        relays.kill(leader)?;
    }
    relays.at_ease();
    relays
        .kept_while(async {
            bed.until_all_succeeded(versions.len(), PATIENCE).await?;
            bed.until_all_told(&versions, PATIENCE * 2).await
        })
        .await?;
    eprintln!(
        "{} relays ended, the slowest take-over took {:?}, all told after {:?}",
        relays.ended,
        relays.slowest,
        began.elapsed()
    );
    ensure!(relays.slowest < TAKEN_OVER_WITHIN, "{:?}", relays.slowest);
    Ok(())
}
