//! The Secret that an Application's repository names: read again now and then, and at once where its login is refused. Touches
//! the API server.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{Api, Client};
use moka::future::Cache;
use secrecy::{SecretString, zeroize::Zeroize};

use super::GitError;

/// The key of a Secret that holds a token.
pub const TOKEN: &str = "token";
/// The key of a Secret that holds a GitHub App's id, or its client id.
pub const APP_ID: &str = "app-id";
/// The key of a Secret that holds a GitHub App's private key, PEM.
pub const PRIVATE_KEY: &str = "private-key";
/// The key of a Secret that says where a GitHub App is installed; may be left out.
pub const INSTALLATION_ID: &str = "installation-id";

/// How long what a Secret holds is believed.
const AGE: Duration = Duration::from_secs(30);
/// How long it is believed that a Secret can't be read: shorter, since somebody is about to mend it.
const REFUSED: Duration = Duration::from_secs(3);
/// How long the API server may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// Secrets remembered at most.
const SECRETS: u64 = 10_000;

/// What a repository's host is shown.
pub(super) enum Credentials {
    /// Nothing.
    None,
    /// A token of somebody's.
    Token(SecretString),
    /// A GitHub App.
    App {
        /// Its id, or its client id.
        id: String,
        /// Its private key, PEM.
        key: SecretString,
        /// Where it is installed; the host is asked where that isn't said.
        installation: Option<u64>,
    },
}

/// A Secret as it was read.
pub(super) struct Held {
    /// Changes with the Secret.
    pub(super) version: String,
    pub(super) credentials: Credentials,
}

/// The Secrets of all namespaces, as far as they are asked for.
#[derive(Clone)]
pub(super) struct Secrets {
    client: Client,
    held: Cache<(String, String), Arc<Held>>,
    /// Why one can't be read.
    refused: Cache<(String, String), GitError>,
}

/// One Secret, or that there is none.
#[derive(Clone)]
pub(super) struct Keyring {
    secrets: Secrets,
    namespace: String,
    name: Option<String>,
}

impl Secrets {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            held: Cache::builder()
                .max_capacity(SECRETS)
                .time_to_live(AGE)
                .build(),
            refused: Cache::builder()
                .max_capacity(SECRETS)
                .time_to_live(REFUSED)
                .build(),
        }
    }

    pub(super) fn keyring(&self, namespace: &str, name: Option<&str>) -> Keyring {
        Keyring {
            secrets: self.clone(),
            namespace: namespace.to_owned(),
            name: name.map(str::to_owned),
        }
    }
}

impl Keyring {
    /// What the Secret holds, read at most 30 s ago; or why it couldn't be read at most 3 s ago.
    pub(super) async fn current(&self) -> Result<Arc<Held>, GitError> {
        let Some(name) = &self.name else {
            return Ok(Arc::new(Held {
                version: String::new(),
                credentials: Credentials::None,
            }));
        };
        let key = (self.namespace.clone(), name.clone());
        if let Some(error) = self.secrets.refused.get(&key).await {
            return Err(error);
        }
        let reading = self.read(name);
        let read = self.secrets.held.try_get_with(key.clone(), reading).await;
        match read {
            Ok(held) => Ok(held),
            Err(error) => {
                let error = GitError::clone(&error);
                self.secrets.refused.insert(key, error.clone()).await;
                Err(error)
            }
        }
    }

    /// What it holds now, where that isn't what was refused.
    pub(super) async fn another_than(&self, version: &str) -> Result<Option<Arc<Held>>, GitError> {
        let Some(name) = &self.name else {
            return Ok(None);
        };
        let key = (self.namespace.clone(), name.clone());
        let known = self.secrets.held.get(&key).await;
        if known.is_none_or(|known| known.version == version) {
            self.secrets.held.invalidate(&key).await;
        }
        let now = self.current().await?;
        Ok((now.version != version).then_some(now))
    }

