//! Certificates as a test wants them: an authority of its own, and what it issues to servers and clients, expired ones too.
//! Touches the clock, and nothing else.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ServerConfig, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// How far back certificates start, for a clock that is a little behind; as Vault does it.
const BACK: Duration = Duration::from_secs(30);

const DAY: Duration = Duration::from_hours(24);

/// What stands in the certificates of servers, unless told otherwise.
const HERE: [&str; 2] = ["127.0.0.1", "localhost"];

/// An authority: a root, or one below another.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// Of itself and those above it up to the root, which stays out; empty for a root.
    above: String,
}

/// From when until when something is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first moment.
    pub not_before: SystemTime,
    /// The last moment.
    pub not_after: SystemTime,
}

/// A certificate with its chain, and its key. The key is not printed.
#[derive(Clone)]
pub struct Issued {
    /// PEM: the certificate, and those of the authorities above it but for the root.
    pub chain_pem: String,
    /// PEM: PKCS #8.
    pub key_pem: String,
}

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Its serial number: hexadecimal pairs with colons between them.
    pub serial: String,
    /// The subject's common name.
    pub common_name: Option<String>,
    /// The first e-mail address among the alternative names.
    pub email: Option<String>,
}

impl Validity {
    /// From half a minute ago until this much later than now.
    pub fn lasting(time: Duration) -> Self {
        let now = SystemTime::now();
        Self {
            not_before: now - BACK,
            not_after: now + time,
        }
    }

    /// A day that ended an hour ago.
    pub fn expired() -> Self {
        Self::lasting(DAY).shifted(-25 * 3600)
    }

    /// A day that begins in an hour.
    pub fn not_yet() -> Self {
        Self::lasting(DAY).shifted(3600 + 30)
    }

    /// The same by a clock that is so many seconds ahead, or behind if negative.
    #[must_use]
    pub fn shifted(self, seconds: i64) -> Self {
        let by = Duration::from_secs(seconds.unsigned_abs());
        let shift = |time: SystemTime| if seconds < 0 { time - by } else { time + by };
        Self {
            not_before: shift(self.not_before),
            not_after: shift(self.not_after),
        }
    }
}

impl Authority {
    /// A root with a fresh key, good for a day.
    pub fn new(name: &str) -> Result<Self> {
        let issuer = CertifiedIssuer::self_signed(authority(name), KeyPair::generate()?)?;
        Ok(Self {
            issuer,
            above: String::new(),
        })
    }

    /// An authority below this one. What it issues brings its certificate along.
    pub fn intermediate(&self, name: &str) -> Result<Self> {
        let key = KeyPair::generate()?;
        let issuer = CertifiedIssuer::signed_by(authority(name), key, &self.issuer)?;
        let above = format!("{}{}", issuer.pem(), self.above);
        Ok(Self { issuer, above })
    }

    /// Its own certificate, in PEM: what one trusts who trusts it.
    pub fn ca_pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for a server on 127.0.0.1 and localhost, good for a day.
    pub fn server(&self) -> Result<Issued> {
        self.server_with(&HERE, Validity::lasting(DAY))
    }

    /// A certificate for a server at these names or addresses.
    pub fn server_with(&self, names: &[&str], validity: Validity) -> Result<Issued> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let common_name = names.first().cloned().unwrap_or_default();
        let mut params = CertificateParams::new(names)?;
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        self.issue(params, ExtendedKeyUsagePurpose::ServerAuth, validity)
    }

    /// A certificate for a client of this common name, good for a day.
    pub fn client(&self, common_name: &str) -> Result<Issued> {
        self.client_with(common_name, None, Validity::lasting(DAY))
    }

    /// A certificate for a client, with an e-mail address among its alternative names if one is given.
    pub fn client_with(
        &self,
        common_name: &str,
        email: Option<&str>,
        validity: Validity,
    ) -> Result<Issued> {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        if let Some(email) = email {
            params
                .subject_alt_names
                .push(SanType::Rfc822Name(email.try_into()?));
        }
        self.issue(params, ExtendedKeyUsagePurpose::ClientAuth, validity)
    }

    /// A certificate for a client with this serial number, whatever its length.
    pub fn client_numbered(&self, common_name: &str, serial: &[u8]) -> Result<Issued> {
        let mut params = CertificateParams::default();
        params.serial_number = Some(SerialNumber::from_slice(serial));
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        let validity = Validity::lasting(DAY);
        self.issue(params, ExtendedKeyUsagePurpose::ClientAuth, validity)
    }

    fn issue(
        &self,
        mut params: CertificateParams,
        usage: ExtendedKeyUsagePurpose,
        validity: Validity,
    ) -> Result<Issued> {
        params.not_before = validity.not_before.into();
        params.not_after = validity.not_after.into();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued {
            chain_pem: format!("{}{}", certificate.pem(), self.above),
            key_pem: key.serialize_pem(),
        })
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Authority").finish_non_exhaustive()
    }
}

