//! What is counted of the hosts of repositories. Touches nothing. Labels are fixed words: no repositories, no error texts.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
};

use crate::runtime::metrics::Metrics;

/// What comes of a call, where that isn't a [`GitError`](super::GitError): some are judged only by who asked.
pub(super) mod outcome {
    pub(in crate::git) const OK: &str = "ok";
    /// Answered from memory, by its `ETag`.
    pub(in crate::git) const UNCHANGED: &str = "unchanged";
    /// 404: a version or a repository.
    pub(in crate::git) const MISSING: &str = "missing";
    /// 401: perhaps asked again with another login.
    pub(in crate::git) const LOGIN_REFUSED: &str = "login-refused";
    /// 409 or 422.
    pub(in crate::git) const IMPOSSIBLE: &str = "impossible";
    /// Not sent: too many calls of the login were under way.
    pub(in crate::git) const BUSY: &str = "busy";
    #[cfg(test)]
    pub(in crate::git) const ALL: [&str; 6] =
        [OK, UNCHANGED, MISSING, LOGIN_REFUSED, IMPOSSIBLE, BUSY];
}

/// A call of ours.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CallLabels {
    /// What was asked, in a fixed word.
    pub operation: &'static str,
    /// One of [`outcome`], or an error's fixed word.
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

    /// What wasn't sent, and why.
    pub(super) fn unsent(&self, operation: &'static str, outcome: &'static str) {
        self.calls
            .get_or_create(&CallLabels { operation, outcome })
            .inc();
    }

    pub(super) fn call(&self, operation: &'static str, outcome: &'static str, took: Duration) {
        self.unsent(operation, outcome);
        self.seconds
            .get_or_create(&Called { operation })
            .observe(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::GitError;

    #[test]
    fn each_outcome_stands_on_the_page_of_metrics() {
        let page = include_str!("../../docs/monitoring.md");
        let row = page
            .lines()
            .find(|line| line.starts_with("| `foredeck_git_calls_total`"))
            .unwrap();
        let (_, told) = row.split_once("what came of them").unwrap();
        let words: Vec<_> = told.split('`').skip(1).step_by(2).collect();
        let host = String::new;
        let errors = [
            GitError::Limited {
                host: host(),
                until: jiff::Timestamp::UNIX_EPOCH,
            },
            GitError::Forbidden {
                host: host(),
                repository: host(),
                message: host(),
            },
            GitError::Unavailable {
                host: host(),
                message: host(),
            },
        ];
        let mut expected = outcome::ALL.to_vec();
        expected.extend(errors.iter().map(GitError::reason));
        let told: Vec<_> = words.into_iter().filter(|word| *word != "ETag").collect();
        assert_eq!(told, expected);
    }

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
