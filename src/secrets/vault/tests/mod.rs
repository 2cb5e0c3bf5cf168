//! The session against Vaults that are hostile or broken. Touches the network, on 127.0.0.1 only.
//!
//! Most of them are scripted here: one answer after the other to the same path, whatever it is, without a certificate. The
//! testkit's false Vault, which answers like a real one until told otherwise, is there where TLS matters.

mod certificates;
mod session;
mod words;

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
    SecretPath::new("kv", "foredeck/slack", "bot-token").unwrap()
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
