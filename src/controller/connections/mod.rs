//! The Gates by connection: a client that lives as long as the connection's spec stays the same, and a keeper of its login.
//! Touches the API server (Secrets, of the connection's own namespace), Vault through the keepers, Gate through the
//! clients, and the clock.
//!
//! Nothing here is shared between connections but a map that is held for no longer than a look-up takes.

mod keeper;
mod kept;
mod material;
mod measured;
mod patience;
mod secret;
mod vault;

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use kube::{Client, Resource, ResourceExt, runtime::reflector::ObjectRef};
use reqwest::Url;
use tokio::sync::{Notify, Semaphore, mpsc::UnboundedSender, watch};
use tokio_util::task::AbortOnDropHandle;

pub(super) use self::kept::Kept;
use self::{keeper::Keeper, measured::SecondsLeft, secret::Secrets};
use super::{context::ControllerSettings, metrics::ControllerMetrics, survey::Surveys};
use crate::{
    api::{
        SpinnakerConnection,
        conditions::Reason,
        connection::{OnUnknown, TriggerMode},
        deploy_request::WaitingFor,
    },
    domain::{
        decide::SHORTEST_SETTLE,
        hosts::{self, AllowedHosts, HostPattern},
        refusal::Refusal,
    },
    runtime::{
        cache::{Guarded, named},
        metrics::Metrics,
    },
    secrets::service_account::TokenGiver,
    spinnaker::{GateClient, GateError, GateLogin, GateSettings, Poller, Rate},
};

/// How long what Secrets hold is believed: a rotated one is picked up within this time.
const SECRET_AGE: Duration = Duration::from_secs(30);
/// How long a pass waits for the first login of a connection that was just met.
const FIRST_LOGIN: Duration = Duration::from_secs(5);
/// Lists of pipelines that are read from one Gate at once.
const LISTS: usize = 2;

/// One Gate, ready to be spoken to.
#[derive(Clone)]
pub(super) struct Gate {
    /// For single calls.
    pub client: GateClient,
    /// For looking after many executions.
    pub poller: Arc<Poller>,
    /// For what ran lately.
    pub surveys: Arc<Surveys>,
    /// Reads of whole lists of pipelines, two at a time, so that they leave Gate's permits to what matters more.
    pub catalog: Arc<Semaphore>,
    /// By which endpoint executions are started.
    pub trigger: TriggerMode,
    /// The connection's uid and Gate, as attempts are pinned to them.
    pub uid: String,
    /// Its URL, likewise.
    pub url: String,
    /// For links.
    pub deck_url: Option<String>,
    /// What to do when a start's outcome can't be known.
    pub on_unknown: OnUnknown,
    /// How long Gate has to answer "not found" before a start is sent again.
    pub settle: Duration,
}

/// A connection that was needed.
struct Entry {
    generation: Option<i64>,
    /// Namespace and name.
    place: (String, String),
    made: Instant,
    gate: Gate,
    login: Arc<watch::Sender<Option<Arc<GateLogin>>>>,
    kept: Arc<watch::Sender<Kept>>,
    doubt: Arc<Notify>,
    /// Why what answers there is no Gate to start anything at, as of the last look.
    not_gate: Option<Refusal>,
    keeper: AbortOnDropHandle<()>,
}

/// All that were needed so far, by uid.
#[derive(Clone, Default)]
struct Entries(Arc<Mutex<HashMap<String, Entry>>>);

