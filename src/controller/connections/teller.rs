//! What keepers tell, and whom: that a login is another, that there is a new one, that one has ended. Touches nothing.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use kube::{Client, ResourceExt, core::DeserializeGuard, runtime::reflector::ObjectRef};
use tokio::sync::mpsc::UnboundedSender;

use super::{
    entry::{Entries, Entry, MadeFrom},
    uid,
};
use crate::{
    api::SpinnakerConnection,
    controller::metrics::ControllerMetrics,
    runtime::cache::{Guarded, named},
};

/// Wakes the looks of one set of watches.
pub(super) type Wake = UnboundedSender<ObjectRef<Guarded<SpinnakerConnection>>>;

/// Those who follow connections in one set of watches.
pub(super) type Followers = UnboundedSender<Arc<Guarded<SpinnakerConnection>>>;

/// What keepers tell, and whom.
pub(super) struct Teller {
    pub client: Client,
    pub metrics: ControllerMetrics,
    pub entries: Entries,
    pub wakes: Mutex<Vec<Wake>>,
    pub followers: Mutex<Vec<Followers>>,
    /// How many logins were made, of all connections.
    pub logins: AtomicU64,
}

impl Teller {
    /// What is known of the connection's login is another now.
    pub(super) fn changed(&self, connection: &SpinnakerConnection) {
        let namespace = connection.namespace().unwrap_or_default();
        let name = connection.name_any();
        for wake in &*self.wakes.lock().unwrap_or_else(PoisonError::into_inner) {
            drop(wake.send(named(&namespace, &name)));
        }
    }

    /// There is a new login: whoever was refused with the one before can try again.
    pub(super) fn logged_in(&self, connection: &SpinnakerConnection) {
        let connection = Arc::new(DeserializeGuard(Ok(connection.clone())));
        let followers = self
            .followers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for follower in &*followers {
            drop(follower.send(Arc::clone(&connection)));
        }
    }

    /// The number of a login that was just made.
    pub(super) fn next_login(&self) -> u64 {
        self.logins.fetch_add(1, Ordering::Relaxed)
    }

    /// The newest generation of the connection that anybody has shown.
    pub(super) fn generation_of(&self, connection: &SpinnakerConnection) -> Option<i64> {
        let all = self.entries.all();
        all.get(uid(connection)).and_then(Entry::generation)
    }

    /// This is what the API server has now, asked after `shown` had been the newest generation.
    pub(super) fn stands(&self, now: &SpinnakerConnection, shown: Option<i64>) {
        let mut all = self.entries.all();
        let entry = all.get_mut(uid(now));
        if entry.is_some_and(|entry| entry.is_taken_back(shown, now)) {
            drop(all);
            self.changed(now);
        }
    }

    /// The connection is gone, or logs in otherwise: nothing more is sent with this login, and somebody looks at what there
    /// is in its place.
    pub(super) fn ended(&self, connection: &SpinnakerConnection) {
        let mut all = self.entries.all();
        let uid = uid(connection);
        let made_from = MadeFrom::of(connection);
        if all
            .get(uid)
            .is_some_and(|entry| entry.login.made_from == made_from)
            && let Some(entry) = all.remove(uid)
        {
            entry.login.end();
        }
        drop(all);
        self.changed(connection);
    }
}
