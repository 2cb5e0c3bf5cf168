//! What a keeper has in hand, and what follows from it: what Gate is to be shown, when Vault is to be asked again, and what
//! there is to be said. Touches nothing: time and chance come in as values.
//!
//! What the Secrets say now counts: one that is gone or can't be used takes the login with it. Only where the API server
//! does not answer is what was read before kept. A certificate of Vault's is kept until its end, whatever keeps the next one
//! from coming. No sentence here names the connection: whoever shows one to those who don't stand before it puts that first.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::material::Material;
use crate::{
    api::{conditions::Reason, deploy_request::WaitingFor},
    domain::{login::KnownCertificate, refusal::Refusal, renewal},
    runtime::tls::{ClientCertificate, Trust},
    secrets::vault::Issued,
    spinnaker::Credentials,
};

/// What there is now.
#[derive(Default)]
pub(super) struct Holding {
    material: Option<Material>,
    /// What is wrong with what was read last.
    unread: Option<Refusal>,
    /// Whether there is something to log in to Vault with.
    can_ask: bool,
    issued: Option<Issued>,
    /// Why the last certificate did not come.
    unissued: Option<Refusal>,
    failures: u32,
    issue_at: Option<Timestamp>,
}

/// What Gate is to be shown.
pub(super) struct Shown {
    /// How we log in to it.
    pub credentials: Credentials,
    /// Whom we take for it.
    pub trust: Trust,
    /// Tells it from what was shown before.
    pub made_of: MadeOf,
}

/// Of what a login is made: the same is not made twice.
#[derive(Clone)]
pub(super) struct MadeOf {
    digest: String,
    /// Vault's. Itself and not its serial number, which nothing keeps a Vault from giving again.
    certificate: Option<Arc<ClientCertificate>>,
}

impl PartialEq for MadeOf {
    fn eq(&self, other: &Self) -> bool {
        let same = match (&self.certificate, &other.certificate) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        };
        same && self.digest == other.digest
    }
}

impl Holding {
    /// This was read.
    pub(super) fn read(&mut self, material: Material) {
        self.unread = None;
        self.material = Some(material);
    }

    /// Nothing that can be used was read.
    pub(super) fn not_read(&mut self, refusal: Refusal) {
        // Otherwise the API server did not answer, and what it said before may still hold.
        if refusal.waiting_for == Some(WaitingFor::Configuration) {
            self.material = None;
        }
        self.unread = Some(refusal);
    }

    /// Whether the last reading brought nothing that can be used.
    pub(super) fn is_unread(&self) -> bool {
        self.unread.is_some()
    }

    /// There is something new to log in to Vault with.
    pub(super) fn can_ask(&mut self, now: Timestamp) {
        self.can_ask = true;
        // What was wrong may have been mended by it.
        if self.issued.is_none() || self.unissued.is_some() {
            self.failures = 0;
            self.issue_at = Some(now);
        }
    }

    /// There is nothing to log in to Vault with, and this is why.
    pub(super) fn can_not_ask(&mut self, refusal: Refusal) {
        self.can_ask = false;
        self.unissued = Some(refusal);
    }

    /// Gate refuses the login: another certificate is wanted at once. The first one is under way anyway.
    pub(super) fn is_doubted(&mut self, now: Timestamp) {
        if self.issued.is_some() {
            self.issue_at = Some(now);
        }
    }

    /// Vault gave one. The next is asked for by `chance`, 0 to 1.
    pub(super) fn was_issued(&mut self, issued: Issued, chance: f64) {
        self.failures = 0;
        self.unissued = None;
        self.issue_at = Some(issued.life().renew_at(chance));
        self.issued = Some(issued);
    }

    /// Vault gave none.
    pub(super) fn was_not_issued(&mut self, refusal: Refusal, now: Timestamp) {
        self.failures = self.failures.saturating_add(1);
        let last = self.issued.as_ref().map(Issued::life);
        self.issue_at = Some(renewal::retry_at(now, last, self.failures));
        self.unissued = Some(refusal);
    }

    /// When Vault is to be asked for a certificate.
    pub(super) fn issue_at(&self) -> Option<Timestamp> {
        self.issue_at.filter(|_| self.can_ask)
    }

    /// When the certificate ends.
    pub(super) fn ends(&self) -> Option<Timestamp> {
        self.known().map(|certificate| certificate.ends)
    }

    /// Why there is no certificate after the one that there is.
    pub(super) fn unissued(&self) -> Option<&Refusal> {
        self.unissued.as_ref()
    }

    /// What Gate is to be shown now, once everything has been tried; why there is nothing.
    pub(super) fn shown(&self, now: Timestamp) -> Result<Option<Shown>, Refusal> {
        let Some(material) = &self.material else {
            return self.unread.clone().map_or(Ok(None), Err);
        };
        let shown = |credentials, certificate| Shown {
            credentials,
            trust: material.trust.clone(),
            made_of: MadeOf {
                digest: material.digest.clone(),
                certificate,
            },
        };
        if material.vault.is_some() {
            return match &self.issued {
                None => self.unissued.clone().map_or(Ok(None), Err),
                Some(issued) if issued.life().has_ended(now) => {
                    let end = issued.certificate.not_after();
                    Err(self.unissued.as_ref().map_or_else(
                        || ended("", end, "the next one is on its way."),
                        |cause| Refusal {
                            waiting_for: cause.waiting_for,
                            ..ended("", end, &format!("no new one comes. {}", cause.message))
                        },
                    ))
                }
                Some(issued) => Ok(Some(shown(
                    Credentials::Certificate(Arc::clone(&issued.certificate)),
                    Some(Arc::clone(&issued.certificate)),
                ))),
            };
        }
        if let Credentials::Certificate(certificate) = &material.credentials
            && certificate.not_after() <= now
        {
            let rest = "the connection's owner can put a new one there.";
            return Err(ended(" of its Secret", certificate.not_after(), rest));
        }
        Ok(Some(shown(material.credentials.clone(), None)))
    }

    /// What may be told of the certificate.
    pub(super) fn known(&self) -> Option<KnownCertificate> {
        let material = self.material.as_ref()?;
        let (certificate, ends, skew) = match (&self.issued, &material.credentials) {
            (Some(issued), _) => (&issued.certificate, issued.life().until, issued.skew),
            (None, Credentials::Certificate(certificate)) => {
                (certificate, certificate.not_after(), SignedDuration::ZERO)
            }
            (None, _) => return None,
        };
        Some(KnownCertificate {
            serial: certificate.serial().to_owned(),
            life: certificate
                .not_after()
                .duration_since(certificate.not_before()),
            not_after: certificate.not_after(),
            ends,
            skew,
        })
    }
}

fn ended(whose: &str, end: Timestamp, rest: &str) -> Refusal {
    Refusal::passing(
        WaitingFor::Configuration,
        Reason::CertificateExpired,
        format!("the client certificate{whose} ended at {end}, and {rest}"),
    )
}

#[cfg(test)]
mod tests;