impl Entries {
    fn all(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes the looks of one set of watches.
type Wake = UnboundedSender<ObjectRef<Guarded<SpinnakerConnection>>>;

/// What keepers tell, and whom.
struct Teller {
    client: Client,
    metrics: ControllerMetrics,
    entries: Entries,
    wakes: Mutex<Vec<Wake>>,
}

impl Teller {
    /// What is known of the connection's login is another now.
    fn changed(&self, connection: &SpinnakerConnection) {
        let namespace = connection.namespace().unwrap_or_default();
        let name = connection.name_any();
        for wake in &*self.wakes.lock().unwrap_or_else(PoisonError::into_inner) {
            drop(wake.send(named(&namespace, &name)));
        }
    }

    /// The connection is gone, or another generation.
    fn ended(&self, connection: &SpinnakerConnection) {
        let mut all = self.entries.all();
        let uid = uid(connection);
        if all
            .get(uid)
            .is_some_and(|entry| entry.generation == connection.metadata.generation)
        {
            all.remove(uid);
        }
    }
}

/// All Gates that were needed so far. One for the whole process, whatever it watches.
pub(super) struct Connections {
    hosts: AllowedHosts,
    minimum_settle: Duration,
    secret_age: Duration,
    giver: TokenGiver,
    teller: Arc<Teller>,
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.end();
    }
}

impl Connections {
    /// None yet.
    pub(super) fn new(
        client: Client,
        settings: &ControllerSettings,
        metrics: ControllerMetrics,
    ) -> Self {
        Self {
            hosts: settings.hosts.clone(),
            minimum_settle: settings.minimum_settle.unwrap_or(SHORTEST_SETTLE),
            secret_age: settings.secret_age.unwrap_or(SECRET_AGE),
            giver: TokenGiver::new(client.clone()),
            teller: Arc::new(Teller {
                client,
                metrics,
                entries: Entries::default(),
                wakes: Mutex::default(),
            }),
        }
    }

    /// Has the certificates measured.
    pub(super) fn measure(&self, metrics: &Metrics) {
        let entries = self.teller.entries.clone();
        metrics.register(|registry| registry.register_collector(Box::new(SecondsLeft(entries))));
    }

    /// Further watches whose connections are to be looked at when something changes here.
    pub(super) fn wake(&self, wake: Wake) {
        let mut wakes = self
            .teller
            .wakes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        wakes.push(wake);
    }

    /// The Gate of a connection, as soon as there is a login for it. Of a connection that is met for the first time, or in a
    /// new generation, the first login is waited for, but only so long; all else takes a lock and a clone.
    ///
    /// A reader of an old version gets the Gate of the newest that anybody has shown.
    ///
    /// # Errors
    /// Why there is no login: [`WaitingFor::Configuration`] where somebody has to mend something in Kubernetes, at Vault or
    /// in the controller's flags, [`WaitingFor::Spinnaker`] where nobody can do more than wait for Vault or the API server
    /// to answer.
    pub(super) async fn gate(&self, connection: &SpinnakerConnection) -> Result<Gate, Refusal> {
        let (gate, made, mut kept) = {
            let mut all = self.teller.entries.all();
            let uid = uid(connection);
            let known = all.get(uid).is_some_and(|entry| {
                entry.generation >= connection.metadata.generation
                    // One that ended by itself took its entry along: this one broke, and keeps nothing any more.
                    && !entry.keeper.is_finished()
            });
            if !known {
                let entry = self.meet(connection)?;
                all.insert(uid.to_owned(), entry);
            }
            let Some(entry) = all.get(uid) else {
                return Err(without_login(connection));
            };
            if entry.login.borrow().is_some() {
                return Ok(entry.gate.clone());
            }
            (entry.gate.clone(), entry.made, entry.kept.subscribe())
        };
        let tried = kept.wait_for(Kept::was_tried);
        match tokio::time::timeout_at((made + FIRST_LOGIN).into(), tried).await {
            Ok(Ok(kept)) => match &kept.trouble {
                Some(trouble) if !kept.live => Err(trouble.clone()),
                _ => Ok(gate),
            },
            _ => Err(without_login(connection)),
        }
    }

    /// As [`Connections::gate`], for starts: not where the last look found that something else than Gate answers there.
    pub(super) async fn gate_to_start_at(
        &self,
        connection: &SpinnakerConnection,
    ) -> Result<Gate, Refusal> {
        let gate = self.gate(connection).await?;
        let all = self.teller.entries.all();
        let found = all.get(uid(connection));
        match found.and_then(|entry| entry.not_gate.clone()) {
            Some(refusal) => Err(refusal),
            None => Ok(gate),
        }
    }

