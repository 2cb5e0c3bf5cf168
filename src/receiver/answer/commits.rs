//! Commits as people see them: what would change, in a plan and in a list of its own. Touches nothing.
//!
//! Whoever may push writes titles, authors and branches: all of it goes into code spans, on one line, and cut. Links are
//! built here, of the repository's page and a commit's digits.

use reqwest::Url;

use super::reading::said;
use crate::{
    api::version::{Changes, CommitLine, Relation},
    domain::version,
    receiver::plan::asked::Difference,
    slack::{
        actions::{self, Span},
        blocks::{Block, Message},
        elements::{Button, Element},
        text::Mrkdwn,
        view::View,
    },
};

/// How much of a commit's title is shown.
const MOST_TITLE: usize = 100;
/// How much of its author's name.
const MOST_AUTHOR: usize = 40;
/// How much of a sentence about a repository.
const MOST_SENTENCE: usize = 300;
/// What a section holds, with room for the signs between.
const MOST_SECTION: usize = 2900;
/// Commits on one page of the list.
pub(in crate::receiver) const PAGE: usize = 50;
/// Commits of all pages.
pub(in crate::receiver) const MOST: usize = 500;

/// A commit as people know it, and a link to it where the repository has a page.
pub(in crate::receiver) fn commit(sha: &str, page: Option<&str>) -> Mrkdwn {
    let short = version::short(sha);
    let url = page.and_then(|page| Url::parse(&format!("{page}/commit/{sha}")).ok());
    match url {
        Some(url) if version::is_commit(sha) => Mrkdwn::link(&url, short),
        _ => Mrkdwn::code(short),
    }
}

/// A version with its commit: `main (3f2a1bc)`. One that is its own commit is named once.
pub(in crate::receiver) fn named(version: Option<&str>, commit: Option<&str>) -> Option<String> {
    match (version, commit) {
        (Some(version), Some(commit)) if commit.starts_with(version) => {
            Some(version::short(commit).to_owned())
        }
        (Some(version), Some(commit)) => {
            let most = 80 - (version::SHORT + 3);
            let name: String = if version.chars().count() > most {
                let kept: String = version.chars().take(most - 1).collect();
                format!("{kept}…")
            } else {
                version.to_owned()
            };
            Some(format!("{name} ({})", version::short(commit)))
        }
        (version, _) => version.map(str::to_owned),
    }
}

/// What would change, in a plan.
pub(in crate::receiver) fn changes(difference: &Difference, page: Option<&str>) -> Vec<Block> {
    let changes = &difference.changes;
    let mut head = Mrkdwn::fixed("*What changes* ") + summary(difference);
    if let Some(all) = comparison(changes) {
        head = head + " · " + all;
    }
    let mut blocks = vec![Block::section(head)];
    blocks.extend(list(&changes.commits, page));
    let listed = changes.commits.len();
    let all = counted(changes);
    if listed > 0 && all > listed {
        blocks.push(Block::context([Mrkdwn::fixed("The newest ")
            + Mrkdwn::number(listed as u64)
            + " of "
            + Mrkdwn::number(all as u64)
            + "."]));
    }
    blocks
}

/// The button that opens the list of all, where there is more than is shown.
pub(in crate::receiver) fn show_all(
    changes: &Changes,
    (namespace, application): (&str, &str),
    head: &str,
) -> Option<Element> {
    if changes.commits.is_empty() || counted(changes) <= changes.commits.len() {
        return None;
    }
    let span = Span {
        namespace: namespace.to_owned(),
        application: application.to_owned(),
        base: changes.from.clone()?,
        head: head.to_owned(),
        page: 0,
    };
    let button = Button::new(actions::COMMITS, "Show all commits")
        .value(span.value().ok()?)
        .spoken("Show all commits of what changes");
    Some(button.into())
}

