//! What became of a wish to pass what holds something, and the modal that asks why. Touches nothing.

use kube::ResourceExt;

use super::{reading::said, refusing, standing};
use crate::{
    access::Missing,
    api::{DeployRequest, actor::Actor, gate::GateState},
    identity::Person,
    receiver::plan::shown::Shown,
    slack::{
        actions,
        blocks::{Block, Input, Message, RichText},
        elements::PlainTextInput,
        text::Mrkdwn,
        view::View,
    },
};

/// Characters of the reason.
const MOST_REASON: u16 = 1000;
/// How much of the API server's own words is shown.
const MOST_QUOTED: usize = 300;

/// It is written down.
pub(in crate::receiver) fn asked(request: &DeployRequest) -> Message {
    said(
        Mrkdwn::fixed(":unlock: Overridden: ")
            + standing::asked(&request.spec)
            + " passes order, freezes and locks. Whether you may is asked again right before it starts; approvals stay needed. \
               It is told in the environment's channels and in the record, with your reason.",
    )
}

/// Somebody did before.
pub(in crate::receiver) fn before(request: &DeployRequest, person: &Person) -> Message {
    let by = request
        .spec
        .override_
        .as_ref()
        .and_then(|it| it.by.as_ref());
    let own = |by: &Actor| by.slack.as_ref() == Some(&person.slack);
    let who = match by {
        Some(by) if own(by) => Mrkdwn::fixed("You have"),
        Some(by) => Mrkdwn::code_within(&by.username, 80) + " has",
        None => Mrkdwn::fixed("Somebody has"),
    };
    let reason = request.spec.override_.as_ref();
    let reason = reason.map_or_else(Mrkdwn::default, |reason| {
        Mrkdwn::fixed(", saying ") + Mrkdwn::code_within(&reason.reason, MOST_QUOTED)
    });
    said(
        who + " overridden that already"
            + reason
            + ": "
            + standing::asked(&request.spec)
            + ". Nothing was changed. It is "
            + standing::standing(request)
            + ".",
    )
}

/// It has started or ended.
pub(in crate::receiver) fn late(request: &DeployRequest) -> Message {
    let now = if standing::phase(request).is_terminal() {
        " has ended, "
    } else {
        " has started, "
    };
    said(
        Mrkdwn::fixed("There is nothing to override any more: ")
            + standing::asked(&request.spec)
            + now
            + standing::standing(request)
            + ". Nothing was changed.",
    )
}

/// It is to end.
pub(in crate::receiver) fn canceled(request: &DeployRequest) -> Message {
    said(
        Mrkdwn::fixed("Nothing was overridden: ")
            + standing::asked(&request.spec)
            + " is to be canceled. To have it all the same, ask for it again.",
    )
}

/// Nothing holds it that an override passes.
pub(in crate::receiver) fn not_held(request: &DeployRequest) -> Message {
    said(
        Mrkdwn::fixed("Nothing was overridden: no order, freeze or lock holds ")
            + standing::asked(&request.spec)
            + " now. It is "
            + standing::standing(request)
            + ".",
    )
}

/// It isn't there, as far as the person may see.
pub(in crate::receiver) fn gone() -> Message {
    said(Mrkdwn::fixed(
        "There is no such request any more that you may see. Nothing was overridden.",
    ))
}

/// The API server has refused it.
pub(in crate::receiver) fn refused(request: &DeployRequest, message: &str) -> Message {
    said(
        Mrkdwn::fixed(":no_entry_sign: Not overridden: the API server refuses to change ")
            + Mrkdwn::code(&request.name_any())
            + ": "
            + Mrkdwn::code_within(message, MOST_QUOTED),
    )
}

/// Nobody knows whether it was written.
pub(in crate::receiver) fn unknown(request: &DeployRequest, command: &str) -> Message {
    let command = command.trim_start_matches('/');
    said(
        Mrkdwn::fixed(":grey_question: It is unknown whether ")
            + Mrkdwn::code(&request.name_any())
            + " is overridden: the Kubernetes API server has not answered in time. Look with "
            + Mrkdwn::code(&format!("/{command} status {}", request.spec.application))
            + "; to press again does no harm.",
    )
}

/// No modal can be opened.
pub(in crate::receiver) fn no_modal() -> Message {
    said(Mrkdwn::fixed(
        ":warning: Nothing was overridden: Slack doesn't open the window in which you say why. Press again.",
    ))
}

/// The person lacks verbs: whom to ask, and what to do without.
pub(in crate::receiver) fn not_allowed(
    person: &Person,
    namespace: &str,
    wish: Mrkdwn,
    missing: &[Missing],
    contact: Option<&str>,
) -> Message {
    let first =
        Mrkdwn::fixed(":no_entry_sign: Not allowed, nothing was overridden and nothing started: ")
            + wish
            + ".";
    let rule = refusing::lacks(person, namespace, missing) + ".";
    let ask = contact.map_or_else(Mrkdwn::default, |contact| {
        Mrkdwn::fixed(" The freeze says to ask ") + Mrkdwn::code_within(contact, 80) + "."
    });
    let next = Mrkdwn::fixed(
        "Ask without the override: it then waits, and somebody who has that verb on both can press Override on its message.",
    ) + ask
        + " "
        + refusing::whom_to_ask(namespace);
    let mut blocks = vec![Block::section(first.clone()), Block::section(rule.clone())];
    blocks.extend(refusing::silent_sources(person).map(Block::section));
    blocks.push(Block::section(next));
    Message::new(first + " " + rule, blocks)
}

/// Why is a request to pass what holds it?
pub(in crate::receiver) fn ask_why(request: &DeployRequest, value: &str) -> Option<View> {
    let gates = request.status.as_ref().map(|status| &status.gates);
    let holding = gates
        .into_iter()
        .flatten()
        .filter(|gate| gate.gate.is_passed_by_override() && gate.state != GateState::Open);
    let sentences: Vec<String> = holding.filter_map(|gate| gate.message.clone()).collect();
    view(
        actions::OVERRIDING,
        "Override",
        standing::asked(&request.spec),
        &sentences,
        value,
    )
}

/// Why is a plan to pass what holds it?
pub(in crate::receiver) fn ask_why_of_plan(
    shown: &Shown,
    wish: Mrkdwn,
    sealed: &str,
) -> Option<View> {
    let gates = shown.held.gates.iter();
    let sentences: Vec<String> = gates
        .filter(|gate| gate.gate.is_passed_by_override())
        .map(|gate| gate.message.clone())
        .collect();
    view(
        actions::PLAN_OVERRIDE,
        "Show plan",
        wish,
        &sentences,
        sealed,
    )
}

fn view(
    callback: &'static str,
    submit: &'static str,
    wish: Mrkdwn,
    sentences: &[String],
    metadata: &str,
) -> Option<View> {
    let mut blocks = vec![Block::section(wish)];
    if !sentences.is_empty() {
        let text = sentences.iter().fold(RichText::new(), |text, sentence| {
            text.line(&format!("• {sentence}"))
        });
        blocks.push(text.into());
    }
    let why = PlainTextInput::new(actions::ANSWER)
        .multiline()
        .max_length(MOST_REASON);
    let why = Input::new(actions::ANSWER, "Why is this right", why)
        .hint("It is told in the environment's channels, and kept with the request.");
    blocks.push(why.into());
    let view = View::modal(callback, "Override", blocks)
        .submit(submit)
        .close("Go back");
    view.private_metadata(metadata).ok()
}
