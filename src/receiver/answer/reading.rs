//! What is read: answers to `status`, `what` and `history`. Touches nothing.

use super::standing;
use crate::{
    api::{DeployRequest, deploy_target::Run},
    receiver::tell::Deployed,
    slack::{
        actions,
        blocks::{Block, Message, RichText},
        elements::{Button, Element, Style, Value},
        grammar::{ApplicationRef, Vocabulary, table},
        text::Mrkdwn,
    },
};
use kube::ResourceExt;

/// There is no such application, as far as the person may see.
pub(in crate::receiver) fn no_application(reference: &ApplicationRef) -> Message {
    let text = Mrkdwn::fixed("There is no application ")
        + Mrkdwn::code(&reference.to_string())
        + " that you may see. Applications are shown to who may list them in their team's namespace; the team can \
           change that. `what` shows what there is.";
    said(text)
}

/// There is no such environment, as far as the person may see.
pub(in crate::receiver) fn no_environment(name: &str) -> Message {
    let text = Mrkdwn::fixed("There is no environment ")
        + Mrkdwn::code(name)
        + " that you may see. `what` shows what there is.";
    said(text)
}

/// How it goes.
pub(in crate::receiver) fn status(
    open: &[DeployRequest],
    last: &[DeployRequest],
    deployed: &[Deployed],
    with_team: bool,
    most: usize,
) -> Message {
    let first = match open.len() {
        0 => Mrkdwn::fixed("Nothing is under way."),
        1 => Mrkdwn::fixed("One deployment is under way."),
        many => Mrkdwn::number(many as u64) + " deployments are under way.",
    };
    let mut lines: Vec<Mrkdwn> = open
        .iter()
        .take(most)
        .map(|request| team(request, with_team) + standing::line(request))
        .collect();
    lines.extend(more(open.len(), most));
    if !last.is_empty() {
        lines.push(Mrkdwn::fixed("Last:"));
        lines.extend(
            last.iter()
                .map(|request| team(request, with_team) + standing::line(request)),
        );
    }
    lines.extend(deployed.iter().map(|one| runs(one, with_team)));
    listed(first, lines)
}

/// What runs where.
pub(in crate::receiver) fn what(
    deployed: &[Deployed],
    environment: Option<&str>,
    with_team: bool,
) -> Message {
    let place = environment.map_or_else(Mrkdwn::default, |name| {
        Mrkdwn::fixed(" in ") + Mrkdwn::name(name)
    });
    if deployed.is_empty() {
        return said(
            Mrkdwn::fixed("Nothing that you may see was deployed") + place + " from here yet.",
        );
    }
    let first = Mrkdwn::fixed("What runs") + place + ":";
    listed(first, deployed.iter().map(|one| runs(one, with_team)))
}

/// What ran before.
pub(in crate::receiver) fn history(deployed: &[Deployed], with_team: bool, most: usize) -> Message {
    let mut runs: Vec<(&Deployed, &Run)> = deployed
        .iter()
        .flat_map(|one| one.history.iter().map(move |run| (one, run)))
        .collect();
    runs.sort_by_key(|(_, run)| std::cmp::Reverse(run.finished_at.0));
    if runs.is_empty() {
        return said(Mrkdwn::fixed("Nothing of that kind ran from here yet."));
    }
    let total = runs.len();
    let lines = runs.into_iter().take(most).map(|(one, run)| {
        let wish = standing::wish(
            &run.action,
            &one.application,
            run.version.as_deref(),
            &one.environment,
        );
        prefix(&one.namespace, with_team)
            + standing::sign(run.phase)
            + " "
            + wish
            + ", "
            + Mrkdwn::date(run.finished_at.0)
    });
    let lines: Vec<Mrkdwn> = lines.chain(more(total, most)).collect();
    listed(Mrkdwn::fixed("What ran, the latest first:"), lines)
}

/// What runs in one place.
pub(in crate::receiver) fn runs(one: &Deployed, with_team: bool) -> Mrkdwn {
    let place = prefix(&one.namespace, with_team)
        + Mrkdwn::name(&one.application)
        + " in "
        + Mrkdwn::name(&one.environment)
        + ": ";
    let current = match &one.current {
        None => Mrkdwn::fixed("nothing deployed from here yet"),
        Some(run) => version(run.version.as_deref()) + " since " + Mrkdwn::date(run.finished_at.0),
    };
    let active = one.active.as_ref().map_or_else(Mrkdwn::default, |active| {
        Mrkdwn::fixed("; now ")
            + Mrkdwn::name(&active.action)
            + " "
            + version(active.version.as_deref())
    });
    place + current + active
}

fn version(version: Option<&str>) -> Mrkdwn {
    version.map_or_else(
        || Mrkdwn::fixed("without a version"),
        |version| Mrkdwn::code_within(version, 80),
    )
}

fn team(request: &DeployRequest, with_team: bool) -> Mrkdwn {
    prefix(&request.namespace().unwrap_or_default(), with_team)
}

fn prefix(namespace: &str, with_team: bool) -> Mrkdwn {
    if with_team {
        Mrkdwn::name(namespace) + " / "
    } else {
        Mrkdwn::default()
    }
}

fn more(total: usize, most: usize) -> Option<Mrkdwn> {
    let rest = total.checked_sub(most).filter(|rest| *rest > 0)?;
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

/// What this person can say here, examples first.
pub(in crate::receiver) fn help(
    vocabulary: &Vocabulary,
    allowed: &[String],
    topic: Option<&str>,
) -> Message {
    let allowed: Vec<&str> = allowed.iter().map(String::as_str).collect();
    let lines = table::help(vocabulary, &allowed, topic);
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
    if allowed.is_empty() {
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
