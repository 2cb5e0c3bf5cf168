//! Tokens of a named `ServiceAccount`, each for one audience that is never the API server's own: who gets one can show it
//! nowhere else. Touches the API server (`TokenRequest`s).

use std::{fmt, sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, Client, api::PostParams};
use secrecy::{SecretString, zeroize::Zeroizing};
use serde::Deserialize;
use tokio::sync::OnceCell;

use crate::api::conditions::Reason;

/// The shortest life that the API server gives a token.
const LIFE: Duration = Duration::from_mins(10);
/// Of one call of the API server.
const DEADLINE: Duration = Duration::from_secs(10);

/// The `ServiceAccount` in a connection's namespace as which we come to its Vault.
pub const FOREDECK_VAULT: &str = "foredeck-vault";

/// The API server as a giver of tokens. One per process, so that its own audiences are asked for once; clones share them.
#[derive(Clone)]
pub struct TokenGiver {
    client: Client,
    /// Those that the API server takes tokens for.
    own: Arc<OnceCell<Vec<String>>>,
}

/// Tokens of one `ServiceAccount` for one audience.
#[derive(Clone)]
pub struct ServiceAccountTokens {
    giver: TokenGiver,
    namespace: String,
    name: String,
    audience: String,
}

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// We may not ask for one.
    #[error(
        "the API server forbids foredeck a token of the ServiceAccount {name} in the namespace {namespace}. Whoever installs \
         foredeck can allow the controller to create serviceaccounts/token for {name}"
    )]
    Forbidden {
        /// The `ServiceAccount`'s namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// There is no such `ServiceAccount`.
    #[error(
        "there is no ServiceAccount {name} in the namespace {namespace}. Whoever keeps the namespace can create it"
    )]
    Missing {
        /// The namespace.
        namespace: String,
        /// The `ServiceAccount`'s name.
        name: String,
    },
    /// A token for it would be good at the API server itself.
    #[error(
        "the audience is one of the API server's own, and a token for it would be good there too. Whoever wrote the \
         connection can name an audience that is Vault's alone, such as its address"
    )]
    OwnAudience,
    /// The API server gave a token for another audience, or for further ones.
    #[error(
        "the API server gave a token that is not for the connection's audience alone, and it goes nowhere. Whoever runs the \
         cluster can see why"
    )]
    OtherAudience,
    /// The API server doesn't answer, or not with a token.
    #[error(
        "the API server gives no token of the ServiceAccount {name} in the namespace {namespace} now. It is tried again by itself"
    )]
    NotGiven {
        /// The `ServiceAccount`'s namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A file that can't be read, or that holds none.
    #[error(
        "the file with the token for Vault can't be read, or holds none. Whoever installs foredeck can mount it"
    )]
    File,
}

impl TokenError {
    /// The fixed word for conditions, events and metrics.
    pub fn reason(&self) -> Reason {
        Reason::LoginFailed
    }
}

impl TokenGiver {
    /// By this client, which needs the right to create `serviceaccounts/token`.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            own: Arc::default(),
        }
    }

    /// Tokens of this `ServiceAccount` for this audience. Asks for nothing yet.
    pub fn tokens(&self, namespace: &str, name: &str, audience: &str) -> ServiceAccountTokens {
        ServiceAccountTokens {
            giver: self.clone(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            audience: audience.to_owned(),
        }
    }
}

impl ServiceAccountTokens {
    /// A new token, good for ten minutes and for its audience alone.
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn token(&self) -> Result<SecretString, TokenError> {
        let own = self.giver.own.get_or_try_init(|| self.own_audiences());
        if self.audience.is_empty() || own.await?.contains(&self.audience) {
            return Err(TokenError::OwnAudience);
        }
        let (token, _) = self.request(vec![self.audience.clone()]).await?;
        if audiences(&token).as_deref() == Some(std::slice::from_ref(&self.audience)) {
            Ok(SecretString::from(token.as_str()))
        } else {
            Err(TokenError::OtherAudience)
        }
    }

    /// The API server says what a token is for that is asked for without an audience; the token itself is dropped here.
    async fn own_audiences(&self) -> Result<Vec<String>, TokenError> {
        let (token, mut own) = self.request(Vec::new()).await?;
        own.extend(audiences(&token).unwrap_or_default());
        if own.is_empty() {
            return Err(self.not_given());
        }
        Ok(own)
    }

    /// A token, and the audiences that the API server says it is for.
    async fn request(
        &self,
        audiences: Vec<String>,
    ) -> Result<(Zeroizing<String>, Vec<String>), TokenError> {
        let api: Api<ServiceAccount> = Api::namespaced(self.giver.client.clone(), &self.namespace);
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: Some(audiences),
                expiration_seconds: i64::try_from(LIFE.as_secs()).ok(),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        let parameters = PostParams::default();
        let given = api.create_token_request(&self.name, &parameters, &request);
        let given = match tokio::time::timeout(DEADLINE, given).await {
            Ok(Ok(given)) => given,
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
                return Err(TokenError::Forbidden {
                    namespace: self.namespace.clone(),
                    name: self.name.clone(),
                });
            }
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => {
                return Err(TokenError::Missing {
                    namespace: self.namespace.clone(),
                    name: self.name.clone(),
                });
            }
            Ok(Err(_)) | Err(_) => return Err(self.not_given()),
        };
        let token = given.status.and_then(|status| status.token);
        let token = Zeroizing::new(token.unwrap_or_default());
        if token.is_empty() {
            return Err(self.not_given());
        }
        let audiences = given.spec.and_then(|spec| spec.audiences);
        Ok((token, audiences.unwrap_or_default()))
    }

    fn not_given(&self) -> TokenError {
        TokenError::NotGiven {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }
}

/// Whom a JSON Web Token says that it is for. Its signature is checked by whoever is shown it.
fn audiences(token: &str) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    struct Claims {
        aud: OneOrMany,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    let claims = BASE64_URL_SAFE_NO_PAD
        .decode(token.split('.').nth(1)?)
        .ok()?;
    let Claims { aud } = serde_json::from_slice(&claims).ok()?;
    Some(match aud {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}

impl fmt::Debug for ServiceAccountTokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ServiceAccountTokens")
            .field("namespace", &self.namespace)
            .field("name", &self.name)
            .field("audience", &self.audience)
            .finish_non_exhaustive()
    }
}
