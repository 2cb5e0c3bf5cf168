//! TLS: the one provider of the process, whom a client trusts, and what it shows of itself. Touches the system's trust store.

mod certificate;

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    client::{Resumption, WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};
use rustls_platform_verifier::Verifier;
use thiserror::Error;

pub use certificate::{CertificateError, ClientCertificate};

/// Makes aws-lc-rs the provider of every TLS client in this process.
///
/// Call it first thing in `main`: with none installed and two in the dependency graph, the first TLS connection panics.
/// Calling it again changes nothing; whichever provider came first stays.
pub fn install() {
    let _came_second = aws_lc_rs::default_provider().install_default();
}

/// Whose certificates a server's is checked by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Trust {
    /// Those that the machine trusts.
    #[default]
    Machine,
    /// These and no others.
    Only(Vec<CertificateDer<'static>>),
}

/// Why nobody can be trusted, or no client made.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The text holds no PEM certificate, or one that can't be read.
    #[error("there is no certificate in it that can be read")]
    Trust,
    /// The machine's own trust can't be read, or the certificate doesn't suit the provider.
    #[error("TLS can't be set up")]
    SetUp(#[source] rustls::Error),
}

impl Trust {
    /// The certificates in a PEM text; at least one, and nothing among them that can't be read.
    ///
    /// # Errors
    /// [`TlsError::Trust`].
    pub fn from_pem(text: &[u8]) -> Result<Self, TlsError> {
        let all: Vec<_> = CertificateDer::pem_slice_iter(text)
            .collect::<Result<_, _>>()
            .map_err(|_| TlsError::Trust)?;
        let mut roots = RootCertStore::empty();
        for certificate in &all {
            roots
                .add(certificate.clone())
                .map_err(|_| TlsError::Trust)?;
        }
        if all.is_empty() {
            return Err(TlsError::Trust);
        }
        Ok(Self::Only(all))
    }
}

/// What a client speaks TLS by: whom it trusts, and the certificate that it shows. Sessions are not resumed where it shows
/// one: a resumed session would go on with the certificate of the earlier one.
///
/// Needs [`install`] before.
///
/// # Errors
/// [`TlsError::SetUp`].
pub fn client(
    trust: &Trust,
    certificate: Option<&ClientCertificate>,
) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::Machine => Arc::new(Verifier::new(Arc::clone(&provider)).map_err(TlsError::SetUp)?),
        Trust::Only(all) => {
            let mut roots = RootCertStore::empty();
            for certificate in all {
                roots.add(certificate.clone()).map_err(TlsError::SetUp)?;
            }
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .map_err(|_| TlsError::Trust)?
        }
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::SetUp)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    Ok(match certificate {
        None => config.with_no_client_auth(),
        Some(certificate) => {
            let mut config = config.with_client_cert_resolver(certificate.resolver());
            config.resumption = Resumption::disabled();
            config
        }
    })
}