/// How many there are of those that are listed.
fn counted(changes: &Changes) -> usize {
    let count = match changes.relation {
        Some(Relation::Behind) => changes.removed,
        _ => changes.added,
    };
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// What changes, in a sentence.
fn summary(difference: &Difference) -> Mrkdwn {
    let changes = &difference.changes;
    if let Some(problem) = &changes.problem {
        return Mrkdwn::fixed("isn't known: ") + Mrkdwn::code_within(problem, MOST_SENTENCE);
    }
    let mut text = match changes.relation {
        None => {
            return Mrkdwn::fixed("isn't known: nobody knows the commit of what runs there now.");
        }
        Some(Relation::Identical) => {
            return Mrkdwn::fixed("nothing: the same commit runs there already.");
        }
        Some(Relation::Ahead) => count(changes.added, "commit", "commits"),
        Some(Relation::Behind) => {
            Mrkdwn::fixed(":rewind: Going back: ")
                + match changes.removed {
                    1 => Mrkdwn::fixed("1 commit would be given up"),
                    more => Mrkdwn::number(more) + " commits would be given up",
                }
        }
        Some(Relation::Diverged) => {
            count(changes.added, "commit", "commits")
                + ", and "
                + match changes.removed {
                    1 => Mrkdwn::fixed("1 that runs there would be given up"),
                    more => Mrkdwn::number(more) + " that run there would be given up",
                }
        }
        Some(Relation::Unrelated) => {
            return Mrkdwn::fixed(
                ":warning: unrelated history: what runs there and what is asked have no commit in common.",
            );
        }
    };
    if difference.merges > 0 {
        text =
            text + ", " + count(difference.merges, "merge commit", "merge commits") + " left out";
    }
    text + "."
}

fn count(number: u32, one: &'static str, many: &'static str) -> Mrkdwn {
    Mrkdwn::number(number) + " " + if number == 1 { one } else { many }
}

/// Where people see all of it.
fn comparison(changes: &Changes) -> Option<Mrkdwn> {
    let url = Url::parse(changes.url.as_deref()?).ok()?;
    Some(Mrkdwn::link(&url, "Compare"))
}

/// The commits, a line each, in as few sections as they fit.
fn list(commits: &[CommitLine], page: Option<&str>) -> Vec<Block> {
    let mut sections: Vec<Mrkdwn> = Vec::new();
    for one in commits {
        let line = line(one, page);
        match sections.last_mut() {
            Some(last) if last.len() + line.len() < MOST_SECTION => {
                *last += "\n";
                *last += line;
            }
            _ => sections.push(line),
        }
    }
    sections.into_iter().map(Block::section).collect()
}

fn line(one: &CommitLine, page: Option<&str>) -> Mrkdwn {
    Mrkdwn::fixed("• ")
        + commit(&one.sha, page)
        + " "
        + Mrkdwn::code_within(&one.title, MOST_TITLE)
        + " "
        + Mrkdwn::code_within(&one.author, MOST_AUTHOR)
}

/// The list while its commits are asked for.
pub(in crate::receiver) fn asking(span: &Span) -> View {
    modal([
        Block::section(between(span)),
        Block::section(Mrkdwn::fixed("Asking the repository …")),
    ])
}

/// The list when its commits can't be had.
pub(in crate::receiver) fn unknown(span: &Span, why: &str) -> View {
    modal([
        Block::section(between(span)),
        Block::section(
            Mrkdwn::fixed(":warning: The commits can't be listed: ")
                + Mrkdwn::code_within(why, MOST_SENTENCE)
                + " Close this and press the button again in a moment.",
        ),
    ])
}

/// All commits that a list shows: of what there is, the newest, merge commits left out.
pub(in crate::receiver) struct All<'a> {
    /// What changes, with as many of its commits as were asked for.
    pub(in crate::receiver) difference: &'a Difference,
    /// The repository's page.
    pub(in crate::receiver) page: &'a str,
    /// Whether the repository has more than that.
    pub(in crate::receiver) cut: bool,
}

/// One page of the list.
pub(in crate::receiver) fn all(span: &Span, all: &All<'_>) -> View {
    let changes = &all.difference.changes;
    let commits = &changes.commits;
    let pages = commits.len().div_ceil(PAGE).max(1);
    let page = usize::from(span.page).min(pages - 1);
    let mut head = between(span) + "\n" + summary(all.difference);
    if let Some(link) = comparison(changes) {
        head = head + " · " + link;
    }
    let mut blocks = vec![Block::section(head)];
    let shown = commits.iter().skip(page * PAGE).take(PAGE);
    let shown: Vec<CommitLine> = shown.cloned().collect();
    blocks.extend(list(&shown, Some(all.page)));
    if pages > 1 {
        blocks.push(Block::context([Mrkdwn::fixed("Page ")
            + Mrkdwn::number((page + 1) as u64)
            + " of "
            + Mrkdwn::number(pages as u64)
            + ", newest first."]));
    }
    if all.cut {
        let newest = Mrkdwn::fixed("Only the newest ") + Mrkdwn::number(commits.len() as u64);
        let rest = comparison(changes).map_or_else(
            || Mrkdwn::fixed(" are listed here."),
            |link| Mrkdwn::fixed(" are listed here; the repository shows more: ") + link + ".",
        );
        blocks.push(Block::context([newest + rest]));
    }
    let turning = [
        (page.checked_sub(1), "newer", "Newer"),
        (
            Some(page + 1).filter(|next| *next < pages),
            "older",
            "Older",
        ),
    ];
    let buttons: Vec<Element> = turning
        .into_iter()
        .filter_map(|(page, id, label)| {
            let span = Span {
                page: u8::try_from(page?).ok()?,
                ..span.clone()
            };
            let button = Button::new(format!("{}-{id}", actions::COMMITS_PAGE), label)
                .value(span.value().ok()?)
                .spoken(format!("{label} commits"));
            Some(button.into())
        })
        .collect();
    if !buttons.is_empty() {
        blocks.push(Block::actions(buttons));
    }
    modal(blocks)
}

/// There is no such application, as far as the person may see.
pub(in crate::receiver) fn no_application(name: &str) -> Message {
    said(
        Mrkdwn::fixed("There are no commits to be shown: there is no application ")
            + Mrkdwn::code(name)
            + " that you may see.",
    )
}

/// The application names no repository any more.
pub(in crate::receiver) fn no_repository(name: &str) -> Message {
    said(
        Mrkdwn::fixed("There are no commits to be shown: application ")
            + Mrkdwn::name(name)
            + " names no repository any more (`spec.repository`).",
    )
}

/// The list can't be opened.
pub(in crate::receiver) fn not_opened() -> Message {
    said(Mrkdwn::fixed(
        "The list of commits can't be opened now. Press the button again in a moment.",
    ))
}

fn between(span: &Span) -> Mrkdwn {
    Mrkdwn::name(&span.application)
        + ": from "
        + Mrkdwn::code(version::short(&span.base))
        + " to "
        + Mrkdwn::code(version::short(&span.head))
}

fn modal(blocks: impl IntoIterator<Item = Block>) -> View {
    View::modal(actions::COMMITS_LIST, "All commits", blocks).close("Close")
}
