//! What a client of one Gate is made from. Touches nothing.

use std::{fmt, num::NonZeroU32, sync::Arc, time::Duration};

use reqwest::{
    Url,
    header::{AUTHORIZATION, HeaderName, HeaderValue},
};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::watch;

use super::{echo::Echo, metrics::GateMetrics};
use crate::runtime::tls::{self, ClientCertificate, TlsError, Trust};

/// One Gate and how to speak to it.
#[derive(Debug, Clone)]
pub struct GateSettings {
    /// Its base URL, with its path prefix if it has one; `http` or `https`, without user, query and fragment.
    pub url: Url,
    /// How to log in, as it is now: a call is made with the login of that moment, and none at all while there is none.
    pub login: watch::Receiver<Option<Arc<GateLogin>>>,
    /// The deadline of one call, from connecting to the last byte of the answer. Waiting for a permit and for the rate
    /// comes on top, at most as long again.
    pub request_deadline: Duration,
    /// The deadline for name, connection and TLS together; at most half of `request_deadline` counts, so that a
    /// connection that never came about is told apart from an answer that never came.
    pub connect_deadline: Duration,
    /// How many calls that read run at once, and as many again that start or cancel. The rest waits.
    pub max_in_flight: usize,
    /// How often Gate is called at most, reads and writes together; as often as needed when `None`.
    pub rate: Option<Rate>,
    /// The longest answer that is read, in bytes.
    pub max_body: usize,
    /// Where calls are counted.
    pub metrics: GateMetrics,
}

impl GateSettings {
    /// Deadlines of 20 s and 5 s, 16 calls at once, as often as needed, answers of up to 32 MiB.
    pub fn new(url: Url, login: watch::Receiver<Option<Arc<GateLogin>>>) -> Self {
        Self {
            url,
            login,
            request_deadline: Duration::from_secs(20),
            connect_deadline: Duration::from_secs(5),
            max_in_flight: 16,
            rate: None,
            max_body: 32 * 1024 * 1024,
            metrics: GateMetrics::default(),
        }
    }

    /// The same, with a login that never changes.
    pub fn fixed(url: Url, login: GateLogin) -> Self {
        Self::new(url, watch::channel(Some(Arc::new(login))).1)
    }
}

/// How often something may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Times a second, in the long run.
    pub per_second: NonZeroU32,
    /// How many of them may come at once.
    pub burst: NonZeroU32,
}

/// What a Gate is spoken to with: what we show of ourselves, and whom we take for it. Checked: whoever has one can send with
/// it.
pub struct GateLogin {
    pub(super) headers: Login,
    pub(super) echo: Echo,
    pub(super) tls: rustls::ClientConfig,
}

impl GateLogin {
    /// A login.
    ///
    /// # Errors
    /// When the credentials can't be sent in a header, or the machine's trust can't be read.
    pub fn new(credentials: &Credentials, trust: &Trust) -> Result<Self, SettingsError> {
        let certificate = match credentials {
            Credentials::Certificate(certificate) => Some(&**certificate),
            _ => None,
        };
        Ok(Self {
            headers: Login::new(credentials)?,
            echo: Echo::new(credentials),
            tls: tls::client(trust, certificate).map_err(SettingsError::Tls)?,
        })
    }

    /// As nobody, trusting whom the machine trusts.
    ///
    /// # Errors
    /// As [`GateLogin::new`].
    pub fn nobody() -> Result<Self, SettingsError> {
        Self::new(&Credentials::None, &Trust::Machine)
    }
}

impl fmt::Debug for GateLogin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("GateLogin")
    }
}

/// How to log in to Gate. Line ends after a secret are cut off: they come from files.
#[derive(Debug, Clone, Default)]
pub enum Credentials {
    /// Not at all.
    #[default]
    None,
    /// `Authorization: Basic`.
    Basic {
        /// The user.
        username: String,
        /// Their password.
        password: SecretString,
    },
    /// `Authorization: Bearer <token>`, or the bare token in another header, such as `X-Spinnaker-Token`.
    Token {
        /// The header.
        header: String,
        /// The token.
        value: SecretString,
    },
    /// By TLS: a client certificate, from which Gate, or a proxy before it, takes who we are.
    Certificate(Arc<ClientCertificate>),
}

