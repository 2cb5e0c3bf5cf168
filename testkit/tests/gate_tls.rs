//! The stand-in Gate on TLS: whom it lets in by certificate, whom it turns away at the handshake, and what it tells of each.

#![expect(
    clippy::unwrap_used,
    reason = "clippy takes only the functions marked as tests for tests"
)]

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use foredeck_testkit::StandInGate;
use foredeck_testkit::gate::{Authentication, Effect, Fault, GateTls, Operation};
use foredeck_testkit::tls::{Authority, Issued, Validity};
use foredeck_testkit::toolbox::{OpenBao, PKI_ISSUING};
use foredeck_testkit::wait_for;
use reqwest::{Certificate, Client, Identity, StatusCode};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A Gate that wants certificates of one authority, and shows one of another.
struct Bench {
    gate: StandInGate,
    servers: Authority,
    clients: Authority,
}

impl Bench {
    async fn new() -> Self {
        let servers = Authority::new("Servers").unwrap();
        let clients = Authority::new("Clients").unwrap();
        let tls = GateTls {
            server: servers.server().unwrap(),
            clients: Some(clients.ca_pem()),
        };
        Self {
            gate: StandInGate::start_tls(tls).await.unwrap(),
            servers,
            clients,
        }
    }

    /// A client that trusts this Gate, and shows the certificate if it has one.
    fn client(&self, certificate: Option<&Issued>) -> Client {
        client(&self.servers.ca_pem(), certificate)
    }

    async fn user(&self, client: &Client) -> reqwest::Result<Value> {
        let url = format!("{}/auth/user", self.gate.url());
        client.get(url).send().await?.json().await
    }

    /// What a client with this certificate is told at the handshake, and what the Gate says why.
    async fn refusal(&self, certificate: Option<&Issued>) -> (String, String) {
        let before = self.gate.refused_handshakes().len();
        let refused = self.user(&self.client(certificate)).await.unwrap_err();
        let why = wait_for("the refusal", Duration::from_secs(10), async || {
            let refusals = self.gate.refused_handshakes();
            refusals.get(before).cloned().context("none yet")
        });
        (chain(&refused), why.await.unwrap())
    }
}

fn client(trusted: &str, certificate: Option<&Issued>) -> Client {
    let mut client = Client::builder()
        .tls_certs_only([Certificate::from_pem(trusted.as_bytes()).unwrap()])
        .no_proxy()
        .timeout(Duration::from_secs(10));
    if let Some(certificate) = certificate {
        let both = format!("{}\n{}", certificate.chain_pem, certificate.key_pem);
        client = client.identity(Identity::from_pem(both.as_bytes()).unwrap());
    }
    client.build().unwrap()
}

/// An error with all that caused it.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[tokio::test]
async fn a_certificate_of_its_authority_gets_in_and_says_who_calls() {
    let bench = Bench::new().await;
    assert!(bench.gate.url().starts_with("https://127.0.0.1:"));
    let plain = bench.clients.client("foredeck").unwrap();
    let user = bench.user(&bench.client(Some(&plain))).await.unwrap();
    assert_eq!(user["username"], "foredeck");

    let lasting = Validity::lasting(Duration::from_mins(1));
    let named = bench
        .clients
        .client_with("foredeck", Some("foredeck@corp.example"), lasting)
        .unwrap();
    let user = bench.user(&bench.client(Some(&named))).await.unwrap();
    assert_eq!(user["username"], "foredeck@corp.example");

    let calls = bench.gate.calls_of(Operation::AuthUser);
    let seen: Vec<_> = calls
        .iter()
        .map(|call| (call.certificate.clone().unwrap(), call.principal.clone()))
        .collect();
    let serial = |issued: &Issued| issued.subject().unwrap().serial;
    assert_eq!(
        seen,
        [
            (serial(&plain), Some("foredeck".to_owned())),
            (serial(&named), Some("foredeck@corp.example".to_owned())),
        ]
    );
    assert_eq!((calls[0].connection, calls[1].connection), (1, 2));
}

