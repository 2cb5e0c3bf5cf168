//! A session with one Vault: logged in when needed, its token renewed at two thirds of its life, logged in anew where Vault
//! doesn't take it any more. Touches Vault, the API server or a file for the token of a login, and the clock.
//!
//! A session never ends its token: Vault would revoke with it the certificates that it leased to it.

use std::{fmt, sync::Arc, time::Duration};

use rustify::Endpoint;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::{sync::Mutex, time::Instant};
use vaultrs::api::{
    auth::kubernetes::requests::LoginWithKubernetesRequest,
    token::requests::{LookupTokenSelfRequest, RenewTokenSelfRequest},
};

use super::{
    CertificateRequest, Clock, Issued, Login, LoginRefusal, SecretPath, VaultError, VaultSettings,
    VaultSettingsError,
    caller::{Answer, Caller, header},
    kv, pki,
};

const LOOKUP: &str = "auth/token/lookup-self";

/// A session with one Vault. It may be used by many at once, of whom one logs in.
pub struct VaultSession {
    caller: Caller,
    login: Login,
    clock: Clock,
    token: Mutex<Option<Arc<Token>>>,
}

/// A token by which Vault knows us.
struct Token {
    value: SecretString,
    /// Whether Vault said that it knows it.
    known: bool,
    /// None where it never ends, or nobody knows.
    life: Option<TokenLife>,
}

#[derive(Clone, Copy)]
struct TokenLife {
    since: Instant,
    lasts: Duration,
    /// How long it lasted at the login: renewals give less near the longest life that Vault allows it.
    at_first: Duration,
    renewable: bool,
}

/// What Vault says of a token that it gives or renews. Everything else it says may be null or left out.
#[derive(Deserialize)]
struct Auth {
    client_token: String,
    #[serde(default)]
    lease_duration: u64,
    #[serde(default)]
    renewable: bool,
}

#[derive(Deserialize)]
struct WithAuth {
    auth: Auth,
}

/// What Vault says of a token that it is asked about.
#[derive(Default, Deserialize)]
struct Looked {
    #[serde(default)]
    ttl: u64,
    #[serde(default)]
    renewable: Option<bool>,
}

#[derive(Deserialize)]
struct WithData {
    data: Looked,
}

impl VaultSession {
    /// Connects to nothing yet. Needs [`crate::runtime::tls::install`] before.
    ///
    /// # Errors
    /// [`VaultSettingsError`].
    pub fn new(settings: VaultSettings, clock: Clock) -> Result<Self, VaultSettingsError> {
        settings.check()?;
        Ok(Self {
            caller: Caller::new(&settings)?,
            login: settings.login,
            clock,
            token: Mutex::new(None),
        })
    }

    /// A new certificate. Each call has a deadline of 10 s, and there are a handful of them at most.
    ///
    /// # Errors
    /// [`VaultError`]: what is wrong and who can do what.
    pub async fn issue(&self, wanted: &CertificateRequest) -> Result<Issued, VaultError> {
        let place = wanted.place();
        let answer = self.ask(&wanted.endpoint(), &place).await?;
        let (certificate, since) = (pki::read(&answer, &place)?, (self.clock)());
        let skew = self.caller.skew(self.clock).await.unwrap_or_default();
        Issued::new(certificate, since, skew)
    }

    /// A value of a KV engine, as it is now.
    ///
    /// # Errors
    /// [`VaultError`]: what is wrong and who can do what.
    pub async fn read(&self, wanted: &SecretPath) -> Result<SecretString, VaultError> {
        let answer = self.ask(&wanted.endpoint(), &wanted.place()).await?;
        kv::read(&answer, wanted)
    }

    /// A call with our token. Where Vault doesn't take it, once more with that of a new login: a revoked token and a path
    /// that it may not use are refused alike.
    async fn ask<E: Endpoint>(&self, endpoint: &E, place: &str) -> Result<Answer, VaultError> {
        let (mut token, fresh) = self.token(None).await?;
        let mut answer = self.caller.call(endpoint, Some(&token.value)).await?;
        if is_refusal(&answer) && !fresh {
            (token, _) = self.token(Some(&token)).await?;
            answer = self.caller.call(endpoint, Some(&token.value)).await?;
        }
        if !is_refusal(&answer) {
            return Ok(answer);
        }
        Err(if token.known {
            VaultError::PermissionDenied {
                place: place.to_owned(),
            }
        } else {
            refused(LOOKUP, LoginRefusal::Token)
        })
    }

    /// A token that should be good, another than the refused one, and whether it comes from a login just now. Whoever comes
    /// meanwhile waits for the same.
    async fn token(&self, refused: Option<&Arc<Token>>) -> Result<(Arc<Token>, bool), VaultError> {
        let mut kept = self.token.lock().await;
        let is_bad = |token: &Arc<Token>| {
            refused.is_some_and(|refused| Arc::ptr_eq(refused, token)) || !self.is_ours(token)
        };
        if kept.as_ref().is_some_and(is_bad) {
            *kept = None;
        }
        if let Some(token) = kept.clone() {
            if !token.is_due() {
                return Ok((token, false));
            }
            if token.life.is_some_and(|life| life.renewable)
                && let Some(token) = self.renewed(&token).await?
            {
                let token = Arc::new(token);
                *kept = Some(Arc::clone(&token));
                return Ok((token, false));
            }
        }
        let token = Arc::new(self.log_in().await?);
        *kept = Some(Arc::clone(&token));
        Ok((token, true))
    }

