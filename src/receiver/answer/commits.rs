//! Commits as people see them: what would change, in a plan and in a list of its own. Touches nothing.
//!
//! Each commit is told as everywhere in Slack; how many of them, and what there is beside, is decided here.

use super::reading::said;
use crate::{
    api::version::{Changes, CommitLine, Relation},
    domain::version,
    receiver::plan::asked::Difference,
    slack::{
        actions::{self, Span},
        blocks::{Block, Message},
        commits,
        elements::{Button, Element},
        text::Mrkdwn,
        view::View,
    },
};

/// How much of a sentence about a repository.
const MOST_SENTENCE: usize = 300;
/// What a section holds, with room for the signs between.
const MOST_SECTION: usize = 2900;
/// The most characters of a plan's commits: Slack takes some 13,000 in one message.
const MOST_IN_PLAN: usize = 2500;
/// Commits on one page of the list.
pub(in crate::receiver) const PAGE: usize = 50;
/// Commits of all pages.
pub(in crate::receiver) const MOST: usize = 500;

/// What would change where this plan ends.
pub(in crate::receiver) fn changes(
    difference: &Difference,
    head: &str,
    page: Option<&str>,
) -> Vec<Block> {
    let changes = &difference.changes;
    let mut text = Mrkdwn::fixed("*What changes* ") + summary(difference);
    let base = changes.from.as_deref().unwrap_or_default();
    if changes
        .relation
        .is_some_and(|relation| relation != Relation::Identical)
        && let Some(all) = commits::comparison(base, head, page)
    {
        text = text + " · " + all;
    }
    let mut blocks = vec![Block::section(text)];
    let (list, listed) = listed(changes, page);
    if listed > 0 {
        blocks.push(Block::section(list));
    }
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
    page: Option<&str>,
) -> Option<Element> {
    let (_, listed) = listed(changes, page);
    if changes.commits.is_empty() || counted(changes) <= listed {
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

/// As many of a plan's commits as it has room for, and how many these are.
fn listed(changes: &Changes, page: Option<&str>) -> (Mrkdwn, usize) {
    commits::list(&changes.commits, page, MOST_IN_PLAN)
}

/// All of these commits, in as few sections as they fit.
fn sections(all: &[CommitLine], page: &str) -> Vec<Block> {
    let (mut sections, mut rest) = (Vec::new(), all);
    while !rest.is_empty() {
        let (text, count) = commits::list(rest, Some(page), MOST_SECTION);
        if count == 0 {
            break;
        }
        sections.push(Block::section(text));
        rest = rest.get(count..).unwrap_or_default();
    }
    sections
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
    let lines = &all.difference.changes.commits;
    let comparison = || commits::comparison(&span.base, &span.head, Some(all.page));
    let pages = lines.len().div_ceil(PAGE).max(1);
    let page = usize::from(span.page).min(pages - 1);
    let mut head = between(span) + "\n" + summary(all.difference);
    if let Some(link) = comparison() {
        head = head + " · " + link;
    }
    let mut blocks = vec![Block::section(head)];
    let shown = lines.chunks(PAGE).nth(page).unwrap_or_default();
    blocks.extend(sections(shown, all.page));
    if pages > 1 {
        blocks.push(Block::context([Mrkdwn::fixed("Page ")
            + Mrkdwn::number((page + 1) as u64)
            + " of "
            + Mrkdwn::number(pages as u64)
            + ", newest first."]));
    }
    if all.cut {
        let newest = Mrkdwn::fixed("Only the newest ") + Mrkdwn::number(lines.len() as u64);
        let rest = comparison().map_or_else(
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
