//! The Gates by connection: a client that lives as long as the connection's spec stays the same, and a keeper of its login,
//! which outlives every edit that says nothing of it. Touches the API server (Secrets, of the connection's own namespace),
//! Vault through the keepers, Gate through the clients, and the clock.
//!
//! Nothing here is shared between connections but a map that is held for no longer than a look-up takes.

mod entry;
mod holding;
mod keeper;
mod material;
mod measured;
mod patience;
mod secret;
mod teller;
mod vault;

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
    time::{Duration, Instant},
};

use kube::{Client, Resource, ResourceExt, runtime::reflector::Store};
use reqwest::Url;
use tokio::sync::{
    Notify, Semaphore,
    mpsc::{UnboundedReceiver, unbounded_channel},
    watch,
};
use tokio_util::task::AbortOnDropHandle;

use self::{
    entry::{Entries, Entry, Login, MadeFrom},
    keeper::Keeper,
    measured::{Certificates, ReadyOnes},
    secret::Secrets,
    teller::{Teller, Wake},
};
use super::{context::ControllerSettings, metrics::ControllerMetrics, survey::Surveys};
use crate::{
    api::{
        DeployRequest, SpinnakerConnection,
        conditions::Reason,
        connection::{OnUnknown, TriggerMode},
        deploy_request::WaitingFor,
        trace::TraceId,
    },
    domain::{
        decide::SHORTEST_SETTLE,
        hosts::{self, AllowedHosts, HostPattern},
        login::LoginState,
        refusal::Refusal,
    },
    runtime::{cache::Guarded, metrics::Metrics},
    secrets::service_account::TokenGiver,
    spinnaker::{GateClient, GateError, GateSettings, Poller, Rate},
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

impl Gate {
    /// The same, whose single calls carry the request's trace id; Spinnaker's services log it.
    pub(super) fn of(mut self, request: &DeployRequest) -> Self {
        if let Some(id) = request.metadata.uid.as_deref().and_then(TraceId::of) {
            self.client = self.client.with_request_id(&id.to_string());
        }
        self
    }
}

/// All Gates that were needed so far. One for the whole process, whatever it watches.
pub(super) struct Connections {
    hosts: AllowedHosts,
    minimum_settle: Duration,
    secret_age: Duration,
    giver: TokenGiver,
    teller: Arc<Teller>,
    ready: ReadyOnes,
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
                followers: Mutex::default(),
                logins: AtomicU64::new(1),
            }),
            ready: ReadyOnes::default(),
        }
    }

    /// Has the certificates measured, and the connections of each cache that is looked at.
    pub(super) fn measure(&self, metrics: &Metrics) {
        let (entries, ready) = (self.teller.entries.clone(), self.ready.clone());
        metrics.register(|registry| {
            registry.register_collector(Box::new(Certificates(entries)));
            registry.register_collector(Box::new(ready));
        });
    }

    /// Has the connections of this cache measured.
    pub(super) fn look_at(&self, connections: Store<Guarded<SpinnakerConnection>>) {
        self.ready.look_at(connections);
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

    /// Brings each connection for which there is a new login, be it the first: whoever was refused with the one before can
    /// try again.
    pub(super) fn new_logins(&self) -> UnboundedReceiver<Arc<Guarded<SpinnakerConnection>>> {
        let (follower, connections) = unbounded_channel();
        let mut followers = self
            .teller
            .followers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        followers.push(follower);
        connections
    }

    /// The Gate of a connection, as soon as there is a login for it. A login that is made for the first time, or from
    /// something else than before, is waited for, but only so long; all else takes a lock and a clone.
    ///
    /// A reader of an old version gets the Gate of the newest that anybody has shown.
    ///
    /// # Errors
    /// Why there is no login: [`WaitingFor::Configuration`] where somebody has to mend something in Kubernetes, at Vault or
    /// in the controller's flags, [`WaitingFor::Spinnaker`] where nobody can do more than wait for Vault or the API server
    /// to answer.
    pub(super) async fn gate(&self, connection: &SpinnakerConnection) -> Result<Gate, Refusal> {
        let (gate, made, mut state) = {
            let mut all = self.teller.entries.all();
            let uid = uid(connection);
            if !all.get(uid).is_some_and(|entry| entry.serves(connection)) {
                let before = all.remove(uid);
                let entry = self.meet(connection, before)?;
                all.insert(uid.to_owned(), entry);
            }
            let Some(entry) = all.get(uid) else {
                return Err(without_login(connection));
            };
            let login = &entry.login;
            if login.current.borrow().is_some() {
                return Ok(entry.gate.clone());
            }
            (entry.gate.clone(), login.made, login.state.subscribe())
        };
        let tried = state.wait_for(LoginState::was_tried);
        match tokio::time::timeout_at((made + FIRST_LOGIN).into(), tried).await {
            Ok(Ok(state)) => match state.missing() {
                Some(trouble) => Err(said_of(connection, trouble)),
                None => Ok(gate),
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
    pub(super) fn login(&self, connection: &SpinnakerConnection) -> LoginState {
        let all = self.teller.entries.all();
        all.get(uid(connection))
            .map(|entry| entry.login.state.borrow().clone())
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
            entry.login.doubt.notify_one();
        }
    }

    /// The connection is gone: nothing more is sent with its login.
    pub(super) fn forget(&self, uid: &str) {
        if let Some(entry) = self.teller.entries.all().remove(uid) {
            entry.login.end();
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

    /// The Gate of a connection that is met for the first time, or in another version than `before`, if its hosts are allowed.
    /// Nothing is resolved or sent before that is known, and if they aren't, what there was ends: they are a security rule.
    /// The login stays, with its keeper and whatever doubt there is of it, if it is made from the same.
    fn meet(
        &self,
        connection: &SpinnakerConnection,
        before: Option<Entry>,
    ) -> Result<Entry, Refusal> {
        let (spec, name) = (&connection.spec, connection.name_any());
        let url = match self.allowed(connection) {
            Ok(url) => url,
            Err(refusal) => {
                if let Some(before) = before {
                    before.login.end();
                }
                return Err(refusal);
            }
        };
        let (login, not_gate) = match before {
            Some(before) if before.login.is_of(connection) => {
                let same_gate = before.gate.url == spec.gate_url;
                (before.login, before.not_gate.filter(|_| same_gate))
            }
            _ => (self.log_in(connection), None),
        };
        let mut settings = GateSettings::new(url, login.current.subscribe());
        settings.metrics = self.teller.metrics.gate.clone();
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
        let client = GateClient::new(settings).map_err(|error| {
            login.end();
            invalid(&name, &error.to_string())
        })?;
        let gate = Gate {
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
        };
        let place = (connection.namespace().unwrap_or_default(), name);
        let mut entry = Entry::new(connection, place, gate, login);
        entry.not_gate = not_gate;
        Ok(entry)
    }

    /// A login, with a keeper.
    fn log_in(&self, connection: &SpinnakerConnection) -> Login {
        let (namespace, name) = (
            connection.namespace().unwrap_or_default(),
            connection.name_any(),
        );
        let current = Arc::new(watch::Sender::new(None));
        let state = Arc::new(watch::Sender::new(LoginState::default()));
        let doubt = Arc::new(Notify::new());
        let keeper = Keeper {
            connection: connection.clone(),
            secrets: Secrets::new(self.teller.client.clone(), &namespace),
            giver: self.giver.clone(),
            login: Arc::clone(&current),
            state: Arc::clone(&state),
            doubt: Arc::clone(&doubt),
            teller: Arc::clone(&self.teller),
            age: self.secret_age,
        };
        tracing::debug!(connection.namespace = %namespace, connection.name = %name, "a login is made");
        Login {
            made_from: MadeFrom::of(connection),
            made: Instant::now(),
            current,
            state,
            doubt,
            keeper: AbortOnDropHandle::new(tokio::spawn(keeper.keep())),
        }
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

/// What a keeper says, for those who don't stand before the connection.
fn said_of(connection: &SpinnakerConnection, refusal: &Refusal) -> Refusal {
    Refusal {
        message: format!(
            "SpinnakerConnection {:?}: {}",
            connection.name_any(),
            refusal.message
        ),
        ..refusal.clone()
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
        Reason::LoginFailed if matches!(error, GateError::CertificateRefused { .. }) => {
            ". The connection's owner can name a certificate in spec.auth.mtls that Gate takes, or Gate's operators can have it trust the issuer of this one"
        }
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
