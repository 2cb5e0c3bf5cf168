//! How Socket Mode is doing, for probes, metrics and people. Touches nothing.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use crate::slack::metrics::SlackMetrics;

/// How Socket Mode is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SocketState {
    /// Sockets that Slack said hello on and that are not being replaced.
    pub live: usize,
    /// Sockets that there should be.
    pub wanted: usize,
    /// How many sockets the app has, all processes together, as Slack said last.
    pub connections: Option<u32>,
    /// There are more than expected: somebody else takes some of the deliveries, with the same token.
    pub crowded: bool,
    /// What keeps the last socket from coming about; gone when one comes about.
    pub trouble: Option<Trouble>,
}

/// What keeps a socket from coming about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trouble {
    /// A fixed word.
    pub reason: &'static str,
    /// Only an operator can help: the token or the app must change.
    pub needs_operator: bool,
}

impl SocketState {
    /// Something can be delivered.
    pub fn is_ready(&self) -> bool {
        self.live > 0
    }
}

/// What all sockets of a process tell together.
#[derive(Debug)]
pub(super) struct Shared {
    state: watch::Sender<SocketState>,
    last_frame: Mutex<Option<Instant>>,
    expected: u32,
    /// Sockets from hello to their end, those that are being replaced too.
    open: AtomicU32,
    metrics: SlackMetrics,
}

impl Shared {
    pub(super) fn new(wanted: usize, expected: u32, metrics: SlackMetrics) -> Self {
        let state = SocketState {
            wanted,
            ..SocketState::default()
        };
        Self {
            state: watch::Sender::new(state),
            last_frame: Mutex::new(None),
            expected,
            open: AtomicU32::new(0),
            metrics,
        }
    }

    pub(super) fn watch(&self) -> watch::Receiver<SocketState> {
        self.state.subscribe()
    }

    pub(super) fn saw_frame(&self, at: Instant) {
        *self.frame() = Some(at);
        self.metrics.last_frame_age.set(0.0);
    }

    pub(super) fn last_frame_age(&self, now: Instant) -> Option<Duration> {
        let last = *self.frame();
        let age = last.map(|last| now.saturating_duration_since(last));
        if let Some(age) = age {
            self.metrics.last_frame_age.set(age.as_secs_f64());
        }
        age
    }

    /// A socket is live.
    fn came(&self, connections: Option<u32>) {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.state.send_modify(|state| {
            state.live += 1;
            state.trouble = None;
            state.connections = connections.or(state.connections);
            // While one of ours is replaced there are two in its place.
            let wanted = u32::try_from(state.wanted).unwrap_or(u32::MAX);
            let most = self.expected + open.saturating_sub(wanted);
            let crowded = connections.is_some_and(|count| count > most);
            if crowded && !state.crowded {
                tracing::warn!(
                    connections,
                    expected = self.expected,
                    "the app has more Socket Mode connections than expected: another process with its token takes some \
                     of the deliveries"
                );
            }
            state.crowded = crowded;
        });
        self.metrics.sockets_live.inc();
    }

    /// A live socket is live no more.
    fn went(&self) {
        self.state
            .send_modify(|state| state.live = state.live.saturating_sub(1));
        self.metrics.sockets_live.dec();
    }

    pub(super) fn failed(&self, trouble: Trouble) {
        self.state.send_if_modified(|state| {
            let changed = state.trouble != Some(trouble);
            if changed {
                tracing::warn!(
                    reason = trouble.reason,
                    needs_operator = trouble.needs_operator,
                    "no Socket Mode connection"
                );
            }
            state.trouble = Some(trouble);
            changed
        });
    }

    pub(super) fn ended(&self, reason: &'static str) {
        self.metrics.socket_ended(reason);
    }

    fn frame(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.last_frame
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A socket that Slack said hello on, until it ends. Live until another takes its place.
#[derive(Debug)]
pub(super) struct Greeted {
    shared: Arc<Shared>,
    live: bool,
}

impl Greeted {
    pub(super) fn new(shared: &Arc<Shared>, connections: Option<u32>) -> Self {
        shared.came(connections);
        Self {
            shared: Arc::clone(shared),
            live: true,
        }
    }

    /// It is live no more, but still open.
    pub(super) fn retire(&mut self) {
        if std::mem::take(&mut self.live) {
            self.shared.went();
        }
    }
}

impl Drop for Greeted {
    fn drop(&mut self) {
        self.retire();
        self.shared.open.fetch_sub(1, Ordering::Relaxed);
    }
}
