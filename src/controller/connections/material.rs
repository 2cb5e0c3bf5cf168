//! What a connection's spec and Secrets give us to log in with, as they are now. Touches the API server (Secrets).

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use super::secret::Secrets;
use crate::{
    api::{
        SpinnakerConnection,
        conditions::Reason,
        connection::{self, Auth, VaultAuth},
        deploy_request::WaitingFor,
    },
    domain::{ids, refusal::Refusal},
    runtime::tls::{CertificateError, ClientCertificate, Trust},
    spinnaker::Credentials,
};

/// What there is to log in with.
pub(super) struct Material {
    /// Whom we take for Gate.
    pub trust: Trust,
    /// How we log in to it, [`Credentials::None`] where Vault gives the certificate.
    pub credentials: Credentials,
    /// Tells this from what was read before.
    pub digest: String,
    /// What there is to log in to Vault with, where it gives the certificate. What is wrong here takes nothing away from a
    /// certificate that Vault gave already.
    pub vault: Option<Result<VaultMaterial, Refusal>>,
}

/// What there is to log in to Vault with.
pub(super) struct VaultMaterial {
    /// Whom we take for Vault.
    pub trust: Trust,
    /// The token, where one from a Secret is used.
    pub token: Option<SecretString>,
    /// Tells this from what was read before.
    pub digest: String,
}

/// Tells texts from others, and keeps no copy of them.
fn digest(texts: &[&str]) -> String {
    texts
        .iter()
        .map(|text| ids::sha256(text.as_bytes()))
        .collect::<Vec<_>>()
        .join(" ")
}

impl Material {
    /// Reads it.
    pub(super) async fn read(
        connection: &SpinnakerConnection,
        secrets: &Secrets,
    ) -> Result<Self, Refusal> {
        let spec = &connection.spec;
        let (trust, anchors) = trust(secrets, spec.tls.as_ref(), "spec.tls").await?;
        let (credentials, shown) = match &spec.auth {
            None => (Credentials::None, String::new()),
            Some(auth) => credentials(secrets, auth).await?,
        };
        let vault = spec.auth.as_ref().and_then(|auth| auth.mtls.as_ref());
        let vault = match vault.and_then(|mtls| mtls.vault.as_ref()) {
            None => None,
            Some(vault) => match VaultMaterial::read(vault, secrets).await {
                // Not to be told from an old one that still holds.
                Err(refusal) if refusal.waiting_for == Some(WaitingFor::Spinnaker) => {
                    return Err(refusal);
                }
                read => Some(read),
            },
        };
        Ok(Self {
            trust,
            credentials,
            digest: digest(&[&anchors, &shown]),
            vault,
        })
    }
}

impl VaultMaterial {
    async fn read(vault: &VaultAuth, secrets: &Secrets) -> Result<Self, Refusal> {
        let (trust, anchors) =
            trust(secrets, vault.tls.as_ref(), "spec.auth.mtls.vault.tls").await?;
        let token = match &vault.login.token {
            None => None,
            Some(login) => {
                let secret = secrets.read(&login.secret_name).await?;
                let token = secret.text(&login.key)?;
                if token.expose_secret().is_empty() {
                    return Err(secret.unusable(&format!("holds nothing under {:?}", login.key)));
                }
                Some(token)
            }
        };
        let shown = token.as_ref().map_or("", |token| token.expose_secret());
        Ok(Self {
            digest: digest(&[&anchors, shown]),
            trust,
            token,
        })
    }
}

/// Whom to trust, and the text that says so.
async fn trust(
    secrets: &Secrets,
    tls: Option<&connection::Trust>,
    field: &str,
) -> Result<(Trust, String), Refusal> {
    let Some(tls) = tls else {
        return Ok((Trust::Machine, String::new()));
    };
    if let Some(reference) = &tls.ca_secret_ref {
        let secret = secrets.read(&reference.name).await?;
        let text = secret.text(&reference.key)?;
        let text = text.expose_secret();
        return match Trust::from_pem(text.as_bytes()) {
            Ok(trust) => Ok((trust, text.to_owned())),
            Err(_) => Err(secret.unusable(&format!(
                "has no PEM certificates under {:?} that can all be read",
                reference.key
            ))),
        };
    }
    let text = tls.ca_bundle.as_deref().unwrap_or_default();
    match Trust::from_pem(text.as_bytes()) {
        Ok(trust) => Ok((trust, text.to_owned())),
        Err(_) => Err(Refusal::passing(
            WaitingFor::Configuration,
            Reason::CredentialsInvalid,
            format!(
                "{field}.caBundle holds no PEM certificates that can all be read; the connection's owner can correct it."
            ),
        )),
    }
}

/// How to log in to Gate, and a digest by which a change is seen.
async fn credentials(secrets: &Secrets, auth: &Auth) -> Result<(Credentials, String), Refusal> {
    if let Some(basic) = &auth.basic {
        let secret = secrets.read(&basic.secret_name).await?;
        let (username, password) = (secret.text("username")?, secret.text("password")?);
        let digest = digest(&[username.expose_secret(), password.expose_secret()]);
        let username = username.expose_secret().to_owned();
        let credentials = Credentials::Basic { username, password };
        return Ok((credentials, digest));
    }
    if let Some(token) = &auth.token {
        let secret = secrets.read(&token.secret_name).await?;
        let value = secret.text(&token.key)?;
        let digest = digest(&[value.expose_secret()]);
        let header = token.header.clone();
        return Ok((Credentials::Token { header, value }, digest));
    }
    let named = auth
        .mtls
        .as_ref()
        .and_then(|mtls| mtls.secret_name.as_ref());
    let Some(name) = named else {
        return Ok((Credentials::None, String::new()));
    };
    let secret = secrets.read(name).await?;
    let (chain, key) = (secret.text("tls.crt")?, secret.text("tls.key")?);
    let digest = digest(&[chain.expose_secret(), key.expose_secret()]);
    let certificate = ClientCertificate::from_pem(chain.expose_secret().as_bytes(), &key);
    match certificate {
        Ok(certificate) => Ok((Credentials::Certificate(Arc::new(certificate)), digest)),
        Err(CertificateError::Certificate) => {
            Err(secret.unusable("has no certificate under \"tls.crt\" that can be read"))
        }
        Err(CertificateError::Key) => {
            Err(secret.unusable("has no private key under \"tls.key\" that can be read"))
        }
        Err(CertificateError::Mismatch) => Err(secret.unusable(
            "has a private key under \"tls.key\" that is not that of the certificate under \"tls.crt\"",
        )),
    }
}
