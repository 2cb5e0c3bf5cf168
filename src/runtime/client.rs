//! The Kubernetes client: where its configuration comes from, and how long it waits. Touches files and, later, the API server.

use std::time::Duration;

use kube::{Client, Config, config::InferConfigError};
use thiserror::Error;

/// Longest wait for a TCP and TLS connection.
const CONNECT: Duration = Duration::from_secs(5);

/// Longest wait for the API server to take what we write.
const WRITE: Duration = Duration::from_secs(15);

/// Longest silence on a connection. Above the 295 s after which kube's watcher gives up an idle watch by itself, so
/// that this only ends requests which nothing else bounds, such as a list from a server that stopped answering.
const READ: Duration = Duration::from_secs(305);

/// Why there is no client.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Neither a kubeconfig nor a Pod's service account was found, or what was found can't be read.
    #[error("no Kubernetes configuration: set KUBECONFIG, or run in a Pod with a service account")]
    Configuration(#[source] Box<InferConfigError>),
    /// The configuration was read, but holds a certificate, key or address that can't be used.
    #[error("the Kubernetes configuration can't be used")]
    Unusable(#[source] Box<kube::Error>),
}

impl ClientError {
    /// A fixed word for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Configuration(_) => "ConfigurationMissing",
            Self::Unusable(_) => "ConfigurationUnusable",
        }
    }
}

/// Reads `KUBECONFIG` (or `~/.kube/config`), else the Pod's service account, and makes a client of it; connects to nothing yet.
///
/// The client never repeats a request by itself. kube's default repeats writes too, on 429, 503 and 504, with pauses
/// of up to 1000 s: a claim would be written long after it was decided on, and a conflict might be with our own success.
/// Whoever wants a repetition asks for one. Needs a Tokio runtime, and [`super::tls::install`] before.
pub async fn connect() -> Result<Client, ClientError> {
    connect_as(None).await
}

/// As [`connect`], but acts as this user, which takes the right to impersonate it.
pub async fn connect_as(user: Option<String>) -> Result<Client, ClientError> {
    let mut config = Config::infer()
        .await
        .map_err(|error| ClientError::Configuration(Box::new(error)))?;
    // With a kubeconfig kube takes it whatever `NO_PROXY` says, and this build of it can't use it. It is for Slack.
    config.proxy_url.take_if(|url| is_of_environment(url));
    if user.is_some() {
        config.auth_info.impersonate = user;
        config.auth_info.impersonate_groups = None;
    }
    Client::try_from(bounded(config)).map_err(|error| ClientError::Unusable(Box::new(error)))
}

/// Whether this is the proxy that the environment names, and not one of the kubeconfig's own.
fn is_of_environment(url: &axum::http::Uri) -> bool {
    ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok())
        .filter_map(|value| value.parse::<axum::http::Uri>().ok())
        .any(|named| named == *url)
}

/// The same configuration with no repetition and with a bound on every wait. Public for tests that bring their own.
pub fn bounded(mut config: Config) -> Config {
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT);
    config.write_timeout = Some(WRITE);
    config.read_timeout = Some(READ);
    // Else the time a connection sat idle in the pool would count against the next answer on it.
    config.reset_reader_on_write = true;
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_never_repeats_a_write_and_never_waits_for_ever() {
        let config = bounded(Config::new("https://kubernetes.example".parse().unwrap()));
        assert!(!config.default_retry);
        assert!(config.reset_reader_on_write);
        for bound in [
            config.connect_timeout,
            config.write_timeout,
            config.read_timeout,
        ] {
            assert!(bound.is_some());
        }
    }

    #[tokio::test]
    async fn configuration_becomes_a_client_with_the_installed_provider() {
        crate::runtime::tls::install();
        crate::runtime::tls::install();
        let config = Config::new("https://kubernetes.example".parse().unwrap());
        assert!(Client::try_from(bounded(config)).is_ok());
    }
}
