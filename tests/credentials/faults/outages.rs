//! A Vault that is sealed, down, or stands still.

use anyhow::{Result, ensure};

use super::World;
use crate::support::{CONNECTION, Controller, ENVIRONMENT, Method};

/// What is asked for after the certificate's end.
impl World {
    /// From the first failure over the end of the certificate to the recovery; `held` runs all the while.
    async fn lives_through(
        &self,
        outage: &str,
        says: &str,
        mend: impl AsyncFnOnce() -> Result<()>,
    ) -> Result<()> {
        self.until_not_renewed(CONNECTION, says).await?;
        self.until_followed("held").await?;
        self.until_said(CONNECTION, "CertificateExpired", says)
            .await?;
        self.ask(outage, "deploy", ENVIRONMENT).await?;
        self.until_expired(CONNECTION, outage, says).await?;
        let warnings = self.warnings(CONNECTION).await?;
        let about = warnings.iter().filter(|note| note.contains(says));
        let told: Vec<_> = about.collect();
        ensure!(
            told.len() == 1 && told[0].starts_with("1 times"),
            "{warnings:?}"
        );
        mend().await?;
        self.until_ready().await?;
        self.until_gone_on(outage).await?;
        self.until_followed("held").await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_is_sealed_or_down_costs_nothing_until_the_certificate_ends_and_no_restart()
-> Result<()> {
    let Some(world) = World::with("sealed", "18s", Method::Kubernetes).await? else {
        return Ok(());
    };
    let controller = Controller::start(&[&world]).await?;
    world.until_ready().await?;
    world.hold("held", CONNECTION).await?;
    let vault = &world.vault;

    vault.seal().await?;
    let mend = async || vault.unseal().await;
    world
        .lives_through("sealed", "Vault is sealed", mend)
        .await?;

    vault.stop();
    let mend = async || vault.restart().await;
    let says = "Vault can't be reached: the connection was refused";
    world.lives_through("down", says, mend).await?;
    world.finish("held").await?;

    // After its end nobody was shown it, and what failed is counted.
    let refused = world.gate.refused_handshakes();
    ensure!(refused.is_empty(), "{refused:?}");
    let failed = "foredeck_certificate_renewals_total{outcome=\"VaultUnreachable\"}";
    let failed = controller.metric(failed).await?;
    ensure!(failed.is_some_and(|failed| failed >= 2.0), "{failed:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_stands_still_is_not_waited_for_beyond_the_certificates_end() -> Result<()> {
    let Some(world) = World::with("still", "50s", Method::Jwt).await? else {
        return Ok(());
    };
    let _controller = Controller::start(&[&world]).await?;
    world.until_ready().await?;
    world.hold("held", CONNECTION).await?;
    world.vault.pause()?;
    let mend = async || world.vault.resume();
    let says = "no answer in time";
    world.lives_through("slow", says, mend).await?;
    world.finish("held").await?;
    let refused = world.gate.refused_handshakes();
    ensure!(refused.is_empty(), "{refused:?}");
    Ok(())
}
