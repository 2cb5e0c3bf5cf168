//! What a Vault says of its health, to whoever asks: no login goes there. Touches Vault and the clock.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::Url;
use serde::Deserialize;

use super::judge::server::VaultHealth;
use crate::runtime::{
    http::{self, Cause},
    tls::{self, Trust},
};

/// Far more than it says.
const MOST_BODY: usize = 64 << 10;

/// A Vault to be looked at.
#[derive(Debug, Clone)]
pub struct Vault {
    /// Where it is, and for what.
    pub name: String,
    /// Its address.
    pub address: Url,
    /// Whose certificates its own is checked by.
    pub trust: Trust,
}

/// `GET /v1/sys/health`.
#[derive(Debug, Deserialize)]
struct Health {
    initialized: bool,
    sealed: bool,
    #[serde(default)]
    server_time_utc: Option<i64>,
    #[serde(default)]
    version: Option<String>,
}

/// Asks it. The error says in words why there is no answer.
pub(super) async fn ask(
    vault: &Vault,
    deadline: Duration,
    clock: fn() -> Timestamp,
) -> Result<VaultHealth, String> {
    let tls = tls::client(&vault.trust, None).map_err(|error| error.to_string())?;
    let client = http::client()
        .tls_backend_preconfigured(tls)
        // What the environment says of proxies is for other hosts.
        .no_proxy()
        .timeout(deadline)
        .build()
        .map_err(|error| error.to_string())?;
    let mut url = vault.address.clone();
    url.set_path("/v1/sys/health");
    // Whatever state it is in, it is to say which.
    url.set_query(Some(
        "standbyok=true&perfstandbyok=true&sealedcode=200&uninitcode=200",
    ));
    let before = clock();
    let response = client
        .get(url)
        .send()
        .await
        .map_err(|error| words(&error))?;
    let after = clock();
    let status = response.status();
    let unclear = || format!("what answers there says {status}, and nothing of a Vault's health");
    let body = http::body(response, MOST_BODY)
        .await
        .map_err(|_| unclear())?;
    let health: Health = serde_json::from_slice(&body).map_err(|_| unclear())?;
    let ahead = health.server_time_utc.map(|server| {
        if before.as_second() > server {
            before.as_second().saturating_sub(server)
        } else if after.as_second() < server {
            after.as_second().saturating_sub(server)
        } else {
            0
        }
    });
    Ok(VaultHealth {
        initialized: health.initialized,
        sealed: health.sealed,
        ahead,
        version: health.version,
    })
}

fn words(error: &reqwest::Error) -> String {
    match http::cause(error) {
        Cause::Late => "it doesn't answer in time".to_owned(),
        Cause::Name => "its name can't be resolved".to_owned(),
        Cause::Refused => "nothing listens there".to_owned(),
        Cause::Untrusted(why) => why.words().to_owned(),
        Cause::Alert(_) | Cause::Tls => "TLS doesn't come about".to_owned(),
        Cause::Broken => "it can't be reached".to_owned(),
    }
}
