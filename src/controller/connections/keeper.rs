//! Keeps one connection's login: reads its Secrets again and again, has Vault give certificates in time, and publishes what
//! Gate is to be shown. Touches the API server (the connection, Secrets, events), Vault, the clock, and chance.
//!
//! Reading and asking Vault go on beside each other, so that neither waits for the other, and a certificate's end is noticed
//! while both hang. What the Secrets say now counts: one that is gone or can't be used takes the login with it. Only where
//! the API server does not answer is what was read before kept. A certificate of Vault's is kept until its end, whatever
//! keeps the next one from coming.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{FutureExt, future::BoxFuture};
use jiff::{SignedDuration, Timestamp};
use kube::{
    Resource, ResourceExt,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::sync::{Notify, watch};

use super::{
    Teller,
    kept::{Kept, KnownCertificate},
    material::{Material, VaultMaterial},
    patience::Patience,
    secret::Secrets,
    vault::{self, Issuer},
};
use crate::{
    api::{
        CONTROLLER, SpinnakerConnection, bounds, conditions::Reason, connection::VaultAuth,
        deploy_request::WaitingFor,
    },
    controller::{API_DEADLINE, metrics::ControllerMetrics, objects},
    domain::{refusal::Refusal, renewal},
    runtime::chance,
    secrets::{
        service_account::TokenGiver,
        vault::{Issued, VaultError},
    },
    spinnaker::{Credentials, GateLogin, SettingsError},
};

/// How soon Secrets are read again while something is wrong with them.
const SOON: Duration = Duration::from_secs(10);
/// The first and the longest pause between two readings because Gate refuses the login.
const READINGS: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));
/// Likewise between two certificates.
const ISSUES: (Duration, Duration) = (Duration::from_secs(10), Duration::from_mins(1));

/// What a keeper is made from.
pub(super) struct Keeper {
    /// The connection, in one generation.
    pub connection: SpinnakerConnection,
    /// Its namespace's Secrets.
    pub secrets: Secrets,
    /// Tokens for Vault.
    pub giver: TokenGiver,
    /// Where the login is published.
    pub login: Arc<watch::Sender<Option<Arc<GateLogin>>>>,
    /// Where what is known of it is.
    pub kept: Arc<watch::Sender<Kept>>,
    /// Whether Gate refused it.
    pub doubt: Arc<Notify>,
    /// Whom to tell.
    pub teller: Arc<Teller>,
    /// How old what was read from Secrets may get.
    pub age: Duration,
}

/// What a reading came to; `None` when the connection is no longer this one.
type Reading = Option<Result<Material, Refusal>>;

/// What there is now.
struct Holding {
    /// Whether anything was read before.
    was_read: bool,
    material: Option<Material>,
    /// What is wrong with what was read last.
    unread: Option<Refusal>,
    issuer: Option<Issuer>,
    issued: Option<Issued>,
    /// Why the last certificate did not come.
    unissued: Option<Refusal>,
    failures: u32,
    issue_at: Option<Timestamp>,
    /// Of what the published login was made.
    published: Option<String>,
}

impl Keeper {
    /// Works until the connection is gone or another.
    pub(super) async fn keep(self) {
        let mut holding = Holding {
            was_read: false,
            material: None,
            unread: None,
            issuer: None,
            issued: None,
            unissued: None,
            failures: 0,
            issue_at: None,
            published: None,
        };
        let pauses = if self.vault().is_some() {
            ISSUES
        } else {
            READINGS
        };
        let mut patience = Patience::new(pauses.0, pauses.1);
        let mut read_at = Instant::now();
        let mut doubted: Option<Instant> = None;
        let mut reading: Option<BoxFuture<'static, Reading>> = None;
        let mut issuing: Option<BoxFuture<'static, Result<Issued, VaultError>>> = None;
        loop {
            let (now, time) = (Instant::now(), Timestamp::now());
            // A reading that is under way may have begun too early to see what has changed.
            if reading.is_none() && doubted.is_some_and(|due| due <= now) {
                doubted = None;
                patience.looked(now);
                read_at = now;
                // The first one is under way anyway.
                if holding.issued.is_some() {
                    holding.issue_at = Some(time);
                }
            }
            if reading.is_none() && read_at <= now {
                reading = Some(self.read(holding.was_read));
                holding.was_read = true;
            }
            if issuing.is_none()
                && holding.issue_at.is_some_and(|due| due <= time)
                && let Some(issuer) = &holding.issuer
            {
                issuing = Some(issuer.issue());
            }
            self.publish(&mut holding, time);
            let wake = self.next(&holding, time, issuing.is_some());
            let wake = match reading {
                Some(_) => wake,
                None => doubted.into_iter().fold(wake.min(read_at), Instant::min),
            };
            tokio::select! {
                read = awaited(&mut reading) => {
                    reading = None;
                    match read {
                        None => break,
                        Some(read) => self.was_read(&mut holding, read),
                    }
                    let pause = match holding.unread {
                        Some(_) => self.age.min(SOON),
                        None => self.age,
                    };
                    read_at = Instant::now() + pause;
                }
                outcome = awaited(&mut issuing) => {
                    issuing = None;
                    self.was_issued(&mut holding, outcome);
                }
                () = self.doubt.notified() => {
                    doubted.get_or_insert_with(|| patience.due(Instant::now()));
                }
                () = tokio::time::sleep_until(wake.into()) => {}
            }
        }
        tracing::debug!(connection = %self.connection.name_any(), "this connection is gone, or another");
        self.teller.ended(&self.connection);
    }

