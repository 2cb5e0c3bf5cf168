//! What every test here stands on: an OpenBao of its own, the real control plane, and all that is logged in this process.

use std::{
    io,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::Duration,
};

use foredeck::{
    api::connection::Pki,
    domain::wildcard,
    runtime::{live::LiveSecret, telemetry, tls::Trust},
    secrets::{
        service_account::{FOREDECK_VAULT, TokenGiver},
        vault::{
            self, CertificateRequest, JwtSource, Login, Method, VaultError, VaultSession,
            VaultSettings,
        },
    },
};
use foredeck_testkit::{
    ControlPlane,
    toolbox::{OpenBao, PKI_ISSUING, ServiceAccountRole},
};
use jiff::Timestamp;
use kube::Client;
use regex_lite::Regex;
use serde_json::Value;

/// Whom the tokens of these tests are for.
pub(crate) const AUDIENCE: &str = "vault.corp.example";
/// The policy that lets one ask for certificates and read secrets.
pub(crate) const POLICY: &str = "foredeck";
/// How long anything here may take: far longer than it does.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Everything that one test needs.
pub(crate) struct Bed {
    pub(crate) vault: OpenBao,
    pub(crate) plane: &'static ControlPlane,
    /// The connection's.
    pub(crate) namespace: String,
    /// The authority above those that issue, in PEM.
    pub(crate) root: String,
}

impl Bed {
    /// A Vault with authorities, a role `foredeck` for minutes, a KV engine at `kv`, and both logins with a role `foredeck`
    /// for the namespace's `ServiceAccount`. None where OpenBao is left out.
    pub(crate) async fn new() -> Option<Self> {
        LazyLock::force(&PAGE);
        let program = OpenBao::fetch().await.unwrap()?;
        let vault = program.start().await.unwrap();
        let plane = ControlPlane::shared().await;
        let root = vault.pki().await.unwrap();
        let bed = Self {
            namespace: plane.namespace("shop").await.unwrap(),
            vault,
            plane,
            root,
        };
        bed.role().await;
        bed.allow().await;
        bed.vault.enable("kv-v2", "kv").await.unwrap();
        bed.vault
            .kubernetes_login("kubernetes", plane)
            .await
            .unwrap();
        bed.vault.jwt_login("jwt", plane).await.unwrap();
        bed.bind("1h").await;
        // Makes the ServiceAccount.
        plane
            .service_account_token(&bed.namespace, FOREDECK_VAULT, &["nobody"])
            .await
            .unwrap();
        Some(bed)
    }

    /// The role that issues certificates for a minute.
    pub(crate) async fn role(&self) {
        let names = ["foredeck", "corp.example"];
        let more = serde_json::json!({"allow_ip_sans": true, "allowed_uri_sans": ["spiffe://corp.example/*"]});
        let role = self.vault.pki_role("foredeck", "60s", &names, more);
        role.await.unwrap();
    }

    /// The policy as it should be.
    pub(crate) async fn allow(&self) {
        let rules = format!(
            "path \"{PKI_ISSUING}/issue/*\" {{ capabilities = [\"update\"] }}\n\
             path \"kv/data/*\" {{ capabilities = [\"read\"] }}"
        );
        self.vault.policy(POLICY, &rules).await.unwrap();
    }

    /// The roles of both logins, whose tokens last this long.
    pub(crate) async fn bind(&self, ttl: &str) {
        let account = ServiceAccountRole {
            namespace: &self.namespace,
            name: FOREDECK_VAULT,
            audience: AUDIENCE,
            policies: &[POLICY],
            ttl,
        };
        let vault = &self.vault;
        let kubernetes = vault.kubernetes_role("kubernetes", "foredeck", account);
        kubernetes.await.unwrap();
        vault.jwt_role("jwt", "foredeck", account).await.unwrap();
    }

    pub(crate) fn trust(&self) -> Trust {
        Trust::from_pem(self.vault.ca_pem().as_bytes()).unwrap()
    }

    pub(crate) fn settings(&self, login: Login) -> VaultSettings {
        VaultSettings {
            address: vault::address(self.vault.url()).unwrap(),
            namespace: None,
            trust: self.trust(),
            login,
        }
    }

    pub(crate) fn session(&self, login: Login) -> VaultSession {
        session(self.settings(login))
    }

    /// The login as a connection of this namespace has it.
    pub(crate) fn kubernetes(&self) -> Login {
        self.login_of(Method::Kubernetes, &self.namespace, AUDIENCE)
    }

