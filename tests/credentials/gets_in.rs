//! Who gets in at a Gate that wants client certificates of its Vault's authority, and what the status says of it.

use anyhow::{Context, Result, ensure};
use foredeck_testkit::{
    StandInGate,
    gate::Operation,
    tls::{Authority, Issued},
    toolbox::ServiceAccountRole,
    wait_for,
};
use serde_json::{Value, json};

use crate::{
    secrecy::nothing_leaked,
    support::{ACCOUNT, CONNECTION, Controller, Method, PATIENCE, ROLE, World},
    witness,
};

fn tls(issued: &Issued) -> Value {
    json!({"tls.crt": issued.chain_pem, "tls.key": issued.key_pem})
}

/// Calls Gate as anybody could, with this certificate; the status of the answer.
async fn dial(world: &World, issued: &Issued) -> Result<reqwest::StatusCode> {
    let pem = format!("{}{}", issued.chain_pem, issued.key_pem);
    let client = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(
            world.authority.ca_pem().as_bytes(),
        )?])
        .identity(reqwest::Identity::from_pem(pem.as_bytes())?)
        .no_proxy()
        .build()?;
    let url = format!("{}/auth/user", world.gate.url());
    Ok(client.get(url).send().await?.status())
}

fn refused_with(gate: &StandInGate, words: &str) -> bool {
    let refused = gate.refused_handshakes();
    refused.iter().any(|why| why.to_lowercase().contains(words))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_says_as_whom_with_which_certificate_and_until_when() -> Result<()> {
    let Some(world) = World::new("in").await? else {
        return Ok(());
    };
    let controller = Controller::start(&[&world]).await?;
    world.until_ready().await?;
    world.deploy("first").await?;
    ensure!(world.launches("first").await? == 1);
    // Between a renewal and the next look at the connection the status is a moment behind.
    let shown = wait_for("the status to show what Gate sees", PATIENCE, async || {
        let status = world.status(CONNECTION).await?;
        let calls = world.gate.calls_of(Operation::AuthUser);
        let seen = calls.last().and_then(|call| call.certificate.clone());
        let shown = status.certificate.clone().context("no certificate")?;
        ensure!(seen.as_deref() == Some(shown.serial.as_str()), "{seen:?}");
        ensure!(status.user.as_ref() == Some(&world.principal), "{status:?}");
        ensure!(status.version.as_deref() == Some("2026.1.2"), "{status:?}");
        let rows = [
            world.row(CONNECTION, &[])?,
            world.row(CONNECTION, &["-o", "wide"])?,
        ];
        let not_after = shown.not_after.0.to_string();
        for word in [&world.principal, "2026.1.2", "True", not_after.as_str()] {
            ensure!(
                rows.iter().all(|row| row.contains(word)),
                "{word}: {rows:?}"
            );
        }
        ensure!(rows[1].contains(&shown.serial), "{rows:?}");
        Ok(shown)
    })
    .await?;
    let issued = witness::issued(&world.vault)?;
    let ours = issued.iter().find(|known| known.serial == shown.serial);
    let ours = ours.with_context(|| format!("{shown:?} is none of {issued:?}"))?;
    ensure!(shown.not_after.0.as_second() == ours.ends, "{shown:?}");
    let calls = world.gate.calls();
    ensure!(
        calls
            .iter()
            .all(|call| call.principal.as_ref() == Some(&world.principal)),
        "{calls:?}"
    );
    ensure!(world.gate.refused_handshakes().is_empty());
    nothing_leaked(&[&world], &[&controller]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_none_or_an_expired_one_or_another_authoritys_is_kept_out() -> Result<()> {
    let made = tokio::try_join!(World::new("out"), World::bare("another", "60s"))?;
    let (Some(world), Some(other)) = made else {
        return Ok(());
    };
    // The other Vault gives certificates to this namespace too; this Gate takes none of them.
    let guest = ServiceAccountRole {
        namespace: &world.namespace,
        name: ACCOUNT,
        audience: &other.audience,
        policies: &[ROLE],
        ttl: "10m",
    };
    other
        .vault
        .kubernetes_role("kubernetes", "guest", guest)
        .await?;
    let mut foreign_vault = other.vault_auth(Method::Kubernetes);
    foreign_vault["vault"]["login"]["kubernetes"]["role"] = json!("guest");

    let expired = world.issue("2s").await?;
    let foreign = other.issue("1h").await?;
    ensure!(dial(&world, &world.issue("1h").await?).await?.is_success());
    wait_for("the certificate to end", PATIENCE, async || {
        ensure!(dial(&world, &expired).await.is_err(), "it is let in");
        ensure!(refused_with(&world.gate, "expired"), "not for that");
        Ok(())
    })
    .await?;
    world.put_secret("client", tls(&expired)).await?;
    world.put_secret("another", tls(&foreign)).await?;
    let stranger = Authority::new("Stranger")?.client(&world.principal)?;
    world.put_secret("stranger", tls(&stranger)).await?;

    let mut without = world.connection(Method::Kubernetes);
    without.as_object_mut().context("no object")?.remove("auth");
    let cases = [
        (
            "without",
            without,
            "LoginFailed",
            "wants a client certificate",
        ),
        (
            "expired",
            world.connection_by(&json!({"secretName": "client"})),
            "CertificateExpired",
            "ended at",
        ),
        (
            "foreign",
            world.connection_by(&json!({"secretName": "another"})),
            "LoginFailed",
            "does not trust whoever issued",
        ),
        (
            "stranger",
            world.connection_by(&json!({"secretName": "stranger"})),
            "LoginFailed",
            "does not trust whoever issued",
        ),
        (
            "foreign-vault",
            world.connection_by(&foreign_vault),
            "LoginFailed",
            "does not trust whoever issued",
        ),
    ];
    for (name, spec, ..) in &cases {
        world.connect(name, spec).await?;
    }
    let controller = Controller::start(&[&world]).await?;
    for (name, _, reason, says) in &cases {
        let status = world.until_said(name, reason, says).await?;
        ensure!(status.user.is_none() && status.version.is_none(), "{name}");
        let row = world.row(name, &[])?;
        ensure!(row.contains(reason) && row.contains("False"), "{row}");
        world.ask(name, "deploy", name).await?;
    }
    for (name, _, reason, says) in &cases {
        let told = world.until_waiting(name, reason).await?;
        ensure!(told.contains(says) && told.contains(name), "{told}");
    }
    world.until_ready().await?;
    ensure!(refused_with(&world.gate, "sent no certificates"));
    ensure!(refused_with(&world.gate, "unknownissuer"));
    // The two Vaults' authorities have one name, as they well may.
    ensure!(refused_with(&world.gate, "badsignature"));
    ensure!(world.gate.launches().is_empty(), "{:?}", world.gate.calls());

    // A good one in its place, and each goes on without a restart.
    let good = world.issue("1h").await?;
    for secret in ["client", "another", "stranger"] {
        world.put_secret(secret, tls(&good)).await?;
    }
    for name in ["expired", "foreign", "stranger"] {
        world
            .until_phase(name, foredeck::api::deploy_request::Phase::Succeeded)
            .await?;
        ensure!(world.launches(name).await? == 1, "{name}");
    }
    nothing_leaked(&[&world, &other], &[&controller]).await
}