#[tokio::test]
async fn calls_on_one_connection_are_told_from_calls_on_two() {
    let bench = Bench::new().await;
    let certificate = bench.clients.client("foredeck").unwrap();
    let client = bench.client(Some(&certificate));
    bench.user(&client).await.unwrap();
    bench.user(&client).await.unwrap();
    bench.user(&bench.client(Some(&certificate))).await.unwrap();
    let calls = bench.gate.calls();
    let connections: Vec<u64> = calls.iter().map(|call| call.connection).collect();
    assert_eq!(connections, [1, 1, 2]);
    assert_eq!(bench.gate.connections(), 2);
}

#[tokio::test]
async fn without_a_certificate_the_handshake_is_refused() {
    let bench = Bench::new().await;
    let (told, why) = bench.refusal(None).await;
    assert!(told.contains("CertificateRequired"), "{told}");
    assert!(why.contains("peer sent no certificates"), "{why}");
    assert!(bench.gate.calls().is_empty());
}

#[tokio::test]
async fn an_expired_certificate_and_one_of_tomorrow_are_refused() {
    let bench = Bench::new().await;
    let of = |validity| bench.clients.client_with("foredeck", None, validity);
    let (told, why) = bench.refusal(Some(&of(Validity::expired()).unwrap())).await;
    assert!(told.contains("CertificateExpired"), "{told}");
    assert!(why.contains("expired"), "{why}");
    let (_, why) = bench.refusal(Some(&of(Validity::not_yet()).unwrap())).await;
    assert!(why.contains("not valid yet"), "{why}");
    assert!(bench.gate.calls().is_empty());
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let bench = Bench::new().await;
    let other = Authority::new("Others")
        .unwrap()
        .client("foredeck")
        .unwrap();
    let (told, why) = bench.refusal(Some(&other)).await;
    assert!(told.contains("UnknownCA"), "{told}");
    assert!(why.contains("UnknownIssuer"), "{why}");
    assert!(bench.gate.calls().is_empty());
}

#[tokio::test]
async fn new_connections_are_checked_by_the_new_authority_and_old_ones_stay() {
    let bench = Bench::new().await;
    let old = bench.clients.client("foredeck").unwrap();
    let connected = bench.client(Some(&old));
    bench.user(&connected).await.unwrap();
    let rotated = Authority::new("Clients, rotated").unwrap();
    let tls = GateTls {
        server: bench.servers.server().unwrap(),
        clients: Some(rotated.ca_pem()),
    };
    bench.gate.set_tls(&tls).unwrap();

    bench.user(&connected).await.unwrap();
    let (_, why) = bench.refusal(Some(&old)).await;
    assert!(why.contains("UnknownIssuer"), "{why}");
    let new = rotated.client("foredeck").unwrap();
    bench.user(&bench.client(Some(&new))).await.unwrap();

    // Over a restart it remembers whom to trust, and nothing of the old sessions.
    bench.gate.stop().await;
    bench.gate.restart().await.unwrap();
    bench.user(&connected).await.unwrap_err();
    bench.user(&bench.client(Some(&new))).await.unwrap();
}

