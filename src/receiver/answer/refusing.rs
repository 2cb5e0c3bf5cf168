//! Refusals: what was refused, by which rule, who can change that, what to do now. Touches nothing.

use super::{reading::said, started::ordered};
use crate::{
    access::Missing,
    domain::access,
    identity::Person,
    receiver::grammar::ParseError,
    receiver::plan::{Plan, seal::SealError},
    slack::{
        actions,
        blocks::{Block, Message, RichText},
        elements::{Button, Element, Value},
        ids::ChannelId,
        text::Mrkdwn,
    },
};

/// Names listed at most.
const MOST_NAMES: usize = 12;

/// What was typed can't be read.
pub(in crate::receiver) fn unreadable(error: &ParseError, form: Option<Value>) -> Message {
    let first =
        Mrkdwn::fixed("That can't be read, nothing was started: ") + Mrkdwn::code(error.input());
    let mut blocks = vec![
        Block::section(first.clone()),
        RichText::new().line(&error.problem().to_string()).into(),
        Block::section(Mrkdwn::fixed("Try: ") + Mrkdwn::code(error.nearest())),
    ];
    if let Some(value) = form {
        let open = Button::new(actions::FORM_OPEN, "Open form")
            .value(value)
            .spoken("Open the form with what was understood");
        blocks.push(Block::actions([Element::from(open)]));
    }
    let text = first + ". Try: " + Mrkdwn::code(error.nearest());
    Message::new(text, blocks)
}

/// The person lacks verbs.
pub(in crate::receiver) fn not_allowed(
    person: &Person,
    plan: &Plan,
    missing: &[Missing],
) -> Message {
    let first = Mrkdwn::fixed(":no_entry_sign: Not allowed, nothing was started: ")
        + ordered(&plan.order)
        + ".";
    let rule = lacks(person, &plan.namespace, missing) + ".";
    let next = Mrkdwn::fixed(
        "Who may is said by Kubernetes roles in that namespace; whoever can change its RoleBindings can change that.",
    );
    let mut blocks = vec![Block::section(first.clone()), Block::section(rule.clone())];
    blocks.extend(silent_sources(person).map(Block::section));
    blocks.push(Block::context([next]));
    Message::new(first + " " + rule, blocks)
}

/// Which verbs somebody lacks on what, without a full stop.
pub(super) fn lacks(person: &Person, namespace: &str, missing: &[Missing]) -> Mrkdwn {
    let lacking = missing.iter().map(|missing| {
        let kind = match missing.resource {
            "environments" => " on environment ",
            _ => " on application ",
        };
        Mrkdwn::fixed("verb ") + Mrkdwn::code(&missing.verb) + kind + Mrkdwn::name(&missing.name)
    });
    Mrkdwn::code(&person.username)
        + " has no "
        + Mrkdwn::join(lacking, " and no ")
        + " in namespace "
        + Mrkdwn::name(namespace)
}

/// That groups of theirs may be missing, if so, and why: behind other sentences, with this between.
pub(super) fn silence(person: &Person, between: &'static str) -> Mrkdwn {
    silent_sources(person).map_or_else(Mrkdwn::default, |silent| Mrkdwn::fixed(between) + silent)
}

/// How to find out who has a verb in a namespace, since Foredeck's receiver may not read that, and who can change it.
pub(in crate::receiver) fn whom_to_ask(namespace: &str) -> Mrkdwn {
    Mrkdwn::code(&access::show_holders(namespace))
        + " shows who has it; whoever can change the RoleBindings there can change that."
}

/// That groups of theirs may be missing, if so, and why.
pub(in crate::receiver) fn silent_sources(person: &Person) -> Option<Mrkdwn> {
    let why = person
        .silent
        .iter()
        .map(|why| Mrkdwn::code_within(why, 200));
    (!person.silent.is_empty()).then(|| {
        Mrkdwn::fixed(":warning: What only a group allows counts for nothing now: ")
            + Mrkdwn::join(why, ", ")
            + ". Ask again in a moment."
    })
}

/// They may see nothing, and it isn't known which groups they are in.
pub(in crate::receiver) fn groups_unknown(person: &Person) -> Message {
    let first = Mrkdwn::fixed(":no_entry_sign: Not allowed, nothing was started: ")
        + Mrkdwn::code(&person.username)
        + " may see no application by name, and which groups they are in is not known.";
    let blocks = [Some(first.clone()), silent_sources(person)];
    Message::new(first, blocks.into_iter().flatten().map(Block::section))
}

