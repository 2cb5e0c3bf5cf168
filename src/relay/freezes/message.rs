//! What is said of a freeze: that it has begun, and that it is over. Touches nothing.

use jiff::Timestamp;
use kube::ResourceExt;

use super::notice::Notice;
use crate::{
    api::{
        DeployFreeze, deploy_freeze::Running, deploy_request::EarlierMessage,
        selector::LabelSelector,
    },
    domain::guards::freeze::{is_stop_button, names_nothing},
    relay::message::{MARK_PURPOSE, MARK_UID, about_earlier},
    slack::{
        blocks::{Block, Message, Metadata, RichText, Section},
        text::Mrkdwn,
    },
};

/// The type of the mark of messages about freezes.
pub(super) const MARK: &str = "foredeck_freeze";
/// Names that are listed; of more, how many there are.
const MOST_NAMES: usize = 10;

/// It has begun: until when, why, what it stops, whom to ask, and what becomes of what runs.
pub(super) fn began(
    freeze: &DeployFreeze,
    home: Option<&str>,
    notice: &Notice,
    earlier: Option<EarlierMessage>,
) -> Message {
    let status = freeze.status.as_ref();
    let until = status.and_then(|status| status.until.as_ref());
    let names_nothing = names_nothing(&freeze.spec);
    let stops = home.is_some_and(|home| is_stop_button(&freeze.metadata, home));
    let mut line = if stops && names_nothing {
        Mrkdwn::fixed("🛑 Everything is stopped: no deployment starts anywhere")
    } else if names_nothing {
        Mrkdwn::fixed("❄️ All deployments are frozen")
    } else {
        Mrkdwn::fixed("❄️ Some deployments are frozen")
    };
    if let Some(until) = until {
        line += Mrkdwn::fixed(" until ") + Mrkdwn::date(until.0);
    }
    line += Mrkdwn::fixed(", by ") + name(freeze, home);
    let mut blocks = vec![
        Block::section(line.clone()),
        RichText::new().quote(&freeze.spec.reason).into(),
        Section::of_fields(fields(freeze, home, notice.beginning().at())).into(),
    ];
    blocks.extend(about_earlier(earlier));
    blocks.push(Block::context([Mrkdwn::fixed(
        "What waits for it goes on by itself when it is over. Whoever may override can let a single request pass.",
    )]));
    marked(Message::new(line, blocks), freeze, notice)
}

/// In its place: it is over, at what time where that is known.
pub(super) fn over(
    freeze: &DeployFreeze,
    home: Option<&str>,
    notice: &Notice,
    ended: Option<Timestamp>,
    earlier: Option<EarlierMessage>,
) -> Message {
    let mut line = Mrkdwn::fixed("✅ Over: the freeze by ") + name(freeze, home);
    line += match (notice.beginning().at(), ended) {
        (Some(since), Some(ended)) => {
            Mrkdwn::fixed(", from ") + Mrkdwn::date(since) + " to " + Mrkdwn::date(ended)
        }
        (Some(since), None) => Mrkdwn::fixed(", which began ") + Mrkdwn::date(since),
        (None, _) => Mrkdwn::default(),
    };
    told_over(freeze, notice, line, earlier)
}

/// In its place, or as the answer: it was deleted.
pub(super) fn lifted(freeze: &DeployFreeze, home: Option<&str>, notice: &Notice) -> Message {
    let line = Mrkdwn::fixed("✅ Lifted: the freeze by ") + name(freeze, home) + " was deleted";
    told_over(freeze, notice, line, None)
}

fn told_over(
    freeze: &DeployFreeze,
    notice: &Notice,
    line: Mrkdwn,
    earlier: Option<EarlierMessage>,
) -> Message {
    let mut blocks = vec![Block::section(line.clone())];
    if matches!(notice, Notice::Began(_)) {
        blocks.push(RichText::new().quote(&freeze.spec.reason).into());
    }
    blocks.extend(about_earlier(earlier));
    blocks.push(Block::context([Mrkdwn::fixed(
        "What only it held goes on by itself, in the order in which it was asked for.",
    )]));
    marked(Message::new(line, blocks), freeze, notice)
}

fn marked(message: Message, freeze: &DeployFreeze, notice: &Notice) -> Message {
    let uid = freeze.uid().unwrap_or_default();
    let fields = [(MARK_UID, uid), (MARK_PURPOSE, notice.to_string())];
    message.metadata(Metadata::new(MARK, fields))
}

fn is_at_home(freeze: &DeployFreeze, home: Option<&str>) -> bool {
    home.is_some() && freeze.metadata.namespace.as_deref() == home
}

/// `*black-friday* of namespace *shop*`.
fn name(freeze: &DeployFreeze, home: Option<&str>) -> Mrkdwn {
    let name = Mrkdwn::name(&freeze.name_any());
    if is_at_home(freeze, home) {
        return name;
    }
    let namespace = freeze.namespace().unwrap_or_default();
    name + " of namespace " + Mrkdwn::name(&namespace)
}

fn fields(freeze: &DeployFreeze, home: Option<&str>, since: Option<Timestamp>) -> Vec<Mrkdwn> {
    let spec = &freeze.spec;
    let titled = |title: &'static str, value: Mrkdwn| Mrkdwn::fixed("*") + title + "*\n" + value;
    let namespaces = match (is_at_home(freeze, home), &spec.namespace_selector) {
        (true, None) => Mrkdwn::fixed("all namespaces"),
        (true, Some(_)) => Mrkdwn::fixed("those that its `namespaceSelector` selects"),
        (false, _) => Mrkdwn::name(&freeze.namespace().unwrap_or_default()),
    };
    let actions = match (spec.actions.as_slice(), spec.except_actions.as_slice()) {
        ([], []) => Mrkdwn::fixed("all"),
        ([], except) => Mrkdwn::fixed("all but ") + names(except),
        (actions, _) => names(actions),
    };
    let runs = match spec.running {
        Running::Continue => "goes on to its end",
        Running::Cancel => "is cancelled, but for what an override let through",
    };
    let mut fields = vec![
        titled("Where", namespaces),
        titled(
            "Applications",
            selected(&spec.applications, spec.application_selector.as_ref()),
        ),
        titled(
            "Environments",
            selected(&spec.environments, spec.environment_selector.as_ref()),
        ),
        titled("Actions", actions),
        titled("What runs", Mrkdwn::fixed(runs)),
    ];
    fields.extend(since.map(|since| titled("Since", Mrkdwn::date(since))));
    let contact = spec.contact.as_ref();
    fields.extend(contact.map(|contact| titled("Whom to ask", Mrkdwn::code(contact))));
    let by = spec.by.as_ref();
    fields.extend(by.map(|by| titled("By", Mrkdwn::code_within(&by.username, 80))));
    fields
}

fn selected(listed: &[String], selector: Option<&LabelSelector>) -> Mrkdwn {
    match (listed, selector) {
        ([], None) => Mrkdwn::fixed("all"),
        ([], Some(_)) => Mrkdwn::fixed("those with the labels that it selects"),
        (listed, None) => names(listed),
        (listed, Some(_)) => names(listed) + ", where they have the labels that it selects",
    }
}

fn names(all: &[String]) -> Mrkdwn {
    let shown = all.iter().take(MOST_NAMES);
    let mut names: Vec<Mrkdwn> = shown.map(|name| Mrkdwn::code_within(name, 80)).collect();
    if all.len() > MOST_NAMES {
        names.push(Mrkdwn::number(all.len() - MOST_NAMES) + " more");
    }
    Mrkdwn::join(names, ", ")
}
