//! The client on TLS, against the stand-in Gate that wants certificates: who gets in, what is said of who doesn't, and what a
//! new login does to the calls under way. Touches loopback.

use std::{sync::Arc, time::Duration};

use foredeck_testkit::{
    StandInGate,
    gate::{Effect, Fault, GateTls, Operation, Pipeline},
    tls::{Authority, Issued, Validity},
    wait_for,
};
use serde_json::json;
use tokio::{sync::watch, time::Instant};

use super::*;
use crate::{
    api::conditions::Reason,
    runtime::tls::{self, ClientCertificate, Trust},
};

const DAY: Duration = Duration::from_hours(24);

/// A Gate that lets in whom `authority` vouches for, and the authority.
async fn gate() -> (StandInGate, Authority) {
    tls::install();
    let authority = Authority::new("Spinnaker").unwrap();
    let tls = GateTls {
        server: authority.server().unwrap(),
        clients: Some(authority.ca_pem()),
    };
    (StandInGate::start_tls(tls).await.unwrap(), authority)
}

fn trust(authority: &Authority) -> Trust {
    Trust::from_pem(authority.ca_pem().as_bytes()).unwrap()
}

fn shown(issued: &Issued) -> Credentials {
    let key = issued.key_pem.clone().into();
    let certificate = ClientCertificate::from_pem(issued.chain_pem.as_bytes(), &key).unwrap();
    Credentials::Certificate(Arc::new(certificate))
}

fn login(credentials: &Credentials, trust: &Trust) -> Arc<GateLogin> {
    Arc::new(GateLogin::new(credentials, trust).unwrap())
}

fn client(gate: &StandInGate, login: watch::Receiver<Option<Arc<GateLogin>>>) -> GateClient {
    let mut settings = GateSettings::new(gate.url().parse().unwrap(), login);
    settings.request_deadline = Duration::from_secs(5);
    GateClient::new(settings).unwrap()
}

fn with(gate: &StandInGate, credentials: &Credentials, trust: &Trust) -> GateClient {
    client(gate, watch::channel(Some(login(credentials, trust))).1)
}

/// A start of a pipeline that there is, as Gate takes it.
fn start(gate: &StandInGate) -> Vec<u8> {
    let id = gate.put_pipeline(Pipeline::new("checkout", "Deploy"));
    let mut config = gate.config(&id).unwrap();
    config["executionId"] = json!("01M80G0E2CDT4FQJ4A6PQXS8PR");
    config["trigger"] = json!({"type": "manual"});
    config.to_string().into_bytes()
}

#[tokio::test]
async fn a_certificate_of_its_authority_gets_in_as_its_subject() {
    let (gate, authority) = gate().await;
    let below = authority.intermediate("Below").unwrap();
    for issuer in [&authority, &below] {
        let issued = issuer.client("foredeck").unwrap();
        let client = with(&gate, &shown(&issued), &trust(&authority));
        assert_eq!(client.login().await.unwrap(), "foredeck");
        assert_eq!(client.version().await.unwrap(), "2026.1.2");
        let sent = client.start(start(&gate)).await;
        assert!(matches!(sent, Sent::Accepted { .. }), "{sent:?}");
        let serial = issued.subject().unwrap().serial;
        let calls = gate.calls();
        assert_eq!(calls.last().unwrap().certificate.as_ref(), Some(&serial));
    }
}

/// With TLS 1.3 the refusal comes when the request is already on its way. Only alerts that can't have come later prove that
/// a start was not read.
#[tokio::test]
async fn who_is_refused_is_told_so_and_nothing_is_started() {
    let (gate, authority) = gate().await;
    let other = Authority::new("Another").unwrap();
    let expired = authority
        .client_with("foredeck", None, Validity::expired())
        .unwrap();
    let foreign = shown(&other.client("foredeck").unwrap());
    // Another authority of the very name of the one that Gate trusts.
    let namesake = Authority::new("Spinnaker").unwrap();
    let namesake = shown(&namesake.client("foredeck").unwrap());
    let body = start(&gate);
    for (credentials, says, unread) in [
        (Credentials::None, "wants a client certificate", true),
        (foreign, "does not trust whoever issued", true),
        (namesake, "another authority of that name", true),
        (shown(&expired), "has expired", false),
    ] {
        let client = with(&gate, &credentials, &trust(&authority));
        let refused = client.login().await.unwrap_err();
        assert!(refused.refuses_login(), "{refused:?}");
        assert!(refused.to_string().contains(says), "{refused}");
        match client.start(body.clone()).await {
            Sent::NotProcessed { error, .. } if unread => assert!(error.refuses_login()),
            Sent::Unknown { error } if !unread => assert!(error.refuses_login()),
            sent => panic!("{says}: {sent:?}"),
        }
    }
    assert_eq!(gate.count_calls(Operation::Any), 0, "{:?}", gate.calls());
    assert_eq!(gate.execution_count(), 0);
    assert_eq!(gate.refused_handshakes().len(), 8);
}

