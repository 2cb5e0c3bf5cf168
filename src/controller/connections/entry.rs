//! The connections that were needed: each with its Gate, which is as the newest version of the connection describes it, and
//! with its login, which lives as long as what it is made from stays the same. Touches nothing.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::{Notify, watch};
use tokio_util::task::AbortOnDropHandle;

use super::Gate;
use crate::{
    api::{
        SpinnakerConnection,
        connection::{Auth, SpinnakerConnectionSpec, Trust},
    },
    domain::{login::LoginState, refusal::Refusal},
    spinnaker::GateLogin,
};

/// All that were needed so far, by uid.
#[derive(Clone, Default)]
pub(super) struct Entries(Arc<Mutex<HashMap<String, Entry>>>);

impl Entries {
    pub(super) fn all(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that was needed.
pub(super) struct Entry {
    /// The newest generation that anybody has shown; `None` once the API server has taken it back.
    generation: Option<i64>,
    /// What that said.
    spec: SpinnakerConnectionSpec,
    /// Namespace and name.
    pub place: (String, String),
    pub gate: Gate,
    /// Why what answers there is no Gate to start anything at, as of the last look.
    pub not_gate: Option<Refusal>,
    pub login: Login,
}

impl Entry {
    pub(super) fn new(
        connection: &SpinnakerConnection,
        place: (String, String),
        gate: Gate,
        login: Login,
    ) -> Self {
        Self {
            generation: connection.metadata.generation,
            spec: connection.spec.clone(),
            place,
            gate,
            not_gate: None,
            login,
        }
    }

    /// Whether its Gate is for whoever comes with this version of the connection.
    ///
    /// Caches lag behind each other, so one who comes with an older version gets the Gate of the newest: two of them must
    /// not have it made anew by turns. A version that is older for good, from a backup of the API server's, can't be told
    /// from that here; the keeper, who asks the API server itself, tells ([`Entry::is_taken_back`]).
    pub(super) fn serves(&self, connection: &SpinnakerConnection) -> bool {
        self.generation >= connection.metadata.generation && !self.login.keeper.is_finished()
    }

    /// The newest generation that anybody has shown so far.
    pub(super) fn generation(&self) -> Option<i64> {
        self.generation
    }

    /// The API server was asked after somebody had shown the generation `shown`, and gave `now`: where that is an older one,
    /// or says something else under the same number, a backup was restored. Then the next one to come has the Gate made
    /// anew, whatever version that is; if it is one from a cache that doesn't know yet, the next asking tells again.
    pub(super) fn is_taken_back(&mut self, shown: Option<i64>, now: &SpinnakerConnection) -> bool {
        let stands = now.metadata.generation;
        let taken_back = shown.is_some()
            && self.generation == shown
            && (stands < shown || stands == shown && now.spec != self.spec);
        if taken_back {
            self.generation = None;
        }
        taken_back
    }
}

/// A login, with the task that keeps it.
pub(super) struct Login {
    pub made_from: MadeFrom,
    pub made: Instant,
    pub current: Arc<watch::Sender<Option<Arc<GateLogin>>>>,
    pub state: Arc<watch::Sender<LoginState>>,
    pub doubt: Arc<Notify>,
    pub keeper: AbortOnDropHandle<()>,
}

impl Login {
    /// Whether it goes on when the connection becomes this one.
    pub(super) fn is_of(&self, connection: &SpinnakerConnection) -> bool {
        self.made_from == MadeFrom::of(connection) && !self.keeper.is_finished()
    }

    /// Nothing more is sent with it.
    pub(super) fn end(&self) {
        self.keeper.abort();
        self.current.send_replace(None);
    }
}

/// All that a connection's spec says of its login. Whatever else changes in it leaves the login as it is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct MadeFrom {
    auth: Option<Auth>,
    tls: Option<Trust>,
}

impl MadeFrom {
    pub(super) fn of(connection: &SpinnakerConnection) -> Self {
        Self {
            auth: connection.spec.auth.clone(),
            tls: connection.spec.tls.clone(),
        }
    }
}
