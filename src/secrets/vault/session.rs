//! A session with one Vault: logged in when needed, renewed at two thirds of the token's life, logged in anew where Vault no
//! longer takes it. Touches Vault, and the API server for the token of a login.
//!
//! A session never ends its token: Vault would revoke with it the certificates that it leased to it.

use secrecy::SecretString;

use super::{
    CertificateRequest, Clock, Issued, SecretPath, VaultError, VaultSettings, VaultSettingsError,
};

/// A session with one Vault. It may be used by many at once, of whom one logs in.
pub struct VaultSession {
    _settings: VaultSettings,
    _clock: Clock,
}

impl VaultSession {
    /// Connects to nothing yet. Needs [`crate::runtime::tls::install`] before.
    ///
    /// # Errors
    /// [`VaultSettingsError`].
    pub fn new(settings: VaultSettings, clock: Clock) -> Result<Self, VaultSettingsError> {
        settings.check()?;
        Ok(Self {
            _settings: settings,
            _clock: clock,
        })
    }

    /// A new certificate. Each call has a deadline of 10 s, and there are a handful of them at most.
    ///
    /// # Errors
    /// [`VaultError`]: what is wrong and who can do what.
    pub async fn issue(&self, _wanted: &CertificateRequest) -> Result<Issued, VaultError> {
        todo!()
    }

    /// A value of a KV engine, as it is now.
    ///
    /// # Errors
    /// [`VaultError`]: what is wrong and who can do what.
    pub async fn read(&self, _wanted: &SecretPath) -> Result<SecretString, VaultError> {
        todo!()
    }
}

impl std::fmt::Debug for VaultSession {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("VaultSession")
    }
}
