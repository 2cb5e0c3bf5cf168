//! What is counted of the audit lines. Touches nothing. Labels are fixed words.

use std::sync::atomic::AtomicI64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};

use crate::runtime::metrics::Metrics;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Told {
    /// `stdout`, `file` or `url`.
    sink: &'static str,
    /// `accepted`, `lost`, or the reason why not.
    outcome: &'static str,
}

/// What is counted of the audit lines.
#[derive(Debug, Clone, Default)]
pub(in crate::controller) struct AuditMetrics {
    lines: Family<Told, Counter>,
    /// Over all sets of namespaces of this process.
    pub(super) waiting: Gauge<i64, AtomicI64>,
}

impl AuditMetrics {
    /// Registers them.
    pub(in crate::controller) fn register(metrics: &Metrics) -> Self {
        metrics.register(|registry| {
            let own = Self::default();
            registry.register(
                "audit_lines",
                "Audit lines that were told or could not be, by where to and what came of it",
                own.lines.clone(),
            );
            registry.register(
                "audit_lines_waiting",
                "Audit lines that not every sink has",
                own.waiting.clone(),
            );
            own
        })
    }

    /// How many lines had this outcome.
    #[cfg(test)]
    pub(super) fn counted(&self, sink: &'static str, outcome: &'static str) -> u64 {
        self.lines.get_or_create(&Told { sink, outcome }).get()
    }

    /// So many lines had this outcome.
    pub(super) fn count(&self, sink: &'static str, outcome: &'static str, lines: usize) {
        if lines > 0 {
            let told = Told { sink, outcome };
            let lines = u64::try_from(lines).unwrap_or_default();
            self.lines.get_or_create(&told).inc_by(lines);
        }
    }
}
