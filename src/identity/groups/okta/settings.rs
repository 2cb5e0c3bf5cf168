//! Where Okta is, and by which token it is asked. Touches nothing.

use std::{fmt, time::Duration};

use reqwest::Url;
use secrecy::SecretString;

use crate::{
    identity::groups::GroupPrefix,
    runtime::{
        http::is_safe_server,
        live::{self, LiveSecret},
    },
};

/// What Okta is asked with.
#[derive(Clone)]
pub struct OktaSettings {
    /// The organisation's address, without a path.
    pub(super) url: Url,
    pub(super) token: LiveSecret,
    /// What its groups begin with.
    pub(super) prefix: GroupPrefix,
    /// For one call.
    pub(super) deadline: Duration,
    pub(super) proxies_from_environment: bool,
}

/// Settings that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OktaSettingsError {
    /// Not the address of an organisation.
    #[error(
        "the address of Okta is that of your organisation, such as https://corp.okta.com: `https`, without a path, a \
         login or a query"
    )]
    Url,
    /// Empty, or with characters that no token has.
    #[error("the API token of Okta is empty or holds characters that no token has")]
    Token,
    /// The HTTP client can't be built.
    #[error("the HTTP client can't be built")]
    Client(#[source] reqwest::Error),
}

impl OktaSettingsError {
    /// A fixed word for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Url => "okta-url",
            Self::Token => "okta-token",
            Self::Client(_) => "http-client",
        }
    }
}

impl OktaSettings {
    /// The organisation at `url`, and a token that may read its users and groups; taken as it is at each call.
    ///
    /// # Errors
    /// When the address or the token can't be one. Without TLS only this machine is asked.
    pub fn new(
        url: &Url,
        token: &LiveSecret,
        prefix: GroupPrefix,
    ) -> Result<Self, OktaSettingsError> {
        if !is_safe_server(url) {
            return Err(OktaSettingsError::Url);
        }
        Self::check(&token.current())?;
        Ok(Self {
            url: url.clone(),
            token: token.clone(),
            prefix,
            deadline: Duration::from_secs(10),
            proxies_from_environment: true,
        })
    }

    /// Whether this can be a token.
    ///
    /// # Errors
    /// When it is empty or holds characters that no token has.
    pub fn check(token: &SecretString) -> Result<(), OktaSettingsError> {
        live::token(token).map_or(Err(OktaSettingsError::Token), |_| Ok(()))
    }

    /// How long one call may take (10 s unless told).
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Ignores `HTTPS_PROXY` and its like.
    #[must_use]
    pub fn without_proxies(mut self) -> Self {
        self.proxies_from_environment = false;
        self
    }

    /// What its groups begin with.
    pub fn prefix(&self) -> &GroupPrefix {
        &self.prefix
    }
}

impl fmt::Debug for OktaSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("OktaSettings")
            .field("url", &self.url.as_str())
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str, token: &str) -> Result<OktaSettings, OktaSettingsError> {
        let prefix = "okta:".parse().unwrap();
        OktaSettings::new(&url.parse().unwrap(), &token.into(), prefix)
    }

    #[test]
    fn the_token_goes_to_one_organisation_and_never_in_the_clear() {
        for url in [
            "https://corp.okta.com",
            "https://corp.okta.com/",
            "http://127.0.0.1:4000",
        ] {
            assert!(settings(url, "00token").is_ok(), "{url}");
        }
        for url in [
            "http://corp.okta.com",
            "https://corp.okta.com/api/v1",
            "https://a:b@corp.okta.com",
            "https://corp.okta.com?x=1",
            "file:///etc/passwd",
        ] {
            let refused = settings(url, "00token").unwrap_err();
            assert_eq!(refused.reason(), "okta-url", "{url}");
        }
        for token in ["", " \n", "two words", "new\nline"] {
            let refused = settings("https://corp.okta.com", token).unwrap_err();
            assert_eq!(refused.reason(), "okta-token", "{token:?}");
        }
    }

    #[test]
    fn nothing_shows_the_token() {
        let settings = settings("https://corp.okta.com", "00hidden\n").unwrap();
        assert!(!format!("{settings:?}").contains("hidden"));
    }
}
