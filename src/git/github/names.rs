//! What can be the name of a branch or a tag. Touches nothing.

/// The longest name that is asked for, in bytes: GitHub takes 244 with `refs/heads/` before it.
const LONGEST: usize = 255;
/// The least digits of a commit's beginning: fewer stand for too many, and for branches.
const LEAST_DIGITS: usize = 7;

/// Whether git could have a branch or a tag of that name; a commit, whole or its beginning, looks like one too. These are the
/// rules of `git check-ref-format --allow-onelevel`, by which no name reads as an expression (`main~1`) or as another path; and
/// it is no other ref, such as a pull request's, which whoever opened it moves.
pub(super) fn is_name(text: &str) -> bool {
    let forbidden = |char: char| {
        char.is_ascii_control() || matches!(char, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\')
    };
    !text.is_empty()
        && text.len() <= LONGEST
        && text != "@"
        && !text.starts_with('-')
        && !text.ends_with('.')
        && !text.contains("..")
        && !text.contains("@{")
        && !text.contains(forbidden)
        && text.split('/').all(is_component)
        && !is_other_ref(text)
}

/// Whether it is a ref that is neither a branch nor a tag. What git doesn't find otherwise it looks for below `refs/`.
fn is_other_ref(text: &str) -> bool {
    if let Some(rest) = text.strip_prefix("refs/") {
        return !rest.starts_with("heads/") && !rest.starts_with("tags/");
    }
    let mut parts = text.split('/');
    let is_number = |part: &str| part.bytes().all(|digit| digit.is_ascii_digit());
    parts.next() == Some("pull") && parts.next().is_some_and(is_number) && parts.next().is_some()
}

fn is_component(part: &str) -> bool {
    #[expect(
        clippy::case_sensitive_file_extension_comparisons,
        reason = "git itself compares so"
    )]
    let lock = part.ends_with(".lock");
    !part.is_empty() && !part.starts_with('.') && !lock
}

/// Whether it is hexadecimal, but too short to stand for a commit: only a branch or a tag may be called so.
pub(super) fn is_too_short(text: &str) -> bool {
    text.len() < LEAST_DIGITS && text.bytes().all(|digit| digit.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_git_takes() {
        let long = "b".repeat(250);
        for name in [
            "main",
            "feature/x",
            "v1.2.3",
            "a#b",
            "%2f",
            "a&b=c",
            "grün/ß",
            "a@b",
            &long,
            "a;b",
            "<b>",
            "a\"b",
            "a+b",
            "HEAD",
            "refs/heads/main",
            "refs/tags/v1",
            "pull/up",
            "pull/7",
            "repull/7/head",
        ] {
            assert!(is_name(name), "{name:?}");
        }
        let longer = "b".repeat(256);
        for name in [
            "",
            "@",
            "..",
            "../..",
            "a/../b",
            "a b",
            "a\nb",
            "a\tb",
            "main~1",
            "main^",
            "a:b",
            "a?b",
            "a*",
            "[a",
            "a\\b",
            "/a",
            "a/",
            "a//b",
            ".a",
            "a/.b",
            "a.lock",
            "a.lock/b",
            "a.",
            "@{-1}",
            "main@{1}",
            "-x",
            "\u{7f}",
            &longer,
            "pull/7/head",
            "pull/7/merge",
            "refs/pull/7/head",
            "refs/notes/x",
            "refs/heads",
        ] {
            assert!(!is_name(name), "{name:?}");
        }
    }

    #[test]
    fn a_commits_beginning_has_seven_digits() {
        assert!(is_too_short("abc123") && is_too_short("f"));
        assert!(!is_too_short("abc1234") && !is_too_short("main"));
    }
}
