//! The bounds of every field that we fill from outside, and the cuts that keep them. Touches nothing.
//!
//! The API server prices CEL rules by the declared bounds and refuses a status that exceeds them, so whatever comes
//! from Gate is cut here before it is written. Lengths are Unicode code points, as in JSON Schema.

use jiff::Timestamp;

/// Names of Kubernetes objects that appear in other names: a DNS label.
pub const LABEL: usize = 63;
/// Names, ids, accounts: anything that names one thing.
pub const NAME: usize = 253;
/// Digests: SHA-256 in hexadecimal.
pub const DIGEST: usize = 64;
/// Idempotency keys.
pub const KEY: usize = 128;
/// One of Spinnaker's words for how something goes.
pub const WORD: usize = 64;
/// URLs.
pub const URL: usize = 1024;
/// The value of one parameter.
pub const VALUE: usize = 1024;
/// Sentences for people.
pub const MESSAGE: usize = 2048;
/// Parameters of a request.
pub const PARAMETERS: usize = 64;
/// Stages kept in a status.
pub const STAGES: usize = 100;
/// Finished requests shown in a target's history.
pub const HISTORY: usize = 20;
/// Idempotency keys that a target remembers.
pub const KEYS: usize = 500;
/// Groups of one person, by one source.
pub const GROUPS: usize = 200;
/// Groups of whoever did something, as stamped: whatever a user has in a cluster.
pub const STAMPED_GROUPS: usize = 500;
/// Decisions kept in a request's status.
pub const DECISIONS: usize = 50;
/// Inputs and roles of one manual judgment.
pub const INPUTS: usize = 50;
/// Messages in Slack about one request: up to three in each of an Environment's channels, and those of its thread; or about
/// one freeze, two in each channel for each time that it began.
pub const SLACK_MESSAGES: usize = 64;
/// Pipelines described in an application's status.
pub const PIPELINES: usize = 100;
/// Commits listed in a status.
pub const COMMITS: usize = 10;
/// The first line of a commit's message, as it is shown.
pub const TITLE: usize = 120;
/// Who wrote a commit, as it is shown.
pub const AUTHOR: usize = 60;
/// Artifacts of one action.
pub const ARTIFACTS: usize = 20;
/// Options of one pipeline parameter described in an application's status.
pub const OPTIONS: usize = 100;
/// The last second that a time in a spec may name, counted from 1970: 9998-12-31T23:59:59Z.
pub const LAST_SECOND: i64 = 253_370_764_799;

/// The moment so many milliseconds after 1970 began, if it is one that a status can hold. Gate shows whatever a plugin or
/// a clock made of a time, and one impossible date would have the whole status refused: a year before 0, say. No
/// timestamp is past the year 9999.
pub fn date(milliseconds: i64) -> Option<Timestamp> {
    (milliseconds >= 0)
        .then(|| Timestamp::from_millisecond(milliseconds).ok())
        .flatten()
}

/// `text` cut to `most` code points, the last of which is then an ellipsis.
pub fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text
            .chars()
            .take(most.saturating_sub(1))
            .chain(['…'])
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_one_that_a_status_can_hold() {
        let text = |milliseconds| date(milliseconds).map(|date| date.to_string());
        assert_eq!(text(0).as_deref(), Some("1970-01-01T00:00:00Z"));
        let late = text(253_402_207_200_000);
        assert_eq!(late.as_deref(), Some("9999-12-30T22:00:00Z"));
        for none in [-1, 253_402_300_800_000, i64::MIN, i64::MAX] {
            assert_eq!(text(none), None);
        }
    }

    #[test]
    fn a_cut_text_has_at_most_so_many_code_points() {
        assert_eq!(cut("grün", 4), "grün");
        assert_eq!(cut("grüne", 4), "grü…");
        assert_eq!(cut("", 4), "");
    }
}
