//! What the Gates by connection promise to whoever asks for one. Touches loopback.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;
use crate::runtime::tls;

/// Gates and Vaults on 127.0.0.1, and an API server that takes connections and says nothing.
async fn connections() -> (Connections, TcpListener) {
    tls::install();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", silent.local_addr().unwrap());
    let client = Client::try_from(kube::Config::new(uri.parse().unwrap())).unwrap();
    let settings = ControllerSettings {
        hosts: AllowedHosts {
            gate: vec!["127.0.0.1".parse().unwrap()],
            vault: vec!["127.0.0.1:8200".parse().unwrap()],
        },
        ..ControllerSettings::default()
    };
    let connections = Connections::new(client, &settings, ControllerMetrics::default());
    (connections, silent)
}

fn connection(uid: &str, generation: i64, spec: &Value) -> SpinnakerConnection {
    let mut whole = json!({"gateUrl": "https://127.0.0.1:1"});
    for (key, value) in spec.as_object().unwrap() {
        whole[key] = value.clone();
    }
    serde_json::from_value(json!({
        "metadata": {"name": uid, "namespace": "shop", "uid": uid, "generation": generation},
        "spec": whole,
    }))
    .unwrap()
}

fn by_vault(address: &str) -> Value {
    json!({"auth": {"mtls": {"vault": {
        "address": address,
        "login": {"jwt": {"role": "foredeck", "audience": "vault"}},
        "pki": {"role": "foredeck", "commonName": "foredeck"},
    }}}})
}

#[tokio::test]
async fn a_host_that_is_not_allowed_gets_neither_client_nor_keeper() {
    let (connections, _api) = connections().await;
    for (spec, says) in [
        (
            json!({"gateUrl": "https://gate.example"}),
            "gate.example:443",
        ),
        (
            json!({"gateUrl": "http://127.0.0.1.evil.example"}),
            "127.0.0.1.evil.example:80",
        ),
        (
            json!({"gateUrl": "http://127.0.0.1@gate.example"}),
            "gate.example:80",
        ),
        (
            by_vault("https://vault.example:8200"),
            "Vault may not be at vault.example:8200",
        ),
        (
            by_vault("https://127.0.0.1"),
            "Vault may not be at 127.0.0.1:443",
        ),
    ] {
        let refusal = connections.gate(&connection("one", 1, &spec)).await.err();
        let refusal = refusal.unwrap();
        assert_eq!(refusal.reason, Reason::HostNotAllowed);
        assert_eq!(refusal.waiting_for, Some(WaitingFor::Configuration));
        assert!(refusal.message.contains(says), "{}", refusal.message);
        assert!(connections.teller.entries.all().is_empty());
    }
}

#[tokio::test]
async fn a_connection_whose_login_does_not_come_delays_no_other_and_is_waited_for_only_so_long() {
    let (connections, _api) = connections().await;
    let by_secret = json!({"auth": {"basic": {"secretName": "login"}}});
    let hanging = connection("hanging", 1, &by_secret);
    let other = connection("other", 1, &json!({}));
    let mut waiting = std::pin::pin!(connections.gate(&hanging));
    assert!(futures::poll!(&mut waiting).is_pending());
    let quick = tokio::time::timeout(Duration::from_secs(2), connections.gate(&other)).await;
    assert!(quick.unwrap().is_ok());
    let refusal = waiting.await.err().unwrap();
    assert_eq!(refusal.reason, Reason::CredentialsNotFound);
    assert_eq!(refusal.waiting_for, Some(WaitingFor::Spinnaker));
    // Once it was waited for, nobody waits any more.
    let again = tokio::time::timeout(Duration::from_secs(1), connections.gate(&hanging)).await;
    assert_eq!(again.unwrap().err(), Some(refusal));
}

#[tokio::test]
async fn a_reader_of_an_old_version_gets_the_newest_gate_and_one_that_went_sends_nothing() {
    let (connections, _api) = connections().await;
    let old = connection("one", 1, &json!({"gateUrl": "https://127.0.0.1:1"}));
    let new = connection("one", 2, &json!({"gateUrl": "https://127.0.0.1:2"}));
    assert_eq!(connections.gate(&old).await.unwrap().url, old.spec.gate_url);
    let gate = connections.gate(&new).await.unwrap();
    assert_eq!(gate.url, new.spec.gate_url);
    assert_eq!(connections.gate(&old).await.unwrap().url, new.spec.gate_url);
    connections.forget("one");
    let error = gate.client.login().await.unwrap_err();
    assert!(error.to_string().contains("there is no login"), "{error}");
}

#[tokio::test]
async fn a_login_that_nobody_keeps_any_more_is_made_anew() {
    let (connections, _api) = connections().await;
    let one = connection("one", 1, &json!({}));
    assert!(connections.gate(&one).await.is_ok());
    let made = |connections: &Connections| connections.teller.entries.all()["one"].made;
    let before = made(&connections);
    connections.teller.entries.all()["one"].keeper.abort();
    tokio::time::timeout(Duration::from_secs(5), async {
        while !connections.teller.entries.all()["one"].keeper.is_finished() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert!(connections.gate(&one).await.is_ok());
    assert!(made(&connections) > before);
}

#[tokio::test]
async fn starts_wait_where_something_else_than_gate_answers_and_all_else_goes_on() {
    let (connections, _api) = connections().await;
    let one = connection("one", 1, &json!({}));
    assert!(connections.gate_to_start_at(&one).await.is_ok());
    let found = GateError::NotSpinnaker { detail: "a page" };
    let found = refusal("one", &found);
    connections.looked(&one, Some(&found));
    assert_eq!(connections.gate_to_start_at(&one).await.err(), Some(found));
    assert!(connections.gate(&one).await.is_ok());
    connections.looked(&one, None);
    assert!(connections.gate_to_start_at(&one).await.is_ok());
}