    fn vault(&self) -> Option<&VaultAuth> {
        let mtls = self.connection.spec.auth.as_ref()?.mtls.as_ref()?;
        mtls.vault.as_ref()
    }

    /// When something ends or is to begin, at the latest after the age of what was read: the clocks may part.
    fn next(&self, holding: &Holding, time: Timestamp, issuing: bool) -> Instant {
        let ends = holding.ends().filter(|ends| *ends > time);
        let issue = holding
            .issue_at
            .filter(|_| !issuing && holding.issuer.is_some());
        let wait = ends
            .into_iter()
            .chain(issue)
            .map(|due| Duration::try_from(due.duration_since(time)).unwrap_or_default())
            .fold(self.age, Duration::min);
        Instant::now() + wait
    }

    /// Reads what the Secrets hold, and whether the connection is still this one: at first it is, somebody has just shown it.
    fn read(&self, for_long: bool) -> BoxFuture<'static, Reading> {
        let (connection, secrets) = (self.connection.clone(), self.secrets.clone());
        let client = self.teller.client.clone();
        async move {
            let namespace = connection.namespace().unwrap_or_default();
            let name = connection.name_any();
            if for_long {
                let now = objects::read::<SpinnakerConnection>(&client, &namespace, &name).await;
                let same = match now {
                    Ok(Some(now)) => {
                        now.uid() == connection.uid()
                            && now.metadata.generation <= connection.metadata.generation
                    }
                    Ok(None) => false,
                    Err(_) => true,
                };
                if !same {
                    return None;
                }
            }
            Some(Material::read(&connection, &secrets).await)
        }
        .boxed()
    }

    fn was_read(&self, holding: &mut Holding, read: Result<Material, Refusal>) {
        match read {
            Err(refusal) => {
                if refusal.waiting_for == Some(WaitingFor::Configuration) {
                    holding.material = None;
                }
                holding.unread = Some(refusal);
            }
            Ok(material) => {
                holding.unread = None;
                if let (Some(vault), Some(read)) = (self.vault(), &material.vault) {
                    self.prepare_to_issue(holding, vault, read.as_ref());
                }
                holding.material = Some(material);
            }
        }
    }

    /// A session for what there is to log in to Vault with: the one that there is, while that is the same.
    fn prepare_to_issue(
        &self,
        holding: &mut Holding,
        vault: &VaultAuth,
        read: Result<&VaultMaterial, &Refusal>,
    ) {
        let made = match read {
            Err(refusal) => Err(refusal.clone()),
            Ok(read)
                if holding
                    .issuer
                    .as_ref()
                    .is_some_and(|known| known.is_of(read)) =>
            {
                return;
            }
            Ok(read) => Issuer::new(&self.connection, vault, read, &self.giver),
        };
        match made {
            Ok(issuer) => {
                holding.issuer = Some(issuer);
                // What was wrong may have been mended by it.
                if holding.issued.is_none() || holding.unissued.is_some() {
                    holding.failures = 0;
                    holding.issue_at = Some(Timestamp::now());
                }
            }
            Err(refusal) => {
                holding.issuer = None;
                holding.unissued = Some(refusal);
            }
        }
    }

    fn was_issued(&self, holding: &mut Holding, outcome: Result<Issued, VaultError>) {
        let renewals = &self.teller.metrics.renewals;
        match outcome {
            Ok(issued) => {
                ControllerMetrics::count(renewals, "issued");
                tracing::info!(
                    connection = %self.connection.name_any(),
                    serial = issued.certificate.serial(),
                    not_after = %issued.certificate.not_after(),
                    "Vault gave a certificate"
                );
                holding.failures = 0;
                holding.unissued = None;
                holding.issue_at = Some(issued.life().renew_at(chance::fraction()));
                holding.issued = Some(issued);
            }
            Err(error) => {
                ControllerMetrics::count(renewals, error.reason().to_string());
                tracing::warn!(
                    connection = %self.connection.name_any(),
                    error = %error,
                    "Vault gave no certificate"
                );
                holding.failures = holding.failures.saturating_add(1);
                let last = holding.issued.as_ref().map(Issued::life);
                let again = renewal::retry_at(Timestamp::now(), last, holding.failures);
                holding.issue_at = Some(again);
                holding.unissued = Some(vault::refusal(&self.connection.name_any(), &error));
            }
        }
    }

    /// Makes what there is now the login, and tells what has changed.
    fn publish(&self, holding: &mut Holding, time: Timestamp) {
        let known = self.kept.borrow().clone();
        let found = holding.usable(&self.connection.name_any(), time);
        let mut kept = Kept {
            certificate: holding.known().or_else(|| known.certificate.clone()),
            ..Kept::default()
        };
        match found {
            Ok(Some((credentials, digest))) => {
                let made = holding.material.as_ref().map(|material| {
                    (holding.published.as_ref() != Some(&digest))
                        .then(|| GateLogin::new(&credentials, &material.trust))
                        .transpose()
                });
                match made {
                    Some(Ok(login)) => {
                        if let Some(login) = login {
                            self.login.send_replace(Some(Arc::new(login)));
                            holding.published = Some(digest);
                        }
                        kept.live = true;
                        kept.trouble.clone_from(&holding.unissued);
                    }
                    Some(Err(error)) => kept.trouble = Some(self.unusable(&error)),
                    None => {}
                }
            }
            Ok(None) => {}
            Err(refusal) => kept.trouble = Some(refusal),
        }
        if !kept.live && holding.published.take().is_some() {
            self.login.send_replace(None);
        }
        if kept == known {
            return;
        }
        self.kept.send_replace(kept.clone());
        self.teller.changed(&self.connection);
        if let Some(trouble) = kept.trouble.as_ref().filter(|_| kept.live)
            && known.trouble.as_ref() != Some(trouble)
        {
            self.warn(trouble);
        }
    }

    fn unusable(&self, error: &SettingsError) -> Refusal {
        let mend = match error {
            SettingsError::Tls(_) => {
                "whoever runs foredeck can see whether the certificates that its machine trusts can be read"
            }
            SettingsError::Url | SettingsError::Limits | SettingsError::Credentials => {
                "its owner can mend its Secret, or name another in spec.auth"
            }
        };
        Refusal::passing(
            WaitingFor::Configuration,
            error.reason(),
            format!(
                "SpinnakerConnection {:?} can't be used: {error}; {mend}.",
                self.connection.name_any()
            ),
        )
    }

    /// The login still works, and will not for ever.
    fn warn(&self, trouble: &Refusal) {
        let note = format!(
            "the client certificate still works but can't be renewed: {}",
            trouble.message
        );
        let event = Event {
            type_: EventType::Warning,
            reason: trouble.reason.to_string(),
            note: Some(bounds::cut(&note, NOTE)),
            action: "Renew".to_owned(),
            secondary: None,
        };
        let about = self.connection.object_ref(&());
        // A recorder of its own: one that knows an event of this reason would count this one to it, and keep its words.
        let reporter = Reporter {
            controller: CONTROLLER.to_owned(),
            instance: None,
        };
        let recorder = Recorder::new(self.teller.client.clone(), reporter);
        // Not waited for: the next certificate matters more.
        tokio::spawn(async move {
            let told = recorder.publish(&event, &about);
            if !matches!(tokio::time::timeout(API_DEADLINE, told).await, Ok(Ok(()))) {
                tracing::debug!("an event could not be published");
            }
        });
    }
}

