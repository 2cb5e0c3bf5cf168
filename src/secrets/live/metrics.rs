//! What is counted of secrets that are kept fresh. Touches nothing. Labels are fixed words.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
};

use crate::runtime::metrics::Metrics;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReadLabels {
    secret: &'static str,
    outcome: &'static str,
}

/// What is counted of secrets that are kept fresh. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct SecretMetrics {
    reads: Family<ReadLabels, Counter>,
}

impl SecretMetrics {
    /// Registers them. Once in a process.
    pub fn register(metrics: &Metrics) -> Self {
        let own = Self::default();
        metrics.register(|registry| {
            registry.register(
                "secret_reads",
                "Looks at secrets that may change, by secret and outcome: same, changed, or why it can't be read",
                own.reads.clone(),
            );
        });
        own
    }

    pub(super) fn read(&self, secret: &'static str, outcome: &'static str) {
        let labels = ReadLabels { secret, outcome };
        self.reads.get_or_create(&labels).inc();
    }
}