    /// A login by the `ServiceAccount` of a namespace, at the mount that has the method's name.
    pub(crate) fn login_of(&self, method: Method, namespace: &str, audience: &str) -> Login {
        login_by(self.plane.admin(), method, namespace, audience)
    }

    /// A login with a Vault token that has the policy.
    pub(crate) async fn token(&self, ttl: &str) -> String {
        let token = self.vault.token(&[POLICY], ttl).await.unwrap();
        hush(&token);
        token
    }

    /// The tokens that Vault knows: how many logins there were, and that of this process' root.
    pub(crate) async fn tokens(&self) -> usize {
        self.accessors().await.len()
    }

    /// By what Vault lets its tokens be looked up without showing them.
    pub(crate) async fn accessors(&self) -> Vec<String> {
        let list = axum::http::Method::from_bytes(b"LIST").unwrap();
        let path = "auth/token/accessors";
        let all = self.vault.call(list, path, Value::Null).await.unwrap();
        serde_json::from_value(all["data"]["keys"].clone()).unwrap()
    }
}

pub(crate) fn login_by(client: Client, method: Method, namespace: &str, audience: &str) -> Login {
    let tokens = TokenGiver::new(client).tokens(namespace, FOREDECK_VAULT, audience);
    let mount = match method {
        Method::Kubernetes => "kubernetes",
        Method::Jwt => "jwt",
    };
    Login::Jwt {
        method,
        mount: mount.to_owned(),
        role: "foredeck".to_owned(),
        token: JwtSource::ServiceAccount(tokens),
    }
}

pub(crate) fn session(settings: VaultSettings) -> VaultSession {
    foredeck::runtime::tls::install();
    VaultSession::new(settings, Timestamp::now).unwrap()
}

pub(crate) fn by_token(token: &str) -> Login {
    Login::Token(LiveSecret::fixed(token.into()))
}

/// What a connection asks for.
pub(crate) fn pki() -> Pki {
    serde_json::from_value(serde_json::json!({
        "mount": PKI_ISSUING, "role": "foredeck", "commonName": "foredeck",
    }))
    .unwrap()
}

pub(crate) fn wanted() -> CertificateRequest {
    CertificateRequest::new(&pki()).unwrap()
}

/// Checks what people read: each of these parts, in this order, and that it ends as a sentence does.
pub(crate) fn assert_says(error: &VaultError, parts: &[&str]) {
    let sentence = error.sentence();
    let pattern = format!("*{}*", parts.join("*"));
    assert!(
        wildcard::any_matches(&[pattern], &sentence) && sentence.ends_with('.'),
        "{sentence}"
    );
}

/// Everything that was logged in this process.
static PAGE: LazyLock<Page> = LazyLock::new(|| {
    let page = Page::default();
    let writer = page.clone();
    telemetry::install_to("trace", move || writer.clone()).unwrap();
    page
});

#[derive(Clone, Default)]
struct Page(Arc<Mutex<Written>>);

#[derive(Default)]
struct Written {
    text: Vec<u8>,
    secrets: Vec<String>,
}

impl io::Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        written.text.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// This must not be logged, by whomever.
pub(crate) fn hush(secret: &str) {
    let mut written = PAGE.0.lock().unwrap_or_else(PoisonError::into_inner);
    written.secrets.push(secret.to_owned());
}

impl Drop for Bed {
    fn drop(&mut self) {
        let written = PAGE.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&written.text);
        let bad = |secret: &str| text.contains(secret);
        let root = bad(self.vault.root_token());
        let shown: Vec<_> = written
            .secrets
            .iter()
            .filter(|secret| bad(secret))
            .cloned()
            .collect();
        // A token of OpenBao's and of the API server's, and a key: those that we never saw ourselves.
        let kinds: Vec<_> = [r"\b(hv)?[sb]\.[A-Za-z0-9]{20}", "eyJhbGciOi", "PRIVATE KEY"]
            .into_iter()
            .filter(|kind| Regex::new(kind).unwrap().is_match(&text))
            .collect();
        let empty = !text.contains("hyper");
        drop(written);
        if !std::thread::panicking() {
            assert!(!empty, "nothing was logged at all");
            assert!(
                !root && shown.is_empty() && kinds.is_empty(),
                "logged: {shown:?} {kinds:?}"
            );
        }
    }
}
