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
pub struct TokenGiver(Arc<Giver>);

struct Giver {
    client: Client,
    /// Those that the API server takes tokens for.
    own: OnceCell<Vec<String>>,
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
        "the audience is one of the API server's own, and a token for it would be good there too. Whoever configures this can \
         name an audience that is Vault's alone, such as its address"
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
        Self(Arc::new(Giver {
            client,
            own: OnceCell::new(),
        }))
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
        let own = self.giver.0.own.get_or_try_init(|| self.own_audiences());
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
        let api: Api<ServiceAccount> =
            Api::namespaced(self.giver.0.client.clone(), &self.namespace);
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use axum::{Json, Router};
    use secrecy::ExposeSecret;
    use serde_json::{Value, json};
    use tokio::net::TcpListener;

    use super::*;

    const OWN: &str = "https://kubernetes.default.svc";

    fn jwt(claims: &Value) -> String {
        let claims = BASE64_URL_SAFE_NO_PAD.encode(claims.to_string());
        format!("e30.{claims}.hush")
    }

    async fn giver(app: Router) -> TokenGiver {
        crate::runtime::tls::install();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async { axum::serve(listener, app).await });
        let config = kube::Config::new(address.parse().unwrap());
        TokenGiver::new(Client::try_from(crate::runtime::client::bounded(config)).unwrap())
    }

    /// An API server whose tokens for an audience make these claims, and the audiences that it was asked for.
    async fn api_server(claims: Value) -> (TokenGiver, Arc<Mutex<Vec<Value>>>) {
        let asked: Arc<Mutex<Vec<Value>>> = Arc::default();
        let log = Arc::clone(&asked);
        let app = Router::new().fallback(move |Json(mut request): Json<Value>| {
            let audiences = request["spec"]["audiences"].clone();
            let none = audiences.as_array().is_none_or(Vec::is_empty);
            log.lock().unwrap().push(request["spec"].take());
            let token = if none {
                jwt(&json!({"aud": [OWN]}))
            } else {
                jwt(&claims)
            };
            let audiences = if none { json!([OWN, "api"]) } else { audiences };
            request["spec"] = json!({"audiences": audiences});
            request["status"] =
                json!({"token": token, "expirationTimestamp": "2030-01-01T00:00:00Z"});
            async { Json(request) }
        });
        (giver(app).await, asked)
    }

    #[tokio::test]
    async fn a_token_is_for_one_audience_and_the_servers_own_are_asked_for_once() {
        let (giver, asked) = api_server(json!({"aud": ["vault"]})).await;
        for namespace in ["shop", "shop", "other"] {
            let tokens = giver.tokens(namespace, FOREDECK_VAULT, "vault");
            let token = tokens.token().await.unwrap();
            assert_eq!(token.expose_secret(), jwt(&json!({"aud": ["vault"]})));
            assert!(!format!("{tokens:?} {token:?}").contains("hush"));
        }
        let spec = |audiences: Value| json!({"audiences": audiences, "expirationSeconds": 600});
        let vault = spec(json!(["vault"]));
        let expected = [spec(json!([])), vault.clone(), vault.clone(), vault];
        assert_eq!(*asked.lock().unwrap(), expected);
    }

    #[tokio::test]
    async fn an_audience_of_the_api_server_is_never_asked_for() {
        let (giver, asked) = api_server(json!({"aud": [OWN]})).await;
        for audience in [OWN, "api", ""] {
            let tokens = giver.tokens("shop", FOREDECK_VAULT, audience);
            let error = tokens.token().await.unwrap_err();
            assert_eq!(error, TokenError::OwnAudience, "{audience}");
        }
        assert!(asked.lock().unwrap().len() <= 1);
    }

    #[tokio::test]
    async fn a_token_that_is_good_elsewhere_goes_nowhere() {
        for claims in [
            json!({"aud": ["vault", OWN]}),
            json!({"aud": ["other"]}),
            json!({"aud": []}),
            json!({"aud": OWN}),
            json!({"aud": 7}),
            json!({}),
            json!([]),
        ] {
            let (giver, _) = api_server(claims.clone()).await;
            let error = giver.tokens("shop", FOREDECK_VAULT, "vault").token().await;
            assert_eq!(error.unwrap_err(), TokenError::OtherAudience, "{claims}");
        }
        let (giver, _) = api_server(json!({"aud": "vault"})).await;
        let tokens = giver.tokens("shop", FOREDECK_VAULT, "vault");
        assert!(tokens.token().await.is_ok());
    }

    #[tokio::test]
    async fn an_api_server_that_says_nothing_of_its_own_audiences_gives_no_token() {
        for answer in [
            json!({"metadata": {}, "spec": {"audiences": []}, "status": {"token": "hush"}}),
            json!({"metadata": {}, "spec": {"audiences": [OWN]}}),
            json!("?"),
        ] {
            let app = Router::new().fallback(async move || Json(answer));
            let tokens = giver(app).await.tokens("shop", FOREDECK_VAULT, "vault");
            let error = tokens.token().await.unwrap_err();
            assert!(matches!(error, TokenError::NotGiven { .. }), "{error:?}");
        }
    }

    #[tokio::test]
    async fn an_api_server_that_stands_still_is_waited_for_ten_seconds() {
        let app = Router::new().fallback(std::future::pending::<()>);
        let tokens = giver(app).await.tokens("shop", FOREDECK_VAULT, "vault");
        tokio::time::pause();
        let began = tokio::time::Instant::now();
        let error = tokens.token().await.unwrap_err();
        assert!(matches!(error, TokenError::NotGiven { .. }), "{error:?}");
        assert!(
            began.elapsed() < Duration::from_secs(11),
            "{:?}",
            began.elapsed()
        );
    }
}
