//! Two relays under one Lease: killed again and again while requests go on, and asked to stop.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::support::{Bed, Chance, GRACE, PATIENCE, RELAYS, Replicas};

const TARGETS: usize = 8;
const KILLS: usize = 10;
const ASKED_FOR_EACH: usize = 4;
const SHORT_LEASE: [&str; 2] = ["--lease-duration", "3s"];
/// What is promised after a clean stop.
const HANDED_OVER_WITHIN: Duration = Duration::from_secs(2);

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
    let mut before = None;
    for kill in 0..KILLS {
        let (holder, index) = relays.led(before.as_deref()).await?;
        for nth in 0..ASKED_FOR_EACH {
            let version = format!("r{:03}", kill * ASKED_FOR_EACH + nth);
            bed.ask(&version, nth * 2 + kill % 2).await?;
            versions.push(version);
        }
        // While it looks whether Slack accepts it, while it posts, while it writes down.
        let life = Duration::from_millis(200 + chance.below(1800));
        tokio::time::sleep_until(tokio::time::Instant::now() + life).await;
        relays.running[index].kill();
        before = Some(holder);
    }
    relays
        .kept_while(async {
            bed.until_all_succeeded(versions.len(), PATIENCE).await?;
            bed.until_all_told(&versions, PATIENCE * 2).await
        })
        .await?;
    eprintln!(
        "{} relays ended, all told after {:?}",
        relays.ended,
        began.elapsed()
    );
    ensure!(relays.ended >= KILLS, "{} ended", relays.ended);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_relay_is_followed_within_two_seconds() -> Result<()> {
    let bed = Bed::new("hands-over", 1, Duration::from_millis(200)).await?;
    let _controller = bed.started(bed.role("controller")?).await?;
    let relays = [
        bed.started(bed.role("relay")?).await?,
        bed.started(bed.role("relay")?).await?,
    ];
    let (holder, first, _) = bed.until_led(RELAYS, None, &relays, PATIENCE).await?;
    relays[first].terminate()?;
    let (_, _, took) = bed
        .until_led(RELAYS, Some(&holder), &relays, PATIENCE)
        .await?;
    eprintln!("taken over {took:?} after a clean stop");
    ensure!(took < HANDED_OVER_WITHIN, "{took:?}");
    let status = relays[first].until_ended(GRACE).await?;
    ensure!(status.success(), "{status}\n{}", relays[first].tail());
    bed.ask("told", 0).await?;
    bed.until_all_succeeded(1, PATIENCE).await?;
    bed.until_all_told(&["told".to_owned()], PATIENCE).await
}
