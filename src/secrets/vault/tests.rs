//! The session against Vaults that are hostile or broken.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderMap, Method as HttpMethod, Response, Uri},
};
use futures::stream;
use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;
use crate::{
    api::conditions::Reason,
    runtime::{
        live::{LiveSecret, LiveSecretSource},
        tls::{self, Trust},
    },
    secrets::service_account::{FOREDECK_VAULT, TokenError},
};
use foredeck_testkit::tls::{Authority, Validity};

/// What a Vault was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    path: String,
    token: Option<String>,
    namespace: Option<String>,
    body: Value,
}

/// A Vault that answers to each path what it is told to, the last answer again and again.
#[derive(Clone, Default)]
struct FalseVault(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    asked: Vec<Asked>,
    answers: Vec<(String, VecDeque<(u16, String)>)>,
}

impl FalseVault {
    #[expect(clippy::needless_pass_by_value, reason = "texts and values alike")]
    fn answer(self, path: &str, status: u16, body: impl ToString) -> Self {
        let mut script = self.0.lock().unwrap();
        let answer = (status, body.to_string());
        match script.answers.iter_mut().find(|(at, _)| at == path) {
            Some((_, answers)) => answers.push_back(answer),
            None => script.answers.push((path.to_owned(), [answer].into())),
        }
        drop(script);
        self
    }

    fn asked(&self) -> Vec<Asked> {
        self.0.lock().unwrap().asked.clone()
    }

    fn paths(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.path).collect()
    }

    async fn start(&self) -> String {
        let app = Router::new().fallback(reply).with_state(self.clone());
        serve(app).await
    }

    async fn session(&self, login: Login) -> VaultSession {
        session(&self.start().await, login)
    }
}

async fn serve(app: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, app).await });
    address
}

async fn reply(
    State(vault): State<FalseVault>,
    method: HttpMethod,
    uri: Uri,
    headers: HeaderMap,
    body: String,
) -> Response<Body> {
    let header = |name: &str| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap().to_owned())
    };
    let path = uri.path().to_owned();
    let mut script = vault.0.lock().unwrap();
    script.asked.push(Asked {
        path: path.clone(),
        token: header("x-vault-token"),
        namespace: header("x-vault-namespace"),
        body: serde_json::from_str(&body).unwrap_or_default(),
    });
    let answers = script.answers.iter_mut().find(|(at, _)| *at == path);
    let (status, body) = match answers {
        Some((_, answers)) if answers.len() > 1 => answers.pop_front().unwrap(),
        Some((_, answers)) => answers[0].clone(),
        None => (404, json!({"errors": [format!("no {method}")]}).to_string()),
    };
    Response::builder()
        .status(status)
        .header("location", "http://127.0.0.1:1/elsewhere")
        .body(Body::from(body))
        .unwrap()
}

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn session(address: &str, login: Login) -> VaultSession {
    tls::install();
    let settings = VaultSettings {
        address: super::address(address).unwrap(),
        namespace: Some("team/prod".to_owned()),
        trust: Trust::Machine,
        login,
    };
    VaultSession::new(settings, now).unwrap()
}

fn by_token() -> Login {
    Login::Token(LiveSecret::fixed("hvs.hush".into()))
}

fn changing() -> (Login, LiveSecretSource) {
    let (live, source) = LiveSecret::new("hvs.hush".into());
    (Login::Token(live), source)
}

fn by_file(name: &str, text: &str) -> Login {
    let path = std::env::temp_dir().join(format!("foredeck-vault-{}-{name}", std::process::id()));
    std::fs::write(&path, text).unwrap();
    Login::Jwt {
        method: Method::Kubernetes,
        mount: "kubernetes".to_owned(),
        role: "foredeck".to_owned(),
        token: JwtSource::File(path),
    }
}

fn secret() -> SecretPath {
    "kv/foredeck/slack#bot-token".parse().unwrap()
}

