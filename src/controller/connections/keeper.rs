//! Keeps one connection's login: reads its Secrets again and again, has Vault give certificates in time, and publishes what
//! Gate is to be shown. Touches the API server (the connection, Secrets, events), Vault, the clock, and chance.
//!
//! Reading and asking Vault go on beside each other, so that neither waits for the other, and a certificate's end is noticed
//! while both hang. What follows from what there is, `holding` decides.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{FutureExt, future::BoxFuture};
use jiff::Timestamp;
use kube::{
    ResourceExt,
    runtime::events::{Recorder, Reporter},
};
use tokio::sync::{Notify, watch};

use super::{
    entry::MadeFrom,
    holding::{Holding, MadeOf},
    material::{Material, VaultMaterial},
    patience::Patience,
    secret::Secrets,
    teller::Teller,
    vault::{self, Issuer},
};
use crate::{
    api::{CONTROLLER, SpinnakerConnection, connection::VaultAuth, deploy_request::WaitingFor},
    controller::{API_DEADLINE, dereference::about, metrics::ControllerMetrics, objects, record},
    domain::{login::LoginState, refusal::Refusal},
    runtime::chance,
    secrets::{
        service_account::TokenGiver,
        vault::{Issued, VaultError},
    },
    spinnaker::{GateLogin, SettingsError},
};

/// How soon Secrets are read again while something is wrong with them.
const SOON: Duration = Duration::from_secs(10);
/// The first and the longest pause between two readings because Gate refuses the login.
const READINGS: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));
/// Likewise between two certificates.
const ISSUES: (Duration, Duration) = (Duration::from_secs(10), Duration::from_mins(1));

/// What a keeper is made from.
pub(super) struct Keeper {
    /// The connection, as it was when this login was first needed.
    pub connection: SpinnakerConnection,
    /// Its namespace's Secrets.
    pub secrets: Secrets,
    /// Tokens for Vault.
    pub giver: TokenGiver,
    /// Where the login is published.
    pub login: Arc<watch::Sender<Option<Arc<GateLogin>>>>,
    /// Where what is known of it is.
    pub state: Arc<watch::Sender<LoginState>>,
    /// Whether Gate refused it.
    pub doubt: Arc<Notify>,
    /// Whom to tell.
    pub teller: Arc<Teller>,
    /// How old what was read from Secrets may get.
    pub age: Duration,
}

/// What a reading came to; `None` when the login is no longer to be made from this connection.
type Reading = Option<Result<Material, Refusal>>;

