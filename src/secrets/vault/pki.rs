//! A client certificate from a PKI engine: `POST /v1/{mount}/issue/{role}`. Touches nothing by itself.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde::Deserialize;
use vaultrs::api::pki::requests::GenerateCertificateRequest;

use super::{
    VaultError, VaultSettingsError,
    caller::Answer,
    clock,
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
    pub ends: Timestamp,
}

/// What Vault says of it, as far as we need it.
#[derive(Deserialize)]
struct Given {
    certificate: String,
    /// The authorities over it.
    #[serde(default)]
    ca_chain: Option<Vec<String>>,
    #[serde(deserialize_with = "secret")]
    private_key: SecretString,
}

#[derive(Deserialize)]
struct WithData {
    data: Given,
}

fn secret<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}

/// The certificate in Vault's answer.
pub(super) fn read(answer: &Answer, place: &str) -> Result<ClientCertificate, VaultError> {
    let missing = |what| VaultError::NotFound {
        place: place.to_owned(),
        what,
    };
    match answer.status() {
        200..=208 => {}
        400 if answer.says(&["unknown role"]) => {
            return Err(missing("the engine has no role of that name"));
        }
        404 => return Err(missing("no PKI engine is mounted there")),
        _ => {
            return Err(VaultError::RequestRefused {
                place: place.to_owned(),
            });
        }
    }
    let given = answer.read::<WithData>()?.data;
    let mut chain = given.certificate;
    for authority in given.ca_chain.unwrap_or_default() {
        chain.push('\n');
        chain.push_str(&authority);
    }
    ClientCertificate::from_pem(chain.as_bytes(), &given.private_key)
        .map_err(|_| VaultError::Useless("it can't be read, or its key is another one's"))
}

impl Issued {
    /// With its end by our clock.
    pub(super) fn new(
        certificate: ClientCertificate,
        since: Timestamp,
        skew: SignedDuration,
    ) -> Result<Self, VaultError> {
        let ends = clock::end(certificate.not_after(), skew);
        if ends <= since {
            return Err(VaultError::Useless("it has ended already"));
        }
        Ok(Self {
            certificate: Arc::new(certificate),
            skew,
            since,
            ends,
        })
    }

    /// Its life by our clock.
    pub fn life(&self) -> Life {
        Life {
            since: self.since,
            until: self.ends,
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
        let negative = pki.ttl.is_some_and(|ttl| ttl.is_negative());
        if negative || ttl.is_some_and(|ttl| ttl < SHORTEST) {
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

    /// Where it is asked for.
    pub(super) fn place(&self) -> String {
        format!("{}/issue/{}", self.mount, self.role)
    }

    /// How it is asked for.
    pub(super) fn endpoint(&self) -> GenerateCertificateRequest {
        let some = |names: &String| (!names.is_empty()).then(|| names.clone());
        GenerateCertificateRequest {
            mount: self.mount.clone(),
            role: self.role.clone(),
            common_name: Some(self.common_name.clone()),
            alt_names: some(&self.alt_names),
            ip_sans: some(&self.ip_sans),
            uri_sans: some(&self.uri_sans),
            ttl: self.ttl.map(|ttl| format!("{}s", ttl.as_secs())),
            // Whoever is shown the chain has the root, or doesn't trust it.
            remove_roots_from_chain: Some(true),
            ..GenerateCertificateRequest::default()
        }
    }
}
