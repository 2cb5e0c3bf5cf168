//! What is issued, and who is let in by it.

use std::{sync::Arc, time::Duration};

use foredeck::{
    api::conditions::Reason,
    runtime::tls::{self, Trust},
    secrets::vault::{CertificateRequest, Issued, VaultError},
};
use foredeck_testkit::{StandInGate, gate::GateTls, tls::Authority, toolbox::PKI_ISSUING};
use serde_json::Value;

use super::bed::{Bed, assert_says, pki, wanted};

/// A Gate that wants certificates of this Vault's, and how one comes to it with one of them.
async fn gate(bed: &Bed) -> (StandInGate, Authority) {
    let servers = Authority::new("Servers").unwrap();
    let settings = GateTls {
        server: servers.server().unwrap(),
        clients: Some(bed.root.clone()),
    };
    (StandInGate::start_tls(settings).await.unwrap(), servers)
}

async fn user(gate: &StandInGate, servers: &Authority, issued: &Issued) -> Value {
    let trust = Trust::from_pem(servers.ca_pem().as_bytes()).unwrap();
    let config = tls::client(&trust, Some(&issued.certificate)).unwrap();
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(config)
        .no_proxy()
        .build()
        .unwrap();
    let url = format!("{}/auth/user", gate.url());
    client.get(url).send().await.unwrap().json().await.unwrap()
}

#[tokio::test]
async fn gate_lets_in_who_shows_a_certificate_of_the_intermediate_authority() {
    let Some(bed) = Bed::new().await else { return };
    let session = bed.session(bed.kubernetes());
    let issued = session.issue(&wanted()).await.unwrap();
    let (gate, servers) = gate(&bed).await;
    assert_eq!(user(&gate, &servers, &issued).await["username"], "foredeck");
    assert_eq!(
        gate.calls()[0].certificate.as_deref(),
        Some(issued.certificate.serial())
    );
    // Vault's clock is ours here.
    assert!(
        issued.skew.unsigned_abs() < Duration::from_secs(5),
        "{:?}",
        issued.skew
    );
    let left = issued.ends.duration_since(issued.since).as_secs();
    assert!((50..=62).contains(&left), "{left}");
    assert!(!format!("{issued:?} {session:?}").contains("PRIVATE"));

    let again = session.issue(&wanted()).await.unwrap();
    assert_ne!(again.certificate.serial(), issued.certificate.serial());
    assert_eq!(Arc::strong_count(&again.certificate), 1);
}

#[tokio::test]
async fn names_and_ttl_are_those_that_were_asked_for() {
    let Some(bed) = Bed::new().await else { return };
    let session = bed.session(bed.kubernetes());
    let mut asked = pki();
    asked.alt_names = vec![
        "foredeck@corp.example".to_owned(),
        "corp.example".to_owned(),
    ];
    asked.ip_sans = vec!["10.0.0.7".to_owned()];
    asked.uri_sans = vec!["spiffe://corp.example/foredeck".to_owned()];
    asked.ttl = Some(Duration::from_mins(10).into());
    let asked = CertificateRequest::new(&asked).unwrap();
    let issued = session.issue(&asked).await.unwrap();
    let left = issued.ends.duration_since(issued.since).as_secs();
    assert!((590..=602).contains(&left), "{left}");
    let (gate, servers) = gate(&bed).await;
    let user = user(&gate, &servers, &issued).await;
    assert_eq!(user["username"], "foredeck@corp.example");
}

#[tokio::test]
async fn names_that_the_role_refuses_a_deleted_role_and_a_missing_engine_are_said() {
    let Some(bed) = Bed::new().await else { return };
    let session = bed.session(bed.kubernetes());
    let place = format!("{PKI_ISSUING}/issue/foredeck");
    let mut other = pki();
    other.common_name = "somebody-else".to_owned();
    let error = session
        .issue(&CertificateRequest::new(&other).unwrap())
        .await
        .unwrap_err();
    assert_eq!(
        error,
        VaultError::RequestRefused {
            place: place.clone()
        }
    );
    assert_eq!(error.reason(), Reason::CertificateIssueFailed);
    assert_says(
        &error,
        &[&place, "doesn't issue a certificate with these names"],
    );

    let role = format!("{PKI_ISSUING}/roles/foredeck");
    bed.vault.delete(&role).await.unwrap();
    let error = session.issue(&wanted()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::CertificateIssueFailed);
    assert_says(&error, &[&place, "no role of that name"]);
    bed.role().await;
    session.issue(&wanted()).await.unwrap();

    let mut elsewhere = pki();
    elsewhere.mount = "missing".to_owned();
    let error = session
        .issue(&CertificateRequest::new(&elsewhere).unwrap())
        .await
        .unwrap_err();
    assert_eq!(error.reason(), Reason::CertificateIssueFailed);
    assert_says(&error, &["missing/issue/foredeck"]);
}

#[tokio::test]
async fn a_policy_that_is_taken_away_is_said_and_given_back_it_goes_on() {
    let Some(bed) = Bed::new().await else { return };
    let session = bed.session(bed.kubernetes());
    session.issue(&wanted()).await.unwrap();
    let none = bed.vault.policy(super::bed::POLICY, "path \"kv/*\" {}");
    none.await.unwrap();
    let place = format!("{PKI_ISSUING}/issue/foredeck");
    let error = session.issue(&wanted()).await.unwrap_err();
    assert_eq!(
        error,
        VaultError::PermissionDenied {
            place: place.clone()
        }
    );
    assert_eq!(error.reason(), Reason::CertificateIssueFailed);
    assert_says(
        &error,
        &["takes the login but forbids", &place, "Whoever runs Vault"],
    );
    bed.allow().await;
    session.issue(&wanted()).await.unwrap();
}
