//! What is counted of people and what is known of them. Touches nothing. Labels are fixed words.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};

use crate::runtime::metrics::Metrics;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Source {
    source: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// What is counted of people.
#[derive(Debug, Clone)]
pub(super) struct PeopleMetrics {
    answers: Family<Source, Counter>,
    writes: Family<Outcome, Counter>,
    needed: Gauge,
    oldest: Gauge<f64, AtomicU64>,
}

impl PeopleMetrics {
    /// Registers them.
    pub(super) fn register(metrics: &Metrics) -> Self {
        metrics.register(|registry| {
            let own = Self {
                answers: Family::default(),
                writes: Family::default(),
                needed: Gauge::default(),
                oldest: Gauge::default(),
            };
            registry.register(
                "receiver_people_answers",
                "What Slack and the sources of groups said of people who are kept fresh, by source and outcome",
                own.answers.clone(),
            );
            registry.register(
                "receiver_people_writes",
                "Writes of what is known of a person, by outcome",
                own.writes.clone(),
            );
            registry.register(
                "receiver_people_needed",
                "People whose word a request waits for or may start by",
                own.needed.clone(),
            );
            registry.register(
                "receiver_people_oldest_seconds",
                "How old what is known of them is, of whom it is oldest; -1 where nothing is known of somebody",
                own.oldest.clone(),
            );
            own
        })
    }

    /// A source, or Slack about the account itself, answered.
    pub(super) fn answered(&self, source: &'static str, outcome: &'static str) {
        self.answers
            .get_or_create(&Source { source, outcome })
            .inc();
    }

    /// Something was to be written.
    pub(super) fn wrote(&self, outcome: &'static str) {
        self.writes.get_or_create(&Outcome { outcome }).inc();
    }

    /// So many are needed, and the oldest of what is known is so many seconds old.
    pub(super) fn stand(&self, needed: usize, oldest: Option<f64>) {
        self.needed.set(i64::try_from(needed).unwrap_or(i64::MAX));
        self.oldest.set(oldest.unwrap_or(-1.0));
    }
}
