//! What GitHub is shown: a token, or that of a GitHub App's installation, which is asked for once and renewed before it ends.
//! Touches GitHub.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize};
use tokio::sync::Mutex;

use super::{
    answer::Refusal,
    call::{Asked, Caller, Kind},
};
use crate::git::{
    GitError,
    secret::{Credentials, Held, Keyring},
};

/// An installation's token is replaced so long before it ends.
const BEFORE: Duration = Duration::from_mins(1);
/// For clocks that differ, as GitHub advises.
const SKEW: i64 = 60;
/// How long an app's own token lives, in seconds; GitHub takes ten minutes at most.
const LIFETIME: i64 = 540;

/// The login of one repository.
pub(super) struct Login {
    keyring: Keyring,
    /// Held while one is asked for, so that nobody else asks too.
    issued: Mutex<Option<Issued>>,
}

/// A token of an installation.
struct Issued {
    version: String,
    token: Arc<SecretString>,
    ends: Timestamp,
}

/// What was shown, and by which version of the Secret.
pub(super) struct Shown {
    pub(super) version: String,
    pub(super) token: Option<Arc<SecretString>>,
}

#[derive(Serialize)]
struct Claims<'a> {
    iat: i64,
    exp: i64,
    iss: &'a str,
}

#[derive(Deserialize)]
struct Installation {
    id: u64,
}

#[derive(Deserialize)]
struct AccessToken {
    #[serde(deserialize_with = "secret")]
    token: SecretString,
    expires_at: Timestamp,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}

impl Login {
    pub(super) fn new(keyring: Keyring) -> Self {
        Self {
            keyring,
            issued: Mutex::default(),
        }
    }

    /// Whether the Secret can be read, and holds a login.
    pub(super) async fn is_readable(&self) -> Result<(), GitError> {
        self.keyring.current().await.map(drop)
    }

    /// What is to be shown now.
    pub(super) async fn shown(&self, caller: &Caller) -> Result<Shown, Refusal> {
        let held = self.keyring.current().await.map_err(Refusal::Error)?;
        self.of(caller, &held, None).await
    }

    /// What is to be shown instead of what was refused, if there is another: the Secret may have changed a moment ago, and an
    /// installation's token may have been taken back.
    pub(super) async fn another_than(
        &self,
        caller: &Caller,
        refused: &Shown,
    ) -> Result<Option<Shown>, Refusal> {
        let changed = self.keyring.another_than(&refused.version).await;
        if let Some(held) = changed.map_err(Refusal::Error)? {
            return self.of(caller, &held, None).await.map(Some);
        }
        let held = self.keyring.current().await.map_err(Refusal::Error)?;
        match (&held.credentials, &refused.token) {
            (Credentials::App { .. }, Some(token)) => {
                self.of(caller, &held, Some(token)).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    async fn of(
        &self,
        caller: &Caller,
        held: &Held,
        refused: Option<&Arc<SecretString>>,
    ) -> Result<Shown, Refusal> {
        let token = match &held.credentials {
            Credentials::None => None,
            Credentials::Token(token) => Some(Arc::new(token.clone())),
            Credentials::App {
                id,
                key,
                installation,
            } => {
                let mut issued = self.issued.lock().await;
                let now = (caller.clock)();
                let good = issued.as_ref().filter(|issued| {
                    issued.version == held.version
                        && issued.ends.duration_since(now).unsigned_abs() > BEFORE
                        && issued.ends > now
                        && refused.is_none_or(|refused| !Arc::ptr_eq(refused, &issued.token))
                });
                if let Some(good) = good {
                    Some(Arc::clone(&good.token))
                } else {
                    let app = own_token(caller, id, key)?;
                    let new = issue(caller, &app, &held.version, *installation).await?;
                    let token = Arc::new(new.token);
                    *issued = Some(Issued {
                        version: held.version.clone(),
                        token: Arc::clone(&token),
                        ends: new.expires_at,
                    });
                    Some(token)
                }
            }
        };
        Ok(Shown {
            version: held.version.clone(),
            token,
        })
    }
}

/// By what an app shows that it is itself.
fn own_token(caller: &Caller, id: &str, key: &SecretString) -> Result<SecretString, Refusal> {
    let now = (caller.clock)().as_second();
    let claims = Claims {
        iat: now - SKEW,
        exp: now + LIFETIME,
        iss: id,
    };
    EncodingKey::from_rsa_pem(key.expose_secret().as_bytes())
        .and_then(|key| jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &key))
        .map(SecretString::from)
        .map_err(|_| {
            let message = format!(
                "the Secret of {} holds no RSA key in PEM under \"private-key\"",
                caller.place.repository
            );
            Refusal::Error(GitError::Credentials { message })
        })
}

async fn issue(
    caller: &Caller,
    app: &SecretString,
    version: &str,
    installation: Option<u64>,
) -> Result<AccessToken, Refusal> {
    let ask = |operation, method, url| Asked {
        kind: Kind::Usual,
        operation,
        method,
        url,
        body: None,
        token: Some(app),
        version,
    };
    let missing = |what: &'static str| {
        move |refusal| match refusal {
            Refusal::Missing(_) => Refusal::Error(caller.place.forbidden(what)),
            other => other,
        }
    };
    let installation = match installation {
        Some(installation) => installation,
        None => {
            let url = caller.repository(&["installation"], &[])?;
            let asked = ask("installation", Method::GET, url);
            let found: Installation = caller
                .send(asked)
                .await
                .map_err(missing("the GitHub App isn't installed on it"))?;
            found.id
        }
    };
    let number = installation.to_string();
    let parts = ["app", "installations", &number, "access_tokens"];
    let url = caller.url(&parts, &[]).map_err(Refusal::Error)?;
    let asked = ask("token", Method::POST, url);
    caller
        .send(asked)
        .await
        .map_err(missing("the GitHub App has no such installation"))
}
