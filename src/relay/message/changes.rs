//! What exactly is deployed, and what that changes: the version with its commit, the artifacts, the commits. Touches
//! nothing.

use kube::ResourceExt;

use super::{live::capital, words};
use crate::{
    api::{
        Application, DeployRequest,
        deploy_request::Resolved,
        version::{Changes, Relation},
    },
    domain::repository,
    slack::{
        actions::{self, Span},
        artifacts,
        blocks::{Block, RichText},
        commits,
        elements::{Button, Element},
        text::Mrkdwn,
    },
};

/// The most characters of all commits that are shown, and of all artifacts: Slack takes some 13,000 in one message.
const MOST_TEXT: usize = 2500;

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    /// A glance: of artifacts the first, by what tells them apart.
    Short,
    /// All that is known, for those who approve it.
    Whole,
}

impl Length {
    fn artifacts(self) -> usize {
        match self {
            Self::Short => 3,
            Self::Whole => usize::MAX,
        }
    }
}

/// The version with its commit, which is a link where the Application names its repository.
pub(super) fn version(
    request: &DeployRequest,
    application: Option<&Application>,
) -> Option<Mrkdwn> {
    let page = page(application);
    commits::version(
        words::version(request),
        words::commit(request),
        page.as_deref(),
    )
}

/// What is handed to the pipeline beside parameters, and what changes on the target.
pub(super) fn blocks(
    request: &DeployRequest,
    application: Option<&Application>,
    length: Length,
) -> Vec<Block> {
    let mut blocks = Block::sections(&handed_over(request, length));
    if let Some(changes) = changes(request) {
        if changes.relation.is_some() {
            let page = page(application);
            let head = words::commit(request).unwrap_or_default();
            let base = changes.from.as_deref().unwrap_or_default();
            let mut text = Mrkdwn::fixed("*What changes* ") + summary(changes);
            if let Some(link) = commits::comparison(base, head, page.as_deref()) {
                text = text + " · " + link;
            }
            let (lines, shown) = list(changes, page.as_deref());
            if shown > 0 {
                text = text + "\n" + lines;
                let rest = counted(changes).saturating_sub(shown);
                if rest > 0 {
                    text = text + "\n… and " + Mrkdwn::number(rest) + " more";
                }
            }
            blocks.extend(Block::sections(&text));
        }
        // The wait for it says the same.
        let said = status_message(request);
        if let Some(problem) = &changes.problem
            && said.is_none_or(|said| !said.contains(problem.as_str()))
        {
            blocks.push(RichText::new().line(&capital(problem)).into());
        }
    }
    blocks
}

/// The button that opens the list of all commits, where there are more than are shown.
pub(super) fn show_all(
    request: &DeployRequest,
    application: Option<&Application>,
) -> Option<Element> {
    let changes = changes(request)?;
    let (_, shown) = list(changes, page(application).as_deref());
    if counted(changes) <= shown {
        return None;
    }
    let span = Span {
        namespace: request.namespace()?,
        application: request.spec.application.clone(),
        base: changes.from.clone()?,
        head: words::commit(request)?.to_owned(),
        page: 0,
    };
    let value = span.value().ok()?;
    // A button that would be refused is none.
    Span::read(value.as_str())?;
    let button = Button::new(actions::COMMITS, "Show all commits")
        .value(value)
        .spoken("Show all commits of what changes");
    Some(button.into())
}

fn resolved(request: &DeployRequest) -> Option<&Resolved> {
    super::status(request)?.resolved.as_ref()
}

fn changes(request: &DeployRequest) -> Option<&Changes> {
    super::status(request)?.changes.as_deref()
}

fn status_message(request: &DeployRequest) -> Option<&str> {
    let waiting = super::status(request)?.waiting.as_ref()?;
    Some(&waiting.message)
}

/// Where people see the Application's repository. Built from what the Application names alone.
fn page(application: Option<&Application>) -> Option<String> {
    let repository = application?.spec.repository.as_ref()?;
    Some(repository::page(repository))
}

/// What changes, in a few words.
fn summary(changes: &Changes) -> Mrkdwn {
    match changes.relation {
        None => Mrkdwn::default(),
        Some(Relation::Identical) => Mrkdwn::fixed("nothing: it is the same commit"),
        Some(Relation::Ahead) => count(changes.added, "commit", "commits"),
        Some(Relation::Behind) => {
            Mrkdwn::fixed("⏪ going back: ")
                + count(changes.removed, "commit is", "commits are")
                + " given up"
        }
        Some(Relation::Diverged) => {
            count(changes.added, "commit", "commits")
                + ", and ⏪ "
                + count(changes.removed, "that ran there is", "that ran there are")
                + " given up"
        }
        Some(Relation::Unrelated) => Mrkdwn::fixed(
            "⚠️ unrelated history: what ran there and what is asked have no commit in common",
        ),
    }
}

fn count(number: u32, one: &'static str, many: &'static str) -> Mrkdwn {
    Mrkdwn::number(number) + " " + if number == 1 { one } else { many }
}

/// How many there are of those that are listed.
fn counted(changes: &Changes) -> usize {
    let count = match changes.relation {
        Some(Relation::Ahead | Relation::Diverged) => changes.added,
        Some(Relation::Behind) => changes.removed,
        _ => 0,
    };
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn list(changes: &Changes, page: Option<&str>) -> (Mrkdwn, usize) {
    commits::list(&changes.commits, page, MOST_TEXT)
}

fn handed_over(request: &DeployRequest, length: Length) -> Mrkdwn {
    let all = resolved(request).map_or(&[][..], |resolved| &resolved.artifacts);
    if all.is_empty() {
        return Mrkdwn::default();
    }
    let shown = all.iter().take(length.artifacts());
    let lines = shown.map(|one| match length {
        Length::Short => artifacts::brief(one),
        Length::Whole => artifacts::line(one),
    });
    let (lines, shown) = artifacts::list(lines, MOST_TEXT);
    let mut text = Mrkdwn::fixed("*Artifacts*\n") + lines;
    let rest = all.len().saturating_sub(shown);
    if rest > 0 {
        text = text + "\n… and " + Mrkdwn::number(rest) + " more";
        if length == Length::Whole {
            text += ": all of them stand in the request's `status.resolved.artifacts`.";
        }
    }
    text
}
