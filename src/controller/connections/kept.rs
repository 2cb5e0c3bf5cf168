//! What is known of a connection's login, for whoever waits for it, for its status and for what is measured. Touches nothing.

use jiff::{SignedDuration, Timestamp};

use crate::domain::refusal::Refusal;

/// What is known of a connection's login.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::controller) struct Kept {
    /// Whether there is one now.
    pub live: bool,
    /// Why there is none; where there is one, why it can't be renewed.
    pub trouble: Option<Refusal>,
    /// The client certificate: the one in use, or the last that was.
    pub certificate: Option<KnownCertificate>,
}

/// What may be told of a client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::controller) struct KnownCertificate {
    /// Its serial number.
    pub serial: String,
    /// Its end as it says itself.
    pub not_after: Timestamp,
    /// Its end by our clock.
    pub ends: Timestamp,
    /// How far the clock of the Vault that gave it was ahead of ours.
    pub skew: SignedDuration,
}

impl Kept {
    /// Whether it was tried to have a login at least once.
    pub(super) fn was_tried(&self) -> bool {
        self.live || self.trouble.is_some()
    }

    /// The certificate that Gate is shown now.
    pub(in crate::controller) fn shown(&self) -> Option<&KnownCertificate> {
        self.certificate.as_ref().filter(|_| self.live)
    }
}
