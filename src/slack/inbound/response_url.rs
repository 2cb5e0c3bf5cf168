//! Where later answers to a command or click go. Touches nothing.

use std::fmt;

use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, de::Error};

/// Slack's are far shorter.
const MOST: usize = 1000;

/// An address that takes five answers within thirty minutes, from whoever knows it: a secret.
#[derive(Clone)]
pub struct ResponseUrl(SecretString);

/// An address that answers must not go to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is no response URL of Slack")]
pub struct InvalidResponseUrl;

impl InvalidResponseUrl {
    /// The fixed word for metrics.
    pub fn reason(&self) -> &'static str {
        "invalid-response-url"
    }
}

impl ResponseUrl {
    /// Checks that it is a plain web address. Whose it is, is checked where it is used: [`ResponseUrl::within`].
    ///
    /// # Errors
    /// When it is none.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidResponseUrl> {
        let text = text.into();
        let url = Url::parse(&text).map_err(|_| InvalidResponseUrl)?;
        let plain = matches!(url.scheme(), "https" | "http")
            && url.username().is_empty()
            && url.password().is_none()
            && url.has_host()
            && text.len() <= MOST;
        plain.then_some(Self(text.into())).ok_or(InvalidResponseUrl)
    }

    /// The address, if it is Slack's: `https` below `slack.com`, or the host that the API itself is called at.
    ///
    /// # Errors
    /// When it is elsewhere; then whoever could forge a delivery would make us call any address.
    pub fn within(&self, api: &Url) -> Result<Url, InvalidResponseUrl> {
        let url = Url::parse(self.0.expose_secret()).map_err(|_| InvalidResponseUrl)?;
        let host = url.host_str().ok_or(InvalidResponseUrl)?;
        let slacks = url.scheme() == "https"
            && url.port().is_none()
            && (host == "slack.com" || host.ends_with(".slack.com"));
        let own = Some(host) == api.host_str()
            && (url.scheme() == "https" || url.scheme() == api.scheme());
        if slacks || own {
            Ok(url)
        } else {
            Err(InvalidResponseUrl)
        }
    }
}

impl fmt::Debug for ResponseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ResponseUrl([redacted])")
    }
}

impl PartialEq for ResponseUrl {
    fn eq(&self, other: &Self) -> bool {
        self.0.expose_secret() == other.0.expose_secret()
    }
}

impl<'de> Deserialize<'de> for ResponseUrl {
    fn deserialize<Source: Deserializer<'de>>(source: Source) -> Result<Self, Source::Error> {
        Self::new(String::deserialize(source)?).map_err(Error::custom)
    }
}
