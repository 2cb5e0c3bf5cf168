//! What is measured of calls to Gate. Touches nothing. Labels are fixed words: nothing that Gate says is one.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
};

use super::answer::{Answer, Trouble};
use crate::runtime::metrics::Metrics;

/// What Gate is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endpoint {
    Start,
    Cancel,
    Judge,
    Execution,
    Executions,
    Pipeline,
    Pipelines,
    Applications,
    User,
    Version,
}

impl Endpoint {
    /// What a call is called in traces.
    pub(super) fn span(self) -> &'static str {
        match self {
            Self::Start => "gate.start",
            Self::Cancel => "gate.cancel",
            Self::Judge => "gate.judge",
            Self::Execution => "gate.execution",
            Self::Executions => "gate.executions",
            Self::Pipeline => "gate.pipeline",
            Self::Pipelines => "gate.pipelines",
            Self::Applications => "gate.applications",
            Self::User => "gate.user",
            Self::Version => "gate.version",
        }
    }

    /// The HTTP method.
    pub(super) fn method(self) -> &'static str {
        match self {
            Self::Start => "POST",
            Self::Cancel => "PUT",
            Self::Judge => "PATCH",
            _ => "GET",
        }
    }

    /// The label.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Cancel => "cancel",
            Self::Judge => "judge",
            Self::Execution => "execution",
            Self::Executions => "executions",
            Self::Pipeline => "pipeline",
            Self::Pipelines => "pipelines",
            Self::Applications => "applications",
            Self::User => "user",
            Self::Version => "version",
        }
    }
}

/// In one word, what came of a call. That it is `ok` says that Gate answered in its own way, not that it was what was hoped for.
pub(super) fn outcome(result: &Result<Answer, Trouble>) -> &'static str {
    match result {
        Err(Trouble::NotConnected(_)) => "unreachable",
        Err(Trouble::CertificateRefused { .. }) => "unauthorized",
        Err(Trouble::NoPermit) => "no-permit",
        Err(Trouble::TimedOut(_)) => "late",
        Err(Trouble::Broken) => "broken",
        Err(Trouble::TooLong) => "too-long",
        Ok(answer) if answer.wants_login() => "unauthorized",
        Ok(answer) => match answer.status {
            200..300 if answer.is_html() || answer.is_empty() => "unclear",
            200..300 => "ok",
            403 => "forbidden",
            404 => "absent",
            429 => "limited",
            400..500 => "refused",
            500..600 => "failed",
            _ => "unclear",
        },
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Called {
    endpoint: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct To {
    endpoint: &'static str,
}

/// What is measured of calls to Gate, of all Gates together. Clones count together; the default is on no page.
#[derive(Debug, Clone)]
pub struct GateMetrics {
    calls: Family<Called, Counter>,
    seconds: Family<To, Histogram, fn() -> Histogram>,
}

impl Default for GateMetrics {
    fn default() -> Self {
        Self {
            calls: Family::default(),
            seconds: Family::new_with_constructor(seconds),
        }
    }
}

/// A call may take 20 s.
fn seconds() -> Histogram {
    Histogram::new([
        0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0,
    ])
}

impl GateMetrics {
    /// Registers them. Once in a process.
    pub fn register(metrics: &Metrics) -> Self {
        let own = Self::default();
        metrics.register(|registry| {
            registry.register(
                "gate_calls",
                "Calls of Gate, by what was asked for and what came of it",
                own.calls.clone(),
            );
            registry.register(
                "gate_call_seconds",
                "From sending a call to Gate to the end of its answer, or until it was given up",
                own.seconds.clone(),
            );
        });
        own
    }

    /// A call that was sent, or could not be.
    pub(super) fn called(&self, endpoint: Endpoint, outcome: &'static str, took: Duration) {
        let endpoint = endpoint.word();
        let seconds = took.as_secs_f64();
        self.seconds
            .get_or_create(&To { endpoint })
            .observe(seconds);
        self.unsent(endpoint, outcome);
    }

    /// A call for which there was no permit.
    pub(super) fn refused_a_permit(&self, endpoint: Endpoint) {
        self.unsent(endpoint.word(), "no-permit");
    }

    fn unsent(&self, endpoint: &'static str, outcome: &'static str) {
        let called = Called { endpoint, outcome };
        self.calls.get_or_create(&called).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_gate_says_its_outcome_is_one_of_few_words() {
        let answer = |status: u16, content_type: &str, body: &str| {
            Ok(Answer {
                status,
                content_type: content_type.to_owned(),
                body: body.as_bytes().to_vec(),
                ..Answer::default()
            })
        };
        let hostile = "{\"error\":\"x\",\"message\":\"foredeck\\\"} 1\\nfake{a=\\\"b\\\"} 2\"}";
        for (result, word) in [
            (answer(200, "application/json", "{}"), "ok"),
            (answer(201, "a\"}\n1", hostile), "ok"),
            (answer(200, "application/json", " \n"), "unclear"),
            (answer(200, "text/html", "<p>hello</p>"), "unclear"),
            (
                answer(200, "text/html", "<input type=\"password\">"),
                "unauthorized",
            ),
            (answer(302, "", ""), "unclear"),
            (answer(400, "application/json", hostile), "refused"),
            (answer(401, "application/json", hostile), "unauthorized"),
            (answer(403, "application/json", hostile), "forbidden"),
            (answer(404, "application/json", hostile), "absent"),
            (answer(429, "application/json", hostile), "limited"),
            (answer(503, "application/json", hostile), "failed"),
            (answer(999, "application/json", hostile), "unclear"),
            (Err(Trouble::Broken), "broken"),
            (Err(Trouble::TooLong), "too-long"),
            (Err(Trouble::TimedOut(Duration::from_secs(1))), "late"),
            (Err(Trouble::NotConnected("why")), "unreachable"),
        ] {
            assert_eq!(outcome(&result), word, "{result:?}");
        }
    }
}
