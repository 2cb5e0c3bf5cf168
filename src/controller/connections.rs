//! A client per `SpinnakerConnection`: made when first needed, made anew when the connection or its Secret changes.
//! Touches the API server (Secrets, of the connection's own namespace) and, through the clients, Gate.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, ResourceExt};
use secrecy::SecretString;
use tokio::sync::Semaphore;

use super::{objects::within, survey::Surveys};
use crate::{
    api::{
        SpinnakerConnection,
        conditions::Reason,
        connection::{Auth, OnUnknown, TriggerMode},
        deploy_request::WaitingFor,
    },
    domain::{decide::SHORTEST_SETTLE, ids, refusal::Refusal},
    spinnaker::{Credentials, GateClient, GateError, GateSettings, Poller},
};

/// How long a Secret's content is believed: a rotated one is picked up within this time.
const SECRET_AGE: Duration = Duration::from_secs(30);

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

struct Entry {
    uid: String,
    generation: Option<i64>,
    /// Digest of what was read from the Secret.
    secret: String,
    checked: Instant,
    gate: Gate,
}

/// All Gates that were needed so far.
pub(super) struct Connections {
    client: Client,
    minimum_settle: Duration,
    entries: Mutex<HashMap<(String, String), Entry>>,
}

impl Connections {
    /// None yet. `minimum_settle` is the shortest settle time that a connection may ask for.
    pub(super) fn new(client: Client, minimum_settle: Duration) -> Self {
        Self {
            client,
            minimum_settle,
            entries: Mutex::default(),
        }
    }

    /// The Gate of a connection.
    pub(super) async fn gate(&self, connection: &SpinnakerConnection) -> Result<Gate, Refusal> {
        let key = (
            connection.namespace().unwrap_or_default(),
            connection.name_any(),
        );
        let uid = connection.uid().unwrap_or_default();
        let generation = connection.metadata.generation;
        let same = |entry: &Entry| entry.uid == uid && entry.generation == generation;
        if let Some(entry) = self.lock().get(&key)
            && same(entry)
            && (connection.spec.auth.is_none() || entry.checked.elapsed() < SECRET_AGE)
        {
            return Ok(entry.gate.clone());
        }
        let (credentials, secret) = match &connection.spec.auth {
            None => (Credentials::None, String::new()),
            Some(auth) => self.credentials(&key.0, &key.1, auth).await?,
        };
        let mut entries = self.lock();
        if let Some(entry) = entries.get_mut(&key)
            && same(entry)
            && entry.secret == secret
        {
            entry.checked = Instant::now();
            return Ok(entry.gate.clone());
        }
        let gate = self.build(connection, credentials)?;
        entries.insert(
            key,
            Entry {
                uid,
                generation,
                secret,
                checked: Instant::now(),
                gate: gate.clone(),
            },
        );
        Ok(gate)
    }

