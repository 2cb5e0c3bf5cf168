//! What is counted of the hosts of repositories. Touches nothing. Labels are fixed words: no repositories, no error texts.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
};

use crate::runtime::metrics::Metrics;

/// A call of ours.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CallLabels {
    /// What was asked, in a fixed word.
    pub operation: &'static str,
    /// `ok`, `unchanged` (answered from memory, by its `ETag`), or an error's fixed word.
    pub outcome: &'static str,
}

/// What was called.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Called {
    operation: &'static str,
}

/// What is counted of the hosts of repositories. Clones count together.
#[derive(Debug, Clone)]
pub struct GitMetrics {
    calls: Family<CallLabels, Counter>,
    seconds: Family<Called, Histogram, fn() -> Histogram>,
}

impl Default for GitMetrics {
    fn default() -> Self {
        Self {
            calls: Family::default(),
            seconds: Family::new_with_constructor(seconds),
        }
    }
}

/// A call may take 5 s.
fn seconds() -> Histogram {
    Histogram::new([0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.5, 5.0])
}

impl GitMetrics {
    /// Registers them. Once in a process.
    pub fn register(metrics: &Metrics) -> Self {
        let own = Self::default();
        metrics.register(|registry| {
            registry.register(
                "git_calls",
                "Calls of the hosts of repositories, by operation and outcome",
                own.calls.clone(),
            );
            registry.register(
                "git_call_seconds",
                "From sending a call to a host of repositories to its answer, or until it was given up, by operation",
                own.seconds.clone(),
            );
        });
        own
    }

    pub(super) fn call(&self, operation: &'static str, outcome: &'static str, took: Duration) {
        self.calls
            .get_or_create(&CallLabels { operation, outcome })
            .inc();
        self.seconds
            .get_or_create(&Called { operation })
            .observe(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_on_the_page() {
        let metrics = Metrics::default();
        let git = GitMetrics::register(&metrics);
        git.call("commit", "unchanged", Duration::from_millis(300));
        let page = metrics.encode().unwrap();
        for line in [
            "foredeck_git_calls_total{operation=\"commit\",outcome=\"unchanged\"} 1",
            "foredeck_git_call_seconds_bucket{le=\"0.5\",operation=\"commit\"} 1",
        ] {
            assert!(page.contains(line), "{line} is not in {page}");
        }
    }
}
