//! What is read: answers to `status`, `what`, `history` and `help`, and questions back. Touches nothing.

use super::{
    running,
    standing::{self, Prefix},
};
use crate::{
    api::{Application, DeployRequest, deploy_target::Run},
    receiver::grammar::{ApplicationRef, Vocabulary, table},
    receiver::team::{Absent, AbsentKind, Running, team_and_name},
    slack::{
        actions,
        blocks::{Block, Message, RichText},
        elements::{Button, Element, Style, Value},
        text::Mrkdwn,
    },
};

/// Requests and runs shown at most.
const MOST: usize = 20;

/// It isn't there, as far as the person may see.
pub(in crate::receiver) fn absent(absent: &Absent) -> Message {
    let near = absent.near.as_deref().map_or_else(
        || Mrkdwn::fixed(" Teams are shown to who may list applications in their namespace; `what` shows what there is for you."),
        |near| Mrkdwn::fixed(" Did you mean ") + Mrkdwn::code(near) + "?",
    );
    let name = Mrkdwn::code(&absent.name);
    let text = match absent.kind {
        AbsentKind::Application => {
            Mrkdwn::fixed("There is no application ") + name + " that you may see."
        }
        AbsentKind::Environment => {
            Mrkdwn::fixed("There is no environment ") + name + " that you may see."
        }
        AbsentKind::Request => {
            Mrkdwn::fixed("There is no request or application ") + name + " that you may see."
        }
        AbsentKind::Running => {
            return said(
                Mrkdwn::fixed("Nothing of ")
                    + name
                    + " is under way or waits that you may see, so there is nothing to cancel.",
            );
        }
    };
    said(text + " Nothing was started." + near)
}

/// Several teams have such an application, and the question needs one.
pub(in crate::receiver) fn which_of(several: &[&Application]) -> Message {
    let names = several
        .iter()
        .take(MOST)
        .map(|one| Mrkdwn::code(&team_and_name(one)));
    said(
        Mrkdwn::fixed("Several teams have such an application. Ask again and name one: ")
            + Mrkdwn::join(names, ", ")
            + ".",
    )
}

