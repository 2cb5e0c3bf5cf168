//! Two controllers under one Lease: killed again and again, killed once, and asked to stop.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use foredeck::api::{DeployTarget, deploy_request::Phase};
use foredeck_testkit::{
    gate::{Effect, Fault, Operation},
    wait_for,
};
use kube::api::ListParams;

use crate::support::{Bed, CONTROLLERS, Chance, GRACE, PATIENCE, Replicas, ends};

const TARGETS: usize = 40;
const KILLS: usize = 50;
const ASKED_FOR_EACH: usize = 4;
/// One who can't renew in time on a loaded machine ends: that is one more death here.
const SHORT_LEASE: [&str; 2] = ["--lease-duration", "3s"];
/// What is promised after a kill, and after a clean stop.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(20);
const HANDED_OVER_WITHIN: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn fifty_kills_of_the_leader_start_each_of_two_hundred_requests_once() -> Result<()> {
    let bed = Bed::of_killing("kills", TARGETS, Duration::from_millis(600)).await?;
    let mut chance = Chance::new()?;
    let mut replicas = Replicas::new(&bed, "controller", CONTROLLERS, &SHORT_LEASE)?;
    let began = Instant::now();
    let mut before = None;
    for kill in 0..KILLS {
        let (holder, index) = replicas.led(before.as_deref()).await?;
        for nth in 0..ASKED_FOR_EACH {
            let number = kill * ASKED_FOR_EACH + nth;
            bed.ask(&format!("r{number}"), number % TARGETS).await?;
        }
        // While it fills its caches, while it claims, while it sends, while it follows.
        let life = Duration::from_millis(100 + chance.below(1_500));
        tokio::time::sleep_until(tokio::time::Instant::now() + life).await;
        replicas.running[index].kill();
        before = Some(holder);
    }
    eprintln!("{KILLS} kills took {:?}", began.elapsed());
    let all = KILLS * ASKED_FOR_EACH;
    replicas
        .kept_while(bed.until_all_succeeded(all, PATIENCE * 2))
        .await?;
    let ended = replicas.ended;
    eprintln!(
        "{all} requests, {ended} processes ended, {} starts asked for, all after {:?}",
        bed.gate.count_calls(Operation::Start),
        began.elapsed()
    );
    ensure!(ended >= KILLS, "{ended} ended");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leader_is_followed_within_twenty_seconds_and_a_stopped_one_within_two()
-> Result<()> {
    let bed = Bed::new("followed", 1, Duration::from_millis(200)).await?;
    let mut roles = vec![bed.started(bed.role("controller")?).await?];
    let (first, _, _) = bed.until_led(CONTROLLERS, None, &roles, PATIENCE).await?;
    roles.push(bed.started(bed.role("controller")?).await?);

    roles[0].kill();
    let (second, _, took) = bed
        .until_led(CONTROLLERS, Some(&first), &roles, PATIENCE)
        .await?;
    eprintln!("taken over {took:?} after a kill");
    ensure!(took < TAKEN_OVER_WITHIN, "{took:?}");
    bed.ask("after-the-kill", 0).await?;
    bed.until_phase("after-the-kill", Phase::Succeeded).await?;

    roles.push(bed.started(bed.role("controller")?).await?);
    roles[1].terminate()?;
    let (_, _, took) = bed
        .until_led(CONTROLLERS, Some(&second), &roles, PATIENCE)
        .await?;
    eprintln!("taken over {took:?} after a clean stop");
    ensure!(took < HANDED_OVER_WITHIN, "{took:?}");
    let status = roles[1].until_ended(GRACE).await?;
    ensure!(status.success(), "{status}");
    bed.ask("after-the-stop", 0).await?;
    bed.until_all_succeeded(2, PATIENCE).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_under_way_is_recorded_before_the_lease_is_given_back() -> Result<()> {
    let bed = Bed::new("under-way", 2, Duration::from_millis(200)).await?;
    let roles = [
        bed.started(bed.role("controller")?).await?,
        bed.started(bed.role("controller")?).await?,
    ];
    let (holder, first, _) = bed.until_led(CONTROLLERS, None, &roles, PATIENCE).await?;
    let slow = Effect::SlowAnswer(Duration::from_secs(10));
    bed.gate.inject(Fault::new(Operation::Start, slow));
    bed.ask("slow", 0).await?;
    until_sent(&bed, 1).await?;
    // Asked for now, it is begun by whoever comes next.
    let took = {
        let ending = ends(&roles[first]);
        let asking = async {
            roles[first]
                .until_unready("shutdown: asked to stop", PATIENCE)
                .await?;
            bed.ask("later", 1).await
        };
        let (took, asked) = tokio::join!(ending, asking);
        asked?;
        took?
    };
    eprintln!("ended {took:?} after the signal, with an answer that took 10 s");
    let log = roles[first].log();
    let accepted = log.find("outcome=Accepted");
    let given_back = log.find("gave the lease back");
    ensure!(
        accepted.is_some() && accepted < given_back,
        "{accepted:?} {given_back:?}\n{log}"
    );
    bed.until_led(CONTROLLERS, Some(&holder), &roles, PATIENCE)
        .await?;
    bed.until_all_succeeded(2, PATIENCE).await?;
    ensure!(bed.gate.count_calls(Operation::Start) == 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_whose_answer_never_comes_is_settled_by_the_successor() -> Result<()> {
    let bed = Bed::new("never", 2, Duration::from_millis(200)).await?;
    let roles = [
        bed.started(bed.role("controller")?).await?,
        bed.started(bed.role("controller")?).await?,
    ];
    let (holder, first, _) = bed.until_led(CONTROLLERS, None, &roles, PATIENCE).await?;
    // One was done and one was not; nobody hears of either.
    let done = Effect::AcceptedThenTimeout { answer_after: None };
    bed.gate
        .inject(Fault::new(Operation::Start, done).of_pipeline("deploy-env-0"));
    bed.gate
        .inject(Fault::new(Operation::Start, Effect::Hang).of_pipeline("deploy-env-1"));
    bed.ask("done", 0).await?;
    bed.ask("lost", 1).await?;
    until_sent(&bed, 2).await?;
    let took = ends(&roles[first]).await?;
    eprintln!("ended {took:?} after the signal, with two answers that never come");
    let log = roles[first].log();
    ensure!(log.matches("outcome=Unknown").count() == 2, "{log}");
    ensure!(log.contains("gave the lease back"), "{log}");
    let targets = bed
        .api::<DeployTarget>()
        .list(&ListParams::default())
        .await?;
    for target in targets {
        let active = target.status.and_then(|status| status.active);
        let sent = active.is_some_and(|active| active.attempt.sent_at.is_some());
        ensure!(sent, "it isn't known any more that it was sent");
    }
    bed.until_led(CONTROLLERS, Some(&holder), &roles, PATIENCE)
        .await?;
    bed.until_all_succeeded(2, PATIENCE).await?;
    Ok(())
}

/// Waits until Gate has been asked for that many starts.
async fn until_sent(bed: &Bed, count: usize) -> Result<()> {
    wait_for(&format!("{count} starts"), PATIENCE, async || {
        let starts = bed.gate.count_calls(Operation::Start);
        ensure!(starts >= count, "{starts} so far");
        Ok(())
    })
    .await
}
