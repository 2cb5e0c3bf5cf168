//! Where Slack is, and as whom we call it. Touches nothing.

use std::{fmt, time::Duration};

use reqwest::Url;
use secrecy::SecretString;

use crate::{
    runtime::live::{self, LiveSecret},
    slack::metrics::SlackMetrics,
};

/// Slack's own address.
pub const API_URL: &str = "https://slack.com/api/";

/// What a [`SlackClient`](super::SlackClient) needs.
#[derive(Clone)]
pub struct SlackSettings {
    /// Where the methods are; ends with `/`.
    pub(super) api_url: Url,
    pub(super) bot_token: LiveSecret,
    /// For the whole exchange.
    pub(super) deadline: Duration,
    pub(super) connect_deadline: Duration,
    pub(super) proxies_from_environment: bool,
    pub(super) metrics: SlackMetrics,
}

/// Settings that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Neither `https` nor `http`, or with a query, a fragment or a login in it.
    #[error("the address of Slack's API is no plain web address")]
    ApiUrl,
    /// Empty, or with characters that no token has.
    #[error("the {0} is empty or holds characters that no token has")]
    Token(&'static str),
    /// The HTTP client can't be built.
    #[error("the HTTP client can't be built")]
    Client(#[source] reqwest::Error),
    /// No signing secret, or an empty one: anybody could forge requests.
    #[error("the signing secret is empty")]
    SigningSecret,
    /// No root certificates, or other trouble with TLS.
    #[error("TLS can't be set up")]
    Tls(#[source] rustls::Error),
}

impl SettingsError {
    /// The fixed word for metrics and conditions.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::ApiUrl => "api-url",
            Self::Token(_) => "token",
            Self::Client(_) => "http-client",
            Self::SigningSecret => "signing-secret",
            Self::Tls(_) => "tls",
        }
    }
}

impl SlackSettings {
    /// `api_url` is [`API_URL`] but for tests and relays; a missing `/` at its end is added. The token is taken as it is
    /// at each call.
    ///
    /// # Errors
    /// When the address or the token can't be one.
    pub fn new(api_url: &Url, bot_token: LiveSecret) -> Result<Self, SettingsError> {
        token("bot token", &bot_token.current())?;
        Ok(Self {
            api_url: api_address(api_url)?,
            bot_token,
            deadline: Duration::from_secs(15),
            connect_deadline: Duration::from_secs(5),
            proxies_from_environment: true,
            metrics: SlackMetrics::default(),
        })
    }

    /// How long one exchange may take (15 s unless told).
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self.connect_deadline = self.connect_deadline.min(deadline);
        self
    }

    /// Ignores `HTTPS_PROXY` and its like.
    #[must_use]
    pub fn without_proxies(mut self) -> Self {
        self.proxies_from_environment = false;
        self
    }

    /// Where calls are counted.
    #[must_use]
    pub fn metrics(mut self, metrics: SlackMetrics) -> Self {
        self.metrics = metrics;
        self
    }
}

impl fmt::Debug for SlackSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SlackSettings")
            .field("api_url", &self.api_url.as_str())
            .finish_non_exhaustive()
    }
}

/// The address with a `/` at its end.
fn api_address(url: &Url) -> Result<Url, SettingsError> {
    let plain = matches!(url.scheme(), "https" | "http")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if !plain {
        return Err(SettingsError::ApiUrl);
    }
    let mut url = url.clone();
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

/// The token without the line break that files tend to end with.
///
/// # Errors
/// When it is empty or holds characters that no token has. `what` is what the error calls it.
pub fn token<'a>(what: &'static str, token: &'a SecretString) -> Result<&'a str, SettingsError> {
    live::token(token).ok_or(SettingsError::Token(what))
}
