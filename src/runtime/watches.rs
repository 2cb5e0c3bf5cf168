//! What is wrong with a watch: in a fixed word for the metric, in the log once for each change, and as a wake-up for whoever
//! checks what this process may see. Touches the clock and the log.
//!
//! kube's watcher takes every error for one that passes, a missing right too, and goes on in growing pauses. So it does here,
//! in shorter ones: what was missing may be installed at any moment.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use kube::{
    core::Status,
    runtime::{utils::Backoff, watcher},
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use super::{chance, telemetry};

/// The first pause after an error, and the longest where somebody installs what is missing, and waits for it.
const SHORTEST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(5);
/// The longest where the API server has too much to do, or doesn't answer: a restarting one meets each watch of each process
/// once in so long.
const LONGEST_BUSY: Duration = Duration::from_secs(30);
/// An error so long after the one before it is a new trouble: in between the watch worked, which kube doesn't tell where
/// nothing changed. Longer than a pause and a connection that comes to nothing take together.
const ANEW: Duration = Duration::from_secs(30);

/// Why a watch was interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// A right is missing.
    Forbidden,
    /// The kind isn't there, or not in our version.
    NotFound,
    /// The API server doesn't know us.
    Unauthorized,
    /// The version that it was at is too old: everything is listed anew. It happens, and harms nothing.
    Expired,
    /// The API server has too much to do.
    Busy,
    /// The API server can't be reached, or the connection broke.
    Unreachable,
    /// An answer that isn't what was asked for.
    Undecodable,
    /// Any other refusal.
    Refused,
}

impl Trouble {
    /// A fixed word for metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Unauthorized => "unauthorized",
            Self::Expired => "expired",
            Self::Busy => "busy",
            Self::Unreachable => "unreachable",
            Self::Undecodable => "undecodable",
            Self::Refused => "refused",
        }
    }

    /// Whether it stays until somebody does something about it.
    pub fn needs_somebody(self) -> bool {
        matches!(self, Self::Forbidden | Self::NotFound | Self::Unauthorized)
    }

    fn said(status: &Status) -> Self {
        match status.code {
            401 => Self::Unauthorized,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            410 => Self::Expired,
            429 => Self::Busy,
            500.. => Self::Unreachable,
            _ => Self::Refused,
        }
    }
}

impl From<&kube::Error> for Trouble {
    fn from(error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::said(status),
            kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => Self::Undecodable,
            _ => Self::Unreachable,
        }
    }
}

impl From<&watcher::Error> for Trouble {
    fn from(error: &watcher::Error) -> Self {
        match error {
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchStartFailed(error)
            | watcher::Error::WatchFailed(error) => error.into(),
            watcher::Error::WatchError(status) => Self::said(status),
            watcher::Error::NoResourceVersion => Self::Undecodable,
        }
    }
}

/// Where rights are missing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Lacking {
    gate: &'static str,
    place: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Interruption {
    kind: String,
    reason: &'static str,
}

/// Where the watches of a process tell of their troubles. Clones are the same place.
#[derive(Debug, Clone, Default)]
pub struct Watches {
    restarts: Family<Interruption, Counter>,
    missing: Family<Lacking, Gauge>,
    needs_somebody: Arc<Notify>,
    /// Which watches were refused, and brought nothing since.
    refused: Arc<watch::Sender<BTreeSet<Name>>>,
}

/// A watch's kind and place.
type Name = (String, String);

impl Watches {
    /// What is counted gets into that registry.
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "watch_restarts",
            "Watches that were interrupted and go on, by kind and reason",
            self.restarts.clone(),
        );
        registry.register(
            "rights_missing",
            "Rights that a role lacks in a place where it works, by the gate of its rights and the place",
            self.missing.clone(),
        );
    }

    /// So many rights are missing there.
    pub(super) fn miss(&self, gate: &'static str, place: &str, missing: usize) {
        let place = place.to_owned();
        let lacking = Lacking { gate, place };
        if missing == 0 {
            self.missing.remove(&lacking);
        } else {
            let missing = i64::try_from(missing).unwrap_or(i64::MAX);
            self.missing.get_or_create(&lacking).set(missing);
        }
    }

    /// The same place, but for what [`Watches::refusals`] tells: that is of the watches that are given this one.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self {
            refused: Arc::default(),
            ..self.clone()
        }
    }

    /// Whether a watch is refused for the lack of a right, now and whenever that changes.
    pub fn refusals(&self) -> watch::Receiver<BTreeSet<Name>> {
        self.refused.subscribe()
    }

    fn refuse(&self, name: Name, refused: bool) {
        self.refused.send_if_modified(|all| {
            if refused {
                all.insert(name)
            } else {
                all.remove(&name)
            }
        });
    }

    /// Waits for a trouble that somebody has to do something about.
    pub async fn needs_somebody(&self) {
        self.needs_somebody.notified().await;
    }

    /// A watch of that kind, in that place, for the log.
    pub(super) fn watch(&self, kind: &str, place: String) -> Watch {
        Watch {
            watches: self.clone(),
            kind: kind.to_owned(),
            place,
            last: None,
        }
    }
}

/// One watch, and what was last wrong with it.
#[derive(Debug)]
pub(super) struct Watch {
    watches: Watches,
    kind: String,
    place: String,
    last: Option<(Trouble, Instant)>,
}

impl Watch {
    /// It brought something.
    pub(super) fn well(&mut self) {
        self.watches.refuse(self.name(), false);
        if let Some((trouble, _)) = self.last.take()
            && trouble != Trouble::Expired
        {
            tracing::info!(kind = %self.kind, place = %self.place, "the watch works again");
        }
    }

    fn name(&self) -> Name {
        (self.kind.clone(), self.place.clone())
    }