    /// What a look found: why what answers is no Gate, if so.
    pub(super) fn looked(&self, connection: &SpinnakerConnection, not_gate: Option<&Refusal>) {
        if let Some(entry) = self.teller.entries.all().get_mut(uid(connection)) {
            entry.not_gate = not_gate.cloned();
        }
    }

    /// What is known of a connection's login; nothing of one that was not needed yet, or may not be used.
    pub(super) fn kept(&self, connection: &SpinnakerConnection) -> Kept {
        let all = self.teller.entries.all();
        all.get(uid(connection))
            .map(|entry| entry.kept.borrow().clone())
            .unwrap_or_default()
    }

    /// Gate refused the login: Secrets are read again and Vault is asked for another certificate at once, unless that was
    /// done a moment ago.
    pub(super) fn distrust(&self, connection: &SpinnakerConnection) {
        self.doubt(uid(connection));
    }

    /// Likewise, as whoever has asked this Gate knows.
    pub(super) fn distrust_login_of(&self, gate: &Gate) {
        self.doubt(&gate.uid);
    }

    fn doubt(&self, uid: &str) {
        if let Some(entry) = self.teller.entries.all().get(uid) {
            entry.doubt.notify_one();
        }
    }

    /// The connection is gone: nothing more is sent with its login.
    pub(super) fn forget(&self, uid: &str) {
        if let Some(entry) = self.teller.entries.all().remove(uid) {
            entry.login.send_replace(None);
        }
    }

    /// Ends all keepers.
    pub(super) fn end(&self) {
        self.teller.entries.all().clear();
    }

    /// The settle time that holds for a connection.
    pub(super) fn settle(&self, connection: &SpinnakerConnection) -> Duration {
        connection
            .spec
            .timeouts
            .settle
            .map_or(SHORTEST_SETTLE.max(self.minimum_settle), Duration::from)
            .max(self.minimum_settle)
    }

    /// The shortest settle time that a connection may ask for.
    pub(super) fn minimum_settle(&self) -> Duration {
        self.minimum_settle
    }

    /// A client and a keeper for a connection, if its hosts are allowed. Nothing is resolved or sent before that is known.
    fn meet(&self, connection: &SpinnakerConnection) -> Result<Entry, Refusal> {
        let (spec, name) = (&connection.spec, connection.name_any());
        let url = self.allowed(connection)?;
        let login = Arc::new(watch::Sender::new(None));
        let kept = Arc::new(watch::Sender::new(Kept::default()));
        let mut settings = GateSettings::new(url, login.subscribe());
        if let Some(deadline) = spec.timeouts.request {
            settings.request_deadline = deadline.into();
        }
        if let Some(deadline) = spec.timeouts.connect {
            settings.connect_deadline = deadline.into();
        }
        settings.rate = spec.rate_limit.as_ref().map(|limit| {
            let atleast_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
            Rate {
                per_second: atleast_one(limit.per_second),
                burst: atleast_one(limit.burst.unwrap_or(limit.per_second)),
            }
        });
        let client =
            GateClient::new(settings).map_err(|error| invalid(&name, &error.to_string()))?;
        let namespace = connection.namespace().unwrap_or_default();
        let doubt = Arc::new(Notify::new());
        let keeper = Keeper {
            connection: connection.clone(),
            secrets: Secrets::new(self.teller.client.clone(), &namespace, &name),
            giver: self.giver.clone(),
            login: Arc::clone(&login),
            kept: Arc::clone(&kept),
            doubt: Arc::clone(&doubt),
            teller: Arc::clone(&self.teller),
            age: self.secret_age,
        };
        Ok(Entry {
            generation: connection.metadata.generation,
            place: (namespace, name),
            made: Instant::now(),
            gate: Gate {
                poller: Arc::new(Poller::new(client.clone())),
                surveys: Arc::default(),
                client,
                catalog: Arc::new(Semaphore::new(LISTS)),
                trigger: spec.trigger,
                uid: uid(connection).to_owned(),
                url: spec.gate_url.clone(),
                deck_url: spec.deck_url.clone(),
                on_unknown: spec.on_unknown,
                settle: self.settle(connection),
            },
            login,
            kept,
            doubt,
            not_gate: None,
            keeper: AbortOnDropHandle::new(tokio::spawn(keeper.keep())),
        })
    }

