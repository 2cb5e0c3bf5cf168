//! What is known of a connection's login, for whoever waits for it, for its status and for what is measured. Touches nothing.

use jiff::{SignedDuration, Timestamp};

use super::refusal::Refusal;

/// What is known of a connection's login.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoginState {
    /// Which of all logins that were made there is now, if there is one: no two have the same number.
    pub current: Option<u64>,
    /// Why there is none; where there is one, why it can't be renewed. It doesn't name the connection.
    pub trouble: Option<Refusal>,
    /// The client certificate: the one in use, or the last that was.
    pub certificate: Option<KnownCertificate>,
}

/// What may be told of a client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownCertificate {
    /// Its serial number.
    pub serial: String,
    /// From its beginning to its end, as it says itself.
    pub life: SignedDuration,
    /// Its end as it says itself.
    pub not_after: Timestamp,
    /// Its end by our clock.
    pub ends: Timestamp,
    /// How far the clock of the Vault that gave it was ahead of ours.
    pub skew: SignedDuration,
}

impl LoginState {
    /// Whether it was tried to have a login at least once.
    pub fn was_tried(&self) -> bool {
        self.current.is_some() || self.trouble.is_some()
    }

    /// The certificate that Gate is shown now.
    pub fn shown(&self) -> Option<&KnownCertificate> {
        self.certificate.as_ref().filter(|_| self.current.is_some())
    }

    /// Why there is no login.
    pub fn missing(&self) -> Option<&Refusal> {
        self.trouble.as_ref().filter(|_| self.current.is_none())
    }

    /// Why the login that there is can't be renewed.
    pub fn not_renewed(&self) -> Option<&Refusal> {
        self.trouble.as_ref().filter(|_| self.current.is_some())
    }
}