const LOGIN: &str = "/v1/auth/kubernetes/login";
const LOOKUP: &str = "/v1/auth/token/lookup-self";
const RENEW: &str = "/v1/auth/token/renew-self";
const HEALTH: &str = "/v1/sys/health";
const SECRET: &str = "/v1/kv/data/foredeck/slack";

fn looked(ttl: u64, renewable: bool) -> Value {
    json!({"data": {"ttl": ttl, "renewable": renewable, "policies": null}})
}

fn auth(token: &str, lasts: u64) -> Value {
    json!({"auth": {"client_token": token, "lease_duration": lasts, "renewable": true, "policies": null,
        "metadata": null, "entity_id": null}, "data": null, "lease_id": null})
}

fn value(text: &str) -> Value {
    json!({"data": {"data": {"bot-token": text, "number": 1}, "metadata": {"version": 3}}})
}

fn refusal(words: &str) -> Value {
    json!({"errors": [words]})
}

#[tokio::test]
async fn a_login_is_kept_and_shown_in_a_header_with_the_namespace() {
    let vault = FalseVault::default()
        .answer(LOGIN, 200, auth("hvs.one", 3600))
        .answer(SECRET, 200, value("xoxb-hush"));
    let session = vault.session(by_file("kept", " the-jwt\n")).await;
    for _ in 0..2 {
        let secret = session.read(&secret()).await.unwrap();
        assert_eq!(secret.expose_secret(), "xoxb-hush");
    }
    let asked = vault.asked();
    assert_eq!(vault.paths(), [LOGIN, SECRET, SECRET]);
    assert_eq!(asked[0].token, None);
    assert_eq!(asked[0].body, json!({"role": "foredeck", "jwt": "the-jwt"}));
    for asked in &asked {
        assert_eq!(asked.namespace.as_deref(), Some("team/prod"));
    }
    assert_eq!(asked[2].token.as_deref(), Some("hvs.one"));
}

#[tokio::test]
async fn many_at_once_log_in_once() {
    let vault = FalseVault::default()
        .answer(LOGIN, 200, auth("hvs.one", 3600))
        .answer(SECRET, 200, value("xoxb-hush"));
    let session = vault.session(by_file("many", "jwt")).await;
    let secret = secret();
    let all = futures::future::join_all((0..8).map(|_| session.read(&secret))).await;
    assert!(all.iter().all(Result::is_ok));
    let logins = vault.paths().iter().filter(|path| *path == LOGIN).count();
    assert_eq!(logins, 1);
}

#[tokio::test]
async fn a_revoked_token_is_replaced_by_one_login_and_a_forbidden_path_is_said() {
    let denied = refusal("permission denied, hvs.one");
    let vault = FalseVault::default()
        .answer(LOGIN, 200, auth("hvs.one", 3600))
        .answer(LOGIN, 200, auth("hvs.two", 3600))
        .answer(SECRET, 200, value("xoxb-hush"))
        .answer(SECRET, 403, &denied)
        .answer(SECRET, 200, value("xoxb-new"))
        .answer(SECRET, 403, &denied);
    let session = vault.session(by_file("revoked", "jwt")).await;
    session.read(&secret()).await.unwrap();
    let secret_now = session.read(&secret()).await.unwrap();
    assert_eq!(secret_now.expose_secret(), "xoxb-new");
    assert_eq!(vault.paths(), [LOGIN, SECRET, SECRET, LOGIN, SECRET]);
    let error = session.read(&secret()).await.unwrap_err();
    assert_eq!(
        error,
        VaultError::PermissionDenied {
            place: "kv/data/foredeck/slack".to_owned()
        }
    );
    assert_eq!(vault.paths().len(), 8, "one login more, and no further one");
    assert!(!error.sentence().contains("hvs"), "{}", error.sentence());
}

