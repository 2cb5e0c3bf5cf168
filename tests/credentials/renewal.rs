//! Certificates change while deployments are followed, and nobody notices: what happens in twenty minutes with certificates
//! that last a minute, in fast motion with such that last some seconds.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, ensure};
use foredeck::api::deploy_request::Phase;
use foredeck_testkit::{
    gate::{Call, Effect, Fault, Operation},
    wait_for,
};

use crate::{
    secrecy::nothing_leaked,
    support::{CONNECTION, Controller, Method, World, failed},
    witness,
};

/// How long each certificate lasts: it is renewed after two thirds of that, and what is left must do on a busy machine.
const LIFE: &str = "8s";
/// Twenty minutes' worth of certificates for a minute.
const RENEWALS: usize = 20;
const PATIENCE: Duration = Duration::from_mins(3);

#[tokio::test(flavor = "multi_thread")]
async fn twenty_renewals_and_no_poll_fails() -> Result<()> {
    let Some(world) = World::with("renewal", LIFE, Method::Kubernetes).await? else {
        return Ok(());
    };
    // Calls are under way at any time, and so whenever a certificate changes.
    let slow = Effect::SlowAnswer(Duration::from_millis(700));
    for operation in [Operation::Batch, Operation::GetExecution] {
        world
            .gate
            .inject(Fault::new(operation, slow.clone()).permanently());
    }
    let held = ["one", "two", "three"];
    for name in held {
        world.environment(name, CONNECTION).await?;
    }
    let controller = Controller::start(&[&world]).await?;
    world.until_ready().await?;
    for name in held {
        world.ask(name, "hold", name).await?;
        world.until_phase(name, Phase::Running).await?;
    }
    let mut deployed = Vec::new();
    for renewals in (0..=RENEWALS).step_by(5) {
        renewed(&world, renewals).await?;
        let name = format!("after-{renewals}");
        world.deploy(&name).await?;
        deployed.push(name);
    }
    for launch in world.gate.launches() {
        world.gate.finish(&launch.execution_id);
    }
    for name in held {
        world.until_phase(name, Phase::Succeeded).await?;
    }

    // The last ones may be under way.
    let calls = wait_for("all calls to be answered", PATIENCE, async || {
        let calls = world.gate.calls();
        let open = calls.iter().filter(|call| call.status.is_none()).count();
        ensure!(open == 0, "{open} of {} are not", calls.len());
        Ok(calls)
    })
    .await?;
    let failed = failed(&calls);
    ensure!(failed.is_empty(), "{failed:?}");
    let refused = world.gate.refused_handshakes();
    ensure!(refused.is_empty(), "{refused:?}");
    let log = controller.log();
    for bad in [
        "no answer from Gate",
        "gave no certificate",
        "WARN",
        "ERROR",
    ] {
        let line = log.lines().find(|line| line.contains(bad));
        ensure!(line.is_none(), "{line:?}");
    }
    let polls: Vec<&Call> = calls
        .iter()
        .filter(|call| matches!(call.operation, Operation::Batch | Operation::GetExecution))
        .collect();
    let serials: BTreeSet<_> = polls.iter().map(|call| &call.certificate).collect();
    ensure!(serials.len() > RENEWALS, "{serials:?}");
    let longest = polls.windows(2).map(|pair| pair[1].at - pair[0].at).max();
    let longest = longest.context("no polls")?;
    ensure!(longest < 20_000, "no poll for {longest} ms");
    for name in held.into_iter().chain(deployed.iter().map(String::as_str)) {
        ensure!(world.launches(name).await? == 1, "{name}");
    }
    let renewals = "foredeck_certificate_renewals_total{outcome=\"issued\"}";
    let counted = controller.metric(renewals).await?.unwrap_or_default();
    let issued = witness::issued(&world.vault)?;
    ensure!(counted >= 21.0, "{counted} of {}", issued.len());
    let others = "foredeck_certificate_renewals_total";
    ensure!(controller.metric(others).await?.is_some(), "only those");
    let left = controller
        .metric("foredeck_certificate_seconds_left{")
        .await?
        .context("no metric of what is left")?;
    ensure!((0.0..=8.0).contains(&left), "{left} s");
    let life = controller
        .metric("foredeck_certificate_life_seconds{")
        .await?
        .context("no metric of its whole life")?;
    ensure!(life >= left, "{left} s of {life} s");
    nothing_leaked(&[&world], &[&controller]).await
}

/// Waits until polls have come with so many certificates more than the first.
async fn renewed(world: &World, renewals: usize) -> Result<()> {
    let what = format!("{renewals} renewals");
    wait_for(&what, PATIENCE, async || {
        let polls = world.gate.calls_of(Operation::Batch);
        let single = world.gate.calls_of(Operation::GetExecution);
        let serials: BTreeSet<_> = polls
            .into_iter()
            .chain(single)
            .filter_map(|call| call.certificate)
            .collect();
        ensure!(serials.len() > renewals, "{} so far", serials.len());
        Ok(())
    })
    .await
}
