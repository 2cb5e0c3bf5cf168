//! What is counted of Slack. Touches nothing. Labels are fixed words: no ids, no names, no error texts.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};

use crate::runtime::metrics::Metrics;

/// A call of ours.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CallLabels {
    /// Slack's name of the method.
    pub method: &'static str,
    /// `ok`, or an error's fixed word.
    pub outcome: &'static str,
}

/// A delivery of Slack's.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DeliveryLabels {
    /// `http` or `socket`.
    pub transport: &'static str,
    /// What it was.
    pub kind: &'static str,
    /// How it was answered, or why not.
    pub outcome: &'static str,
}

/// A fixed word.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Outcome {
    /// The word.
    pub outcome: &'static str,
}

/// What is counted of Slack. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct SlackMetrics {
    pub(super) calls: Family<CallLabels, Counter>,
    pub(super) deliveries: Family<DeliveryLabels, Counter>,
    pub(super) sockets_ended: Family<Outcome, Counter>,
    pub(super) sockets_live: Gauge,
    pub(super) last_frame_age: Gauge<f64, AtomicU64>,
}

impl SlackMetrics {
    /// Registers them. Once in a process.
    pub fn register(metrics: &Metrics) -> Self {
        let own = Self::default();
        metrics.register(|registry| {
            registry.register(
                "slack_calls",
                "Calls of Slack's methods, by method and outcome",
                own.calls.clone(),
            );
            registry.register(
                "slack_deliveries",
                "What Slack delivered, by transport, kind and answer",
                own.deliveries.clone(),
            );
            registry.register(
                "slack_sockets_ended",
                "Socket Mode connections that ended, or did not come about, by reason",
                own.sockets_ended.clone(),
            );
            registry.register(
                "slack_sockets_live",
                "Socket Mode connections that Slack delivers to",
                own.sockets_live.clone(),
            );
            registry.register(
                "slack_last_frame_age_seconds",
                "Time since anything came over any Socket Mode connection",
                own.last_frame_age.clone(),
            );
        });
        own
    }

    pub(super) fn call(&self, method: &'static str, outcome: &'static str) {
        let labels = CallLabels { method, outcome };
        self.calls.get_or_create(&labels).inc();
    }

    pub(super) fn socket_ended(&self, outcome: &'static str) {
        self.sockets_ended.get_or_create(&Outcome { outcome }).inc();
    }

    pub(super) fn delivery(
        &self,
        transport: &'static str,
        kind: &'static str,
        outcome: &'static str,
    ) {
        let labels = DeliveryLabels {
            transport,
            kind,
            outcome,
        };
        self.deliveries.get_or_create(&labels).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_on_the_page() {
        let metrics = Metrics::default();
        let slack = SlackMetrics::register(&metrics);
        slack.call("chat.update", "ok");
        slack.delivery("http", "command", "empty");
        let page = metrics.encode().unwrap();
        for line in [
            "foredeck_slack_calls_total{method=\"chat.update\",outcome=\"ok\"} 1",
            "foredeck_slack_deliveries_total{transport=\"http\",kind=\"command\",outcome=\"empty\"} 1",
            "foredeck_slack_sockets_live 0",
        ] {
            assert!(page.contains(line), "{line} is not in {page}");
        }
    }
}