/// How it goes.
pub(in crate::receiver) fn status(
    open: &[&DeployRequest],
    last: &[&DeployRequest],
    running: &[Running<'_>],
    prefix: Prefix,
) -> Message {
    let first = match open.len() {
        0 => Mrkdwn::fixed("Nothing is under way."),
        1 => Mrkdwn::fixed("One deployment is under way."),
        many => Mrkdwn::number(many as u64) + " deployments are under way.",
    };
    let line = |request: &DeployRequest| {
        prefix.of(request.metadata.namespace.as_deref()) + standing::line(request)
    };
    let mut lines: Vec<Mrkdwn> = open
        .iter()
        .take(MOST)
        .map(|request| line(request))
        .collect();
    lines.extend(more(open.len()));
    lines.extend(
        last.iter()
            .map(|request| Mrkdwn::fixed("Last: ") + line(request)),
    );
    lines.extend(
        running
            .iter()
            .take(MOST)
            .map(|one| running::line(one, prefix)),
    );
    listed(first, lines)
}

/// What runs where.
pub(in crate::receiver) fn what(
    running: &[Running<'_>],
    environment: Option<&str>,
    prefix: Prefix,
) -> Message {
    let place = environment.map_or_else(Mrkdwn::default, |name| {
        Mrkdwn::fixed(" in ") + Mrkdwn::name(name)
    });
    if running.is_empty() {
        return said(
            Mrkdwn::fixed("Nothing that you may see was deployed") + place + " from here yet.",
        );
    }
    let first = Mrkdwn::fixed("What runs") + place + ":";
    let lines = running
        .iter()
        .take(2 * MOST)
        .map(|one| running::line(one, prefix));
    listed(first, lines)
}

/// What ran before.
pub(in crate::receiver) fn history(running: &[Running<'_>], prefix: Prefix) -> Message {
    let mut all: Vec<(&Running<'_>, &Run)> = running
        .iter()
        .filter_map(|one| Some((one, one.target.status.as_ref()?)))
        .flat_map(|(one, status)| status.history.iter().map(move |run| (one, run)))
        .collect();
    all.sort_by_key(|(_, run)| std::cmp::Reverse(run.finished_at.0));
    if all.is_empty() {
        return said(Mrkdwn::fixed("Nothing of that kind ran from here yet."));
    }
    let total = all.len();
    let lines = all
        .into_iter()
        .take(MOST)
        .map(|(one, run)| running::earlier(one, run, prefix));
    let lines: Vec<Mrkdwn> = lines.chain(more(total)).collect();
    listed(Mrkdwn::fixed("What ran, the latest first:"), lines)
}

fn more(total: usize) -> Option<Mrkdwn> {
    let rest = total.checked_sub(MOST).filter(|rest| *rest > 0)?;
    Some(Mrkdwn::fixed("… and ") + Mrkdwn::number(rest as u64) + " more.")
}

/// One sentence.
pub(in crate::receiver) fn said(text: Mrkdwn) -> Message {
    let blocks = Block::sections(&text);
    Message::new(text, blocks)
}

fn listed(first: Mrkdwn, lines: impl IntoIterator<Item = Mrkdwn>) -> Message {
    let all = Mrkdwn::join(
        lines.into_iter().map(|line| Mrkdwn::fixed("• ") + line),
        "\n",
    );
    let blocks = [Block::section(first.clone())]
        .into_iter()
        .chain(Block::sections(&all));
    Message::new(first, blocks.collect::<Vec<_>>())
}

/// What this person can say here, examples first. Without `everywhere`, there may be actions that they may do in places
/// that nobody looked at.
pub(in crate::receiver) fn help(
    vocabulary: &Vocabulary,
    allowed: &table::Allowed,
    everywhere: bool,
    topic: Option<&str>,
) -> Message {
    let lines = table::help(vocabulary, allowed, topic);
    let first = Mrkdwn::fixed(if lines.is_empty() {
        "There is no help on that for you."
    } else {
        "What you can say here:"
    });
    let mut blocks = vec![Block::section(first.clone())];
    let lines = lines.iter().fold(RichText::new(), |text, line| {
        text.bold(&line.example).line(&line.sentence)
    });
    blocks.push(lines.into());
    if !everywhere {
        blocks.push(Block::context([Mrkdwn::fixed(
            "I looked at the first few applications and environments only, so you may be allowed more than this says. Ask \
             for what you want: the answer tells whether you may.",
        )]));
    } else if allowed.actions.is_empty() {
        blocks.push(Block::context([Mrkdwn::fixed(
            "You may look, but start nothing: no role in a namespace that you may see gives you an action's verb. \
             Whoever can change a team's RoleBindings can change that.",
        )]));
    }
    Message::new(first, blocks)
}

/// The form can't be opened from here: a button that does.
pub(in crate::receiver) fn open_form(value: Option<Value>) -> Message {
    let Some(value) = value else {
        return said(Mrkdwn::fixed(
            "There is more to choose, and no form can be opened from here. Nothing was started. Use the slash command.",
        ));
    };
    let text = Mrkdwn::fixed("There is more to choose; nothing was started yet.");
    let open = Button::new(actions::FORM_OPEN, "Open form")
        .value(value)
        .style(Style::Primary)
        .spoken("Open the form to choose what is missing");
    Message::new(
        text.clone(),
        [Block::section(text), Block::actions([Element::from(open)])],
    )
}

/// Several teams have such an application.
pub(in crate::receiver) fn which_team(
    reference: &ApplicationRef,
    teams: &[String],
    buttons: Vec<(String, Value)>,
) -> Message {
    let text = Mrkdwn::fixed("Several teams have an application ")
        + Mrkdwn::code(&reference.name)
        + ". Nothing was started. Which one do you mean? You can also write "
        + Mrkdwn::join(
            teams
                .iter()
                .take(5)
                .map(|team| Mrkdwn::code(&format!("{team}/{}", reference.name))),
            " or ",
        )
        + ".";
    let buttons: Vec<Element> = buttons
        .into_iter()
        .take(20)
        .enumerate()
        .map(|(index, (team, value))| {
            let id = format!("{}-{index}", actions::TEAM_PICK);
            let label = format!("{team}/{}", reference.name);
            Button::new(id, label).value(value).into()
        })
        .collect();
    let mut blocks = vec![Block::section(text.clone())];
    if !buttons.is_empty() {
        blocks.push(Block::actions(buttons));
    }
    Message::new(text, blocks)
}