    /// It was interrupted.
    pub(super) fn interrupted(&mut self, error: &watcher::Error) {
        let trouble = Trouble::from(error);
        let reason = trouble.reason();
        let interruption = Interruption {
            kind: self.kind.clone(),
            reason,
        };
        self.watches.restarts.get_or_create(&interruption).inc();
        if trouble == Trouble::Forbidden {
            self.watches.refuse(self.name(), true);
        }
        if trouble.needs_somebody() {
            self.watches.needs_somebody.notify_waiters();
        }
        let now = Instant::now();
        let before = self.last.replace((trouble, now));
        let known = before.is_some_and(|(before, at)| before == trouble && now - at < ANEW);
        if known {
            return;
        }
        let (kind, place, error) = (&self.kind, &self.place, telemetry::chain(error));
        if trouble == Trouble::Expired {
            tracing::debug!(%kind, %place, reason, %error, "everything is listed anew");
        } else {
            tracing::warn!(%kind, %place, reason, %error, "the watch is interrupted, and tried again until it works");
        }
    }
}

/// Growing pauses between attempts, each somewhat different from those of others.
#[derive(Debug)]
pub(super) struct Pauses {
    next: Duration,
    last: Option<Instant>,
    patience: Patience,
}

/// What the last error of a watch was, as far as its pauses depend on it. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Patience(Arc<AtomicBool>);

impl Patience {
    /// To be told of an error before the pause after it is asked for.
    pub(super) fn see(&self, error: &watcher::Error) {
        let busy = matches!(Trouble::from(error), Trouble::Busy | Trouble::Unreachable);
        self.0.store(busy, Ordering::Relaxed);
    }
}

impl Pauses {
    pub(super) fn new(patience: Patience) -> Self {
        Self {
            next: SHORTEST,
            last: None,
            patience,
        }
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.last = Some(Instant::now());
        let longest = if self.patience.0.load(Ordering::Relaxed) {
            LONGEST_BUSY
        } else {
            LONGEST
        };
        let pause = self.next.min(longest);
        self.next = (pause * 2).min(longest);
        Some(pause.mul_f64(0.75 + chance::fraction() / 4.0))
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        // Each attempt begins with an event, so that one event proves nothing.
        let anew = ANEW + self.next.min(LONGEST_BUSY);
        if self.last.is_some_and(|last| last.elapsed() >= anew) {
            self.next = SHORTEST;
            self.last = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16) -> kube::Error {
        kube::Error::Api(Status::failure("no", "").with_code(code).boxed())
    }

    #[test]
    fn each_answer_has_its_word() {
        let rows = [
            (401, "unauthorized", true),
            (403, "forbidden", true),
            (404, "not_found", true),
            (410, "expired", false),
            (422, "refused", false),
            (429, "busy", false),
            (500, "unreachable", false),
            (503, "unreachable", false),
        ];
        for (code, reason, needs_somebody) in rows {
            for error in [
                watcher::Error::InitialListFailed(status(code)),
                watcher::Error::WatchStartFailed(status(code)),
                watcher::Error::WatchFailed(status(code)),
            ] {
                let trouble = Trouble::from(&error);
                assert_eq!(trouble.reason(), reason, "{code}");
                assert_eq!(trouble.needs_somebody(), needs_somebody, "{code}");
            }
        }
        let broken = serde_json::from_str::<u8>("{").unwrap_err();
        let broken = watcher::Error::WatchFailed(kube::Error::SerdeError(broken));
        assert_eq!(Trouble::from(&broken), Trouble::Undecodable);
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_to_some_seconds_and_begin_anew_after_a_good_time() {
        let patience = Patience::default();
        let mut pauses = Pauses::new(patience.clone());
        patience.see(&watcher::Error::WatchFailed(status(403)));
        let all: Vec<Duration> = pauses.by_ref().take(8).collect();
        assert!(all[0] <= SHORTEST && all[0] >= SHORTEST / 2, "{all:?}");
        let last = all[7];
        assert!(last <= LONGEST && last >= LONGEST / 2, "{all:?}");
        pauses.reset();
        assert!(pauses.next().unwrap() > SHORTEST, "too soon to tell");
        tokio::time::advance(ANEW + LONGEST).await;
        pauses.reset();
        assert!(pauses.next().unwrap() <= SHORTEST);
        patience.see(&watcher::Error::WatchFailed(status(503)));
        let busy = pauses.by_ref().take(8).last().unwrap();
        assert!(busy <= LONGEST_BUSY && busy >= LONGEST_BUSY / 2, "{busy:?}");
        patience.see(&watcher::Error::InitialListFailed(status(404)));
        assert!(pauses.next().unwrap() <= LONGEST, "somebody waits for it");
    }

    #[tokio::test(start_paused = true)]
    async fn a_trouble_is_counted_each_time_and_who_checks_is_woken() {
        let watches = Watches::default();
        let mut registry = Registry::default();
        watches.register(&mut registry);
        let mut watch = watches.watch("DeployRequest", "namespace shop".to_owned());
        let woken = watches.needs_somebody();
        tokio::pin!(woken);
        assert!(futures::poll!(woken.as_mut()).is_pending());
        watch.interrupted(&watcher::Error::WatchFailed(status(503)));
        assert!(futures::poll!(woken.as_mut()).is_pending());
        watch.interrupted(&watcher::Error::InitialListFailed(status(403)));
        watch.interrupted(&watcher::Error::InitialListFailed(status(403)));
        woken.await;
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
        let forbidden = r#"watch_restarts_total{kind="DeployRequest",reason="forbidden"} 2"#;
        assert!(page.contains(forbidden), "{page}");
        watch.well();
        assert_eq!(watch.last, None);
    }
}
