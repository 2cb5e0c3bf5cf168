//! What this process remembers of each object that is told of; lost without harm. Touches nothing.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use prometheus_client::metrics::gauge::Gauge;
use reqwest::Url;
use tokio::time::Instant;

use super::ledger::Ledger;
use crate::{api::deploy_request::SlackMessage, slack::client::Posted};

/// The longest wait after a pass that failed.
const LONGEST_FAILING: Duration = Duration::from_mins(1);

/// A message that was posted and is not written down yet.
#[derive(Debug, Clone)]
pub(super) struct Unrecorded<P> {
    /// What it is for.
    pub(super) purpose: P,
    /// Where it was to go, and when.
    pub(super) entry: SlackMessage,
    /// Which it is.
    pub(super) at: Posted,
}

/// Where people see a message.
#[derive(Debug, Clone, Default)]
pub(super) enum Address {
    /// Nobody has asked.
    #[default]
    NotAsked,
    /// Slack doesn't say.
    Unknown,
    /// There.
    At(Url),
}

/// What is remembered of one object, `O`, whose messages are for `P`.
pub(super) struct Memory<O, P> {
    /// As it was when it was last looked at.
    pub(super) object: Option<O>,
    /// What was told, newer than the cache may be.
    pub(super) ledger: Option<Ledger>,
    /// Written down and certainly not posted.
    pub(super) unsent: Option<P>,
    /// Posted by us, with no answer, and when that was lost.
    pub(super) uncertain: Option<(P, Instant)>,
    /// Until when messages wait, since Slack failed; and whether the object had ended by then.
    pub(super) not_before: BTreeMap<P, (Instant, bool)>,
    /// Posted, and not written down.
    pub(super) unrecorded: Option<Unrecorded<P>>,
    /// Where people see a request's live message, once that was asked. A freeze has none.
    pub(super) live_url: Address,
    /// When a message was last brought up to date.
    pub(super) updated: Option<Instant>,
    /// How often Slack failed in a row.
    pub(super) failures: u32,
    /// Why Slack didn't accept us when that was told.
    pub(super) told_stop: Option<String>,
}

impl<O, P> Default for Memory<O, P> {
    fn default() -> Self {
        Self {
            object: None,
            ledger: None,
            unsent: None,
            uncertain: None,
            not_before: BTreeMap::new(),
            unrecorded: None,
            live_url: Address::NotAsked,
            updated: None,
            failures: 0,
            told_stop: None,
        }
    }
}

/// What is remembered of all objects of one kind, by their uid.
pub(super) struct Memories<O, P> {
    by_uid: Mutex<HashMap<String, Memory<O, P>>>,
    /// How often the last passes over an object failed in a row.
    failing: Mutex<HashMap<String, u32>>,
    /// How many are remembered.
    count: Gauge,
}

impl<O, P: Ord> Memories<O, P> {
    /// Nothing is remembered yet; `count` will say of how many objects something is.
    pub(super) fn new(count: Gauge) -> Self {
        Self {
            by_uid: Mutex::default(),
            failing: Mutex::default(),
            count,
        }
    }

    /// Begins to remember an object that is told of, or goes on with it.
    pub(super) fn begin<T>(&self, uid: &str, change: impl FnOnce(&mut Memory<O, P>) -> T) -> T {
        let mut memories = self.lock();
        let changed = change(memories.entry(uid.to_owned()).or_default());
        self.count(&memories);
        changed
    }

    /// Changes what is remembered of an object, if it still is.
    pub(super) fn remember<T>(
        &self,
        uid: &str,
        change: impl FnOnce(&mut Memory<O, P>) -> T,
    ) -> Option<T> {
        self.lock().get_mut(uid).map(change)
    }

    /// What is remembered of an object, if anything is.
    pub(super) fn recall<T>(
        &self,
        uid: &str,
        look: impl FnOnce(&Memory<O, P>) -> Option<T>,
    ) -> Option<T> {
        self.lock().get(uid).and_then(look)
    }

    /// Nothing more will be told of it.
    pub(super) fn forget(&self, uid: &str) -> Option<Memory<O, P>> {
        let mut memories = self.lock();
        let memory = memories.remove(uid);
        self.count(&memories);
        memory
    }

    /// Slack did what it was asked to.
    pub(super) fn succeeded(&self, uid: &str, purpose: &P) {
        self.remember(uid, |memory| {
            memory.failures = 0;
            memory.told_stop = None;
            memory.not_before.remove(purpose);
        });
    }

    /// A pass failed: how long until the next.
    pub(super) fn pass_failed(&self, uid: &str) -> Duration {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let times = failing.entry(uid.to_owned()).or_default();
        let wait = Duration::from_secs(1) * 2_u32.pow((*times).min(6));
        *times = times.saturating_add(1);
        wait.min(LONGEST_FAILING)
    }

    /// A pass did not fail, or there will be no more.
    pub(super) fn pass_ended(&self, uid: &str) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        failing.remove(uid);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Memory<O, P>>> {
        self.by_uid.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, memories: &HashMap<String, Memory<O, P>>) {
        let live = i64::try_from(memories.len()).unwrap_or(i64::MAX);
        self.count.set(live);
    }
}

impl<O: Clone, P: Ord> Memories<O, P> {
    /// All that are remembered, as they were when they were last looked at.
    pub(super) fn objects(&self) -> Vec<O> {
        let memories = self.lock();
        let known = memories.values();
        known.filter_map(|memory| memory.object.clone()).collect()
    }
}
