//! Artifacts as people read them in Slack, the same in a plan as in what is told of a request. Touches nothing.
//!
//! A version or a reference ends with what tells one image from another, its tag or digest. So where one is too long for
//! a line its middle goes, and never its end.

use super::text::{self, Mrkdwn};
use crate::api::artifact::Artifact;

/// How much of a type is shown.
const MOST_KIND: usize = 80;
/// How much of a name, a place and an account.
const MOST_FIELD: usize = 120;
/// How much of a version and of a reference, which hold a registry, a path and a digest.
const MOST_REFERENCE: usize = 300;
/// How much of that is its end, where it is too long.
const MOST_END: usize = 200;
/// How much of a text is looked at, which is more than a request may have.
const READ: usize = 4096;

/// Name and version, or by which it is fetched, on a line.
pub fn brief(one: &Artifact) -> Mrkdwn {
    let shown = match (&one.version, &one.reference) {
        (Some(version), _) => format!("{}:{version}", one.name),
        (None, Some(reference)) => reference.clone(),
        (None, None) => one.name.clone(),
    };
    Mrkdwn::fixed("• ") + ending(&shown)
}

/// Everything of it that is handed over, on a line.
pub fn line(one: &Artifact) -> Mrkdwn {
    let code = |text: &str| beginning(text, MOST_FIELD);
    let mut line = Mrkdwn::fixed("• ") + beginning(&one.kind, MOST_KIND) + " " + code(&one.name);
    for (what, value) in [
        (" version ", one.version.as_deref().map(ending)),
        (" in ", one.location.as_deref().map(code)),
        (" from ", one.reference.as_deref().map(ending)),
        (" by account ", one.artifact_account.as_deref().map(code)),
    ] {
        if let Some(value) = value {
            line = line + what + value;
        }
    }
    line
}

/// As many of the first lines as fit `most` characters, and how many these are.
pub fn list(lines: impl IntoIterator<Item = Mrkdwn>, most: usize) -> (Mrkdwn, usize) {
    let (mut list, mut count) = (Mrkdwn::default(), 0);
    for line in lines {
        if list.len() + line.len() >= most {
            break;
        }
        if count > 0 {
            list += "\n";
        }
        list += line;
        count += 1;
    }
    (list, count)
}

/// The beginning of a text, as much as fits when it is sent.
fn beginning(text: &str, most: usize) -> Mrkdwn {
    let clean = text::clean(text, READ);
    if length(&clean) <= most {
        return Mrkdwn::code_within(&clean, most);
    }
    let begin: String = within(clean.chars(), most - 1).collect();
    Mrkdwn::code_within(&format!("{begin}…"), most)
}

/// A text of which the end tells most: what is too long, as it is sent, loses its middle.
fn ending(text: &str) -> Mrkdwn {
    let clean = text::clean(text, READ);
    if length(&clean) <= MOST_REFERENCE {
        return Mrkdwn::code_within(&clean, MOST_REFERENCE);
    }
    let begin: String = within(clean.chars(), MOST_REFERENCE - MOST_END - 1).collect();
    let end: Vec<char> = within(clean.chars().rev(), MOST_END).collect();
    let end: String = end.into_iter().rev().collect();
    Mrkdwn::code_within(&format!("{begin}…{end}"), MOST_REFERENCE)
}

/// As many of these as fit when they are sent.
fn within(chars: impl Iterator<Item = char>, most: usize) -> impl Iterator<Item = char> {
    chars
        .scan(0, |length, char| {
            *length += sent(char);
            Some((*length, char))
        })
        .take_while(move |(length, _)| *length <= most)
        .map(|(_, char)| char)
}

/// How long a text is when it is sent.
fn length(text: &str) -> usize {
    text.chars().map(sent).sum()
}

/// The characters that one becomes where it is no markup.
fn sent(char: char) -> usize {
    match char {
        '&' => "&amp;".len(),
        '<' | '>' => "&lt;".len(),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Artifact {
        Artifact {
            kind: "docker/image".to_owned(),
            name: "shop/checkout".to_owned(),
            ..Artifact::default()
        }
    }

    #[test]
    fn a_digest_is_shown_to_its_last_digit_however_long_what_is_before_it() {
        let digest = format!("@sha256:{}", "3f2a1bc0".repeat(8));
        let usual =
            format!("123456789012.dkr.ecr.eu-central-1.amazonaws.com/shop/checkout{digest}");
        let long = format!("registry.example/{}{digest}", "path/".repeat(100));
        let loud = format!("{}{digest}", "&".repeat(1000));
        for reference in [&usual, &long, &loud] {
            let one = Artifact {
                reference: Some(reference.clone()),
                ..image()
            };
            for shown in [brief(&one), line(&one)] {
                assert!(shown.as_str().contains(&format!("{digest}`")), "{shown}");
                assert!(shown.len() < 400, "{shown}");
            }
        }
        let one = Artifact {
            reference: Some(usual.clone()),
            ..image()
        };
        assert!(line(&one).as_str().ends_with(&format!(" from `{usual}`")));
        let tagged = Artifact {
            version: Some(digest.clone()),
            ..image()
        };
        assert!(brief(&tagged).as_str().ends_with(&format!("{digest}`")));
    }

    /// What the shortest of the lists has room for.
    const LIST: usize = 1500;

    #[test]
    fn the_longest_line_fits_a_list() {
        let loud = "&".repeat(1024);
        let all = Artifact {
            kind: loud.clone(),
            name: loud.clone(),
            version: Some(loud.clone()),
            location: Some(loud.clone()),
            reference: Some(loud.clone()),
            artifact_account: Some(loud),
        };
        let (shown, count) = list([line(&all), line(&all)], LIST);
        assert!(count == 1 && shown.len() < LIST, "{count}: {}", shown.len());
    }
}