    /// Gate refused the login: the Secret is read again before the next call.
    pub(super) fn distrust(&self, connection: &SpinnakerConnection) {
        let key = (
            connection.namespace().unwrap_or_default(),
            connection.name_any(),
        );
        self.lock().remove(&key);
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

    fn build(
        &self,
        connection: &SpinnakerConnection,
        credentials: Credentials,
    ) -> Result<Gate, Refusal> {
        let name = connection.name_any();
        let invalid = |what: String| {
            Refusal::passing(
                WaitingFor::Configuration,
                Reason::ConnectionInvalid,
                format!("SpinnakerConnection {name:?} can't be used: {what}."),
            )
        };
        let url = connection
            .spec
            .gate_url
            .parse()
            .map_err(|error| invalid(format!("spec.gateUrl is no URL: {error}")))?;
        let mut settings = GateSettings::new(url, credentials);
        if let Some(deadline) = connection.spec.timeouts.request {
            settings.request_deadline = deadline.into();
        }
        let client = GateClient::new(settings).map_err(|error| invalid(error.to_string()))?;
        Ok(Gate {
            poller: Arc::new(Poller::new(client.clone())),
            surveys: Arc::default(),
            client,
            catalog: Arc::new(Semaphore::new(LISTS)),
            trigger: connection.spec.trigger,
            uid: connection.uid().unwrap_or_default(),
            url: connection.spec.gate_url.clone(),
            deck_url: connection.spec.deck_url.clone(),
            on_unknown: connection.spec.on_unknown,
            settle: self.settle(connection),
        })
    }

    /// What the Secret holds, and a digest by which a change is seen.
    async fn credentials(
        &self,
        namespace: &str,
        connection: &str,
        auth: &Auth,
    ) -> Result<(Credentials, String), Refusal> {
        let missing = |secret: &str, what: &str| {
            Refusal::passing(
                WaitingFor::Configuration,
                Reason::CredentialsNotFound,
                format!(
                    "Secret {secret:?} of SpinnakerConnection {connection:?} {what}; the connection's owner can mend it, or name another in spec.auth."
                ),
            )
        };
        let (name, keys): (&str, Vec<&str>) = match (&auth.basic, &auth.token) {
            (Some(basic), _) => (&basic.secret_name, vec!["username", "password"]),
            (None, Some(token)) => (&token.secret_name, vec![&token.key]),
            (None, None) => return Ok((Credentials::None, String::new())),
        };
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let secret = within("read a Secret", api.get_opt(name))
            .await
            .map_err(|_| {
                missing(
                    name,
                    "can't be read by the controller, whose Role may not let it",
                )
            })?
            .ok_or_else(|| missing(name, "does not exist"))?;
        let data = secret.data.unwrap_or_default();
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            let value = data
                .get(key)
                .ok_or_else(|| missing(name, &format!("has no key {key:?}")))?;
            let value = String::from_utf8(value.0.clone())
                .map_err(|_| missing(name, &format!("holds no text under {key:?}")))?;
            values.push(value);
        }
        let digest = ids::sha256(values.join("\0").as_bytes());
        let mut values = values.into_iter();
        let mut next = || values.next().unwrap_or_default();
        let credentials = match (&auth.basic, &auth.token) {
            (Some(_), _) => Credentials::Basic {
                username: next(),
                password: SecretString::from(next()),
            },
            (None, Some(token)) => Credentials::Token {
                header: token.header.clone(),
                value: SecretString::from(next()),
            },
            (None, None) => Credentials::None,
        };
        Ok((credentials, digest))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gate's error, as what a request waits for or fails by.
pub(super) fn refusal(connection: &str, error: &GateError) -> Refusal {
    let advice = match error.reason() {
        Reason::LoginFailed => ": its owner has to renew the credentials",
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

/// How long an id has been cleanly "not found", on this process's own clock.
#[derive(Default)]
pub(super) struct Absences(Mutex<BTreeMap<String, (Instant, Search)>>);

/// What is looked for, and where. Absence of one search says nothing about another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Search {
    /// The Gate that is asked.
    pub gate_url: String,
    /// The send that is looked for. What was not there before it may be there after it, and another process that acts
    /// may have sent since we began to count.
    pub sent_at: Option<Timestamp>,
    /// Which send: two may fall into one second.
    pub sends: u32,
}

impl Absences {
    /// Another clean "not found"; how long they have been coming without anything else in between.
    pub(super) fn another(&self, uid: &str, search: Search) -> Duration {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = match all.get(uid) {
            Some((since, known)) if *known == search => *since,
            _ => {
                let now = Instant::now();
                all.insert(uid.to_owned(), (now, search));
                now
            }
        };
        since.elapsed()
    }

    /// Anything but a clean "not found", or a new send: counting begins anew.
    pub(super) fn over(&self, uid: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(gate: &str, sent_at: i64) -> Search {
        Search {
            gate_url: gate.to_owned(),
            sent_at: Timestamp::from_second(sent_at).ok(),
            sends: 1,
        }
    }

    /// The clock is the process's own: it only has to have moved.
    fn counted(absences: &Absences, search: &Search) -> Duration {
        let first = absences.another("uid", search.clone());
        while absences.another("uid", search.clone()) == first {}
        absences.another("uid", search.clone())
    }

    #[test]
    fn absence_before_a_send_does_not_count_after_it() {
        let absences = Absences::default();
        for next in [search("one", 2), search("two", 2)] {
            let before = counted(&absences, &search("one", 1));
            assert!(absences.another("uid", next) < before);
            absences.over("uid");
        }
    }
}
