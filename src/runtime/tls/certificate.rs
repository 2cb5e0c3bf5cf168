//! A client certificate with its private key: what may be told of it, and what shows it. Touches nothing.

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use rustls::{
    client::ResolvesClientCert,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::{CertifiedKey, SingleCertAndKey},
};
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

/// In octets (RFC 5280 §4.1.2.2). It stands in statuses, columns and logs.
const LONGEST_SERIAL: usize = 20;

/// A certificate chain and its key, checked to belong together. The key is neither printed nor given out.
pub struct ClientCertificate {
    certified: Arc<CertifiedKey>,
    serial: String,
    not_before: Timestamp,
    not_after: Timestamp,
}

/// Why a text is no client certificate. None of these quotes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CertificateError {
    /// No PEM certificate, or one that can't be read.
    #[error("there is no certificate in it that can be read")]
    Certificate,
    /// No PEM private key of a kind that we know.
    #[error("there is no private key in it that can be read")]
    Key,
    /// The key is another one's.
    #[error("the private key is not the certificate's")]
    Mismatch,
    /// A serial number that nobody may issue, and that would fill every place that shows it.
    #[error("the certificate's serial number is longer than 20 octets (RFC 5280 §4.1.2.2)")]
    Serial,
}

impl ClientCertificate {
    /// From PEM: the chain, leaf first, and the leaf's key (PKCS #8, PKCS #1 or SEC 1).
    ///
    /// # Errors
    /// When they can't be read or don't belong together.
    pub fn from_pem(chain: &[u8], key: &SecretString) -> Result<Self, CertificateError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|_| CertificateError::Certificate)?;
        let leaf = chain.first().ok_or(CertificateError::Certificate)?;
        let (_, parsed) =
            X509Certificate::from_der(leaf).map_err(|_| CertificateError::Certificate)?;
        let not_before = time(parsed.validity().not_before.timestamp());
        let not_after = time(parsed.validity().not_after.timestamp());
        let serial = parsed.raw_serial();
        // Before a first bit that is set stands an octet for the sign.
        if serial.strip_prefix(&[0]).unwrap_or(serial).len() > LONGEST_SERIAL {
            return Err(CertificateError::Serial);
        }
        let serial = parsed.raw_serial_as_string();
        let key = PrivateKeyDer::from_pem_slice(key.expose_secret().as_bytes())
            .map_err(|_| CertificateError::Key)?;
        let key = aws_lc_rs::sign::any_supported_type(&key).map_err(|_| CertificateError::Key)?;
        let certified = CertifiedKey::new(chain, key);
        certified
            .keys_match()
            .map_err(|_| CertificateError::Mismatch)?;
        Ok(Self {
            certified: Arc::new(certified),
            serial,
            not_before,
            not_after,
        })
    }

    /// Its serial number: hexadecimal pairs with colons between them.
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// Since when it is good, as it says itself: some authorities say a moment before they issued it.
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// Until when it is good.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Shows it to whoever asks.
    pub(super) fn resolver(&self) -> Arc<dyn ResolvesClientCert> {
        Arc::new(SingleCertAndKey::from(Arc::clone(&self.certified)))
    }
}

/// What never ends says the last second of the year 9999 (RFC 5280 §4.1.2.5), which is a day later than we can tell.
fn time(seconds: i64) -> Timestamp {
    let (first, last) = (Timestamp::MIN, Timestamp::MAX);
    let within = seconds.clamp(first.as_second(), last.as_second());
    Timestamp::from_second(within).unwrap_or(last)
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ClientCertificate")
            .field("serial", &self.serial)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use foredeck_testkit::tls::Authority;

    use super::*;

    #[test]
    fn a_serial_number_is_no_longer_than_anybody_may_issue() {
        let authority = Authority::new("Spinnaker").unwrap();
        for (serial, is_taken) in [
            (vec![1; 20], true),
            // It has a zero before it, lest it be taken for a negative one.
            (vec![0xff; 20], true),
            (vec![1; 21], false),
            (vec![0xff; 60_000], false),
        ] {
            let issued = authority.client_numbered("bot", &serial).unwrap();
            let key = issued.key_pem.into();
            let read = ClientCertificate::from_pem(issued.chain_pem.as_bytes(), &key);
            let problem = read.map(|read| read.serial().len()).err();
            let expected = (!is_taken).then_some(CertificateError::Serial);
            assert_eq!(problem, expected, "{}", serial.len());
        }
    }

    #[test]
    fn a_certificate_that_never_ends_has_the_last_end_that_can_be_told() {
        // 9999-12-31T23:59:59Z, and the end of 2026.
        assert_eq!(
            time(253_402_300_799).as_second(),
            Timestamp::MAX.as_second()
        );
        assert_eq!(time(1_798_761_599).to_string(), "2026-12-31T23:59:59Z");
        assert_eq!(time(i64::MIN), Timestamp::MIN);
    }

    #[test]
    fn what_is_no_certificate_is_refused_in_words_that_quote_nothing() {
        let error = ClientCertificate::from_pem(b"hush", &"hush".into()).unwrap_err();
        assert_eq!(error, CertificateError::Certificate);
        assert!(!error.to_string().contains("hush"));
    }
}
