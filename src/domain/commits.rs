//! Commits between what runs and what is asked, for people to read: cut, merge commits folded. Touches nothing.

use super::version::is_commit;
use crate::api::{
    bounds,
    version::{Changes, CommitLine, Relation},
};

/// The most commits that are asked for to count them without merge commits.
pub const COUNTED: usize = 100;

/// What stands for a message without words.
const UNTITLED: &str = "(no message)";
/// What stands for an author without a name.
const NOBODY: &str = "(nobody)";
/// How much of a text is looked at, in characters; more of it can't be shown.
const READ: usize = 4096;

/// A commit as its host has it. Author and message are text of strangers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its SHA-1.
    pub sha: String,
    /// The whole message.
    pub message: String,
    /// Who wrote it, as the commit names them.
    pub author: String,
    /// It has more than one parent.
    pub merge: bool,
}

impl Commit {
    /// The commit as people see it: the first line of its message and its author, each fit to be shown once escaped.
    pub fn line(&self) -> CommitLine {
        CommitLine {
            sha: self.sha.clone(),
            title: or(plain(first_line(&self.message), bounds::TITLE), UNTITLED),
            author: or(plain(&self.author, bounds::AUTHOR), NOBODY),
        }
    }
}

/// How two commits stand to each other, and some of what lies between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// How the head stands to the base.
    pub relation: Relation,
    /// How many commits the head has that the base has not.
    pub ahead: u32,
    /// How many commits the base has that the head has not.
    pub behind: u32,
    /// The newest of those that the head has and the base not; where the head is behind, of those that it gives up. Newest
    /// first.
    pub commits: Vec<Commit>,
    /// Whether these are all.
    pub complete: bool,
    /// Where people see it.
    pub url: Option<String>,
}

impl Comparison {
    /// The commits for people, newest first, merge commits left out.
    pub fn lines(&self) -> impl Iterator<Item = CommitLine> {
        self.own().map(Commit::line)
    }

    /// What isn't a merge commit. A commit without a SHA-1 is none that a status can hold.
    fn own(&self) -> impl Iterator<Item = &Commit> {
        let own = |commit: &&Commit| !commit.merge && is_commit(&commit.sha);
        self.commits.iter().filter(own)
    }

    /// How many there are of those that are listed: merge commits can only be left out where all are known.
    fn counted(&self, all: u32) -> u32 {
        if self.complete {
            u32::try_from(self.own().count()).unwrap_or(all)
        } else {
            all
        }
    }
}

/// What a plan and a message say of a comparison with what runs (`from`).
pub fn changes(from: &str, comparison: &Comparison) -> Changes {
    let (added, removed) = match comparison.relation {
        Relation::Identical | Relation::Unrelated => (0, 0),
        Relation::Ahead => (comparison.counted(comparison.ahead), 0),
        Relation::Behind => (0, comparison.counted(comparison.behind)),
        Relation::Diverged => (comparison.counted(comparison.ahead), comparison.behind),
    };
    let listed = match comparison.relation {
        Relation::Identical | Relation::Unrelated => 0,
        _ => bounds::COMMITS,
    };
    Changes {
        from: is_commit(from).then(|| from.to_owned()),
        relation: Some(comparison.relation),
        added,
        removed,
        commits: comparison.lines().take(listed).collect(),
        url: comparison.url.clone().filter(|url| is_address(url)),
        problem: None,
    }
}

/// What is said where nothing was compared with what runs (`from`): that both are the same, or why not, where there is a
/// reason.
pub fn not_compared(
    from: Option<&str>,
    relation: Option<Relation>,
    problem: Option<&str>,
) -> Changes {
    Changes {
        from: from.map(str::to_owned),
        relation,
        added: 0,
        removed: 0,
        commits: Vec::new(),
        url: None,
        problem: problem.map(|problem| bounds::cut(problem, bounds::MESSAGE)),
    }
}

/// Text of strangers on one line, cut to `most` characters: without what doesn't show, or turns the direction of writing.
/// It isn't escaped for any markup.
pub fn plain(text: &str, most: usize) -> String {
    let mut plain = String::new();
    for char in text.chars().take(READ) {
        if char.is_whitespace() {
            if !plain.is_empty() && !plain.ends_with(' ') {
                plain.push(' ');
            }
        } else if !char.is_control() && !is_hidden(char) {
            plain.push(char);
        }
    }
    bounds::cut(plain.trim_end(), most)
}