#[tokio::test]
async fn a_token_is_renewed_at_two_thirds_of_its_life_and_replaced_near_its_longest() {
    let vault = FalseVault::default()
        .answer(LOGIN, 200, auth("hvs.one", 300))
        .answer(LOGIN, 200, auth("hvs.two", 300))
        .answer(RENEW, 200, auth("hvs.one", 300))
        .answer(RENEW, 200, auth("hvs.one", 90))
        .answer(SECRET, 200, value("xoxb-hush"));
    let session = vault.session(by_file("renewed", "jwt")).await;
    tokio::time::pause();
    let look = async |seconds| {
        tokio::time::advance(Duration::from_secs(seconds)).await;
        tokio::time::resume();
        session.read(&secret()).await.unwrap();
        tokio::time::pause();
    };
    look(0).await;
    look(198).await;
    look(3).await;
    look(198).await;
    look(3).await;
    look(61).await;
    assert_eq!(
        vault.paths(),
        [
            LOGIN, SECRET, SECRET, RENEW, SECRET, SECRET, RENEW, SECRET, LOGIN, SECRET
        ]
    );
    assert_eq!(vault.asked()[9].token.as_deref(), Some("hvs.two"));
}

#[tokio::test]
async fn a_token_that_is_not_renewed_is_replaced() {
    let vault = FalseVault::default()
        .answer(LOGIN, 200, auth("hvs.one", 300))
        .answer(LOGIN, 200, auth("hvs.two", 300))
        .answer(RENEW, 403, refusal("permission denied"))
        .answer(SECRET, 200, value("xoxb-hush"));
    let session = vault.session(by_file("unrenewed", "jwt")).await;
    session.read(&secret()).await.unwrap();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(250)).await;
    tokio::time::resume();
    session.read(&secret()).await.unwrap();
    assert_eq!(vault.paths(), [LOGIN, SECRET, RENEW, LOGIN, SECRET]);
}

#[tokio::test]
async fn another_token_in_the_secret_is_used_at_once() {
    let vault = FalseVault::default()
        .answer(LOOKUP, 200, looked(0, false))
        .answer(SECRET, 200, value("xoxb-hush"));
    let (login, source) = changing();
    let session = vault.session(login).await;
    session.read(&secret()).await.unwrap();
    source.set("hvs.other".into());
    session.read(&secret()).await.unwrap();
    assert_eq!(vault.paths(), [LOOKUP, SECRET, LOOKUP, SECRET]);
    assert_eq!(vault.asked()[3].token.as_deref(), Some("hvs.other"));
}

