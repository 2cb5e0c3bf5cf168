//! What the relay counts. Touches nothing. Labels are fixed words.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};

use crate::runtime::metrics::Metrics;

/// A message's purpose, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Told {
    /// What it is for.
    pub purpose: &'static str,
    /// A fixed word.
    pub outcome: &'static str,
}

/// A fixed word.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Word {
    /// The word.
    pub reason: &'static str,
}

/// What the relay counts. Clones count together.
#[derive(Debug, Clone, Default)]
pub(super) struct RelayMetrics {
    /// Messages by purpose and outcome: posted, updated, adopted, moved, refused, uncertain, second-copy, plain,
    /// withdrawn, gone, gone-lost.
    told: Family<Told, Counter>,
    /// Passes that failed, by reason.
    errors: Family<Word, Counter>,
    /// 1 while Slack doesn't accept the app.
    pub(super) stopped: Gauge,
    /// Requests that are being told.
    pub(super) live: Gauge,
    /// Requests whose newest state is not told yet.
    pub(super) undelivered: Gauge,
}

impl RelayMetrics {
    pub(super) fn register(metrics: &Metrics) -> Self {
        let own = Self::default();
        metrics.register(|registry| {
            registry.register(
                "relay_messages",
                "Messages in Slack, by purpose and what came of them",
                own.told.clone(),
            );
            registry.register(
                "relay_errors",
                "Passes of the relay that failed, by reason",
                own.errors.clone(),
            );
            registry.register(
                "relay_stopped",
                "Whether Slack doesn't accept the app, so that nothing is told",
                own.stopped.clone(),
            );
            registry.register(
                "relay_live_requests",
                "Requests that are being told in Slack",
                own.live.clone(),
            );
            registry.register(
                "relay_undelivered_requests",
                "Requests of which something is still to be told in Slack",
                own.undelivered.clone(),
            );
        });
        own
    }

    pub(super) fn told(&self, purpose: &'static str, outcome: &'static str) {
        self.told.get_or_create(&Told { purpose, outcome }).inc();
    }

    pub(super) fn error(&self, reason: &'static str) {
        self.errors.get_or_create(&Word { reason }).inc();
    }
}
