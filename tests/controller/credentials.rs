//! Logins of connections: as whom Gate knows us, what is said of one that doesn't work, and what becomes of it when it is
//! changed while deployments run.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use foredeck::api::{
    DeployRequest, Environment, SpinnakerConnection,
    connection::SpinnakerConnectionStatus,
    deploy_request::{Phase, WaitingFor},
};
use foredeck_testkit::{
    StandInGate,
    gate::{Authentication, Effect, Fault, GateTls, Operation},
    tls::{Authority, Issued, Validity},
    wait_for,
};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    gate::pipelines_to_restart_and_hold,
    support::{Bed, PATIENCE},
};

const QUICK: Duration = Duration::from_millis(100);
/// Secrets are read and connections are looked at more often than else.
const OFTEN: &[&str] = &["--test-secret-age", "1s", "--test-refresh", "2s"];

/// A Gate on TLS that lets in whom this authority vouches for.
async fn guarded(authority: &Authority) -> Result<StandInGate> {
    let gate = StandInGate::start_tls(GateTls {
        server: authority.server()?,
        clients: Some(authority.ca_pem()),
    })
    .await?;
    pipelines_to_restart_and_hold(&gate, QUICK);
    Ok(gate)
}

async fn open(authentication: Authentication) -> Result<StandInGate> {
    let gate = StandInGate::start().await?;
    gate.set_authentication(authentication);
    pipelines_to_restart_and_hold(&gate, QUICK);
    Ok(gate)
}

fn by_password(password: &str) -> Authentication {
    Authentication::Basic {
        user: "foredeck".to_owned(),
        password: password.to_owned(),
    }
}

fn by_token(token: &str) -> Authentication {
    Authentication::Token {
        token: token.to_owned(),
        principal: "foredeck".to_owned(),
    }
}

fn tls(issued: &Issued) -> Value {
    json!({"tls.crt": issued.chain_pem, "tls.key": issued.key_pem})
}

fn mtls(authority: &Authority) -> Value {
    json!({"auth": {"mtls": {"secretName": "client"}}, "tls": {"caBundle": authority.ca_pem()}})
}

impl Bed {
    /// A connection and an Environment of that name.
    async fn connected(&self, name: &str, gate: &StandInGate, how: &Value) -> Result<()> {
        let mut spec = self.connection();
        spec["gateUrl"] = json!(gate.url());
        for (key, value) in how.as_object().context("no object")? {
            spec[key] = value.clone();
        }
        self.create::<SpinnakerConnection>(name, spec).await?;
        let target = json!({"account": format!("eks-{name}"), "namespace": "shop"});
        let environment = json!({"connection": name, "target": target});
        self.create::<Environment>(name, environment).await?;
        Ok(())
    }

    /// Makes the Secret what it is to be, in one write.
    async fn rotate(&self, name: &str, data: Value) -> Result<()> {
        let secret: Secret = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data,
        }))?;
        let parameters = PatchParams::apply("test").force();
        let api = self.api::<Secret>();
        api.patch(name, &parameters, &Patch::Apply(&secret)).await?;
        Ok(())
    }

    /// Waits until the connection's Ready has this reason and its sentence holds `says`.
    async fn until_said(
        &self,
        name: &str,
        reason: &str,
        says: &str,
    ) -> Result<SpinnakerConnectionStatus> {
        wait_for(
            &format!("{name}: {reason}, {says:?}"),
            PATIENCE,
            async || {
                let connection = self.api::<SpinnakerConnection>().get(name).await?;
                let status = connection.status.clone().unwrap_or_default();
                let found = status.conditions.iter().any(|ready| {
                    ready.reason == reason
                        && ready.message.contains(says)
                        && ready.observed_generation == connection.metadata.generation
                });
                ensure!(found, "{:?}", status.conditions);
                Ok(status)
            },
        )
        .await
    }

    /// What is held there was started once, ends, and is known to have ended.
    async fn until_finished(
        &self,
        name: &str,
        gate: &StandInGate,
        held: &DeployRequest,
    ) -> Result<()> {
        let launched = gate.launches_of(&held.uid().unwrap_or_default());
        ensure!(launched.len() == 1 && gate.finish(&launched[0].execution_id));
        let request = format!("hold-{name}");
        self.until_phase(&request, Phase::Succeeded).await?;
        Ok(())
    }

    /// What `kubectl get spinnakerconnections` shows of one.
    fn row(&self, name: &str) -> Result<String> {
        let listed = Command::new("kubectl")
            .arg("--kubeconfig")
            .arg(self.plane.admin_kubeconfig())
            .args(["--namespace", &self.namespace])
            .args(["get", "spinnakerconnections.foredeck.dev", name])
            .output()
            .context(
                "this test needs kubectl on the PATH: https://kubernetes.io/docs/tasks/tools/",
            )?;
        Ok(String::from_utf8(listed.stdout)?)
    }
}

