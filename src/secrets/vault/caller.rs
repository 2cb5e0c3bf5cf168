//! One call of Vault: deadline, headers, a bound on the answer, no second attempt. Touches Vault.
//!
//! The requests are vaultrs's endpoints; they are sent by a client of our own. vaultrs itself panics on a token that no header
//! can carry and sends it unmarked, reads answers of any length, writes what a Vault says into the log, asks for
//! `%09/auth/token/renew-self` where it renews, and reads no answer in which a field that nobody needs is null.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::{
    Method, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use rustify::Endpoint;
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use serde::{Deserialize, de::DeserializeOwned};
use vaultrs::api::sys::requests::ReadHealthRequest;

use super::{Clock, Unreachable, VaultError, VaultSettings, VaultSettingsError, clock};
use crate::runtime::{
    http::{self, Cause, NoBody},
    tls,
};

/// Of one call, from the name's resolution to the last byte.
const DEADLINE: Duration = Duration::from_secs(10);
/// For name, connection and TLS of it.
const CONNECT: Duration = Duration::from_secs(5);
/// Vault keeps an idle connection for minutes.
const IDLE: Duration = Duration::from_secs(30);
/// The longest answer: a chain of certificates, or a secret of many keys.
const MOST_BODY: usize = 1 << 20;

const REQUEST: HeaderName = HeaderName::from_static("x-vault-request");
const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");

/// How a Vault is called.
pub(super) struct Caller {
    client: reqwest::Client,
    address: Url,
    namespace: Option<HeaderValue>,
}

/// An answer. Its body may hold a token or a key.
pub(super) struct Answer {
    status: StatusCode,
    body: Zeroizing<Vec<u8>>,
}

/// What a Vault says of itself; none of it is secret.
#[derive(Debug, Deserialize)]
struct Health {
    initialized: bool,
    sealed: bool,
    #[serde(default)]
    standby: bool,
    #[serde(default)]
    server_time_utc: Option<i64>,
}

impl Answer {
    /// Its status.
    pub(super) fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// What it says.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, VaultError> {
        serde_json::from_slice(&self.body).map_err(|_| VaultError::Unreadable)
    }

    /// Whether Vault's own words have one of these in them. They tell refusals apart that have the same status; nobody is
    /// shown them.
    pub(super) fn says(&self, words: &[&str]) -> bool {
        #[derive(Deserialize)]
        struct Errors {
            errors: Vec<String>,
        }
        let Ok(Errors { errors }) = serde_json::from_slice(&self.body) else {
            return false;
        };
        let errors = errors.join(" ").to_ascii_lowercase();
        words.iter().any(|word| errors.contains(word))
    }
}

impl Caller {
    pub(super) fn new(settings: &VaultSettings) -> Result<Self, VaultSettingsError> {
        let namespace = settings.namespace.as_deref().map(HeaderValue::from_str);
        let namespace = namespace
            .transpose()
            .map_err(|_| VaultSettingsError::Namespace)?;
        let tls = tls::client(&settings.trust, None).map_err(|_| VaultSettingsError::Client)?;
        let headers = HeaderMap::from_iter([(REQUEST, HeaderValue::from_static("true"))]);
        let client = http::client()
            .tls_backend_preconfigured(tls)
            .default_headers(headers)
            // What the environment says of proxies is for other hosts.
            .no_proxy()
            .http1_only()
            .tcp_nodelay(true)
            .connect_timeout(CONNECT)
            .timeout(DEADLINE)
            .pool_max_idle_per_host(2)
            .pool_idle_timeout(IDLE)
            .build()
            .map_err(|_| VaultSettingsError::Client)?;
        Ok(Self {
            client,
            address: settings.address.clone(),
            namespace,
        })
    }

    /// What Vault answers: a success, or a refusal that means something else with each endpoint (400, 403, 404).
    pub(super) async fn call<E: Endpoint>(
        &self,
        endpoint: &E,
        token: Option<&SecretString>,
    ) -> Result<Answer, VaultError> {
        let answer = self.send(endpoint, token, self.namespace.as_ref()).await?;
        let error = match answer.status() {
            200..=208 | 400 | 401 | 403 | 404 => return Ok(answer),
            300..=399 => VaultError::Redirected,
            429 => VaultError::Busy,
            472 | 473 => VaultError::Standby,
            status => VaultError::Status(status),
        };
        Err(self.diagnosed(error).await)
    }

    /// How far Vault's clock is ahead of ours; nothing where it can't be had.
    pub(super) async fn skew(&self, now: Clock) -> Option<SignedDuration> {
        let asked = now();
        let health = self.health().await?;
        let server = Timestamp::from_second(health.server_time_utc?).ok()?;
        Some(clock::skew(server, asked, now()))
    }

    /// What is behind an answer that doesn't say.
    async fn diagnosed(&self, error: VaultError) -> VaultError {
        if !matches!(
            error,
            VaultError::Redirected | VaultError::Status(500..=599)
        ) {
            return error;
        }
        match self.health().await {
            Some(health) if !health.initialized => VaultError::NotInitialized,
            Some(health) if health.sealed => VaultError::Sealed,
            Some(health) if health.standby && error == VaultError::Redirected => {
                VaultError::Standby
            }
            _ => error,
        }
    }

    /// Whatever its status is: each state has one of its own. Vault takes no namespace with it.
    async fn health(&self) -> Option<Health> {
        let answer = self.send(&ReadHealthRequest::default(), None, None).await;
        answer.ok()?.read().ok()
    }

    async fn send<E: Endpoint>(
        &self,
        endpoint: &E,
        token: Option<&SecretString>,
        namespace: Option<&HeaderValue>,
    ) -> Result<Answer, VaultError> {
        let mut url = self.address.clone();
        let path = endpoint.path();
        url.path_segments_mut()
            .map_err(|()| VaultError::Unreadable)?
            .clear()
            .push("v1")
            .extend(path.trim().trim_start_matches('/').split('/'));
        let method: Method = endpoint.method().into();
        let mut request = self.client.request(method, url);
        if let Some(body) = endpoint.body().map_err(|_| VaultError::Unreadable)? {
            request = request
                .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
                .body(body);
        }
        if let Some(namespace) = namespace {
            request = request.header(NAMESPACE, namespace);
        }
        if let Some(token) = token {
            let token = header(token).ok_or(VaultError::Unreadable)?;
            request = request.header(TOKEN, token);
        }
        let response = request.send().await.map_err(|error| trouble(&error))?;
        let status = response.status();
        let body = http::body(response, MOST_BODY).await;
        let body = body.map_err(|error| match error {
            NoBody::Broken(error) => trouble(&error),
            NoBody::TooLong => VaultError::Unreadable,
        })?;
        Ok(Answer { status, body })
    }
}

/// The token as a header carries it; none where it can't.
pub(super) fn header(token: &SecretString) -> Option<HeaderValue> {
    let token = token.expose_secret();
    let fits = !token.is_empty() && token.len() <= 16_384 && token.is_ascii();
    let mut header = HeaderValue::from_str(token).ok().filter(|_| fits)?;
    header.set_sensitive(true);
    Some(header)
}

/// In words of our own.
fn trouble(error: &reqwest::Error) -> VaultError {
    let cause = match http::cause(error) {
        Cause::Late => Unreachable::Silent,
        Cause::Name => Unreachable::Name,
        Cause::Untrusted(distrust) => Unreachable::Untrusted(distrust),
        Cause::Alert(_) | Cause::Tls => Unreachable::Tls,
        Cause::Refused => Unreachable::Refused,
        Cause::Broken => Unreachable::Broken,
    };
    VaultError::Unreachable { cause }
}