#[tokio::test]
async fn an_unknown_token_is_told_from_a_forbidden_path() {
    let vault = FalseVault::default()
        .answer(LOOKUP, 403, refusal("bad token hvs.hush"))
        .answer(SECRET, 403, refusal("permission denied"));
    let session = vault.session(by_token()).await;
    let error = session.read(&secret()).await.unwrap_err();
    assert_eq!(
        error,
        VaultError::LoginRefused {
            place: "auth/token/lookup-self".to_owned(),
            refusal: LoginRefusal::Token
        }
    );
    assert_eq!(error.reason(), Reason::LoginFailed);
    let vault = FalseVault::default()
        .answer(LOOKUP, 200, looked(60, true))
        .answer(SECRET, 403, refusal("permission denied"));
    let session = vault.session(by_token()).await;
    let error = session.read(&secret()).await.unwrap_err();
    assert!(
        matches!(error, VaultError::PermissionDenied { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn tokens_that_no_header_can_carry_are_refused_whoever_gives_them() {
    for token in ["", "hvs\nx: y", "hvs\u{1}", "hüsh", "hvs\u{0}"] {
        let vault = FalseVault::default().answer(LOGIN, 200, auth(token, 3600));
        let session = vault.session(by_file("unsendable", "jwt")).await;
        let error = session.read(&secret()).await.unwrap_err();
        assert_eq!(error, VaultError::Unreadable, "{token:?}");
        let vault = FalseVault::default();
        let session = vault
            .session(Login::Token(LiveSecret::fixed(token.into())))
            .await;
        let error = session.read(&secret()).await.unwrap_err();
        assert!(
            matches!(
                error,
                VaultError::LoginRefused {
                    refusal: LoginRefusal::NotSendable,
                    ..
                }
            ),
            "{error:?}"
        );
        assert_eq!(vault.paths(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_token_goes_nowhere_else() {
    for status in [301, 302, 307, 308] {
        let vault = FalseVault::default().answer(LOOKUP, status, "");
        let session = vault.session(by_token()).await;
        let error = session.read(&secret()).await.unwrap_err();
        assert_eq!(error, VaultError::Redirected);
        assert_eq!(error.reason(), Reason::VaultUnreachable);
    }
}

#[tokio::test]
async fn a_vault_that_is_sealed_empty_or_stands_by_says_so() {
    let health = |initialized: bool, sealed: bool, standby: bool| json!({"initialized": initialized, "sealed": sealed, "standby": standby});
    for (status, health_status, health, expected) in [
        (503, 503, health(true, true, true), VaultError::Sealed),
        (
            503,
            501,
            health(false, true, true),
            VaultError::NotInitialized,
        ),
        (307, 429, health(true, false, true), VaultError::Standby),
        (
            503,
            200,
            health(true, false, false),
            VaultError::Status(503),
        ),
        (500, 503, json!("?"), VaultError::Status(500)),
        (429, 200, json!({}), VaultError::Busy),
        (473, 473, json!({}), VaultError::Standby),
    ] {
        let vault = FalseVault::default().answer(LOOKUP, status, "{}").answer(
            HEALTH,
            health_status,
            health,
        );
        let session = vault.session(by_token()).await;
        let error = session.read(&secret()).await.unwrap_err();
        assert_eq!(error, expected);
        assert_eq!(error.reason(), Reason::VaultUnreachable);
        if let Some(health) = vault.asked().iter().find(|asked| asked.path == HEALTH) {
            assert_eq!((&health.token, &health.namespace), (&None, &None));
        }
    }
}

#[tokio::test]
async fn refused_logins_are_told_apart_by_words_that_nobody_is_shown() {
    for (status, words, expected) in [
        (
            404,
            "no handler for route \"auth/kubernetes/login\"",
            LoginRefusal::Mount,
        ),
        (400, "invalid role name \"hush\"", LoginRefusal::Role),
        (400, "role \"hush\" could not be found", LoginRefusal::Role),
        (
            400,
            "error validating token: invalid audience (aud) claim",
            LoginRefusal::Audience,
        ),
        (
            403,
            "namespace not authorized: hush",
            LoginRefusal::ServiceAccount,
        ),
        (403, "permission denied, hush", LoginRefusal::Unsaid),
    ] {
        let vault = FalseVault::default().answer(LOGIN, status, refusal(words));
        let session = vault.session(by_file("told", "jwt-hush")).await;
        let error = session.read(&secret()).await.unwrap_err();
        assert_eq!(
            error,
            VaultError::LoginRefused {
                place: "auth/kubernetes/login".to_owned(),
                refusal: expected
            },
            "{words}"
        );
        assert!(!error.sentence().contains("hush"), "{}", error.sentence());
    }
}

#[tokio::test]
async fn a_login_without_a_token_to_show_is_said() {
    let vault = FalseVault::default();
    let session = vault.session(by_file("empty", " \n")).await;
    let error = session.read(&secret()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::LoginFailed);
    assert!(error.sentence().contains("file"), "{}", error.sentence());
    assert_eq!(vault.paths(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_missing_of_a_secret_is_said() {
    let deleted = json!({"data": {"data": null, "metadata": {"deletion_time": "2026"}}});
    let elsewhere = json!({"data": {"data": {"other": "x"}}});
    let number = json!({"data": {"data": {"bot-token": 7}}});
    for (status, body, expected) in [
        (404, json!({"errors": []}), "no secret"),
        (
            404,
            refusal("no handler for route \"kv/data\""),
            "no KV engine",
        ),
        (404, deleted, "deleted"),
        (200, elsewhere, "no key bot-token"),
        (200, number, "no key bot-token"),
        (200, json!({"data": null}), "no secret"),
    ] {
        let vault = FalseVault::default()
            .answer(LOOKUP, 200, looked(0, false))
            .answer(SECRET, status, body);
        let session = vault.session(by_token()).await;
        let sentence = session.read(&secret()).await.unwrap_err().sentence();
        assert!(sentence.contains(expected), "{sentence}");
        assert!(sentence.contains("kv/data/foredeck/slack"), "{sentence}");
    }
}

#[tokio::test]
async fn an_answer_that_is_none_is_said_so_and_one_without_an_end_is_not_read_to_it() {
    for body in ["", "{}", "null", "[]", "<html>", "\u{0}", "{\"data\":7}"] {
        let vault = FalseVault::default().answer(LOOKUP, 200, body);
        let session = vault.session(by_token()).await;
        let error = session.read(&secret()).await.unwrap_err();
        assert_eq!(error, VaultError::Unreadable, "{body}");
    }
    let endless = Router::new().fallback(async || {
        let chunk = || Ok::<_, std::io::Error>(vec![b' '; 65_536]);
        Body::from_stream(stream::repeat_with(chunk))
    });
    let session = session(&serve(endless).await, by_token());
    let error = session.read(&secret()).await.unwrap_err();
    assert_eq!(error, VaultError::Unreadable);
}

const ISSUE: &str = "/v1/pki/issue/foredeck";

fn wanted(more: &Value) -> Result<CertificateRequest, VaultSettingsError> {
    let mut pki = json!({"role": "foredeck", "commonName": "foredeck"});
    let all = pki.as_object_mut().unwrap();
    all.extend(more.as_object().unwrap().clone());
    CertificateRequest::new(&serde_json::from_value(pki).unwrap())
}

/// What a Vault with this authority says of a certificate that lasts so long.
fn given(authority: &Authority, lasts: Duration) -> Value {
    let validity = Validity::lasting(lasts);
    let issued = authority.client_with("foredeck", None, validity).unwrap();
    json!({"data": {"certificate": issued.chain_pem, "private_key": issued.key_pem, "ca_chain": null,
        "issuing_ca": null, "serial_number": null}})
}

/// What becomes of such an answer, when Vault says of its health what it says here.
async fn issued(status: u16, answer: Value, health: Value) -> Result<Issued, VaultError> {
    let vault = FalseVault::default()
        .answer(LOOKUP, 200, looked(0, false))
        .answer(ISSUE, status, answer)
        .answer(HEALTH, 200, health);
    tls::install();
    let settings = VaultSettings {
        address: super::address(&vault.start().await).unwrap(),
        namespace: None,
        trust: Trust::Machine,
        login: by_token(),
    };
    let session = VaultSession::new(settings, Timestamp::now).unwrap();
    session.issue(&wanted(&json!({})).unwrap()).await
}

#[tokio::test]
async fn a_certificates_end_is_told_by_vaults_clock_and_lived_by_ours() {
    let authority = Authority::new("False").unwrap();
    let now = Timestamp::now();
    let health = |ahead: i64| json!({"initialized": true, "sealed": false, "server_time_utc": now.as_second() + ahead});
    for (health, ahead) in [
        (health(60), 60),
        (health(-3600), -3600),
        (json!({}), 0),
        (json!("?"), 0),
        (health(i64::MAX / 2), 0),
    ] {
        let answer = given(&authority, Duration::from_hours(2));
        let issued = issued(200, answer, health).await.unwrap();
        let skew = issued.skew.as_secs();
        assert!((ahead - 5..=ahead + 1).contains(&skew), "{skew} of {ahead}");
        assert_eq!(
            issued.not_after,
            issued.certificate.not_after() - issued.skew
        );
        assert_eq!(issued.life().until, issued.not_after);
    }
    // The last year that there is, and the first one.
    for ahead in [
        253_402_207_200 - now.as_second(),
        -377_705_023_201 - now.as_second(),
    ] {
        let answer = given(&authority, Duration::from_mins(1));
        let issued = issued(200, answer, health(ahead)).await;
        assert_eq!(issued.is_err(), ahead > 0, "{issued:?}");
    }
}

#[tokio::test]
async fn what_is_no_certificate_for_us_is_refused() {
    let authority = Authority::new("False").unwrap();
    let minute = Duration::from_mins(1);
    let with = |name: &str, value: Value| {
        let mut answer = given(&authority, minute);
        answer["data"][name] = value;
        answer
    };
    let other = given(&authority, minute)["data"]["private_key"].clone();
    for answer in [
        given(&authority, Duration::ZERO),
        with("private_key", other),
        with("private_key", json!("hush")),
        with("certificate", json!("")),
        with(
            "certificate",
            json!("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"),
        ),
        with(
            "ca_chain",
            json!(["-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----"]),
        ),
    ] {
        let error = issued(200, answer, json!({})).await.unwrap_err();
        assert!(matches!(error, VaultError::Useless(_)), "{error:?}");
        assert_eq!(error.reason(), Reason::CertificateIssueFailed);
    }
    for answer in [
        with("private_key", Value::Null),
        json!({"data": null}),
        json!({}),
    ] {
        let error = issued(200, answer, json!({})).await.unwrap_err();
        assert_eq!(error, VaultError::Unreadable);
    }
    let error = issued(400, refusal("unknown role: hush"), json!({})).await;
    let sentence = error.unwrap_err().sentence();
    assert!(
        sentence.contains("no role") && !sentence.contains("hush"),
        "{sentence}"
    );
    let error = issued(400, refusal("common name hush not allowed"), json!({})).await;
    let error = error.unwrap_err();
    assert!(
        matches!(error, VaultError::RequestRefused { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_certificate_is_asked_for_with_what_was_named_and_nothing_else() {
    let vault = FalseVault::default()
        .answer(LOOKUP, 200, looked(0, false))
        .answer(ISSUE, 400, refusal("no"));
    let session = vault.session(by_token()).await;
    let names = json!({"altNames": ["a.example", "b@c.example"], "ipSans": ["10.0.0.7", "::1"],
        "uriSans": ["spiffe://a/b"], "ttl": "1m30s"});
    session
        .issue(&wanted(&json!({})).unwrap())
        .await
        .unwrap_err();
    session.issue(&wanted(&names).unwrap()).await.unwrap_err();
    let asked = vault.asked();
    assert_eq!(
        asked[1].body,
        json!({"common_name": "foredeck", "remove_roots_from_chain": true})
    );
    assert_eq!(
        asked[2].body,
        json!({"common_name": "foredeck", "alt_names": "a.example,b@c.example", "ip_sans": "10.0.0.7,::1",
            "uri_sans": "spiffe://a/b", "ttl": "90s", "remove_roots_from_chain": true})
    );
}

#[test]
fn what_would_ask_for_more_than_was_named_is_not_asked_for() {
    for (more, expected) in [
        (json!({"mount": "pki/../sys"}), VaultSettingsError::Path),
        (json!({"role": "a/b"}), VaultSettingsError::Path),
        (json!({"role": ".."}), VaultSettingsError::Path),
        (json!({"commonName": "a,b"}), VaultSettingsError::Name),
        (json!({"altNames": ["a", "b,c"]}), VaultSettingsError::Name),
        (json!({"uriSans": ["a b"]}), VaultSettingsError::Name),
        (json!({"ipSans": [""]}), VaultSettingsError::Name),
        (json!({"ttl": "29s"}), VaultSettingsError::Ttl),
        (json!({"ttl": "-1h"}), VaultSettingsError::Ttl),
    ] {
        assert_eq!(wanted(&more), Err(expected), "{more}");
    }
    for text in [
        "", "a", "a#b", "a/b", "a/b#", "a/../b#c", "/a#b", "a/#b", "a/b#c/d",
    ] {
        assert_eq!(
            text.parse::<SecretPath>(),
            Err(VaultSettingsError::Path),
            "{text}"
        );
    }
}

#[test]
fn settings_that_lead_elsewhere_make_no_session() {
    tls::install();
    let good = VaultSettings {
        address: super::address("https://vault.example").unwrap(),
        namespace: None,
        trust: Trust::Machine,
        login: by_file("settings", "jwt"),
    };
    assert!(VaultSession::new(good.clone(), now).is_ok());
    for namespace in ["", "a\nb", "../b", "a b", "ä"] {
        let settings = VaultSettings {
            namespace: Some(namespace.to_owned()),
            ..good.clone()
        };
        let error = VaultSession::new(settings, now).unwrap_err();
        assert_eq!(error, VaultSettingsError::Namespace, "{namespace:?}");
    }
    for (at, as_role) in [
        ("../sys", "foredeck"),
        ("kubernetes", "a/b"),
        ("", "foredeck"),
    ] {
        let mut settings = good.clone();
        if let Login::Jwt { mount, role, .. } = &mut settings.login {
            at.clone_into(mount);
            as_role.clone_into(role);
        }
        let error = VaultSession::new(settings, now).unwrap_err();
        assert_eq!(error, VaultSettingsError::Path, "{at} {as_role}");
    }
}

#[test]
fn everything_that_can_go_wrong_is_said_in_sentences() {
    let place = || "pki/issue/foredeck".to_owned();
    let mut all = vec![
        VaultError::Redirected,
        VaultError::Sealed,
        VaultError::NotInitialized,
        VaultError::Standby,
        VaultError::Busy,
        VaultError::Status(502),
        VaultError::PermissionDenied { place: place() },
        VaultError::NotFound {
            place: place(),
            what: "the engine has no role of that name",
        },
        VaultError::RequestRefused { place: place() },
        VaultError::KeyMissing {
            place: "kv/data/slack".to_owned(),
            key: "bot-token".to_owned(),
        },
        VaultError::Unreadable,
        VaultError::Useless("it has ended already"),
    ];
    let causes = [
        Unreachable::Refused,
        Unreachable::Name,
        Unreachable::Untrusted,
        Unreachable::Tls,
        Unreachable::Silent,
        Unreachable::Broken,
    ];
    all.extend(causes.map(|cause| VaultError::Unreachable { cause }));
    let refusals = [
        LoginRefusal::Mount,
        LoginRefusal::Role,
        LoginRefusal::Audience,
        LoginRefusal::ServiceAccount,
        LoginRefusal::Token,
        LoginRefusal::NotSendable,
        LoginRefusal::Unsaid,
    ];
    all.extend(refusals.map(|refusal| VaultError::LoginRefused {
        place: "auth/kubernetes/login".to_owned(),
        refusal,
    }));
    let (namespace, name) = (|| "shop".to_owned(), || FOREDECK_VAULT.to_owned());
    all.extend(
        [
            TokenError::Forbidden {
                namespace: namespace(),
                name: name(),
            },
            TokenError::Missing {
                namespace: namespace(),
                name: name(),
            },
            TokenError::OwnAudience,
            TokenError::OtherAudience,
            TokenError::NotGiven {
                namespace: namespace(),
                name: name(),
            },
            TokenError::File,
        ]
        .map(VaultError::Token),
    );
    let lines = all
        .iter()
        .map(|error| format!("{:?}: {}\n", error.reason(), error.sentence()));
    insta::assert_snapshot!("sentences", lines.collect::<String>());
}

#[tokio::test]
async fn nobody_there_is_said() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let session = session(&format!("http://{address}"), by_token());
    let error = session.read(&secret()).await.unwrap_err();
    assert_eq!(
        error,
        VaultError::Unreachable {
            cause: Unreachable::Refused
        }
    );
    assert!(
        !error.sentence().contains("127.0.0.1"),
        "{}",
        error.sentence()
    );
}
