//! A false Vault: it answers like the real one until it is told to answer otherwise, and keeps everything that it was given,
//! as one does who means to use it elsewhere. Touches a port of 127.0.0.1 and the clock.
//!
//! What a Vault does that is one is shown by the real thing (`toolbox::OpenBao`); here is what no real one does: hostile
//! answers, a clock that is wrong, a certificate with another's key.

mod answers;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, Method, Uri};
use axum::response::Response;
use rustls::ServerConfig;
use serde_json::Value;
use tokio::sync::watch;

pub use answers::VaultAnswer;

use crate::server::{Connection, Server, Tally};
use crate::tls::{Authority, Issued};

/// A running false Vault on TLS. It ends with this value.
#[derive(Debug)]
pub struct FalseVault {
    shared: Arc<Shared>,
    tls: watch::Sender<Arc<ServerConfig>>,
    tally: Tally,
    server: Server,
}

#[derive(Debug)]
struct Shared {
    authority: Authority,
    state: Mutex<Script>,
}

#[derive(Debug, Default)]
struct Script {
    calls: Vec<VaultCall>,
    /// By what a path begins with; the last one that fits counts.
    answers: Vec<(String, VaultAnswer)>,
    skew: i64,
}

/// A call with all that it carried, secrets included.
#[derive(Debug, Clone)]
pub struct VaultCall {
    /// The HTTP method.
    pub method: String,
    /// The path without `/v1/`, and the query if there is one.
    pub path: String,
    /// All headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body as it came.
    pub body: String,
}

impl FalseVault {
    /// Starts on a free port, with a certificate of its own authority.
    pub async fn start() -> Result<Self> {
        let authority = Authority::new("False Vault")?;
        let (tls, config) = watch::channel(authority.server()?.server_config(None)?);
        let shared = Arc::new(Shared {
            authority,
            state: Mutex::default(),
        });
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&shared));
        let tally = Tally::default();
        let server = Server::listen(0, router, Some(config), tally.clone()).await?;
        Ok(Self {
            shared,
            tls,
            tally,
            server,
        })
    }

    /// Where it is: `https://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("https://{}", self.server.address)
    }

    /// The authority of its own certificate and of those that it issues, in PEM.
    pub fn ca_pem(&self) -> String {
        self.shared.authority.ca_pem()
    }

    /// The same authority, for a test that wants more of it.
    pub fn authority(&self) -> &Authority {
        &self.shared.authority
    }

    /// Shows this certificate on connections from now on, such as one with another's key.
    pub fn set_certificate(&self, certificate: &Issued) -> Result<()> {
        self.tls.send_replace(certificate.server_config(None)?);
        Ok(())
    }

    /// From now on calls whose path, without `/v1/`, begins like this are answered so; of several that fit, the last set
    /// counts. `""` is every call.
    pub fn answer(&self, path: &str, answer: VaultAnswer) {
        self.shared.lock().answers.push((path.to_owned(), answer));
    }

    /// From now on it answers like the real one again.
    pub fn clear_answers(&self) {
        self.shared.lock().answers.clear();
    }

    /// Its clock is so many seconds ahead of the right one, or behind if negative: what it says of the time, and from when
    /// until when its certificates are good.
    pub fn set_skew(&self, seconds: i64) {
        self.shared.lock().skew = seconds;
    }

    /// Everything that it was asked, oldest first.
    pub fn calls(&self) -> Vec<VaultCall> {
        self.shared.lock().calls.clone()
    }

    /// How many connections were made, those with a failed handshake included.
    pub fn connections(&self) -> u64 {
        self.tally.connections()
    }
}

impl VaultCall {
    /// The body, if it is JSON; else `Null`.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// The token that it came with.
    pub fn token(&self) -> Option<&str> {
        self.headers.get("x-vault-token").map(String::as_str)
    }

    /// The token of a service account that it wanted to log in with.
    pub fn jwt(&self) -> Option<String> {
        self.json()["jwt"].as_str().map(str::to_owned)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Script> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let asked = uri.path_and_query().map_or("/", |asked| asked.as_str());
    let path = asked.strip_prefix("/v1/").unwrap_or(asked).to_owned();
    let headers = headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.to_string(), value)
    });
    let call = VaultCall {
        method: method.to_string(),
        path,
        headers: headers.collect(),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let (answer, skew) = {
        let mut script = shared.lock();
        script.calls.push(call.clone());
        let mut answers = script.answers.iter().rev();
        let told = answers.find(|(path, _)| call.path.starts_with(path.as_str()));
        let answer = told.map_or(VaultAnswer::Usual, |(_, answer)| answer.clone());
        (answer, script.skew)
    };
    answer
        .give(&call, &shared.authority, skew, &connection)
        .await
}
