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

/// What a list didn't bring.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Partial {
    /// Objects of a shape that isn't known here.
    pub left_out: usize,
    /// There were more than are read.
    pub truncated: bool,
}

impl Partial {
    /// A line that says so, of a list of `what`; none where all was read.
    pub fn line(self, what: &str) -> Option<Finding> {
        let more = self.truncated.then(|| {
            format!("there are more {what} than are read here, and the rest wasn't looked at")
        });
        let odd = (self.left_out > 0).then(|| {
            let many = self.left_out;
            format!("of the {what}, {many} can't be read, and weren't looked at")
        });
        let said: Vec<String> = more.into_iter().chain(odd).collect();
        if said.is_empty() {
            return None;
        }
        Some(Finding::warn(
            "reads",
            &format!(
                "What is said above isn't of everything: {}",
                said.join("; ")
            ),
            "Ask with --namespace for fewer; what can't be read is of another version than this binary, or broken",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::page::State;

    #[test]
    fn what_was_not_read_has_a_line() {
        assert_eq!(Partial::default().line("roles"), None);
        let partial = Partial {
            left_out: 2,
            truncated: true,
        };
        let finding = partial.line("roles").unwrap();
        assert_eq!(finding.state, State::Warn);
        for words in ["more roles than are read", "2 can't be read"] {
            assert!(finding.found.contains(words), "{finding:?}");
        }
    }

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