    /// Gate's URL, if Gate and Vault are where they may be.
    fn allowed(&self, connection: &SpinnakerConnection) -> Result<Url, Refusal> {
        let (spec, name) = (&connection.spec, connection.name_any());
        let url: Url = spec
            .gate_url
            .parse()
            .map_err(|error| invalid(&name, &format!("spec.gateUrl is no URL: {error}")))?;
        let check = |url: &Url, patterns: &[HostPattern], whose: &str, flag: &str, field: &str| {
            let host = url.host_str().unwrap_or_default();
            let port = url.port_or_known_default().unwrap_or_default();
            if hosts::allow(patterns, host, port) {
                return Ok(());
            }
            Err(Refusal::passing(
                WaitingFor::Configuration,
                Reason::HostNotAllowed,
                format!(
                    "SpinnakerConnection {name:?}: {whose} may not be at {host}:{port}, which no {flag} of the controller allows, so nothing is sent there. Whoever installs foredeck can add it, or the connection's owner can correct {field}."
                ),
            ))
        };
        check(
            &url,
            &self.hosts.gate,
            "Gate",
            "--allow-gate-host",
            "spec.gateUrl",
        )?;
        let mtls = spec.auth.as_ref().and_then(|auth| auth.mtls.as_ref());
        if let Some(vault) = mtls.and_then(|mtls| mtls.vault.as_ref()) {
            let field = "spec.auth.mtls.vault.address";
            let address: Url = vault
                .address
                .parse()
                .map_err(|error| invalid(&name, &format!("{field} is no URL: {error}")))?;
            check(
                &address,
                &self.hosts.vault,
                "Vault",
                "--allow-vault-host",
                field,
            )?;
        }
        Ok(url)
    }
}

/// The first login takes longer than anybody waits for it.
fn without_login(connection: &SpinnakerConnection) -> Refusal {
    let mtls = connection
        .spec
        .auth
        .as_ref()
        .and_then(|auth| auth.mtls.as_ref());
    let (reason, what) = if mtls.is_some_and(|mtls| mtls.vault.is_some()) {
        (
            Reason::VaultUnreachable,
            "Vault has given no certificate yet",
        )
    } else {
        (
            Reason::CredentialsNotFound,
            "its Secrets could not be read yet",
        )
    };
    Refusal::passing(
        WaitingFor::Spinnaker,
        reason,
        format!(
            "SpinnakerConnection {:?}: {what}; it goes on as soon as that is done.",
            connection.name_any()
        ),
    )
}

fn uid(connection: &SpinnakerConnection) -> &str {
    connection.meta().uid.as_deref().unwrap_or_default()
}

fn invalid(name: &str, what: &str) -> Refusal {
    Refusal::passing(
        WaitingFor::Configuration,
        Reason::ConnectionInvalid,
        format!("SpinnakerConnection {name:?} can't be used: {what}."),
    )
}

/// Gate's error, as what a request waits for or fails by.
pub(super) fn refusal(connection: &str, error: &GateError) -> Refusal {
    let advice = match error.reason() {
        Reason::LoginFailed => ": its owner has to renew the credentials",
        Reason::NotSpinnaker => ": its owner has to correct it",
        Reason::SpinnakerForbidden => ": its owner has to ask Spinnaker's operators for access",
        Reason::GateUnreachable => "; it is tried again",
        _ => "",
    };
    let message = format!("SpinnakerConnection {connection:?}: {error}{advice}.");
    let waiting_for = (error.reason() != Reason::PipelineNotFound).then_some(WaitingFor::Spinnaker);
    Refusal {
        reason: error.reason(),
        message,
        waiting_for,
        retry_after: error.retry_after(),
    }
}

#[cfg(test)]
mod tests;
