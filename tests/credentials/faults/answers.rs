//! Vaults that are none, or hostile: what they say, nobody is shown, and what they got stays with them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use foredeck::api::SpinnakerConnection;
use foredeck_testkit::{FalseVault, vault::VaultAnswer, wait_for};
use serde_json::{Value, json};

use super::World;
use crate::{
    leaks::{Secrets, Written},
    support::{Controller, PATIENCE, ROLE},
};

impl World {
    /// The spec of a connection whose certificates a false Vault issues.
    pub(super) fn connection_to(&self, vault: &FalseVault) -> Value {
        self.connection_by(&json!({"vault": {
            "address": vault.url(),
            "tls": {"caBundle": vault.ca_pem()},
            "login": {"jwt": {"role": ROLE, "audience": self.audience}},
            "pki": {"mount": "pki", "role": ROLE, "commonName": self.principal},
        }}))
    }
}

/// A text that is part of what a hostile Vault says and that nobody must see.
const MADE_UP: &str = "made-up-by-a-hostile-vault";

#[tokio::test(flavor = "multi_thread")]
async fn what_a_hostile_vault_says_is_read_by_nobody_and_a_mended_one_is_used_at_once() -> Result<()>
{
    let Some(world) = World::bare("hostile", "60s").await? else {
        return Ok(());
    };
    let other = FalseVault::start().await?;
    let (unreachable, refused) = ("VaultUnreachable", "LoginFailed");
    let unread = "answer of Vault can't be read";
    let pause = Duration::from_millis(1);
    let cases = [
        (
            "header",
            "auth/",
            VaultAnswer::Token(format!("{MADE_UP}\r\nx-evil: 1")),
            unreachable,
            unread,
        ),
        (
            "echo",
            "auth/",
            VaultAnswer::Echo(403),
            refused,
            "it says no more than that it doesn't accept the token",
        ),
        (
            "echo-500",
            "auth/",
            VaultAnswer::Echo(500),
            unreachable,
            "answers with status 500",
        ),
        (
            "echo-later",
            "pki/",
            VaultAnswer::Echo(403),
            "CertificateIssueFailed",
            "forbids pki/issue/foredeck",
        ),
        (
            "redirect",
            "",
            VaultAnswer::Redirect(other.url()),
            unreachable,
            "sends us to another address",
        ),
        (
            "huge",
            "auth/",
            VaultAnswer::Huge(2 << 20),
            unreachable,
            unread,
        ),
        (
            "endless",
            "pki/",
            VaultAnswer::Endless(pause),
            unreachable,
            unread,
        ),
        (
            "garbage",
            "",
            VaultAnswer::Text(200, format!("<html>{MADE_UP}")),
            unreachable,
            unread,
        ),
        (
            "error",
            "",
            VaultAnswer::Json(400, json!({"errors": [MADE_UP]})),
            refused,
            "it says no more than that",
        ),
        (
            "key",
            "pki/",
            VaultAnswer::WrongKey,
            "CertificateIssueFailed",
            "its key is another one's",
        ),
        (
            "silent",
            "auth/",
            VaultAnswer::Silent,
            unreachable,
            "no answer in time",
        ),
        (
            "reset",
            "pki/",
            VaultAnswer::Reset,
            unreachable,
            "the connection broke",
        ),
    ];
    let mut vaults = Vec::new();
    let mut authorities = String::new();
    for (name, path, answer, ..) in &cases {
        let vault = FalseVault::start().await?;
        vault.answer(path, answer.clone());
        authorities.push_str(&vault.ca_pem());
        let spec = world.connection_to(&vault);
        world.create::<SpinnakerConnection>(name, spec).await?;
        world.environment(name, name).await?;
        world.ask(name, "deploy", name).await?;
        vaults.push(vault);
    }
    world.gate_trusts(&authorities)?;
    let controller = Controller::start(&[&world]).await?;
    for (name, _, _, reason, says) in &cases {
        world.until_said(name, reason, says).await?;
        wait_for(&format!("{name} to wait for that"), PATIENCE, async || {
            let text = world.until_waiting(name, reason).await?;
            ensure!(text.contains(says) && text.contains(name), "{text}");
            Ok(())
        })
        .await?;
    }
    ensure!(other.connections() == 0, "{:?}", other.calls());
    ensure!(world.gate.launches().is_empty());

    // Everything that a Vault was given, and what the false ones made up.
    let mut secrets = Secrets::default();
    secrets.add("what is made up", MADE_UP)?;
    for (vault, (name, ..)) in vaults.iter().zip(&cases) {
        for call in vault.calls() {
            if let Some(token) = call.jwt() {
                secrets.add(&format!("a token for {name}"), &token)?;
            }
            let evil = call.headers.keys().any(|name| name == "x-evil");
            ensure!(!evil, "{name} chose our headers");
        }
        vault.clear_answers();
    }
    for (name, ..) in &cases {
        world
            .until_said(name, "ConfigurationValid", &world.principal)
            .await?;
        world.until_gone_on(name).await?;
    }
    let mut written = Written::default();
    written.text("the controller's log", controller.log());
    written.objects(world.plane).await?;
    written.gate(&world.gate);
    written.has_none_of(&secrets).context("with hostile Vaults")
}
