//! A login that goes wrong right before the start is sent: it is sent once in the end.

use std::{
    fs::File,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use axum::http::Method as Http;
use foredeck_testkit::{ApiProxy, gate::Operation};

use super::World;
use crate::support::{CONNECTION, Controller, ENVIRONMENT, Method, issuing_authority};

/// A controller of one namespace that sees the API server through a proxy.
struct Behind(Child);

impl Behind {
    fn start(world: &World, proxy: &ApiProxy) -> Result<Self> {
        let log = world.plane.directory().join("controller-behind.log");
        let policies = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/examples/install/admission.yaml"
        );
        let namespace = world.namespace.as_str();
        let child = Command::new(env!("CARGO_BIN_EXE_foredeck"))
            .args(["controller", "--admin-listen", "off"])
            .args(["--namespace", namespace, "--lease-namespace", namespace])
            .args(["--home-namespace", namespace])
            .args(["--admission-policies", policies])
            .args(["--allow-gate-host", "127.0.0.1"])
            .args(["--allow-vault-host", "127.0.0.1"])
            .args(["--test-minimum-settle", "1s"])
            .args(["--test-secret-age", "1s", "--test-refresh", "2s"])
            .env("KUBECONFIG", world.plane.kubeconfig_through(&proxy.url())?)
            .env("RUST_LOG", "foredeck=debug,warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(log)?)
            .spawn()
            .context("start the controller")?;
        Ok(Self(child))
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn starts(world: &World) -> usize {
    world.gate.count_calls(Operation::Start) + world.gate.count_calls(Operation::Trigger)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_ends_between_claim_and_start_sends_nothing_and_the_start_comes_later()
-> Result<()> {
    let Some(world) = World::with("ends", "12s", Method::Jwt).await? else {
        return Ok(());
    };
    let proxy = ApiProxy::start(world.plane).await?;
    let _controller = Behind::start(&world, &proxy)?;
    world.until_ready().await?;
    let says = "forbids pki-int/issue/foredeck";
    let rules = "path \"elsewhere\" { capabilities = [\"read\"] }";
    world.vault.policy("foredeck", rules).await?;
    world.until_not_renewed(CONNECTION, says).await?;
    // The start is marked as sent while the certificate still lasts for a few seconds.
    let mut mark = proxy.hold(Http::PATCH, "deploytargets/status", "\"sentAt\":\"");
    world.ask("late", "deploy", ENVIRONMENT).await?;
    mark.arrived().await?;
    world
        .until_said(CONNECTION, "CertificateExpired", says)
        .await?;
    mark.release();
    world.until_expired(CONNECTION, "late", says).await?;
    ensure!(starts(&world) == 0, "something was sent");
    world.allow_issuing().await?;
    world.until_gone_on("late").await?;
    ensure!(starts(&world) == 1, "{} starts", starts(&world));
    let refused = world.gate.refused_handshakes();
    ensure!(refused.is_empty(), "{refused:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_gate_refuses_to_be_shown_gets_a_new_certificate_and_comes_once() -> Result<()>
{
    let Some(world) = World::with("refused", "1h", Method::Kubernetes).await? else {
        return Ok(());
    };
    let controller = Controller::start(&[&world]).await?;
    let before = world.until_ready().await?;
    // What runs is looked at on a connection that stands, and that Gate doesn't close.
    world.hold("held", CONNECTION).await?;
    world.vault.rotate_issuing().await?;
    world.gate_trusts(&issuing_authority(&world.vault).await?)?;
    world.deploy("refused").await?;
    ensure!(world.launches("refused").await? == 1, "not one launch");
    ensure!(starts(&world) == 2, "{} starts", starts(&world));
    let refused = world.gate.refused_handshakes();
    ensure!(!refused.is_empty(), "Gate refused nothing");
    let after = world.until_ready().await?;
    ensure!(after.certificate != before.certificate, "the same is shown");
    let metric = "foredeck_certificate_renewals_total{outcome=\"issued\"}";
    let issued = controller.metric(metric).await?.unwrap_or_default();
    ensure!((2.0..=4.0).contains(&issued), "{issued} certificates");
    world.finish("held").await
}
