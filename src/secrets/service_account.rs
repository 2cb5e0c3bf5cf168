//! Tokens of a named `ServiceAccount`, each for one audience that is never the API server's own: who gets one can show it
//! nowhere else. Touches the API server (`TokenRequest`s).

use std::sync::Arc;

use kube::Client;
use secrecy::SecretString;
use tokio::sync::OnceCell;

use crate::api::conditions::Reason;

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
        let _ = (&self.giver.client, &self.giver.own, &self.audience);
        todo!()
    }
}

impl std::fmt::Debug for ServiceAccountTokens {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ServiceAccountTokens")
            .field("namespace", &self.namespace)
            .field("name", &self.name)
            .field("audience", &self.audience)
            .finish_non_exhaustive()
    }
}
