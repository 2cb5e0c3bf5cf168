//! Two controllers under one Lease: killed again and again, and asked to stop while a start is under way.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use foredeck::api::DeployTarget;
use foredeck_testkit::{
    gate::{Effect, Fault, Operation},
    wait_for,
};
use kube::api::ListParams;

use crate::support::{Bed, CONTROLLERS, Chance, PATIENCE, Replicas, ends};

const TARGETS: usize = 20;
const KILLS: usize = 50;
const ASKED_FOR_EACH: usize = 4;
/// One who can't renew in time on a loaded machine ends: that is one more death here, and no kill.
const SHORT_LEASE: [&str; 2] = ["--lease-duration", "3s"];
/// That Lease, and what a loaded machine adds: a look each 0.2 s, a call of 0.5 s at the longest, and another death.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(3 + 5);
/// How long a leader is given to have something started, before it is killed anyway.
const GIVEN: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn fifty_kills_of_the_leader_start_each_of_two_hundred_requests_once() -> Result<()> {
    let bed = Bed::of_killing("kills", TARGETS, Duration::from_millis(600)).await?;
    let mut chance = Chance::new()?;
    let mut replicas = Replicas::new(&bed, "controller", CONTROLLERS, &SHORT_LEASE)?;
    let (began, all) = (Instant::now(), KILLS * ASKED_FOR_EACH);
    let mut asked = 0;
    while replicas.kills < KILLS {
        ensure!(replicas.ended < KILLS * 4, "leaders end by themselves");
        let leader = replicas.led().await?;
        let before = bed.gate.count_calls(Operation::Start);
        while asked < all.min((replicas.kills + 1) * ASKED_FOR_EACH) {
            bed.ask(&format!("r{asked}"), asked % TARGETS).await?;
            asked += 1;
        }
        // Every other one while it sends or records, if it gets that far; the others while they fill their caches, look at
        // what ran before, claim, follow.
        let life = if replicas.kills % 2 == 0 {
            let started = wait_for("a start", GIVEN, async || {
                let starts = bed.gate.count_calls(Operation::Start);
                ensure!(starts > before || replicas.is_gone(&leader)?, "none");
                Ok(())
            });
            let _whether_or_not = started.await;
            chance.below(200)
        } else {
            100 + chance.below(1_500)
        };
        let end = tokio::time::Instant::now() + Duration::from_millis(life);
        tokio::time::sleep_until(end).await;
        replicas.kill(leader)?;
    }
    let during = bed.gate.count_calls(Operation::Start);
    eprintln!(
        "{KILLS} kills took {:?}, {during} starts were asked for meanwhile",
        began.elapsed()
    );
    replicas.at_ease();
    replicas
        .kept_while(bed.until_all_succeeded(all, PATIENCE * 3))
        .await?;
    eprintln!(
        "{} processes ended, the slowest take-over took {:?}, {} starts asked for in all, the end after {:?}",
        replicas.ended,
        replicas.slowest,
        bed.gate.count_calls(Operation::Start),
        began.elapsed()
    );
    ensure!(during > KILLS / 4, "{during} starts: they were idle");
    ensure!(
        replicas.slowest < TAKEN_OVER_WITHIN,
        "{:?}",
        replicas.slowest
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_under_way_is_recorded_before_the_lease_is_given_back() -> Result<()> {
    let bed = Bed::new("under-way", 2, Duration::from_millis(200)).await?;
    let roles = [
        bed.started(bed.role("controller")?).await?,
        bed.started(bed.role("controller")?).await?,
    ];
    let (holder, first) = bed.until_led(CONTROLLERS, None, &roles, PATIENCE).await?;
    let slow = Effect::SlowAnswer(Duration::from_secs(10));
    bed.gate.inject(Fault::new(Operation::Start, slow));
    bed.ask("slow", 0).await?;
    until_sent(&bed, 1).await?;
    // What is asked for while the leader ends is begun by its successor.
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
    let (holder, first) = bed.until_led(CONTROLLERS, None, &roles, PATIENCE).await?;
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
