//! What is counted of Slack. Touches nothing. Labels are fixed words: no ids, no names, no error texts.

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
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

/// What was called.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Called {
    method: &'static str,
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
#[derive(Debug, Clone)]
pub struct SlackMetrics {
    pub(super) calls: Family<CallLabels, Counter>,
    pub(super) call_seconds: Family<Called, Histogram, fn() -> Histogram>,
    pub(super) budget_waits: Histogram,
    pub(super) deliveries: Family<DeliveryLabels, Counter>,
    pub(super) sockets_ended: Family<Outcome, Counter>,
    pub(super) sockets_live: Gauge,
    pub(super) last_frame_age: Gauge<f64, AtomicU64>,
}

impl Default for SlackMetrics {
    fn default() -> Self {
        Self {
            calls: Family::default(),
            call_seconds: Family::new_with_constructor(call_seconds),
            budget_waits: Histogram::new([
                0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3_600.0,
            ]),
            deliveries: Family::default(),
            sockets_ended: Family::default(),
            sockets_live: Gauge::default(),
            last_frame_age: Gauge::default(),
        }
    }
}

/// A call may take 15 s.
fn call_seconds() -> Histogram {
    Histogram::new([0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0])
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
                "slack_call_seconds",
                "From sending a call to Slack to its answer, or until it was given up, by method",
                own.call_seconds.clone(),
            );
            registry.register(
                "slack_budget_wait_seconds",
                "How long calls waited for their turn, since Slack allows only so many",
                own.budget_waits.clone(),
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

    pub(super) fn call(&self, method: &'static str, outcome: &'static str, took: Duration) {
        let labels = CallLabels { method, outcome };
        self.calls.get_or_create(&labels).inc();
        self.call_seconds
            .get_or_create(&Called { method })
            .observe(took.as_secs_f64());
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
        slack.call("chat.update", "ok", Duration::from_millis(300));
        slack.delivery("http", "command", "empty");
        let page = metrics.encode().unwrap();
        for line in [
            "foredeck_slack_call_seconds_bucket{le=\"0.5\",method=\"chat.update\"} 1",
            "foredeck_slack_budget_wait_seconds_count 0",
            "foredeck_slack_calls_total{method=\"chat.update\",outcome=\"ok\"} 1",
            "foredeck_slack_deliveries_total{transport=\"http\",kind=\"command\",outcome=\"empty\"} 1",
            "foredeck_slack_sockets_live 0",
        ] {
            assert!(page.contains(line), "{line} is not in {page}");
        }
    }
}
