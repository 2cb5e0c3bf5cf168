//! What the API server shows, or why it doesn't. Touches nothing.

use std::time::Duration;

use super::page::Finding;

/// What was read, or why it wasn't.
pub type Seen<T> = Result<T, Unseen>;

/// Why something isn't known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unseen {
    /// Whoever asks may not.
    Forbidden {
        /// What it takes: `list pods in foredeck-system`.
        right: String,
    },
    /// There is no such object, or no such kind.
    Absent,
    /// No answer in time.
    Silent(Duration),
    /// No connection, or an answer that can't be used.
    Broken(String),
}

impl Unseen {
    /// A line that says so. `what` begins its sentence.
    pub fn line(&self, check: &'static str, what: &str) -> Finding {
        match self {
            Self::Forbidden { right } => Finding::skip(
                check,
                &format!("{what} can't be looked at: whoever asks may not {right}"),
                Some(&format!("Ask again as somebody who may {right}")),
            ),
            Self::Absent => Finding::skip(check, &format!("{what}: there is none"), None),
            Self::Silent(after) => Finding::unanswered(
                check,
                &format!("{what}: no answer within {} s", after.as_secs_f64()),
            ),
            Self::Broken(why) => {
                Finding::unanswered(check, &format!("{what} can't be looked at: {why}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::page::State;

    #[test]
    fn what_is_forbidden_is_skipped_with_the_right_that_it_takes() {
        let right = "list pods in foredeck-system".to_owned();
        let finding = Unseen::Forbidden { right }.line("mesh", "The Pods");
        assert_eq!(finding.state, State::Skip);
        assert!(
            finding.found.contains("list pods in foredeck-system"),
            "{finding:?}"
        );
        let silent = Unseen::Silent(Duration::from_secs(5)).line("mesh", "The Pods");
        assert_eq!(silent.state, State::Fail);
    }
}
