//! The false Vault passes for a real one until it is told otherwise, and keeps what it was given.

#![expect(
    clippy::unwrap_used,
    reason = "clippy takes only the functions marked as tests for tests"
)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use foredeck_testkit::FalseVault;
use foredeck_testkit::tls::{Issued, Validity};
use foredeck_testkit::vault::VaultAnswer;
use reqwest::{Certificate, Client, Response, StatusCode};
use serde_json::{Value, json};

struct Bench {
    vault: FalseVault,
    client: Client,
}

impl Bench {
    async fn new() -> Self {
        let vault = FalseVault::start().await.unwrap();
        let trusted = Certificate::from_pem(vault.ca_pem().as_bytes()).unwrap();
        let client = Client::builder()
            .tls_certs_only([trusted])
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .pool_max_idle_per_host(0)
            .timeout(Duration::from_secs(10))
            .build()
            .unwrap();
        Self { vault, client }
    }

    async fn try_post(&self, path: &str, body: Value) -> reqwest::Result<Response> {
        let url = format!("{}/v1/{path}", self.vault.url());
        let request = self.client.post(url).header("x-vault-token", "s.given");
        request.json(&body).send().await
    }

    async fn post(&self, path: &str, body: Value) -> Response {
        self.try_post(path, body).await.unwrap()
    }

    async fn issued(&self) -> Issued {
        let wanted = json!({"common_name": "foredeck", "ttl": "60s"});
        let answer: Value = self
            .post("pki/issue/role", wanted)
            .await
            .json()
            .await
            .unwrap();
        let text = |name: &str| answer["data"][name].as_str().unwrap().to_owned();
        Issued {
            chain_pem: text("certificate"),
            key_pem: text("private_key"),
        }
    }

    async fn server_time(&self) -> i64 {
        let answer: Value = self
            .post("sys/health", Value::Null)
            .await
            .json()
            .await
            .unwrap();
        answer["server_time_utc"].as_i64().unwrap()
    }
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap()
}

#[tokio::test]
async fn it_takes_a_token_in_and_keeps_it() {
    let bench = Bench::new().await;
    let body = json!({"role": "foredeck", "jwt": "a.service.account"});
    let answer: Value = bench
        .post("auth/kubernetes/login", body)
        .await
        .json()
        .await
        .unwrap();
    assert!(answer["auth"]["client_token"].is_string());
    let issued = bench.issued().await;
    assert_eq!(issued.subject().unwrap().principal(), Some("foredeck"));

    let calls = bench.vault.calls();
    assert_eq!(calls[0].path, "auth/kubernetes/login");
    assert_eq!(calls[0].jwt().as_deref(), Some("a.service.account"));
    assert_eq!(calls[1].token(), Some("s.given"));
    assert_eq!(calls[1].json()["common_name"], "foredeck");
    assert_eq!(bench.vault.connections(), 2);
}

#[tokio::test]
async fn it_says_what_it_is_told_to_say() {
    let bench = Bench::new().await;
    let login = "auth/kubernetes/login";
    let body = json!({"jwt": "a.service.account"});

    bench
        .vault
        .answer("auth/", VaultAnswer::Token("s.a\r\nX-Other: b".to_owned()));
    let answer: Value = bench.post(login, body.clone()).await.json().await.unwrap();
    assert_eq!(answer["auth"]["client_token"], "s.a\r\nX-Other: b");

    bench.vault.answer("auth/", VaultAnswer::Echo(400));
    let answer = bench.post(login, body.clone()).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    let said = answer.text().await.unwrap();
    assert!(
        said.contains("a.service.account") && said.contains("s.given"),
        "{said}"
    );

    let elsewhere = "https://elsewhere.example/v1/".to_owned();
    bench
        .vault
        .answer("auth/", VaultAnswer::Redirect(elsewhere.clone()));
    let answer = bench.post(login, body.clone()).await;
    assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(answer.headers()["location"], elsewhere);

    bench
        .vault
        .answer("auth/", VaultAnswer::Text(200, "{\"auth\"".to_owned()));
    assert_eq!(
        bench.post(login, body.clone()).await.text().await.unwrap(),
        "{\"auth\""
    );

    bench.vault.answer("", VaultAnswer::Reset);
    bench.try_post(login, body.clone()).await.unwrap_err();
    bench.vault.clear_answers();
    assert_eq!(bench.post(login, body).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn bodies_come_huge_and_without_end_and_answers_never() {
    let bench = Bench::new().await;
    bench.vault.answer("huge", VaultAnswer::Huge(3 << 20));
    let body = bench.post("huge", Value::Null).await.bytes().await.unwrap();
    assert!(body.len() > 3 << 20);

    bench
        .vault
        .answer("endless", VaultAnswer::Endless(Duration::ZERO));
    let mut answer = bench.post("endless", Value::Null).await;
    let mut read = 0;
    while read < 1 << 20 {
        read += answer.chunk().await.unwrap().unwrap().len();
    }

    bench.vault.answer("silent", VaultAnswer::Silent);
    let silent = bench.try_post("silent", Value::Null);
    let waited = tokio::time::timeout(Duration::from_millis(300), silent).await;
    assert!(waited.is_err());
    let slow = Duration::from_millis(200);
    bench.vault.answer("sys/health", VaultAnswer::Slow(slow));
    let asked = std::time::Instant::now();
    bench.server_time().await;
    assert!(asked.elapsed() >= slow);
}

#[tokio::test]
async fn its_clock_is_as_wrong_as_told_and_its_certificates_with_it() {
    let bench = Bench::new().await;
    assert!((bench.server_time().await - now()).abs() <= 2);
    bench.vault.set_skew(-90);
    assert!((bench.server_time().await + 90 - now()).abs() <= 2);
    let (_, ends) = valid(&bench.issued().await);
    assert!((ends + 90 - 60 - now()).abs() <= 2);

    bench
        .vault
        .answer("pki/", VaultAnswer::Valid(Validity::expired()));
    let (_, ends) = valid(&bench.issued().await);
    assert!(ends < now());
}

/// The first and the last second of a certificate.
fn valid(issued: &Issued) -> (i64, i64) {
    use x509_parser::prelude::{FromDer, X509Certificate, parse_x509_pem};
    let (_, pem) = parse_x509_pem(issued.chain_pem.as_bytes()).unwrap();
    let (_, parsed) = X509Certificate::from_der(&pem.contents).unwrap();
    let validity = parsed.validity();
    (
        validity.not_before.timestamp(),
        validity.not_after.timestamp(),
    )
}

#[tokio::test]
async fn keys_are_others_where_it_is_told_so() {
    let bench = Bench::new().await;
    bench.vault.answer("pki/", VaultAnswer::WrongKey);
    let issued = bench.issued().await;
    assert!(belong_together(
        &bench.vault.authority().client("a").unwrap()
    ));
    assert!(!belong_together(&issued));

    let (one, other) = (
        bench.vault.authority().server(),
        bench.vault.authority().server(),
    );
    let false_one = one.unwrap().with_key_of(&other.unwrap());
    bench.vault.set_certificate(&false_one).unwrap();
    let refused = bench.try_post("sys/health", Value::Null).await.unwrap_err();
    assert!(refused.is_connect(), "{refused:?}");
}

fn belong_together(issued: &Issued) -> bool {
    use rustls::crypto::aws_lc_rs::default_provider;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
    let certificate = CertificateDer::from_pem_slice(issued.chain_pem.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).unwrap();
    rustls::sign::CertifiedKey::from_der(vec![certificate], key, &default_provider()).is_ok()
}
