//! A Vault whose clock is a minute off.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use foredeck::api::SpinnakerConnection;
use foredeck_testkit::{FalseVault, tls::Validity, vault::VaultAnswer, wait_for};
use jiff::Timestamp;

use super::{World, ready};
use crate::support::{CONNECTION, Controller, ENVIRONMENT, PATIENCE};

const MINUTE: i64 = 60;

/// Good for whoever looks at the right clock, from two minutes ago until this many seconds from now.
fn until(seconds: u64) -> Validity {
    let now = SystemTime::now();
    Validity {
        not_before: now - Duration::from_mins(2),
        not_after: now + Duration::from_secs(seconds),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_lasts_as_long_as_vaults_clock_says_and_a_wrong_clock_is_named() -> Result<()>
{
    let Some(world) = World::bare("ahead", "60s").await? else {
        return Ok(());
    };
    let vault = FalseVault::start().await?;
    world.gate_trusts(&vault.ca_pem())?;
    vault.set_skew(MINUTE);
    // By Vault's clock it is over in half a minute.
    vault.answer("pki/", VaultAnswer::Valid(until(90)));
    let spec = world.connection_to(&vault);
    world
        .create::<SpinnakerConnection>(CONNECTION, spec)
        .await?;
    let controller = Controller::start(&[&world]).await?;
    let says = "s ahead of the controller's";
    let status = world
        .until_said(CONNECTION, "ConfigurationValid", says)
        .await?;
    ensure!(ready(&status)?.status == "True", "{status:?}");
    let first = status.certificate.context("no certificate")?;
    let left = first.not_after.0.duration_since(Timestamp::now()).as_secs();
    ensure!((60..=90).contains(&left), "its own end is in {left} s");
    let line = format!(
        "foredeck_certificate_seconds_left{{namespace=\"{}\"",
        world.namespace
    );
    let metric = controller.metric(&line).await?.context("no metric")?;
    ensure!((0.0..=30.0).contains(&metric), "it lasts {metric} s");

    vault.answer("pki/", VaultAnswer::Valid(until(1_000)));
    wait_for("it is renewed in half a minute", PATIENCE, async || {
        let status = world.status(CONNECTION).await?;
        ensure!(ready(&status)?.status == "True", "{status:?}");
        let now = status.certificate.context("no certificate")?;
        ensure!(now != first, "{now:?}");
        Ok(())
    })
    .await?;
    world.deploy("ahead").await?;
    let refused = world.gate.refused_handshakes();
    ensure!(refused.is_empty(), "{refused:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_is_behind_gives_what_gate_calls_expired_and_the_sentence_names_its_clock()
-> Result<()> {
    let Some(world) = World::bare("behind", "60s").await? else {
        return Ok(());
    };
    let vault = FalseVault::start().await?;
    world.gate_trusts(&vault.ca_pem())?;
    vault.set_skew(-MINUTE);
    let mut over = until(0);
    over.not_after -= Duration::from_secs(5);
    vault.answer("pki/", VaultAnswer::Valid(over));
    let spec = world.connection_to(&vault);
    world
        .create::<SpinnakerConnection>(CONNECTION, spec)
        .await?;
    let _controller = Controller::start(&[&world]).await?;
    let says = "s behind the controller's";
    let status = world.until_said(CONNECTION, "LoginFailed", says).await?;
    let sentence = &ready(&status)?.message;
    ensure!(sentence.contains("has expired"), "{sentence}");
    world.ask("behind", "deploy", ENVIRONMENT).await?;
    world.until_waiting("behind", "LoginFailed").await?;

    vault.set_skew(0);
    vault.clear_answers();
    let status = world.until_ready().await?;
    ensure!(!ready(&status)?.message.contains("clock"), "{status:?}");
    world.until_gone_on("behind").await
}