impl Keeper {
    /// Works until the connection is gone or logs in otherwise.
    pub(super) async fn keep(self) {
        let mut holding = Holding::default();
        let (mut issuer, mut published): (Option<Issuer>, Option<MadeOf>) = (None, None);
        let mut was_read = false;
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
                holding.is_doubted(time);
            }
            if reading.is_none() && read_at <= now {
                reading = Some(self.read(was_read));
                was_read = true;
            }
            if issuing.is_none()
                && holding.issue_at().is_some_and(|due| due <= time)
                && let Some(issuer) = &issuer
            {
                issuing = Some(issuer.issue());
            }
            self.publish(&holding, &mut published, time);
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
                        Some(read) => self.was_read(&mut holding, &mut issuer, read),
                    }
                    let pause = if holding.is_unread() {
                        self.age.min(SOON)
                    } else {
                        self.age
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
        tracing::debug!(connection.namespace = %self.connection.namespace().unwrap_or_default(),
                    connection.name = %self.connection.name_any(), "this connection is gone, or logs in otherwise");
        self.teller.ended(&self.connection);
    }

    fn vault(&self) -> Option<&VaultAuth> {
        let mtls = self.connection.spec.auth.as_ref()?.mtls.as_ref()?;
        mtls.vault.as_ref()
    }

    /// When something ends or is to begin, at the latest after the age of what was read: the clocks may part.
    fn next(&self, holding: &Holding, time: Timestamp, issuing: bool) -> Instant {
        let ends = holding.ends().filter(|ends| *ends > time);
        let issue = holding.issue_at().filter(|_| !issuing);
        let wait = ends
            .into_iter()
            .chain(issue)
            .map(|due| Duration::try_from(due.duration_since(time)).unwrap_or_default())
            .fold(self.age, Duration::min);
        Instant::now() + wait
    }

    /// Reads what the Secrets hold, and whether the login is still to be made from this: at first it is, somebody has just
    /// shown it.
    fn read(&self, for_long: bool) -> BoxFuture<'static, Reading> {
        let (connection, secrets) = (self.connection.clone(), self.secrets.clone());
        let teller = Arc::clone(&self.teller);
        async move {
            if for_long && !still_stands(&teller, &connection).await {
                return None;
            }
            Some(Material::read(&connection, &secrets).await)
        }
        .boxed()
    }

    fn was_read(
        &self,
        holding: &mut Holding,
        issuer: &mut Option<Issuer>,
        read: Result<Material, Refusal>,
    ) {
        let material = match read {
            Err(refusal) => return holding.not_read(refusal),
            Ok(material) => material,
        };
        if let (Some(vault), Some(read)) = (self.vault(), &material.vault) {
            self.prepare_to_issue(holding, issuer, vault, read.as_ref());
        }
        holding.read(material);
    }

    /// A session for what there is to log in to Vault with: the one that there is, while that is the same.
    fn prepare_to_issue(
        &self,
        holding: &mut Holding,
        issuer: &mut Option<Issuer>,
        vault: &VaultAuth,
        read: Result<&VaultMaterial, &Refusal>,
    ) {
        let made = match read {
            Err(refusal) => Err(refusal.clone()),
            Ok(read) if issuer.as_ref().is_some_and(|known| known.is_of(read)) => return,
            Ok(read) => Issuer::new(&self.connection, vault, read, &self.giver),
        };
        match &made {
            Ok(_) => holding.can_ask(Timestamp::now()),
            Err(refusal) => holding.can_not_ask(refusal.clone()),
        }
        *issuer = made.ok();
    }

    fn was_issued(&self, holding: &mut Holding, outcome: Result<Issued, VaultError>) {
        let renewals = &self.teller.metrics.renewals;
        match outcome {
            Ok(issued) => {
                ControllerMetrics::count(renewals, "issued");
                tracing::info!(
                    connection.namespace = %self.connection.namespace().unwrap_or_default(),
                    connection.name = %self.connection.name_any(),
                    serial = issued.certificate.serial(),
                    not_after = %issued.certificate.not_after(),
                    "Vault gave a certificate"
                );
                holding.was_issued(issued, chance::fraction());
            }
            Err(error) => {
                ControllerMetrics::count(renewals, error.reason().to_string());
                tracing::warn!(
                    connection.namespace = %self.connection.namespace().unwrap_or_default(),
                    connection.name = %self.connection.name_any(),
                    error = %error,
                    "Vault gave no certificate"
                );
                holding.was_not_issued(vault::refusal(&error), Timestamp::now());
            }
        }
    }

    /// Makes what there is now the login, and tells what has changed.
    fn publish(&self, holding: &Holding, published: &mut Option<MadeOf>, time: Timestamp) {
        let known = self.state.borrow().clone();
        let mut state = LoginState {
            certificate: holding.known().or_else(|| known.certificate.clone()),
            ..LoginState::default()
        };
        match holding.shown(time) {
            Ok(Some(shown)) if published.as_ref() == Some(&shown.made_of) => {
                state.current = known.current;
                state.trouble = holding.unissued().cloned();
            }
            Ok(Some(shown)) => match GateLogin::new(&shown.credentials, &shown.trust) {
                Ok(login) => {
                    self.login.send_replace(Some(Arc::new(login)));
                    *published = Some(shown.made_of);
                    state.current = Some(self.teller.next_login());
                    state.trouble = holding.unissued().cloned();
                }
                Err(error) => state.trouble = Some(unusable(&error)),
            },
            Ok(None) => {}
            Err(refusal) => state.trouble = Some(refusal),
        }
        if state.current.is_none() && published.take().is_some() {
            self.login.send_replace(None);
        }
        if state == known {
            return;
        }
        self.state.send_replace(state.clone());
        self.teller.changed(&self.connection);
        if state.current.is_some() && state.current != known.current {
            self.teller.logged_in(&self.connection);
        }
        if let Some(trouble) = state.trouble.filter(|_| state.current.is_some())
            && known.trouble.as_ref() != Some(&trouble)
        {
            self.warn(&trouble);
        }
    }

    /// The login still works, and will not for ever.
    fn warn(&self, trouble: &Refusal) {
        let note = format!(
            "the client certificate still works but can't be renewed: {}",
            trouble.message
        );
        // A recorder of its own: one that knows an event of this reason would count this one to it, and keep its words.
        let reporter = Reporter {
            controller: CONTROLLER.to_owned(),
            instance: None,
        };
        let recorder = Recorder::new(self.teller.client.clone(), reporter);
        let (about, reason) = (about(&self.connection), trouble.reason.to_string());
        // Not waited for: the next certificate matters more.
        tokio::spawn(async move {
            let told = record::publish_by(&recorder, &about, true, &reason, &note);
            if tokio::time::timeout(API_DEADLINE, told).await.is_err() {
                tracing::debug!("an event could not be published in time");
            }
        });
    }
}

fn unusable(error: &SettingsError) -> Refusal {
    let remedy = match error {
        SettingsError::Tls(_) => {
            "whoever runs foredeck can see whether the certificates that its machine trusts can be read"
        }
        SettingsError::Url | SettingsError::Limits | SettingsError::Credentials => {
            "the connection's owner can mend its Secret, or name another in spec.auth"
        }
    };
    Refusal::passing(
        WaitingFor::Configuration,
        error.reason(),
        format!("{error}; {remedy}."),
    )
}

/// Whether the connection that the API server has now is this one, as far as its login goes. Where that does not answer, it is.
async fn still_stands(teller: &Teller, connection: &SpinnakerConnection) -> bool {
    let (namespace, name) = (
        connection.namespace().unwrap_or_default(),
        connection.name_any(),
    );
    let shown = teller.generation_of(connection);
    let now = objects::read::<SpinnakerConnection>(&teller.client, &namespace, &name).await;
    match now {
        Ok(Some(now)) => {
            let same =
                now.uid() == connection.uid() && MadeFrom::of(&now) == MadeFrom::of(connection);
            if same {
                teller.stands(&now, shown);
            }
            same
        }
        Ok(None) => false,
        Err(_) => true,
    }
}

async fn awaited<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
