//! What the receiver counts. Touches nothing. Labels are fixed words, never names, ids or texts.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
};

use crate::runtime::metrics::Metrics;

/// A delivery's kind, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Delivery {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// What the receiver counts.
#[derive(Debug, Clone)]
pub(super) struct ReceiverMetrics {
    deliveries: Family<Delivery, Counter>,
    creates: Family<Outcome, Counter>,
    decisions: Family<Outcome, Counter>,
    seconds: Family<Kind, Histogram, fn() -> Histogram>,
}

/// Slack waits 3 s.
fn seconds() -> Histogram {
    Histogram::new([
        0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0,
    ])
}

impl ReceiverMetrics {
    /// Registers them.
    pub(super) fn register(metrics: &Metrics) -> Self {
        metrics.register(|registry| {
            let own = Self {
                deliveries: Family::default(),
                creates: Family::default(),
                decisions: Family::default(),
                seconds: Family::new_with_constructor(seconds),
            };
            registry.register(
                "receiver_deliveries",
                "What Slack delivered, by kind and by what came of it",
                own.deliveries.clone(),
            );
            registry.register(
                "receiver_requests",
                "DeployRequests that were to be created for people in Slack, by outcome",
                own.creates.clone(),
            );
            registry.register(
                "receiver_approvals",
                "DeployApprovals that were to be created for people in Slack, by outcome",
                own.decisions.clone(),
            );
            registry.register(
                "receiver_answer_seconds",
                "From a delivery to its answer, by kind",
                own.seconds.clone(),
            );
            own
        })
    }

    /// A delivery was answered.
    pub(super) fn answered(&self, kind: &'static str, outcome: &'static str, took: Duration) {
        self.deliveries
            .get_or_create(&Delivery { kind, outcome })
            .inc();
        self.seconds
            .get_or_create(&Kind { kind })
            .observe(took.as_secs_f64());
    }

    /// A request was to be created.
    pub(super) fn created(&self, outcome: &'static str) {
        self.creates.get_or_create(&Outcome { outcome }).inc();
    }

    /// Somebody's yes or no was to be created.
    pub(super) fn decided(&self, outcome: &'static str) {
        self.decisions.get_or_create(&Outcome { outcome }).inc();
    }
}
