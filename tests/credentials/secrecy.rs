//! Nothing that is written holds a secret: every test searches what it left behind for each key and token that its Vaults saw,
//! and here the logs are as long as they get.

use std::fs;

use anyhow::{Context, Result, ensure};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::api::ListParams;
use serde_json::json;

use crate::{
    leaks::{Secrets, Written},
    support::{Controller, Method, Place, World},
    witness,
};

/// Keys of Secrets that everybody may see.
const PUBLIC: [&str; 2] = ["tls.crt", "ca.crt"];

/// Checks that nothing of all this wrote a secret anywhere: logs of all processes, objects and events, Gate's calls, metrics.
pub(crate) async fn nothing_leaked(worlds: &[&World], controllers: &[&Controller]) -> Result<()> {
    let places: Vec<&Place> = worlds.iter().map(|world| &***world).collect();
    nothing_leaked_from(worlds, &places, controllers).await
}

/// The same where there are more places than worlds.
pub(crate) async fn nothing_leaked_from(
    worlds: &[&World],
    places: &[&Place],
    controllers: &[&Controller],
) -> Result<()> {
    let plane = places.first().context("nowhere")?.plane;
    let mut secrets = Secrets::default();
    secrets.add("the API server's token", plane.admin_token())?;
    let mut written = Written::default();
    for world in worlds {
        for (name, secret) in witness::secrets(&world.vault)? {
            secrets.add(name, &secret)?;
        }
        written.text(
            format!("the log of {}", world.vault.url()),
            world.vault.log(),
        );
        written.gate(&world.gate);
    }
    for place in places {
        for secret in place.api::<Secret>().list(&ListParams::default()).await? {
            let name = secret.metadata.name.unwrap_or_default();
            for (key, ByteString(value)) in secret.data.unwrap_or_default() {
                if !PUBLIC.contains(&key.as_str()) {
                    secrets.add(&format!("{key} of {name}"), &String::from_utf8(value)?)?;
                }
            }
        }
    }
    for controller in controllers {
        let log = controller.log();
        ensure!(!log.is_empty(), "a controller logged nothing");
        written.text("the controller's log", log);
        written.text("the controller's audit lines", controller.audit());
        if let Ok(metrics) = controller.metrics().await {
            written.text("the controller's metrics", metrics);
        }
    }
    for log in ["kube-apiserver.log", "etcd.log"] {
        written.text(log, fs::read(plane.directory().join(log))?);
    }
    written.objects(plane).await?;
    written.has_none_of(&secrets)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_written_holds_a_secret_whatever_is_logged() -> Result<()> {
    let Some(world) = World::with("hush", "10s", Method::Kubernetes).await? else {
        return Ok(());
    };
    // By each way, and once in vain.
    let policies = [crate::support::ROLE];
    let token = world.vault.token(&policies, "10m").await?;
    world.put_secret("token", json!({"token": token})).await?;
    let own = world.issue("1h").await?;
    let tls = json!({"tls.crt": own.chain_pem, "tls.key": own.key_pem});
    world.put_secret("client", tls).await?;
    let mut by_token = world.vault_auth(Method::Kubernetes);
    by_token["vault"]["login"] = json!({"token": {"secretName": "token"}});
    let mut in_vain = world.vault_auth(Method::Kubernetes);
    in_vain["vault"]["login"]["kubernetes"]["role"] = json!("nobody");
    let mut unnamed = world.vault_auth(Method::Jwt);
    unnamed["vault"]["pki"]["commonName"] = json!("somebody-else");
    for (name, mtls) in [
        ("jwt", world.vault_auth(Method::Jwt)),
        ("by-token", by_token),
        ("by-secret", json!({"secretName": "client"})),
        ("in-vain", in_vain),
        ("unnamed", unnamed),
    ] {
        world.connect(name, &world.connection_by(&mtls)).await?;
    }
    let controller = Controller::start_for(&[&world], "trace", &[]).await?;
    let known = format!("{:?}", world.principal);
    for name in ["gate", "jwt", "by-token", "by-secret"] {
        world.until_said(name, "ConfigurationValid", &known).await?;
    }
    world.until_said("in-vain", "LoginFailed", "").await?;
    world
        .until_said("unnamed", "CertificateIssueFailed", "")
        .await?;
    world.deploy("first").await?;
    world.until_renewed(1).await?;
    world.vault.seal().await?;
    let fails = "Renewing it fails";
    world
        .until_said("gate", "ConfigurationValid", fails)
        .await?;
    world.vault.unseal().await?;
    world.until_renewed(1).await?;
    world.deploy("second").await?;

    let seen = witness::secrets(&world.vault)?;
    let count = |word: &str| seen.iter().filter(|(name, _)| name.contains(word)).count();
    let counts = [count("ServiceAccount"), count("was given"), count("key")];
    ensure!(counts.iter().all(|count| *count > 2), "{counts:?}");
    let log = controller.log();
    ensure!(log.contains("TRACE") && log.contains("hyper"), "no trace");
    nothing_leaked(&[&world], &[&controller]).await
}