#[tokio::test]
async fn whom_we_do_not_trust_gets_nothing() {
    let (gate, authority) = gate().await;
    let stranger = Authority::new("Stranger").unwrap();
    let credentials = shown(&authority.client("foredeck").unwrap());
    for (server, trusted, says) in [
        (authority.server(), &stranger, "from nobody that spec.tls"),
        (
            authority.server_with(&["gate.example"], Validity::lasting(DAY)),
            &authority,
            "for another name",
        ),
        (
            authority.server_with(&["127.0.0.1"], Validity::expired()),
            &authority,
            "it has expired",
        ),
    ] {
        let tls = GateTls {
            server: server.unwrap(),
            clients: Some(authority.ca_pem()),
        };
        gate.set_tls(&tls).unwrap();
        let client = with(&gate, &credentials, &trust(trusted));
        let error = client.login().await.unwrap_err();
        assert_eq!(error.reason(), Reason::GateUnreachable);
        assert!(error.to_string().contains(says), "{error}");
        let sent = client.start(Vec::new()).await;
        assert!(matches!(sent, Sent::NotProcessed { .. }), "{sent:?}");
    }
    assert_eq!(gate.count_calls(Operation::Any), 0);
}

#[tokio::test]
async fn a_new_login_is_used_from_the_next_call_on_and_breaks_none_under_way() {
    let (gate, authority) = gate().await;
    let trust = trust(&authority);
    let (old, new) = (
        authority.client("old").unwrap(),
        authority.client("new").unwrap(),
    );
    let (source, receiver) = watch::channel(Some(login(&shown(&old), &trust)));
    let client = client(&gate, receiver);
    assert_eq!(client.login().await.unwrap(), "old");
    let slow = Effect::SlowAnswer(Duration::from_millis(500));
    gate.inject(Fault::new(Operation::Version, slow));
    let under_way = tokio::spawn({
        let client = client.clone();
        async move { client.version().await }
    });
    wait_for(
        "the slow call has come",
        Duration::from_secs(5),
        async || {
            anyhow::ensure!(gate.count_calls(Operation::Version) == 1);
            Ok(())
        },
    )
    .await
    .unwrap();
    source.send_replace(Some(login(&shown(&new), &trust)));
    assert_eq!(client.login().await.unwrap(), "new");
    assert!(under_way.await.unwrap().is_ok());

    source.send_replace(None);
    let before = gate.count_calls(Operation::Any);
    let error = client.login().await.unwrap_err();
    assert!(error.to_string().contains("there is no login"), "{error}");
    let sent = client.start(Vec::new()).await;
    assert!(matches!(sent, Sent::NotProcessed { .. }), "{sent:?}");
    assert_eq!(gate.count_calls(Operation::Any), before);
    source.send_replace(Some(login(&shown(&new), &trust)));
    assert_eq!(client.login().await.unwrap(), "new");
}

#[tokio::test]
async fn a_write_waits_for_its_turn_before_it_is_reserved_and_not_after() {
    let (gate, authority) = gate().await;
    let credentials = shown(&authority.client("foredeck").unwrap());
    let login = login(&credentials, &trust(&authority));
    let mut settings =
        GateSettings::new(gate.url().parse().unwrap(), watch::channel(Some(login)).1);
    settings.rate = Some(Rate {
        per_second: 5.try_into().unwrap(),
        burst: 1.try_into().unwrap(),
    });
    settings.request_deadline = Duration::from_millis(900);
    let client = GateClient::new(settings).unwrap();
    let begun = Instant::now();
    for _ in 0..3 {
        drop(client.reserve().await.unwrap());
    }
    assert!(begun.elapsed() >= Duration::from_millis(390));
    // As many wait as have no turn within the deadline.
    let all = futures::future::join_all((0..10).map(|_| client.reserve())).await;
    let turns = all.iter().filter(|reserved| reserved.is_ok()).count();
    assert!((1..=6).contains(&turns), "{turns}");
    let late = all.into_iter().find_map(Result::err).unwrap();
    assert_eq!(late, GateError::Saturated);
    assert_eq!(gate.count_calls(Operation::Any), 0);
}
