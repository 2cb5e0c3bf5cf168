//! A client certificate from a PKI engine: `POST /v1/{mount}/issue/{role}`. Touches nothing by itself.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::{
    VaultSettingsError,
    settings::{is_name, is_path},
};
use crate::{api::connection::Pki, domain::renewal::Life, runtime::tls::ClientCertificate};

/// Shorter ones would be renewed all the time.
const SHORTEST: Duration = Duration::from_secs(30);

/// A certificate to ask for, checked: none of its names becomes two, and its path leads nowhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateRequest {
    pub(super) mount: String,
    pub(super) role: String,
    pub(super) common_name: String,
    pub(super) alt_names: String,
    pub(super) ip_sans: String,
    pub(super) uri_sans: String,
    /// What the role says where none is named.
    pub(super) ttl: Option<Duration>,
}

/// A certificate that Vault gave us.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The chain and its key.
    pub certificate: Arc<ClientCertificate>,
    /// How far Vault's clock was ahead of ours; zero where it didn't say.
    pub skew: SignedDuration,
    /// When we got it.
    pub since: Timestamp,
    /// Its end by our clock; its own is [`ClientCertificate::not_after`].
    pub not_after: Timestamp,
}

impl Issued {
    /// Its life by our clock.
    pub fn life(&self) -> Life {
        Life {
            since: self.since,
            until: self.not_after,
        }
    }
}

impl CertificateRequest {
    /// What a connection asks for.
    ///
    /// # Errors
    /// [`VaultSettingsError::Path`], [`VaultSettingsError::Name`] or [`VaultSettingsError::Ttl`].
    pub fn new(pki: &Pki) -> Result<Self, VaultSettingsError> {
        if !is_path(&pki.mount) || !is_name(&pki.role) {
            return Err(VaultSettingsError::Path);
        }
        let names = [&pki.alt_names, &pki.ip_sans, &pki.uri_sans];
        let mut all = std::iter::once(&pki.common_name).chain(names.into_iter().flatten());
        if all.any(|name| name.is_empty() || name.contains([',', ' '])) {
            return Err(VaultSettingsError::Name);
        }
        let ttl = pki.ttl.map(Duration::try_from).transpose();
        let ttl = ttl.map_err(|_| VaultSettingsError::Ttl)?;
        if ttl.is_some_and(|ttl| ttl < SHORTEST) {
            return Err(VaultSettingsError::Ttl);
        }
        Ok(Self {
            mount: pki.mount.clone(),
            role: pki.role.clone(),
            common_name: pki.common_name.clone(),
            alt_names: pki.alt_names.join(","),
            ip_sans: pki.ip_sans.join(","),
            uri_sans: pki.uri_sans.join(","),
            ttl,
        })
    }
}