/// The longest note of an event: the API server's bound is 1 kB, and a character has up to four bytes.
const NOTE: usize = 250;

impl Holding {
    /// What Gate is to be shown now and what tells it from others, if everything has been tried; why there is nothing.
    fn usable(
        &self,
        connection: &str,
        time: Timestamp,
    ) -> Result<Option<(Credentials, String)>, Refusal> {
        let Some(material) = &self.material else {
            return self.unread.clone().map_or(Ok(None), Err);
        };
        let ended = |whose: &str, end: Timestamp, cause: Option<&Refusal>| {
            let rest = match cause {
                Some(cause) => {
                    let prefix = format!("SpinnakerConnection {connection:?}: ");
                    let why = cause.message.trim_start_matches(&prefix);
                    format!("no new one comes. {why}")
                }
                None if whose.is_empty() => "the next one is on its way.".to_owned(),
                None => "the connection's owner can put a new one there.".to_owned(),
            };
            Refusal::passing(
                cause
                    .and_then(|cause| cause.waiting_for)
                    .unwrap_or(WaitingFor::Configuration),
                Reason::CertificateExpired,
                format!(
                    "SpinnakerConnection {connection:?}: the client certificate{whose} ended at {end}, and {rest}"
                ),
            )
        };
        if material.vault.is_some() {
            return match &self.issued {
                None => self.unissued.clone().map_or(Ok(None), Err),
                Some(issued) if issued.life().has_ended(time) => Err(ended(
                    "",
                    issued.certificate.not_after(),
                    self.unissued.as_ref(),
                )),
                Some(issued) => Ok(Some((
                    Credentials::Certificate(Arc::clone(&issued.certificate)),
                    // Nothing keeps a Vault from giving the same serial number again.
                    format!(
                        "{} {} {}",
                        material.digest,
                        issued.certificate.serial(),
                        issued.since
                    ),
                ))),
            };
        }
        if let Credentials::Certificate(certificate) = &material.credentials
            && certificate.not_after() <= time
        {
            return Err(ended(" of its Secret", certificate.not_after(), None));
        }
        Ok(Some((
            material.credentials.clone(),
            material.digest.clone(),
        )))
    }

