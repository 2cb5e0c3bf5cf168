//! The front door: from an Application's repository to the host that has it, with the login that its Secret holds. Touches
//! the API server (Secrets).

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use moka::future::Cache;
use reqwest::Url;

use super::{
    DEADLINE, GitError, Host,
    github::{Budget, Caller, Memory, Place, Readers, Shared, memory},
    metrics::GitMetrics,
    secret::Secrets,
};
use crate::{
    api::version::Repository,
    domain::hosts::{self, HostPattern},
    runtime::http,
};

/// The host that is allowed where nobody says another.
pub const GITHUB: &str = "api.github.com";
/// Where GitHub's own API is.
const GITHUB_URL: &str = "https://api.github.com";

/// What is remembered of all answers together, in bytes.
const MEMORY: u64 = 32 << 20;
/// Repositories that are kept, and how long one is that nobody asks.
const REPOSITORIES: u64 = 10_000;
const IDLE: Duration = Duration::from_hours(2);
/// Connections that are kept open to one host.
const CONNECTIONS: usize = 8;

/// How hosts are spoken to.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The hosts that an Application may name.
    pub allowed: Vec<HostPattern>,
    /// How long one call may take.
    pub deadline: Duration,
    /// The time.
    pub clock: fn() -> Timestamp,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            allowed: GITHUB.parse().into_iter().collect(),
            deadline: DEADLINE,
            clock: Timestamp::now,
        }
    }
}

/// A repository as one namespace's Application names it: two namespaces never share an answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    namespace: String,
    repository: String,
    url: Option<String>,
    secret: Option<String>,
}

/// The hosts of all repositories. One per role; what each said is remembered here.
pub struct Hosts {
    settings: Settings,
    metrics: GitMetrics,
    secrets: Secrets,
    clients: Result<Clients, String>,
    known: Cache<Key, Arc<Shared>>,
    /// By host, namespace and Secret.
    budgets: Cache<(String, Arc<str>), Arc<Budget>>,
    readers: Arc<Readers>,
    memory: Memory,
}

struct Clients {
    usual: reqwest::Client,
    /// For this machine, which is behind no proxy.
    own: reqwest::Client,
}

impl Clients {
    fn new(deadline: Duration) -> reqwest::Result<Self> {
        let builder = || {
            http::client()
                .connect_timeout(deadline)
                .timeout(deadline)
                .pool_max_idle_per_host(CONNECTIONS)
                .pool_idle_timeout(Duration::from_secs(30))
        };
        Ok(Self {
            usual: builder().build()?,
            own: builder().no_proxy().build()?,
        })
    }
}

impl Hosts {
    /// None is spoken to yet.
    pub fn new(client: kube::Client, settings: Settings, metrics: GitMetrics) -> Self {
        let clients = Clients::new(settings.deadline)
            .map_err(|_| "no HTTP client can be made here".to_owned());
        Self {
            clients,
            settings,
            metrics,
            secrets: Secrets::new(client),
            known: Cache::builder()
                .max_capacity(REPOSITORIES)
                .time_to_idle(IDLE)
                .build(),
            budgets: Cache::builder()
                .max_capacity(REPOSITORIES)
                .time_to_idle(IDLE)
                .build(),
            readers: Arc::default(),
            memory: memory(MEMORY),
        }
    }

    /// The host of a repository that an Application of this namespace names.
    ///
    /// # Errors
    /// [`GitError::HostNotAllowed`], or [`GitError::Credentials`] where its Secret can't be read.
    pub async fn of(
        &self,
        namespace: &str,
        repository: &Repository,
    ) -> Result<Arc<dyn Host>, GitError> {
        let key = Key {
            namespace: namespace.to_owned(),
            repository: repository.github.clone(),
            url: repository.api_url.clone(),
            secret: repository.secret_name.clone(),
        };
        let making = self.make(namespace, repository);
        let known = self.known.try_get_with(key, making).await;
        let known = known.map_err(|error| GitError::clone(&error))?;
        known.has_login().await?;
        Ok(known)
    }

    async fn make(
        &self,
        namespace: &str,
        repository: &Repository,
    ) -> Result<Arc<Shared>, GitError> {
        let base = self.address(repository.api_url.as_deref().unwrap_or(GITHUB_URL))?;
        let place = Place {
            host: authority(&base),
            repository: repository.github.clone(),
        };
        let names = repository.github.split_once('/');
        let (owner, name) = names
            .filter(|(owner, name)| is_part(owner) && is_part(name))
            .ok_or_else(|| place.no_repository())?;
        let clients = self.clients.as_ref();
        let clients = clients.map_err(|error| place.unavailable(error.clone()))?;
        let client = if is_own(&base) {
            clients.own.clone()
        } else {
            clients.usual.clone()
        };
        let secret = repository.secret_name.as_deref();
        let login: Arc<str> = match secret {
            Some(secret) => format!("{namespace}/{secret}").into(),
            None => namespace.into(),
        };
        let budget = self
            .budgets
            .get_with((place.host.clone(), Arc::clone(&login)), async {
                Arc::default()
            })
            .await;
        let caller = Caller {
            client,
            base,
            owner: owner.to_owned(),
            name: name.to_owned(),
            place,
            deadline: self.settings.deadline,
            clock: self.settings.clock,
            metrics: self.metrics.clone(),
            budget,
            readers: Arc::clone(&self.readers),
            memory: self.memory.clone(),
            login,
        };
        Ok(Arc::new(Shared::new(
            caller,
            self.secrets.keyring(namespace, secret),
        )))
    }

    /// The API's address, where it may be spoken to. A token goes over `http` only within this machine, and to a host that is
    /// listed with just that port.
    fn address(&self, text: &str) -> Result<Url, GitError> {
        let refused = |host: &str| GitError::HostNotAllowed {
            host: host.to_owned(),
        };
        let url: Url = text
            .parse()
            .map_err(|_| refused("spec.repository.apiUrl"))?;
        let authority = authority(&url);
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return Err(refused("spec.repository.apiUrl"));
        };
        let allowed = &self.settings.allowed;
        let exactly = format!("{host}:{port}");
        let safe = match url.scheme() {
            "https" => true,
            "http" => is_own(&url) || allowed.iter().any(|one| one.to_string() == exactly),
            _ => false,
        };
        let plain = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if safe && plain && hosts::allow(allowed, host, port) {
            Ok(url)
        } else {
            Err(refused(&authority))
        }
    }
}

/// The host, with a port where that isn't the usual one.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

fn is_own(url: &Url) -> bool {
    matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"))
}

/// A part of `owner/name` that is one part of an address.
fn is_part(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !text.is_empty() && !matches!(text, "." | "..") && text.bytes().all(fits)
}
