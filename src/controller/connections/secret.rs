//! The Secrets of a connection's namespace, and what is wrong with one, in words for people. Touches the API server.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{Api, Client};
use secrecy::{SecretString, zeroize::Zeroize};

use crate::{
    api::{conditions::Reason, deploy_request::WaitingFor},
    controller::{error::ControllerError, objects::within},
    domain::refusal::Refusal,
};

/// The Secrets that one connection may name: those of its own namespace.
#[derive(Clone)]
pub(super) struct Secrets {
    client: Client,
    namespace: String,
}

/// One Secret, as it is now.
pub(super) struct Content {
    name: String,
    data: BTreeMap<String, ByteString>,
}

impl Secrets {
    pub(super) fn new(client: Client, namespace: &str) -> Self {
        Self {
            client,
            namespace: namespace.to_owned(),
        }
    }

    /// Reads one. [`WaitingFor::Spinnaker`] in the refusal means that the API server did not say anything of it: what was
    /// known before may still hold.
    pub(super) async fn read(&self, name: &str) -> Result<Content, Refusal> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let missing = |what: &str| refusal(Reason::CredentialsNotFound, name, what);
        let secret = within("read a Secret", api.get_opt(name))
            .await
            .map_err(|error| match error {
                ControllerError::Api { source, .. } if is_forbidden(&source) => {
                    forbidden(name, &self.namespace)
                }
                _ => Refusal {
                    waiting_for: Some(WaitingFor::Spinnaker),
                    ..missing("can't be read now, since the API server does not answer")
                },
            })?
            .ok_or_else(|| missing("does not exist"))?;
        Ok(Content {
            name: name.to_owned(),
            data: secret.data.unwrap_or_default(),
        })
    }
}

impl Content {
    /// What stands under a key, which has to be text; without the line end that files tend to have.
    pub(super) fn text(&self, key: &str) -> Result<SecretString, Refusal> {
        let (reason, what) = match self.data.get(key) {
            None => (Reason::CredentialsNotFound, format!("has no key {key:?}")),
            Some(value) => match std::str::from_utf8(&value.0) {
                Ok(text) => return Ok(SecretString::from(text.trim_end_matches(['\r', '\n']))),
                Err(_) => (
                    Reason::CredentialsInvalid,
                    format!("holds no text under {key:?}"),
                ),
            },
        };
        Err(refusal(reason, &self.name, &what))
    }

    /// What stands under a key can't be used.
    pub(super) fn unusable(&self, what: &str) -> Refusal {
        refusal(Reason::CredentialsInvalid, &self.name, what)
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        for value in self.data.values_mut() {
            value.0.zeroize();
        }
    }
}

/// What is wrong with a Secret, and who can mend it.
fn refusal(reason: Reason, name: &str, what: &str) -> Refusal {
    Refusal::passing(
        WaitingFor::Configuration,
        reason,
        format!(
            "Secret {name:?} {what}; the connection's owner can mend it, or name another in the connection."
        ),
    )
}

/// The connection may be as it should: whoever keeps the rights gives one by what the command prints.
fn forbidden(name: &str, namespace: &str) -> Refusal {
    Refusal::passing(
        WaitingFor::Configuration,
        Reason::CredentialsNotFound,
        format!(
            "Secret {name:?} can't be read by the controller, since no Role in namespace {namespace:?} names it for it; \
             whoever may make Roles there has `foredeck doctor --print-rbac --namespace {namespace} --home-namespace …` print one, \
             with foredeck's own namespace at the end. It is to be read before it is applied: the connections choose its names."
        ),
    )
}

/// Not that the API server doesn't know us just now (401): that says nothing of the Secret, and takes no login away.
fn is_forbidden(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 403)
}
