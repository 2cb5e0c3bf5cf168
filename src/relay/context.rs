//! What all passes share: clients, caches, and what this process remembers of each request. Touches nothing itself.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Deref,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use kube::ResourceExt;
use reqwest::Url;
use tokio::{sync::mpsc::UnboundedSender, time::Instant};

use super::{ledger::Ledger, means::Means, message, place::Spot, plan::Facts, purpose::Purpose};
use crate::{
    api::{Application, DeployRequest, Environment, deploy_request::SlackMessage},
    runtime::cache::{Cache, Guarded},
    slack::client::{Method, Posted},
};

/// The longest wait after a pass that failed.
const LONGEST_FAILING: Duration = Duration::from_mins(1);
/// How long the next update waits for each that waits for its turn: how fast Slack's budget is refilled.
const EACH_WAITING: Duration = Duration::from_millis(1500);

/// What all passes share.
pub(super) struct Context {
    /// What it works with.
    pub(super) means: Means,
    /// Requests.
    pub(super) requests: Cache<DeployRequest>,
    /// Environments.
    pub(super) environments: Cache<Environment>,
    /// Applications.
    pub(super) applications: Cache<Application>,
    /// Requests that went while they were told.
    pub(super) gone: UnboundedSender<Gone>,
    memories: Mutex<HashMap<String, Memory>>,
    /// How often the last passes over a request failed in a row.
    failing: Mutex<HashMap<String, u32>>,
    /// Those of which something is still to be told.
    undelivered: Mutex<HashSet<String>>,
}

/// A request that was deleted, and a message that still speaks of it.
pub(super) struct Gone {
    /// As it was last.
    pub(super) request: DeployRequest,
    /// What the message is for.
    pub(super) purpose: Purpose,
    /// Which it is.
    pub(super) at: Posted,
}

/// A message that was posted and is not written down yet.
#[derive(Debug, Clone)]
pub(super) struct Unrecorded {
    /// What it is for, where it was to go, and when.
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

/// What this process remembers of a request; lost without harm.
#[derive(Default)]
pub(super) struct Memory {
    /// As it was when it was last looked at.
    pub(super) request: Option<DeployRequest>,
    /// What was told, newer than the cache may be.
    pub(super) ledger: Option<Ledger>,
    /// Written down and certainly not posted.
    pub(super) unsent: Option<Purpose>,
    /// Posted by us, with no answer, and when that was lost.
    pub(super) uncertain: Option<(Purpose, Instant)>,
    /// Until when messages wait, since Slack failed; and whether the request had ended by then.
    pub(super) not_before: BTreeMap<Purpose, (Instant, bool)>,
    /// Posted, and not written down.
    pub(super) unrecorded: Option<Unrecorded>,
    /// Where people see the live message, once that was asked.
    pub(super) live_url: Address,
    /// When a message was last brought up to date.
    pub(super) updated: Option<Instant>,
    /// How often Slack failed in a row.
    pub(super) failures: u32,
    /// Why Slack didn't accept us when that was told.
    pub(super) told_stop: Option<String>,
}

/// It works with what everybody here works with.
impl Deref for Context {
    type Target = Means;

    fn deref(&self) -> &Means {
        &self.means
    }
}

impl Context {
    pub(super) fn new(
        means: Means,
        caches: (Cache<DeployRequest>, Cache<Environment>, Cache<Application>),
        gone: UnboundedSender<Gone>,
    ) -> Self {
        Self {
            means,
            requests: caches.0,
            environments: caches.1,
            applications: caches.2,
            gone,
            memories: Mutex::default(),
            failing: Mutex::default(),
            undelivered: Mutex::default(),
        }
    }

    /// Begins to remember a request that is told, or goes on with it.
    pub(super) fn begin<T>(&self, uid: &str, change: impl FnOnce(&mut Memory) -> T) -> T {
        let mut memories = self.memories();
        let changed = change(memories.entry(uid.to_owned()).or_default());
        self.count(&memories);
        changed
    }

    /// Changes what is remembered of a request, if it still is.
    pub(super) fn remember<T>(
        &self,
        uid: &str,
        change: impl FnOnce(&mut Memory) -> T,
    ) -> Option<T> {
        self.memories().get_mut(uid).map(change)
    }

