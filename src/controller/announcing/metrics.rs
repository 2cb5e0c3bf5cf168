//! What is counted of what repositories are told. Touches nothing. Labels are fixed words.

use prometheus_client::metrics::{counter::Counter, family::Family};

use crate::{
    controller::metrics::{ControllerMetrics, Word},
    runtime::metrics::Metrics,
};

/// What is counted of what repositories are told.
#[derive(Debug, Clone, Default)]
pub(in crate::controller) struct AnnouncingMetrics {
    announcements: Family<Word, Counter>,
}

impl AnnouncingMetrics {
    /// Registers them.
    pub(in crate::controller) fn register(metrics: &Metrics) -> Self {
        let own = Self::default();
        metrics.register(|registry| {
            registry.register(
                "git_announcements",
                "States of deployments that repositories were told or could not be, by what came of it",
                own.announcements.clone(),
            );
        });
        own
    }

    /// Counts one: `announced`, `told`, `known`, `given-up`, or the reason why not.
    pub(super) fn count(&self, outcome: &'static str) {
        ControllerMetrics::count(&self.announcements, outcome);
    }
}