/// A resumed session would get in with what was checked before.
#[tokio::test]
async fn every_connection_shows_its_certificate_anew() {
    let bench = Bench::new().await;
    let shown = bench.clients.client("foredeck").unwrap();
    let mut roots = RootCertStore::empty();
    let trusted = CertificateDer::from_pem_slice(bench.servers.ca_pem().as_bytes()).unwrap();
    roots.add(trusted).unwrap();
    let chain = CertificateDer::from_pem_slice(shown.chain_pem.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(shown.key_pem.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![chain], key)
        .unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    for _ in 0..3 {
        let url = bench.gate.url();
        let address = url.strip_prefix("https://").unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let mut stream = connector.connect(name, stream).await.unwrap();
        let ask = b"GET /health HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n\r\n";
        stream.write_all(ask).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let (_, session) = stream.get_ref();
        assert_eq!(session.handshake_kind(), Some(HandshakeKind::Full));
    }
}

#[tokio::test]
async fn who_connects_and_says_nothing_or_no_tls_is_in_nobodys_way() {
    let bench = Bench::new().await;
    let url = bench.gate.url();
    let address = url.strip_prefix("https://").unwrap();
    let _silent = TcpStream::connect(address).await.unwrap();
    let mut plain = TcpStream::connect(address).await.unwrap();
    let ask = b"GET /health HTTP/1.1\r\nHost: gate\r\n\r\n";
    plain.write_all(ask).await.unwrap();
    let mut answer = Vec::new();
    plain.read_to_end(&mut answer).await.unwrap();
    assert!(!answer.starts_with(b"HTTP"));
    let certificate = bench.clients.client("foredeck").unwrap();
    let client = bench.client(Some(&certificate));
    bench.user(&client).await.unwrap();
    assert_eq!(bench.gate.connections(), 3);
}

#[tokio::test]
async fn who_does_not_trust_it_does_not_come_in() {
    let bench = Bench::new().await;
    let certificate = bench.clients.client("foredeck").unwrap();
    let stranger = client(&bench.clients.ca_pem(), Some(&certificate));
    let refused = bench.user(&stranger).await.unwrap_err();
    assert!(refused.is_connect() && chain(&refused).contains("UnknownIssuer"));

    let elsewhere = GateTls {
        server: bench
            .servers
            .server_with(
                &["gate.corp.example"],
                Validity::lasting(Duration::from_mins(1)),
            )
            .unwrap(),
        clients: None,
    };
    bench.gate.set_tls(&elsewhere).unwrap();
    let refused = bench.user(&bench.client(None)).await.unwrap_err();
    assert!(
        chain(&refused).contains("not valid for name"),
        "{}",
        chain(&refused)
    );
}

#[tokio::test]
async fn where_no_certificate_is_asked_for_other_logins_go_on_and_x509_says_403() {
    let bench = Bench::new().await;
    let tls = GateTls {
        server: bench.servers.server().unwrap(),
        clients: None,
    };
    bench.gate.set_tls(&tls).unwrap();
    let client = bench.client(None);
    let url = format!("{}/applications", bench.gate.url());
    let answer = client.get(&url).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    bench.gate.set_authentication(Authentication::Token {
        token: "hush".to_owned(),
        principal: "foredeck".to_owned(),
    });
    let answer = client.get(&url).bearer_auth("hush").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let principals: Vec<_> = bench
        .gate
        .calls()
        .into_iter()
        .map(|call| call.principal)
        .collect();
    assert_eq!(principals, [None, Some("foredeck".to_owned())]);
}

#[tokio::test]
async fn connections_break_under_tls_as_they_do_without() {
    let bench = Bench::new().await;
    let certificate = bench.clients.client("foredeck").unwrap();
    let client = bench.client(Some(&certificate));
    bench.user(&client).await.unwrap();
    let reset = Fault::new(Operation::Any, Effect::ResetBeforeEffect);
    bench.gate.inject(reset);
    let url = format!("{}/pipelines/start", bench.gate.url());
    let broken = client.post(url).json(&json!({})).send().await.unwrap_err();
    assert!(broken.is_request() && !broken.is_timeout(), "{broken:?}");
    bench.user(&client).await.unwrap();
}

#[tokio::test]
async fn what_the_real_openbao_issues_gets_in() {
    let Some(program) = OpenBao::fetch().await.unwrap() else {
        return;
    };
    let vault = program.start().await.unwrap();
    let root = vault.pki().await.unwrap();
    let role = vault.pki_role(
        "foredeck",
        "60s",
        &["foredeck", "corp.example"],
        Value::Null,
    );
    role.await.unwrap();
    let wanted = json!({"common_name": "foredeck", "alt_names": "foredeck@corp.example"});
    let path = format!("{PKI_ISSUING}/issue/foredeck");
    let issued = vault.write(&path, wanted);
    let issued = issued.await.unwrap()["data"].clone();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let certificate = Issued {
        chain_pem: format!(
            "{}\n{}",
            text(&issued["certificate"]),
            text(&issued["ca_chain"][0])
        ),
        key_pem: text(&issued["private_key"]),
    };
    let servers = Authority::new("Servers").unwrap();
    let tls = GateTls {
        server: servers.server().unwrap(),
        clients: Some(root),
    };
    let gate = StandInGate::start_tls(tls).await.unwrap();
    let client = client(&servers.ca_pem(), Some(&certificate));
    let url = format!("{}/auth/user", gate.url());
    let user: Value = client.get(url).send().await.unwrap().json().await.unwrap();
    assert_eq!(user["username"], "foredeck@corp.example");
    let call = &gate.calls()[0];
    assert_eq!(call.certificate, Some(text(&issued["serial_number"])));
}