    /// Whether it is still the one that we are to use.
    fn is_ours(&self, token: &Token) -> bool {
        match &self.login {
            Login::Jwt { .. } => true,
            Login::Token(live) => live.current().expose_secret() == token.value.expose_secret(),
        }
    }

    /// None where Vault doesn't renew it.
    async fn renewed(&self, token: &Token) -> Result<Option<Token>, VaultError> {
        let endpoint = RenewTokenSelfRequest::default();
        let answer = self.caller.call(&endpoint, Some(&token.value)).await?;
        if !is_success(&answer) {
            return Ok(None);
        }
        let auth = answer.read::<WithAuth>()?.auth;
        let at_first = token.life.map(|life| life.at_first);
        let life = TokenLife::new(auth.lease_duration, auth.renewable, at_first);
        Ok(Some(Token {
            value: token.value.clone(),
            known: true,
            life,
        }))
    }

    async fn log_in(&self) -> Result<Token, VaultError> {
        match &self.login {
            Login::Jwt {
                mount, role, token, ..
            } => {
                let place = format!("auth/{mount}/login");
                let jwt = token.token().await?;
                // The JWT method's own request, of which vaultrs knows none, is the same.
                let endpoint = LoginWithKubernetesRequest {
                    mount: mount.clone(),
                    role: role.clone(),
                    jwt: jwt.expose_secret().to_owned(),
                };
                let answer = self.caller.call(&endpoint, None).await?;
                if !is_success(&answer) {
                    return Err(refused(&place, why_refused(&answer)));
                }
                let auth = answer.read::<WithAuth>()?.auth;
                let value = SecretString::from(auth.client_token);
                header(&value).ok_or(VaultError::Unreadable)?;
                Ok(Token {
                    value,
                    known: true,
                    life: TokenLife::new(auth.lease_duration, auth.renewable, None),
                })
            }
            Login::Token(live) => {
                let value = live.current();
                header(&value).ok_or_else(|| refused(LOOKUP, LoginRefusal::NotSendable))?;
                let endpoint = LookupTokenSelfRequest::default();
                let answer = self.caller.call(&endpoint, Some(&value)).await?;
                // One that may not ask about itself may be good for what we want.
                let known = is_success(&answer);
                let looked = if known {
                    answer.read::<WithData>()?.data
                } else {
                    Looked::default()
                };
                let renewable = looked.renewable.unwrap_or(false);
                Ok(Token {
                    value,
                    known,
                    life: TokenLife::new(looked.ttl, renewable, None),
                })
            }
        }
    }
}

impl Token {
    /// Whether it is time for another one.
    fn is_due(&self) -> bool {
        self.life
            .is_some_and(|life| life.since.elapsed() >= life.lasts * 2 / 3)
    }
}

impl TokenLife {
    /// In seconds; 0 is one without an end.
    fn new(seconds: u64, renewable: bool, at_first: Option<Duration>) -> Option<Self> {
        let lasts = Duration::from_secs(seconds.min(u64::from(u32::MAX)));
        let at_first = at_first.unwrap_or(lasts);
        (!lasts.is_zero()).then(|| Self {
            since: Instant::now(),
            lasts,
            at_first,
            // Near its longest life each renewal gives less than the one before.
            renewable: renewable && lasts >= at_first / 2,
        })
    }
}

impl fmt::Debug for VaultSession {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("VaultSession")
            .field("login", &self.login)
            .finish_non_exhaustive()
    }
}

fn is_success(answer: &Answer) -> bool {
    matches!(answer.status(), 200..=208)
}

fn is_refusal(answer: &Answer) -> bool {
    matches!(answer.status(), 401 | 403)
}

fn refused(place: &str, refusal: LoginRefusal) -> VaultError {
    VaultError::LoginRefused {
        place: place.to_owned(),
        refusal,
    }
}

/// As far as the auth methods tell it apart.
fn why_refused(answer: &Answer) -> LoginRefusal {
    if answer.status() == 404
        || answer.says(&[
            "no handler for route",
            "route entry not found",
            "unsupported path",
        ])
    {
        LoginRefusal::Mount
    } else if answer.says(&[
        "invalid role name",
        "could not be found",
        "unable to load role",
    ]) {
        LoginRefusal::Role
    } else if answer.says(&["audience", "(aud)"]) {
        LoginRefusal::Audience
    } else if answer.says(&[
        "not authorized",
        "sub claim",
        "claim \"sub\"",
        "bound claim",
        "validating claims",
    ]) {
        LoginRefusal::ServiceAccount
    } else {
        LoginRefusal::Unsaid
    }
}