/// Why no client can be made.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The URL is not one of a server.
    #[error("Gate's URL must be http or https, with a host and without user, query and fragment")]
    Url,
    /// No calls at once, no time for them, or the like.
    #[error("a deadline or a limit is zero or too large")]
    Limits,
    /// A user name with a colon, a token with a line break, a header that is none.
    #[error("the credentials can't be sent in a header")]
    Credentials,
    /// Nobody can be trusted, since the machine's certificates can't be read, or the like.
    #[error("TLS can't be set up for it")]
    Tls(#[source] TlsError),
}

impl SettingsError {
    /// The fixed word for metrics.
    pub fn reason(&self) -> crate::api::conditions::Reason {
        match self {
            Self::Url | Self::Limits | Self::Tls(_) => {
                crate::api::conditions::Reason::ConnectionInvalid
            }
            Self::Credentials => crate::api::conditions::Reason::CredentialsInvalid,
        }
    }
}

/// Adds the credentials to a request.
#[derive(Clone)]
pub(super) enum Login {
    None,
    Basic {
        username: String,
        password: SecretString,
    },
    Header(HeaderName, HeaderValue),
}

impl Login {
    fn new(credentials: &Credentials) -> Result<Self, SettingsError> {
        match credentials {
            Credentials::None | Credentials::Certificate(_) => Ok(Self::None),
            Credentials::Basic { username, password } => {
                if username.contains(':') || username.is_empty() {
                    return Err(SettingsError::Credentials);
                }
                Ok(Self::Basic {
                    username: username.clone(),
                    password: password.clone(),
                })
            }
            Credentials::Token { header, value } => {
                let name = HeaderName::from_bytes(header.as_bytes())
                    .map_err(|_| SettingsError::Credentials)?;
                let token = value.expose_secret();
                if token.is_empty() {
                    return Err(SettingsError::Credentials);
                }
                let value = if name == AUTHORIZATION {
                    HeaderValue::from_str(&format!("Bearer {token}"))
                } else {
                    HeaderValue::from_str(token)
                };
                let mut value = value.map_err(|_| SettingsError::Credentials)?;
                value.set_sensitive(true);
                Ok(Self::Header(name, value))
            }
        }
    }

    pub(super) fn add(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match self {
            Self::None => request,
            Self::Basic { username, password } => {
                request.basic_auth(username, Some(password.expose_secret()))
            }
            Self::Header(name, value) => request.header(name, value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, value: &str) -> Credentials {
        Credentials::Token {
            header: header.to_owned(),
            value: value.into(),
        }
    }

    #[test]
    fn credentials_do_not_show_when_printed() {
        let credentials = token("X-Spinnaker-Token", "spk_hush");
        let settings = GateSettings::fixed(
            Url::parse("https://gate.example").unwrap(),
            GateLogin::new(&credentials, &Trust::Machine).unwrap(),
        );
        assert!(!format!("{settings:?} {credentials:?}").contains("hush"));
        let Ok(Login::Header(_, value)) = Login::new(&credentials) else {
            panic!("a token goes into a header")
        };
        assert!(!format!("{value:?}").contains("hush"));
    }

    #[test]
    fn only_authorization_says_bearer() {
        for (header, expected) in [
            ("authorization", "Bearer abc"),
            ("Authorization", "Bearer abc"),
            ("X-Spinnaker-Token", "abc"),
        ] {
            let Ok(Login::Header(_, value)) = Login::new(&token(header, "abc")) else {
                panic!("a token goes into a header")
            };
            assert_eq!(value.to_str().unwrap(), expected);
        }
    }

    #[test]
    fn credentials_that_no_header_can_carry_are_refused() {
        let basic = |username: &str| Credentials::Basic {
            username: username.to_owned(),
            password: "p".into(),
        };
        for credentials in [
            token("X Y", "abc"),
            token("X-Token", "a\nb"),
            token("X-Token", ""),
            basic("a:b"),
            basic(""),
        ] {
            assert!(matches!(
                Login::new(&credentials),
                Err(SettingsError::Credentials)
            ));
        }
    }
}