    /// What may be told of the certificate.
    fn known(&self) -> Option<KnownCertificate> {
        let material = self.material.as_ref()?;
        let (certificate, ends, skew) = match (&self.issued, &material.credentials) {
            (Some(issued), _) => (&issued.certificate, issued.ends, issued.skew),
            (None, Credentials::Certificate(certificate)) => {
                (certificate, certificate.not_after(), SignedDuration::ZERO)
            }
            (None, _) => return None,
        };
        Some(KnownCertificate {
            serial: certificate.serial().to_owned(),
            not_after: certificate.not_after(),
            ends,
            skew,
        })
    }

    /// When the certificate ends.
    fn ends(&self) -> Option<Timestamp> {
        self.known().map(|certificate| certificate.ends)
    }
}

async fn awaited<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use foredeck_testkit::tls::Authority;

    use super::*;
    use crate::runtime::tls::{ClientCertificate, Trust};

    #[test]
    fn what_vault_gives_is_shown_even_if_it_has_the_serial_number_of_what_it_gave_before() {
        let issued = Authority::new("Vault").unwrap().client("foredeck").unwrap();
        let certificate =
            ClientCertificate::from_pem(issued.chain_pem.as_bytes(), &issued.key_pem.into());
        let certificate = Arc::new(certificate.unwrap());
        let material = Material {
            trust: Trust::Machine,
            credentials: Credentials::None,
            digest: String::new(),
            vault: Some(Ok(VaultMaterial {
                trust: Trust::Machine,
                token: None,
                digest: String::new(),
            })),
        };
        let mut holding = Holding {
            was_read: true,
            material: Some(material),
            unread: None,
            issuer: None,
            issued: None,
            unissued: None,
            failures: 0,
            issue_at: None,
            published: None,
        };
        let now = Timestamp::now();
        let mut told_apart_by = |since| {
            holding.issued = Some(Issued {
                certificate: Arc::clone(&certificate),
                skew: SignedDuration::ZERO,
                since,
                ends: certificate.not_after(),
            });
            holding.usable("gate", now).unwrap().unwrap().1
        };
        let first = told_apart_by(now);
        assert_eq!(first, told_apart_by(now));
        assert_ne!(first, told_apart_by(now + SignedDuration::from_secs(40)));
    }
}
