//! What the controller counts. Touches nothing. Labels are fixed words, never names of objects or texts of errors.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
};

use crate::runtime::metrics::Metrics;

/// One fixed word.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Word {
    /// The word.
    pub outcome: String,
}

/// What the controller counts.
#[derive(Debug, Clone, Default)]
pub(super) struct ControllerMetrics {
    /// Starts that were sent, by what came of it: accepted, refused, not-processed, unknown.
    pub starts: Family<Word, Counter>,
    /// Requests that ended, by reason.
    pub finished: Family<Word, Counter>,
    /// Runs of a reconcile that failed, by reason.
    pub errors: Family<Word, Counter>,
    /// Certificates that Vault was asked for: issued, or the reason why not.
    pub renewals: Family<Word, Counter>,
}

impl ControllerMetrics {
    /// Registers them.
    pub(super) fn register(metrics: &Metrics) -> Self {
        metrics.register(|registry| {
            let own = Self::default();
            registry.register(
                "starts",
                "Starts sent to Spinnaker, by outcome",
                own.starts.clone(),
            );
            registry.register(
                "requests_finished",
                "Requests that reached a terminal phase, by reason",
                own.finished.clone(),
            );
            registry.register(
                "reconcile_errors",
                "Reconciles that failed, by reason",
                own.errors.clone(),
            );
            registry.register(
                "certificate_renewals",
                "Client certificates that Vault was asked for, by outcome",
                own.renewals.clone(),
            );
            own
        })
    }

    /// Counts one.
    pub(super) fn count(family: &Family<Word, Counter>, outcome: impl Into<String>) {
        family
            .get_or_create(&Word {
                outcome: outcome.into(),
            })
            .inc();
    }
}