/// Characters that nobody sees, and those that turn the direction of writing.
pub(super) fn is_hidden(char: char) -> bool {
    matches!(
        char,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// The first line that isn't blank.
fn first_line(message: &str) -> &str {
    let ends = |char| {
        matches!(
            char,
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}'
        )
    };
    message.trim_start().split(ends).next().unwrap_or_default()
}

fn or(text: String, other: &str) -> String {
    if text.is_empty() {
        other.to_owned()
    } else {
        text
    }
}

/// Whether people can be sent there, and a status can hold it.
fn is_address(url: &str) -> bool {
    (url.starts_with("https://") || url.starts_with("http://"))
        && url.chars().count() <= bounds::URL
        && !url
            .chars()
            .any(|char| char.is_whitespace() || char.is_control() || is_hidden(char))
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn commit(number: usize, merge: bool) -> Commit {
        Commit {
            sha: format!("{number:040x}"),
            message: format!("Change {number}\n\nWith a body."),
            author: "Ada".to_owned(),
            merge,
        }
    }

    fn comparison(relation: Relation, commits: Vec<Commit>, complete: bool) -> Comparison {
        Comparison {
            relation,
            ahead: if relation == Relation::Behind { 0 } else { 40 },
            behind: if relation == Relation::Ahead { 0 } else { 7 },
            commits,
            complete,
            url: Some("https://github.com/o/r/compare/a...b".to_owned()),
        }
    }

    fn from() -> String {
        "f".repeat(40)
    }

    #[test]
    fn merge_commits_are_folded_and_counted_only_where_not_all_are_known() {
        let commits: Vec<_> = (0..30)
            .map(|number| commit(number, number % 2 == 0))
            .collect();
        let all = changes(&from(), &comparison(Relation::Ahead, commits.clone(), true));
        assert_eq!((all.added, all.removed), (15, 0));
        let titles: Vec<_> = all
            .commits
            .iter()
            .map(|line| line.title.as_str())
            .take(3)
            .collect();
        assert_eq!(titles, ["Change 1", "Change 3", "Change 5"]);
        assert_eq!(all.commits.len(), 10);
        let some = changes(&from(), &comparison(Relation::Diverged, commits, false));
        assert_eq!((some.added, some.removed), (40, 7));
    }

    #[test]
    fn going_back_lists_what_is_given_up() {
        let commits = vec![commit(1, false), commit(2, true), commit(3, false)];
        let back = changes(&from(), &comparison(Relation::Behind, commits, true));
        assert_eq!((back.added, back.removed, back.commits.len()), (0, 2, 2));
        assert_eq!(back.from, Some(from()));
    }

    #[test]
    fn nothing_is_listed_of_unrelated_histories_or_of_one_commit() {
        for relation in [Relation::Unrelated, Relation::Identical] {
            let none = changes(&from(), &comparison(relation, vec![commit(1, false)], true));
            assert_eq!((none.added, none.removed), (0, 0));
            assert!(none.commits.is_empty());
            assert_eq!(none.relation, Some(relation));
        }
    }

    #[test]
    fn a_title_is_the_first_line_without_what_hides() {
        for (message, title) in [
            ("Fix it\n\nBody", "Fix it"),
            ("\n\n  Late \u{202e}start\u{2029}more", "Late start"),
            ("a\r\nb", "a"),
            ("\u{200b}\u{feff}\u{e0041}", UNTITLED),
            ("", UNTITLED),
            ("tab\there\u{1b}[31m", "tab here[31m"),
            (
                "<!channel> *bold* <https://evil|ok>",
                "<!channel> *bold* <https://evil|ok>",
            ),
        ] {
            let commit = Commit {
                message: message.to_owned(),
                author: " \u{202d}\n".to_owned(),
                ..commit(1, false)
            };
            let line = commit.line();
            assert_eq!(
                (line.title.as_str(), line.author.as_str()),
                (title, NOBODY),
                "{message:?}"
            );
        }
        let long = Commit {
            message: "ü".repeat(100_000),
            ..commit(1, false)
        };
        assert_eq!(long.line().title.chars().count(), bounds::TITLE);
    }

    #[test]
    fn only_addresses_that_people_can_open_are_shown() {
        for url in [
            "javascript:alert(1)",
            "https://github.com/\u{202e}x",
            "https://a b",
            "",
        ] {
            let one = Comparison {
                url: Some(url.to_owned()),
                ..comparison(Relation::Ahead, Vec::new(), true)
            };
            assert_eq!(changes(&from(), &one).url, None, "{url:?}");
        }
        let long = format!("https://{}", "a".repeat(bounds::URL));
        assert!(!is_address(&long));
    }

    proptest! {
        #[test]
        fn whatever_strangers_write_fits_a_status(
            texts in vec(("\\PC*|.*|[\u{200b}\u{202e}\n\r\t a]*", ".*", any::<bool>()), 0..40),
            sha in "[0-9a-f]{40}|.{0,50}",
            complete in any::<bool>(),
        ) {
            let commits = texts
                .into_iter()
                .map(|(message, author, merge)| Commit { sha: sha.clone(), message, author, merge })
                .collect();
            let shown = changes(&sha, &comparison(Relation::Ahead, commits, complete));
            prop_assert!(shown.commits.len() <= bounds::COMMITS);
            prop_assert!(shown.from.iter().all(|from| is_commit(from)));
            for line in shown.commits {
                prop_assert!(is_commit(&line.sha));
                for (text, most) in [(&line.title, bounds::TITLE), (&line.author, bounds::AUTHOR)] {
                    prop_assert!(!text.is_empty() && text.chars().count() <= most);
                    prop_assert!(!text.chars().any(|char| char.is_control() || is_hidden(char)));
                    prop_assert!(!text.contains("  ") && text.trim() == text);
                    prop_assert_eq!(&plain(text, most), text);
                }
            }
        }
    }
}
