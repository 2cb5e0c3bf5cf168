//! Vault issues by another authority from now on, and Gate trusts it sooner or later than that.

use anyhow::{Context, Result};
use foredeck_testkit::{gate::GateTls, toolbox::PKI_ISSUING};
use serde_json::json;

use super::World;
use crate::support::{CONNECTION, Controller, ENVIRONMENT, Method, issuing_authority};

/// In the sentence of a Gate that knows another authority of that name.
const STRANGER: &str = "may trust another authority of that name";

impl World {
    /// From now on Gate lets in whom this authority vouches for, on new connections.
    pub(super) fn gate_trusts(&self, authority: &str) -> Result<()> {
        self.gate.set_tls(&GateTls {
            server: self.authority.server()?,
            clients: Some(authority.to_owned()),
        })
    }

    /// Gate doesn't let us in, and what is asked for waits for that.
    async fn until_kept_out(&self, request: &str) -> Result<()> {
        self.until_said(CONNECTION, "LoginFailed", STRANGER).await?;
        self.ask(request, "deploy", ENVIRONMENT).await?;
        let text = self.until_waiting(request, "LoginFailed").await?;
        anyhow::ensure!(text.contains(STRANGER), "{text}");
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_authority_that_vault_has_before_gate_and_one_that_gate_has_before_vault()
-> Result<()> {
    let Some(world) = World::with("rotated", "15s", Method::Kubernetes).await? else {
        return Ok(());
    };
    let _controller = Controller::start(&[&world]).await?;
    world.until_ready().await?;
    world.hold("held", CONNECTION).await?;
    let vault = &world.vault;

    vault.rotate_issuing().await?;
    world.until_kept_out("vault-first").await?;
    world.gate_trusts(&issuing_authority(vault).await?)?;
    world.until_ready().await?;
    world.until_gone_on("vault-first").await?;
    world.until_followed("held").await?;

    let issuers = format!("{PKI_ISSUING}/config/issuers");
    let before = vault.read(&issuers).await?["data"]["default"].clone();
    vault.rotate_issuing().await?;
    let after = vault.read(&issuers).await?["data"]["default"].clone();
    let new = issuing_authority(vault).await?;
    vault.write(&issuers, json!({"default": before})).await?;
    world.gate_trusts(&new)?;
    world.until_kept_out("gate-first").await?;
    vault.write(&issuers, json!({"default": after})).await?;
    world.until_ready().await?;
    world.until_gone_on("gate-first").await?;
    world.until_followed("held").await?;
    world.finish("held").await.context("what ran all the while")
}