fn authority(name: &str) -> CertificateParams {
    let validity = Validity::lasting(DAY);
    let mut params = CertificateParams::default();
    params.not_before = (validity.not_before - DAY).into();
    params.not_after = (validity.not_after + DAY).into();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
    ];
    params
}

impl Issued {
    /// What the certificate says.
    pub fn subject(&self) -> Result<Subject> {
        let certificate = CertificateDer::from_pem_slice(self.chain_pem.as_bytes())?;
        Subject::of(&certificate)
    }

    /// The certificate with another one's key, which is good for nothing.
    #[must_use]
    pub fn with_key_of(&self, other: &Self) -> Self {
        Self {
            chain_pem: self.chain_pem.clone(),
            key_pem: other.key_pem.clone(),
        }
    }

    /// How a server speaks TLS with it. With a bundle of authorities it wants a certificate of one of them from every
    /// client, on every connection: no session is resumed, so that none outlasts a change of what it trusts.
    ///
    /// Whether the key is the certificate's is not looked at: a test may want to see what comes of that.
    pub(crate) fn server_config(&self, clients: Option<&str>) -> Result<Arc<ServerConfig>> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let chain = certificates(&self.chain_pem)?;
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes())?;
        let key = CertifiedKey::new(chain, aws_lc_rs::sign::any_supported_type(&key)?);
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let config = match clients {
            None => config.with_no_client_auth(),
            Some(bundle) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(bundle)? {
                    roots.add(certificate)?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                config.with_client_cert_verifier(verifier?)
            }
        };
        let mut config = config.with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Issued")
            .field("subject", &self.subject().ok())
            .finish_non_exhaustive()
    }
}

impl Subject {
    /// Reads a certificate.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Result<Self> {
        let (_, parsed) =
            X509Certificate::from_der(certificate).context("no certificate that can be read")?;
        let common_name = parsed.subject().iter_common_name().next();
        let names = parsed.subject_alternative_name()?;
        let email = names.and_then(|names| {
            let mut names = names.value.general_names.iter();
            names.find_map(|name| match name {
                GeneralName::RFC822Name(email) => Some((*email).to_owned()),
                _ => None,
            })
        });
        Ok(Self {
            serial: parsed.raw_serial_as_string(),
            common_name: common_name
                .and_then(|name| name.as_str().ok())
                .map(str::to_owned),
            email,
        })
    }

    /// Whom Gate takes its holder for: the e-mail address, else the common name.
    pub fn principal(&self) -> Option<&str> {
        self.email.as_deref().or(self.common_name.as_deref())
    }
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .context("no certificates that can be read")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_known_by_its_e_mail_address_and_else_by_its_common_name() {
        let root = Authority::new("Root").unwrap();
        let plain = root.client("foredeck").unwrap().subject().unwrap();
        assert_eq!(plain.principal(), Some("foredeck"));
        let with_email = root
            .client_with("x", Some("foredeck@corp.example"), Validity::expired())
            .unwrap();
        let subject = with_email.subject().unwrap();
        assert_eq!(subject.principal(), Some("foredeck@corp.example"));
        assert_ne!(subject.serial, plain.serial);
        let printed = format!("{root:?} {with_email:?}");
        assert!(!printed.contains("PRIVATE"), "{printed}");
    }

    #[test]
    fn what_an_intermediate_issues_brings_it_along() {
        let root = Authority::new("Root").unwrap();
        let issued = root.intermediate("Below").unwrap().server().unwrap();
        assert_eq!(certificates(&issued.chain_pem).unwrap().len(), 2);
        let direct = root.server().unwrap();
        assert_eq!(certificates(&direct.chain_pem).unwrap().len(), 1);
    }
}
