//! What a request's status says when nobody who may approve it was asked in Slack. Touches nothing.

use crate::api::bounds;

/// The most characters of what is said of that.
const MOST_UNASKED: usize = 300;

/// Why nobody who may approve a request is asked to in Slack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unasked {
    /// The question is in a direct message to who asked for the request.
    Alone,
    /// The Environment names whom to mention, and no channel.
    NoChannel,
}

impl Unasked {
    const ALL: [Self; 2] = [Self::Alone, Self::NoChannel];

    /// What the status says of it.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Alone => {
                "Nobody but who asked was asked in Slack to approve it: the question is in a direct message. It can be approved by kubectl, with a DeployApproval."
            }
            Self::NoChannel => {
                "Nobody was asked in Slack to approve it: the Environment names whom to mention, but no channel (spec.notify.slack.channel). It can be approved by kubectl, with a DeployApproval."
            }
        }
    }

    /// What the status is to say is wrong, after all else that it says.
    pub fn problem(unasked: Option<Self>, told: Option<&str>) -> Option<String> {
        let mut rest = told.unwrap_or_default();
        for other in Self::ALL {
            let without = rest.strip_suffix(other.sentence());
            rest = without.unwrap_or(rest).trim_end();
        }
        let Some(unasked) = unasked else {
            return (!rest.is_empty()).then(|| rest.to_owned());
        };
        let sentence = unasked.sentence();
        if rest.is_empty() {
            return Some(sentence.to_owned());
        }
        let rest = bounds::cut(rest, bounds::MESSAGE - 2 * MOST_UNASKED);
        Some(format!("{rest} {sentence}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_else_is_wrong_stays_said() {
        let alone = Some(Unasked::Alone);
        let long = "x".repeat(bounds::MESSAGE);
        for known in [None, Some("the channel is archived."), Some(long.as_str())] {
            let problem = Unasked::problem(alone, known).unwrap();
            assert!(problem.ends_with(Unasked::Alone.sentence()));
            assert!(problem.chars().count() <= bounds::MESSAGE);
            assert_eq!(
                Unasked::problem(alone, Some(&problem)),
                Some(problem.clone())
            );
            let other = Unasked::problem(Some(Unasked::NoChannel), Some(&problem)).unwrap();
            assert!(!other.contains(Unasked::Alone.sentence()), "{other}");
            let after = Unasked::problem(None, Some(&problem));
            if known != Some(long.as_str()) {
                assert_eq!(after.as_deref(), known);
            }
        }
    }
}