/// Waits until executions are followed by calls that this Gate hears from now on.
async fn until_followed(gate: &StandInGate) -> Result<()> {
    let polls = || {
        let calls = gate.calls().into_iter();
        calls
            .filter(|call| {
                matches!(call.operation, Operation::Batch | Operation::GetExecution)
                    && call.status == Some(200)
            })
            .count()
    };
    let before = polls();
    wait_for("the execution is followed", PATIENCE, async || {
        ensure!(polls() > before, "{before} times before");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_to_log_in_gets_in_and_the_status_says_as_whom() -> Result<()> {
    let bed = Bed::new("ways", QUICK).await?;
    let authority = Authority::new("Spinnaker")?;
    let issued = authority.client("foredeck@corp.example")?;
    bed.put_secret("client", tls(&issued)).await?;
    bed.put_secret("authority", json!({"ca.crt": authority.ca_pem()}))
        .await?;
    bed.put_secret("token", json!({"token": "hush-token\n"}))
        .await?;
    bed.put_secret(
        "basic",
        json!({"username": "foredeck", "password": "hush-password\n"}),
    )
    .await?;
    let by_secret = json!({
        "auth": {"mtls": {"secretName": "client"}},
        "tls": {"caSecretRef": {"name": "authority"}},
    });
    let own = json!({"auth": {"token": {"secretName": "token", "header": "X-Spinnaker-Token"}}});
    let ways = [
        ("bundle", guarded(&authority).await?, mtls(&authority)),
        ("reference", guarded(&authority).await?, by_secret),
        (
            "bearer",
            open(by_token("hush-token")).await?,
            json!({"auth": {"token": {"secretName": "token"}}}),
        ),
        ("header", open(by_token("hush-token")).await?, own),
        (
            "basic",
            open(by_password("hush-password")).await?,
            json!({"auth": {"basic": {"secretName": "basic"}}}),
        ),
    ];
    for (name, gate, how) in &ways {
        bed.connected(name, gate, how).await?;
    }
    let controller = bed.controller_with(OFTEN)?;
    for (name, gate, how) in &ways {
        let status = bed
            .until_said(name, "ConfigurationValid", "foredeck")
            .await?;
        ensure!(status.version.as_deref() == Some("2026.1.2"), "{status:?}");
        bed.restart(name).await?;
        bed.until_phase(name, Phase::Succeeded).await?;
        ensure!(gate.launches().len() == 1, "{name}");
        let row = bed.row(name)?;
        ensure!(row.contains("2026.1.2") && row.contains("True"), "{row}");
        let Some(shown) = &status.certificate else {
            ensure!(how["auth"]["mtls"].is_null(), "{name}: {status:?}");
            continue;
        };
        ensure!(status.user.as_deref() == Some("foredeck@corp.example"));
        ensure!(shown.serial == issued.subject()?.serial, "{shown:?}");
        ensure!(row.contains(&shown.not_after.0.to_string()), "{row}");
    }
    let log = controller.log();
    ensure!(!log.contains("hush-") && !log.contains("PRIVATE KEY"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_login_is_said_and_requests_go_on_when_it_is_mended() -> Result<()> {
    let bed = Bed::new("wrong", QUICK).await?;
    let (authority, other) = (Authority::new("Spinnaker")?, Authority::new("Another")?);
    let good = authority.client("foredeck")?;
    let gate = guarded(&authority).await?;
    let secret = |name: &str| json!({"auth": {"mtls": {"secretName": name}}, "tls": {"caBundle": authority.ca_pem()}});
    let mismatch = good.with_key_of(&authority.client("foredeck")?);
    let expired = authority.client_with("foredeck", None, Validity::expired())?;
    for (name, data) in [
        ("mismatch", tls(&mismatch)),
        ("keyless", json!({"tls.crt": good.chain_pem})),
        ("foreign", tls(&other.client("foredeck")?)),
        ("expired", tls(&expired)),
    ] {
        bed.put_secret(name, data).await?;
    }
    let (unread, invalid) = ("CredentialsNotFound", "CredentialsInvalid");
    let cases = [
        ("mismatch", invalid, "not that of the certificate"),
        ("missing", unread, "Secret \"missing\""),
        ("keyless", unread, "no key \"tls.key\""),
        ("foreign", "LoginFailed", "does not trust whoever issued"),
        ("expired", "CertificateExpired", "ended at"),
        ("wrong-ca", "GateUnreachable", "from nobody that spec.tls"),
        ("elsewhere", "HostNotAllowed", "gate.example:8085"),
        ("page", "NotSpinnaker", "is not Gate"),
        ("down", "GateUnreachable", "refused"),
    ];
    bed.put_secret("client", tls(&good)).await?;
    bed.put_secret("wrong-ca", json!({"ca.crt": other.ca_pem()}))
        .await?;
    for name in ["mismatch", "missing", "keyless", "foreign", "expired"] {
        bed.connected(name, &gate, &secret(name)).await?;
    }
    let wrong_ca = json!({
        "auth": {"mtls": {"secretName": "client"}},
        "tls": {"caSecretRef": {"name": "wrong-ca"}},
    });
    bed.connected("wrong-ca", &gate, &wrong_ca).await?;
    let mut elsewhere = secret("client");
    elsewhere["gateUrl"] = json!("https://gate.example:8085");
    bed.connected("elsewhere", &gate, &elsewhere).await?;
    let page = guarded(&authority).await?;
    let answer = Effect::Answer(404, json!({"message": "no such page"}));
    page.inject(Fault::new(Operation::AuthUser, answer).permanently());
    bed.connected("page", &page, &secret("client")).await?;
    let down = guarded(&authority).await?;
    down.stop().await;
    bed.connected("down", &down, &secret("client")).await?;

    let _controller = bed.controller_with(OFTEN)?;
    for (name, reason, says) in cases {
        let status = bed.until_said(name, reason, says).await?;
        ensure!(status.user.is_none() && status.version.is_none(), "{name}");
        let row = bed.row(name)?;
        ensure!(row.contains(reason) && row.contains("False"), "{row}");
        bed.restart(name).await?;
    }
    for (name, reason, says) in cases {
        let status = bed.until_waiting(name, reason).await?;
        let text = status.message.unwrap_or_default();
        ensure!(text.contains(says) && text.contains(name), "{text}");
        let waiting = status.waiting.context("waits for nothing")?.subject;
        let passes = ["LoginFailed", "GateUnreachable", "NotSpinnaker"].contains(&reason);
        let expected = if passes {
            WaitingFor::Spinnaker
        } else {
            WaitingFor::Configuration
        };
        ensure!(waiting == expected, "{name}: {waiting:?}");
    }
    ensure!(gate.launches().is_empty() && page.launches().is_empty());
    let first = gate.count_calls(Operation::Any);
    ensure!(first == 0, "{:?}", gate.calls());

    for name in ["mismatch", "missing", "keyless", "foreign", "expired"] {
        bed.rotate(name, tls(&good)).await?;
    }
    bed.rotate("wrong-ca", json!({"ca.crt": authority.ca_pem()}))
        .await?;
    let here = json!({"spec": {"gateUrl": gate.url()}});
    bed.merge::<SpinnakerConnection>("elsewhere", here).await?;
    page.clear_faults();
    down.restart().await?;
    for (name, ..) in cases {
        bed.until_phase(name, Phase::Succeeded).await?;
        bed.until_said(name, "ConfigurationValid", "\"foredeck\"")
            .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_certificate_is_shown_without_a_restart_and_no_poll_fails() -> Result<()> {
    let bed = Bed::new("rotated", QUICK).await?;
    let authority = Authority::new("Spinnaker")?;
    let gate = guarded(&authority).await?;
    bed.put_secret("client", tls(&authority.client("foredeck")?))
        .await?;
    bed.connected("kept", &gate, &mtls(&authority)).await?;
    let controller = bed.controller_with(OFTEN)?;
    let held = bed.hold("kept").await?;
    bed.until_phase("hold-kept", Phase::Running).await?;
    for _ in 0..3 {
        let next = authority.client("foredeck")?;
        let serial = next.subject()?.serial;
        bed.rotate("client", tls(&next)).await?;
        let what = "the execution is followed with the new certificate, and the status shows it";
        wait_for(what, PATIENCE, async || {
            let followed = gate.calls().iter().any(|call| {
                call.certificate.as_ref() == Some(&serial)
                    && matches!(call.operation, Operation::Batch | Operation::GetExecution)
            });
            ensure!(followed, "not yet");
            let connection = bed.api::<SpinnakerConnection>().get("kept").await?;
            let shown = connection.status.and_then(|status| status.certificate);
            ensure!(
                shown.as_ref().is_some_and(|shown| shown.serial == serial),
                "{shown:?}"
            );
            Ok(())
        })
        .await?;
    }
    bed.until_finished("kept", &gate, &held).await?;
    ensure!(gate.refused_handshakes().is_empty());
    let log = controller.log();
    ensure!(!log.contains("no answer from Gate"), "a call failed");
    // 404 is what Gate says of an execution before it is started.
    let odd = gate.calls().into_iter().find(|call| {
        !call
            .status
            .is_some_and(|status| status < 300 || status == 404)
    });
    ensure!(odd.is_none(), "{odd:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_password_and_a_rotated_token_are_used_and_what_runs_is_followed() -> Result<()> {
    let bed = Bed::new("renewed", QUICK).await?;
    let passwords = |word: &str| json!({"username": "foredeck", "password": word});
    bed.put_secret("password", passwords("hush-one")).await?;
    bed.put_secret("token", json!({"token": "hush-one"}))
        .await?;
    let ways = [
        (
            "basic",
            open(by_password("hush-one")).await?,
            json!({"auth": {"basic": {"secretName": "password"}}}),
        ),
        (
            "bearer",
            open(by_token("hush-one")).await?,
            json!({"auth": {"token": {"secretName": "token"}}}),
        ),
    ];
    for (name, gate, how) in &ways {
        bed.connected(name, gate, how).await?;
    }
    let controller = bed.controller_with(OFTEN)?;
    let mut held = Vec::new();
    for (name, ..) in &ways {
        held.push(bed.hold(name).await?);
        bed.until_phase(&format!("hold-{name}"), Phase::Running)
            .await?;
    }
    for word in ["hush-two", "hush-three"] {
        ways[0].1.set_authentication(by_password(word));
        ways[1].1.set_authentication(by_token(word));
        for (name, ..) in &ways {
            bed.until_said(name, "LoginFailed", "does not accept")
                .await?;
        }
        bed.rotate("password", passwords(word)).await?;
        bed.rotate("token", json!({"token": word})).await?;
        for (name, gate, _) in &ways {
            bed.until_said(name, "ConfigurationValid", "foredeck")
                .await?;
            until_followed(gate).await?;
        }
    }
    for ((name, gate, _), held) in ways.iter().zip(held) {
        bed.until_finished(name, gate, &held).await?;
    }
    ensure!(!controller.log().contains("hush-"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_authority_of_gates_is_trusted_without_a_restart_and_no_poll_fails() -> Result<()>
{
    let bed = Bed::new("trusted", QUICK).await?;
    let (old, new) = (Authority::new("Old")?, Authority::new("New")?);
    let shows = |authority: &Authority| {
        anyhow::Ok(GateTls {
            server: authority.server()?,
            clients: None,
        })
    };
    let gate = StandInGate::start_tls(shows(&old)?).await?;
    pipelines_to_restart_and_hold(&gate, QUICK);
    bed.put_secret("authority", json!({"ca.crt": old.ca_pem()}))
        .await?;
    let how = json!({"tls": {"caSecretRef": {"name": "authority"}}});
    bed.connected("kept", &gate, &how).await?;
    let controller = bed.controller_with(OFTEN)?;
    let held = bed.hold("kept").await?;
    bed.until_phase("hold-kept", Phase::Running).await?;

    // Both for a while, as one does; each is in use once a new connection to Gate was made.
    let both = old.ca_pem() + &new.ca_pem();
    for (trusted, shown) in [(both, None), (new.ca_pem(), Some(&new))] {
        if let Some(authority) = shown {
            gate.set_tls(&shows(authority)?)?;
        }
        let before = gate.connections();
        bed.rotate("authority", json!({"ca.crt": trusted})).await?;
        wait_for("another connection to Gate", PATIENCE, async || {
            ensure!(gate.connections() > before, "none since");
            Ok(())
        })
        .await?;
        until_followed(&gate).await?;
    }
    bed.until_said("kept", "ConfigurationValid", "").await?;
    bed.until_finished("kept", &gate, &held).await?;
    ensure!(gate.refused_handshakes().is_empty());
    ensure!(
        !controller.log().contains("no answer from Gate"),
        "a call failed"
    );
    Ok(())
}
