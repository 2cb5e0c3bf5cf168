//! The key pair that tokens of a `ServiceAccount` are signed with. Touches nothing.

use anyhow::{Result, anyhow};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};

use super::access::base64;

pub(super) struct KeyPairPem {
    pub(super) private_pem: String,
    pub(super) public_pem: String,
}

pub(super) fn generate() -> Result<KeyPairPem> {
    let failed = |_| anyhow!("cannot generate a key for ServiceAccount tokens");
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(failed)?;
    let private = pair.to_pkcs8v1().map_err(failed)?;
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(failed)?;
    Ok(KeyPairPem {
        private_pem: pem("PRIVATE KEY", private.as_ref())?,
        public_pem: pem("PUBLIC KEY", public.as_ref())?,
    })
}

/// One long line in the middle, which Go reads.
fn pem(label: &str, der: &[u8]) -> Result<String> {
    Ok(format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        base64(der)?
    ))
}
