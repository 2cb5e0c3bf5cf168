//! Which words can be names at all. Touches nothing.

use crate::api::bounds;

/// The longest name of a parameter, in characters.
const MOST_PARAMETER_NAME: usize = 64;

/// A word that can't be such a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} can't be {what}: {rule}")]
pub struct InvalidName {
    /// What it was to name, with its article.
    pub what: &'static str,
    /// The word.
    pub given: String,
    /// What such names are made of.
    pub rule: &'static str,
}

impl InvalidName {
    /// The fixed word.
    pub fn reason(&self) -> &'static str {
        "invalid-name"
    }
}

/// An application's or team's name, in lower case: telephones begin a line with a capital.
///
/// # Errors
/// When it is no name of a Kubernetes object of at most 63 characters.
pub fn application_name(word: &str) -> Result<String, InvalidName> {
    object("the name of an application", word)
}

/// An environment's name, in lower case.
///
/// # Errors
/// When it is no name of a Kubernetes object of at most 63 characters.
pub fn environment_name(word: &str) -> Result<String, InvalidName> {
    object("the name of an environment", word)
}

pub(super) fn request_name(word: &str) -> Result<String, InvalidName> {
    named("the name of a request", word, bounds::NAME)
}

pub(super) fn team_name(word: &str) -> Result<String, InvalidName> {
    object("the name of a team", word)
}

fn object(what: &'static str, word: &str) -> Result<String, InvalidName> {
    named(what, word, bounds::LABEL)
}

fn named(what: &'static str, word: &str, most: usize) -> Result<String, InvalidName> {
    let name = word.to_ascii_lowercase();
    let fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let valid = name.len() <= most
        && name.bytes().next().is_some_and(fine)
        && name.bytes().last().is_some_and(fine)
        && name
            .bytes()
            .all(|byte| fine(byte) || byte == b'-' || byte == b'.');
    if valid {
        return Ok(name);
    }
    Err(InvalidName {
        what,
        given: word.to_owned(),
        rule: "names are lower-case letters, digits, dashes and dots",
    })
}

/// A parameter's name as it can be typed. Pipelines may have others; those are reached through the form.
///
/// # Errors
/// When it has other characters than letters, digits, `-`, `_` and `.`, begins with one of the last three but `_`, or is
/// longer than 64 characters.
pub fn parameter_name(word: &str) -> Result<String, InvalidName> {
    let first = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let valid = word.len() <= MOST_PARAMETER_NAME
        && word.bytes().next().is_some_and(first)
        && word
            .bytes()
            .all(|byte| first(byte) || byte == b'-' || byte == b'.');
    if valid {
        return Ok(word.to_owned());
    }
    Err(InvalidName {
        what: "the name of a parameter",
        given: word.to_owned(),
        rule: "names are at most 64 letters, digits, dashes, dots and underscores",
    })
}

/// A version: a branch, a tag, a commit. Its case matters.
///
/// # Errors
/// When it is empty, longer than 253 characters, or has characters that don't show.
pub fn version_name(word: &str) -> Result<String, InvalidName> {
    let valid = !word.trim().is_empty()
        && word.chars().count() <= bounds::NAME
        && !word
            .chars()
            .any(|char| hides(char) || joins(char) || (char.is_whitespace() && char != ' '));
    if valid {
        return Ok(word.to_owned());
    }
    Err(InvalidName {
        what: "a version",
        given: word.to_owned(),
        rule: "versions have 1 to 253 characters, on one line, all of which show",
    })
}

/// Whether a character has no place in anything typed: it controls, fills or turns, and doesn't show.
pub(super) fn hides(char: char) -> bool {
    (char.is_control() && char != '\n' && char != '\t')
        || matches!(char,
            '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}' | '\u{200e}' | '\u{200f}'
            | '\u{202a}'..='\u{202e}' | '\u{2061}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Whether a character belongs to composed emoji and scripts, but has no place in a name.
fn joins(char: char) -> bool {
    matches!(char, '\u{34f}' | '\u{180b}'..='\u{180d}' | '\u{180f}' | '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}')
}
