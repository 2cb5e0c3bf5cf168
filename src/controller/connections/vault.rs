//! A connection's Vault, as its spec names it. Touches Vault through the session, the API server for the token of a login, and
//! the clock.

use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture};
use jiff::Timestamp;
use kube::ResourceExt;

use super::material::VaultMaterial;
use crate::{
    api::{
        SpinnakerConnection,
        conditions::Reason,
        connection::{ServiceAccountLogin, VaultAuth},
        deploy_request::WaitingFor,
    },
    domain::refusal::Refusal,
    runtime::live::LiveSecret,
    secrets::{
        service_account::{FOREDECK_VAULT, TokenError, TokenGiver},
        vault::{
            CertificateRequest, Issued, JwtSource, Login, Method, VaultError, VaultSession,
            VaultSettings, VaultSettingsError, address,
        },
    },
};

/// Where a connection's certificates come from, with a session that lives as long as what it logs in with is the same.
pub(super) struct Issuer {
    session: Arc<VaultSession>,
    wanted: Arc<CertificateRequest>,
    /// Of what it logs in with.
    digest: String,
}

impl Issuer {
    /// For a connection whose certificates Vault gives. Connects to nothing yet.
    pub(super) fn new(
        connection: &SpinnakerConnection,
        vault: &VaultAuth,
        material: &VaultMaterial,
        giver: &TokenGiver,
    ) -> Result<Self, Refusal> {
        let namespace = connection.namespace().unwrap_or_default();
        let invalid = |error: VaultSettingsError| {
            Refusal::passing(
                WaitingFor::Configuration,
                Reason::ConnectionInvalid,
                format!("{error}; the connection's owner can correct spec.auth.mtls.vault."),
            )
        };
        let with_token_of_ours = |method, login: &ServiceAccountLogin, usual: &str| Login::Jwt {
            method,
            mount: login.mount.clone().unwrap_or_else(|| usual.to_owned()),
            role: login.role.clone(),
            token: JwtSource::ServiceAccount(giver.tokens(
                &namespace,
                FOREDECK_VAULT,
                &login.audience,
            )),
        };
        let login = match (&vault.login.kubernetes, &vault.login.jwt) {
            (Some(login), _) => with_token_of_ours(Method::Kubernetes, login, "kubernetes"),
            (None, Some(login)) => with_token_of_ours(Method::Jwt, login, "jwt"),
            (None, None) => Login::Token(LiveSecret::fixed(
                material.token.clone().unwrap_or_default(),
            )),
        };
        let settings = VaultSettings {
            address: address(&vault.address).map_err(invalid)?,
            namespace: vault.namespace.clone(),
            trust: material.trust.clone(),
            login,
        };
        let session = VaultSession::new(settings, Timestamp::now).map_err(invalid)?;
        Ok(Self {
            session: Arc::new(session),
            wanted: Arc::new(CertificateRequest::new(&vault.pki).map_err(invalid)?),
            digest: material.digest.clone(),
        })
    }

    /// Whether it logs in with this.
    pub(super) fn is_of(&self, material: &VaultMaterial) -> bool {
        self.digest == material.digest
    }

    /// Asks for a certificate.
    pub(super) fn issue(&self) -> BoxFuture<'static, Result<Issued, VaultError>> {
        let (session, wanted) = (Arc::clone(&self.session), Arc::clone(&self.wanted));
        async move { session.issue(&wanted).await }.boxed()
    }
}

/// Vault's error, as what a request waits for.
pub(super) fn refusal(error: &VaultError) -> Refusal {
    let waiting_for = match error {
        // It passes: nobody's configuration keeps the API server from answering.
        VaultError::Token(TokenError::NotGiven { .. }) => WaitingFor::Spinnaker,
        error if error.reason() == Reason::VaultUnreachable => WaitingFor::Spinnaker,
        _ => WaitingFor::Configuration,
    };
    Refusal::passing(waiting_for, error.reason(), error.sentence())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_somebody_can_configure_waits_for_configuration() {
        let (namespace, name) = ("shop".to_owned(), FOREDECK_VAULT.to_owned());
        let missing = TokenError::Missing {
            namespace: namespace.clone(),
            name: name.clone(),
        };
        let silent = TokenError::NotGiven { namespace, name };
        for (error, expected) in [
            (VaultError::Sealed, WaitingFor::Spinnaker),
            (VaultError::Token(silent), WaitingFor::Spinnaker),
            (VaultError::Token(missing), WaitingFor::Configuration),
        ] {
            let refusal = refusal(&error);
            assert_eq!(refusal.waiting_for, Some(expected), "{error}");
        }
    }
}