/// There is no such application, as far as the person may see.
pub(in crate::receiver) fn no_application(plan: &Plan) -> Message {
    said(
        Mrkdwn::fixed("Nothing was started: there is no application ")
            + Mrkdwn::code(&plan.order.application)
            + " that you may see.",
    )
}

/// The team has no such environment.
pub(in crate::receiver) fn no_environment(plan: &Plan, known: &[String]) -> Message {
    said(
        Mrkdwn::fixed("Nothing was started: team ")
            + Mrkdwn::name(&plan.namespace)
            + " has no environment "
            + Mrkdwn::code(&plan.order.environment)
            + "; it has "
            + names(known)
            + ".",
    )
}

/// The environment takes requests from other channels.
pub(in crate::receiver) fn wrong_channel(plan: &Plan, allowed: &[String]) -> Message {
    let channels = allowed.iter().take(MOST_NAMES);
    let channels = channels.filter_map(|channel| ChannelId::new(channel.as_str()).ok());
    said(
        Mrkdwn::fixed(":no_entry_sign: Nothing was started: environment ")
            + Mrkdwn::name(&plan.order.environment)
            + " takes requests from certain channels only (`spec.protection.channels`). Ask in "
            + Mrkdwn::join(channels.map(|channel| Mrkdwn::channel(&channel)), ", ")
            + ", or ask who owns the environment to add this one.",
    )
}

/// People of another organisation read along.
pub(in crate::receiver) fn shared_channel(plan: &Plan) -> Message {
    said(
        Mrkdwn::fixed(
            ":no_entry_sign: Nothing was started: this channel is shared with another organisation, and environment ",
        ) + Mrkdwn::name(&plan.order.environment)
            + " takes no requests from such channels (`spec.protection.allowShared`). Ask in another channel or in a direct message, or ask who owns the environment to allow it.",
    )
}

/// The plan fits neither a button nor a modal.
pub(in crate::receiver) fn too_long() -> Message {
    said(Mrkdwn::fixed(
        "Nothing was started: this plan is too long for a message. Type it behind the slash command, where it can be \
         shown as a form.",
    ))
}

/// Somebody isn't anybody here.
pub(in crate::receiver) fn nobody(why: &str) -> Message {
    said(
        Mrkdwn::fixed(":no_entry_sign: Not allowed, nothing was started: ")
            + Mrkdwn::code_within(why, 400)
            + ".",
    )
}

/// Whoever has to be asked doesn't answer.
pub(in crate::receiver) fn silent() -> Message {
    said(Mrkdwn::fixed(
        ":warning: Not accepted, nothing was started or changed: I can't find out in time who you are or what you may do, since \
         Slack or the Kubernetes API server doesn't answer. Ask again in a moment.",
    ))
}

/// It took too long.
pub(in crate::receiver) fn late() -> Message {
    said(Mrkdwn::fixed(
        ":warning: Not accepted, nothing was started or changed: the Kubernetes API server is too slow to answer within the three \
         seconds that Slack allows. Ask again in a moment.",
    ))
}

/// Nobody says what became of a plan that can't be used any more.
pub(in crate::receiver) fn unsure(command: &str) -> Message {
    let command = command.trim_start_matches('/');
    said(
        Mrkdwn::fixed(
            ":grey_question: This click starts nothing, but I can't find out whether the plan was started before: the \
             Kubernetes API server doesn't answer. Press again in a moment, or look with ",
        ) + Mrkdwn::code(&format!("/{command} status"))
            + ".",
    )
}

/// A plan that can't be used.
pub(in crate::receiver) fn sealed(error: SealError) -> Message {
    said(Mrkdwn::fixed(error.sentence()))
}

/// At most so many names.
pub(in crate::receiver) fn names(names: &[String]) -> Mrkdwn {
    if names.is_empty() {
        return Mrkdwn::fixed("none");
    }
    let shown = names.iter().take(MOST_NAMES).map(|name| Mrkdwn::name(name));
    let mut text = Mrkdwn::join(shown, ", ");
    if names.len() > MOST_NAMES {
        text += ", …";
    }
    text
}
