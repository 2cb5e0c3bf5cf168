//! Commits as people read them in Slack, the same in a plan as in what is told of a request. Touches nothing.
//!
//! Whoever may push writes titles, authors and branches: all of it goes into code spans, on one line, and cut. A link is
//! built here, of the repository's page and a commit's digits, and never of what a commit says.

use reqwest::Url;

use super::text::Mrkdwn;
use crate::api::version::CommitLine;

/// Digits of a commit that people read.
const SHORT: usize = 7;
/// Digits of a whole one.
const WHOLE: usize = 40;
/// How much of a version's name is shown.
const MOST_NAME: usize = 80;
/// How much of a commit's title is shown.
const MOST_TITLE: usize = 100;
/// How much of its author's name.
const MOST_AUTHOR: usize = 40;

/// The first digits of a commit, and a link to it where `page` is the page of its repository.
pub fn commit(sha: &str, page: Option<&str>) -> Mrkdwn {
    let short = sha.get(..SHORT).unwrap_or(sha);
    let url = page
        .filter(|_| is_whole(sha))
        .and_then(|page| Url::parse(&format!("{page}/commit/{sha}")).ok());
    match url {
        Some(url) => Mrkdwn::link(&url, short),
        None => Mrkdwn::code_within(short, WHOLE),
    }
}

/// A version with its commit, as far as each is known: `main` (`3f2a1bc`). One that is its own commit is named once.
pub fn version(name: Option<&str>, sha: Option<&str>, page: Option<&str>) -> Option<Mrkdwn> {
    let own = |name: &str| sha.is_some_and(|sha| !name.is_empty() && sha.starts_with(name));
    let name = name
        .filter(|name| !own(name))
        .map(|name| Mrkdwn::code_within(name, MOST_NAME));
    let commit = sha.map(|sha| commit(sha, page));
    match (name, commit) {
        (Some(name), Some(commit)) => Some(name + " (" + commit + ")"),
        (one, other) => one.or(other),
    }
}

/// A link to all that lies between two commits, where the repository has a page.
pub fn comparison(base: &str, head: &str, page: Option<&str>) -> Option<Mrkdwn> {
    let page = page.filter(|_| is_whole(base) && is_whole(head))?;
    let url = Url::parse(&format!("{page}/compare/{base}...{head}")).ok()?;
    Some(Mrkdwn::link(&url, "Compare"))
}

/// A line each of as many of the first commits as fit `most` characters, and how many these are.
pub fn list<'a>(
    commits: impl IntoIterator<Item = &'a CommitLine>,
    page: Option<&str>,
    most: usize,
) -> (Mrkdwn, usize) {
    let (mut lines, mut count) = (Mrkdwn::default(), 0);
    for one in commits {
        let line = line(one, page);
        if lines.len() + line.len() >= most {
            break;
        }
        if count > 0 {
            lines += "\n";
        }
        lines += line;
        count += 1;
    }
    (lines, count)
}

/// One commit on a line.
pub fn line(one: &CommitLine, page: Option<&str>) -> Mrkdwn {
    Mrkdwn::fixed("• ")
        + commit(&one.sha, page)
        + " "
        + Mrkdwn::code_within(&one.title, MOST_TITLE)
        + " "
        + Mrkdwn::code_within(&one.author, MOST_AUTHOR)
}

fn is_whole(sha: &str) -> bool {
    sha.len() == WHOLE
        && sha
            .bytes()
            .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PAGE: &str = "https://github.com/shop/checkout";
    const SHA: &str = "3f2a1bc0123456789abcdef0123456789abcdef0";

    #[test]
    fn a_version_is_told_with_its_commit_and_one_that_is_its_own_commit_once() {
        let link = "<https://github.com/shop/checkout/commit/3f2a1bc0123456789abcdef0123456789abcdef0|3f2a1bc>";
        let with_link = format!("`main` ({link})");
        let rows = [
            (
                Some("main"),
                Some(SHA),
                Some(PAGE),
                Some(with_link.as_str()),
            ),
            (Some("main"), Some(SHA), None, Some("`main` (`3f2a1bc`)")),
            (Some("3f2a1bc"), Some(SHA), None, Some("`3f2a1bc`")),
            (Some(SHA), Some(SHA), Some(PAGE), Some(link)),
            (Some("main"), None, Some(PAGE), Some("`main`")),
            (None, Some(SHA), None, Some("`3f2a1bc`")),
            (None, None, Some(PAGE), None),
            (
                Some("main"),
                Some("nonsense"),
                Some(PAGE),
                Some("`main` (`nonsens`)"),
            ),
            (
                Some("main"),
                Some(SHA),
                Some("javascript:alert(1)"),
                Some("`main` (`3f2a1bc`)"),
            ),
            (
                Some("main"),
                Some(SHA),
                Some("no address"),
                Some("`main` (`3f2a1bc`)"),
            ),
        ];
        for (name, sha, page, expected) in rows {
            let shown = version(name, sha, page).map(|shown| shown.to_string());
            assert_eq!(shown.as_deref(), expected, "{name:?} {sha:?} {page:?}");
        }
    }

    #[test]
    fn only_whole_commits_are_compared() {
        assert!(comparison(SHA, SHA, Some(PAGE)).is_some());
        assert_eq!(comparison(SHA, SHA, None), None);
        assert_eq!(comparison(SHA, "main", Some(PAGE)), None);
        assert_eq!(comparison("../../evil", SHA, Some(PAGE)), None);
    }

    proptest! {
        #[test]
        fn what_strangers_write_makes_no_markup(
            title in "(\\PC|[\u{200b}\u{202e}\n\r`<>|*@]){0,200}",
            author in "(\\PC|[\u{200b}\u{202e}\n\r`<>|*@]){0,100}",
            sha in "[0-9a-f]{40}|\\PC{0,50}",
        ) {
            let one = CommitLine { sha: sha.clone(), title, author };
            let shown = line(&one, Some(PAGE)).to_string();
            let ours = format!("<{PAGE}/commit/{sha}|");
            for opened in shown.match_indices('<').map(|(at, _)| &shown[at..]) {
                prop_assert!(opened.starts_with(&ours), "{shown}");
            }
            prop_assert!(shown.matches('`').count() == if shown.contains(&ours) { 4 } else { 6 }, "{shown}");
            prop_assert!(!shown.chars().any(|char| char.is_control() || matches!(char, '\u{200b}' | '\u{202e}')), "{shown}");
        }

        #[test]
        fn a_list_keeps_its_length_and_says_how_many_it_shows(title in "[a&<]{0,200}", count in 0..30_usize, most in 0..3000_usize) {
            let one = CommitLine { sha: SHA.to_owned(), title, author: "Ada".to_owned() };
            let (lines, shown) = list(std::iter::repeat_n(&one, count), Some(PAGE), most);
            prop_assert!(lines.len() <= most && shown <= count);
            prop_assert_eq!(lines.as_str().lines().count(), shown);
        }
    }
}