    async fn read(&self, name: &str) -> Result<Arc<Held>, GitError> {
        let api: Api<Secret> = Api::namespaced(self.secrets.client.clone(), &self.namespace);
        let namespace = &self.namespace;
        let told = |message: String| GitError::Credentials { message };
        let silent = || {
            told(format!(
                "Secret {name:?} of namespace {namespace:?} can't be read now, since the API server doesn't answer"
            ))
        };
        let read = tokio::time::timeout(DEADLINE, api.get_opt(name)).await;
        let mut secret = match read.map_err(|_| silent())? {
            Ok(Some(secret)) => secret,
            Ok(None) => {
                return Err(told(format!(
                    "Secret {name:?}, which the Application's spec.repository names, does not exist in namespace {namespace:?}"
                )));
            }
            Err(kube::Error::Api(status)) if status.code == 403 => {
                return Err(told(format!(
                    "Secret {name:?} can't be read by foredeck, since no Role in namespace {namespace:?} names it; \
                     `foredeck doctor --print-rbac` prints one for whoever may make Roles there"
                )));
            }
            Err(_) => return Err(silent()),
        };
        let version = format!(
            "{}/{}",
            secret.metadata.uid.take().unwrap_or_default(),
            secret.metadata.resource_version.take().unwrap_or_default()
        );
        let data = Data(secret.data.take().unwrap_or_default());
        let wrong = |what: &str| told(format!("Secret {name:?} of namespace {namespace:?} {what}"));
        let credentials = data.credentials().map_err(wrong)?;
        Ok(Arc::new(Held {
            version,
            credentials,
        }))
    }
}

struct Data(std::collections::BTreeMap<String, ByteString>);

impl Data {
    fn credentials(&self) -> Result<Credentials, &'static str> {
        if let Some(token) = self.text(TOKEN)? {
            return if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                Err("holds no token under \"token\"")
            } else {
                Ok(Credentials::Token(SecretString::from(token)))
            };
        }
        let (Some(id), Some(key)) = (self.text(APP_ID)?, self.text(PRIVATE_KEY)?) else {
            return Err("has neither a key \"token\" nor the keys \"app-id\" and \"private-key\"");
        };
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if id.is_empty() || !id.bytes().all(fits) {
            return Err("holds no app's id under \"app-id\"");
        }
        let installation = match self.text(INSTALLATION_ID)? {
            None => None,
            Some(number) => Some(
                number
                    .parse()
                    .map_err(|_| "holds no number under \"installation-id\"")?,
            ),
        };
        Ok(Credentials::App {
            id: id.to_owned(),
            key: SecretString::from(key),
            installation,
        })
    }

    fn text(&self, key: &str) -> Result<Option<&str>, &'static str> {
        let Some(value) = self.0.get(key) else {
            return Ok(None);
        };
        std::str::from_utf8(&value.0)
            .map(|text| Some(text.trim()))
            .map_err(|_| "holds something that isn't text")
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        for value in self.0.values_mut() {
            value.0.zeroize();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::{Json, Router, http::StatusCode};
    use serde_json::json;

    use super::*;

    fn credentials(entries: &[(&str, &str)]) -> Result<Credentials, &'static str> {
        let entry = |(key, value): &(&str, &str)| {
            ((*key).to_owned(), ByteString(value.as_bytes().to_vec()))
        };
        Data(entries.iter().map(entry).collect()).credentials()
    }

    #[tokio::test]
    async fn who_types_on_does_not_ask_again_for_a_secret_that_is_not_there() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let router = Router::new().fallback(async move || {
            counted.fetch_add(1, Ordering::SeqCst);
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404,
            });
            (StatusCode::NOT_FOUND, Json(status))
        });
        let secrets = Secrets::new(Client::new(router, "default"));
        let keyring = secrets.keyring("harbor", Some("none"));
        let first = keyring.current().await.err();
        assert!(first.is_some());
        for _ in 0..5 {
            assert_eq!(keyring.current().await.err(), first);
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_secret_holds_a_token_or_an_app() {
        let token = credentials(&[("token", "ghp_x\n"), ("app-id", "7")]);
        assert!(matches!(token, Ok(Credentials::Token(_))));
        let app = [
            ("app-id", "7\n"),
            ("private-key", "PEM"),
            ("installation-id", "8"),
        ];
        let Ok(Credentials::App {
            id, installation, ..
        }) = credentials(&app)
        else {
            panic!("no app");
        };
        assert_eq!((id.as_str(), installation), ("7", Some(8)));
        for wrong in [
            &[][..],
            &[("token", "")],
            &[("token", "a b")],
            &[("app-id", "7")],
            &[("private-key", "PEM")],
            &[("app-id", "7\"x"), ("private-key", "PEM")],
            &[
                ("app-id", "7"),
                ("private-key", "PEM"),
                ("installation-id", "x"),
            ],
        ] {
            assert!(credentials(wrong).is_err(), "{wrong:?}");
        }
    }
}