    /// Slack did what it was asked to.
    pub(super) fn succeeded(&self, uid: &str, purpose: &Purpose) {
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

    /// Whether something is still to be told of a request.
    pub(super) fn delivered(&self, uid: &str, delivered: bool) {
        let undelivered = &mut *self
            .undelivered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if delivered {
            if undelivered.remove(uid) {
                self.metrics.undelivered.dec();
            }
        } else if !undelivered.contains(uid) {
            undelivered.insert(uid.to_owned());
            self.metrics.undelivered.inc();
        }
    }

    /// What is remembered of a request, if anything is.
    pub(super) fn recall<T>(&self, uid: &str, look: impl FnOnce(&Memory) -> T) -> Option<T> {
        self.memories().get(uid).map(look)
    }

    /// Nothing more will be told of it.
    pub(super) fn forget(&self, uid: &str) -> Option<Memory> {
        let mut memories = self.memories();
        let memory = memories.remove(uid);
        self.count(&memories);
        memory
    }

    /// How long after an update of one message the next may come, so that all together stay within Slack's budget.
    pub(super) fn update_interval(&self) -> Duration {
        let waiting = self.slack.budget().load(Method::ChatUpdate).waiting;
        let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
        let shortest = self.settings.pace.shortest_update;
        EACH_WAITING.saturating_mul(waiting).max(shortest)
    }

    /// A request as the cache has it, if it is still that one.
    pub(super) fn cached(&self, namespace: &str, name: &str, uid: &str) -> Option<DeployRequest> {
        let found = self.requests.get(namespace, name);
        found.filter(|found| found.uid().as_deref() == Some(uid))
    }

    /// A request went: its messages that still speak of it are to say so.
    pub(super) fn went(&self, object: &Guarded<DeployRequest>) {
        let Ok(request) = &object.0 else { return };
        let (namespace, name, uid) = names(request);
        if self.cached(&namespace, &name, &uid).is_some() {
            return;
        }
        self.pass_ended(&uid);
        self.delivered(&uid, true);
        let memory = self.forget(&uid).unwrap_or_default();
        let ledger = memory.ledger.unwrap_or_else(|| Ledger::of(request));
        self.say_gone(request, &ledger);
    }

    /// Those that went while nobody watched.
    pub(super) fn sweep(&self) {
        let known: Vec<DeployRequest> = {
            let memories = self.memories();
            memories
                .values()
                .filter_map(|memory| memory.request.clone())
                .collect()
        };
        for request in known {
            let (namespace, name, uid) = names(&request);
            if self.cached(&namespace, &name, &uid).is_none() {
                self.delivered(&uid, true);
                let memory = self.forget(&uid).unwrap_or_default();
                let ledger = memory.ledger.unwrap_or_else(|| Ledger::of(&request));
                self.say_gone(&request, &ledger);
            }
        }
        self.forget_undelivered();
    }

    /// A pass that was under way when its request went may have counted it once more, and no other pass follows.
    fn forget_undelivered(&self) {
        let uids: Vec<String> = {
            let undelivered = self.undelivered.lock();
            let undelivered = undelivered.unwrap_or_else(PoisonError::into_inner);
            undelivered.iter().cloned().collect()
        };
        if uids.is_empty() {
            return;
        }
        let known: HashSet<String> = self
            .requests
            .0
            .state()
            .iter()
            .filter_map(|object| object.uid())
            .collect();
        for uid in uids.iter().filter(|uid| !known.contains(*uid)) {
            self.delivered(uid, true);
        }
    }

    /// The live message and the questions, if they still speak of a request that goes on, are to say that it is gone.
    pub(super) fn say_gone(&self, request: &DeployRequest, ledger: &Ledger) {
        // A copy's status may speak of the original's message.
        if message::phase(request).is_terminal() || super::plan::is_copy(request) {
            return;
        }
        let (namespace, _, _) = names(request);
        let environment = self.environments.get(&namespace, &request.spec.environment);
        let application = self.applications.get(&namespace, &request.spec.application);
        let facts = Facts {
            request,
            environment: environment.as_ref(),
            application: application.as_ref(),
            told: &ledger.told,
            unsent: None,
            live_url: None,
            now: Timestamp::now(),
            timing: &self.settings.timing,
        };
        for (purpose, at) in super::plan::speaking(&facts) {
            drop(self.gone.send(Gone {
                request: request.clone(),
                purpose,
                at,
            }));
        }
    }

    fn memories(&self) -> MutexGuard<'_, HashMap<String, Memory>> {
        self.memories.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, memories: &HashMap<String, Memory>) {
        let live = i64::try_from(memories.len()).unwrap_or(i64::MAX);
        self.metrics.live.set(live);
    }
}

/// Namespace, name and uid.
pub(super) fn names(request: &DeployRequest) -> (String, String, String) {
    (
        request.namespace().unwrap_or_default(),
        request.name_any(),
        request.uid().unwrap_or_default(),
    )
}

/// How a place is named in our own sentences: by its id, which is all that is known.
pub(super) fn named(spot: &Spot) -> String {
    match (spot.known_channel(), &spot.thread) {
        (None, _) => "a direct message to who asked".to_owned(),
        (Some(channel), Some(_)) => format!("a thread in {channel}"),
        (Some(channel), None) => channel.to_string(),
    }
}
