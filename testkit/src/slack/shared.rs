//! What the handlers, the deliveries and the handle share: the world, the log, the faults, the sockets.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::watch;

use super::calls::CallLog;
use super::delivery::{Delivery, Destination, Sockets};
use super::faults::FaultBook;
use super::limits::Limits;
use super::world::World;

#[derive(Debug)]
pub(super) struct Shared {
    world: Mutex<World>,
    /// Counts the changes of the world, for those who wait for one.
    changes: watch::Sender<u64>,
    log: Mutex<CallLog>,
    faults: Mutex<FaultBook>,
    limits: Mutex<Limits>,
    destination: Mutex<Destination>,
    sockets: Mutex<Sockets>,
    deliveries: Mutex<Vec<Delivery>>,
    pub(super) client: reqwest::Client,
    pub(super) runtime: tokio::runtime::Handle,
    /// Where it listens; known once it does.
    pub(super) url: OnceLock<String>,
}

impl Shared {
    pub(super) fn new(world: World, client: reqwest::Client) -> Self {
        Self {
            world: Mutex::new(world),
            changes: watch::Sender::new(0),
            log: Mutex::default(),
            faults: Mutex::default(),
            limits: Mutex::default(),
            destination: Mutex::default(),
            sockets: Mutex::default(),
            deliveries: Mutex::default(),
            client,
            runtime: tokio::runtime::Handle::current(),
            url: OnceLock::new(),
        }
    }

    /// The world, to look at.
    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }

    /// The world, to change; those who wait look again.
    pub(super) fn change(&self) -> Change<'_> {
        Change {
            world: lock(&self.world),
            changes: &self.changes,
        }
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(super) fn log(&self) -> MutexGuard<'_, CallLog> {
        lock(&self.log)
    }

    pub(super) fn faults(&self) -> MutexGuard<'_, FaultBook> {
        lock(&self.faults)
    }

    pub(super) fn limits(&self) -> MutexGuard<'_, Limits> {
        lock(&self.limits)
    }

    pub(super) fn destination(&self) -> MutexGuard<'_, Destination> {
        lock(&self.destination)
    }

    pub(super) fn sockets(&self) -> MutexGuard<'_, Sockets> {
        lock(&self.sockets)
    }

    /// Everything the app was told, oldest first.
    pub(super) fn deliveries(&self) -> MutexGuard<'_, Vec<Delivery>> {
        lock(&self.deliveries)
    }

    /// Where it listens, such as `http://127.0.0.1:40123`.
    pub(super) fn url(&self) -> &str {
        self.url.get().map_or("", String::as_str)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The world while it is changed.
pub(super) struct Change<'a> {
    world: MutexGuard<'a, World>,
    changes: &'a watch::Sender<u64>,
}

impl Deref for Change<'_> {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl DerefMut for Change<'_> {
    fn deref_mut(&mut self) -> &mut World {
        &mut self.world
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.changes.send_modify(|count| *count += 1);
    }
}
