//! What became of a wish to end a request. Touches nothing.

use kube::ResourceExt;

use super::{reading::said, refusing, standing};
use crate::{
    access::Missing,
    api::DeployRequest,
    identity::Person,
    slack::{
        actions::{self, Target},
        blocks::{Block, Message, Section},
        elements::{Button, Style},
        text::Mrkdwn,
    },
};

/// Requests to choose from at most.
const MOST: usize = 20;

/// It is written that it is to end.
pub(in crate::receiver) fn asked(request: &DeployRequest) -> Message {
    said(
        Mrkdwn::fixed(":no_entry_sign: To be canceled: ")
            + standing::asked(&request.spec)
            + ". What has not been started won't be; what runs in Spinnaker is told to stop. The message about it says when it has ended.",
    )
}

/// Somebody asked for that before.
pub(in crate::receiver) fn before(request: &DeployRequest) -> Message {
    said(
        Mrkdwn::fixed("Somebody has asked for that already: ")
            + standing::asked(&request.spec)
            + " is to be canceled, and is "
            + standing::standing(request)
            + ".",
    )
}

/// It has ended.
pub(in crate::receiver) fn late(request: &DeployRequest) -> Message {
    said(
        Mrkdwn::fixed("There is nothing to cancel any more: ")
            + standing::asked(&request.spec)
            + " has ended, "
            + standing::standing(request)
            + ".",
    )
}

/// It isn't there, as far as the person may see.
pub(in crate::receiver) fn gone() -> Message {
    said(Mrkdwn::fixed(
        "There is no such request any more that you may see. Nothing was changed.",
    ))
}

/// The API server has refused it.
pub(in crate::receiver) fn refused(request: &DeployRequest, message: &str) -> Message {
    said(
        Mrkdwn::fixed("Not canceled: the API server refuses to change ")
            + Mrkdwn::code(&request.name_any())
            + ": "
            + Mrkdwn::code_within(message, 300),
    )
}

/// Nobody knows whether it was written.
pub(in crate::receiver) fn unknown(request: &DeployRequest, command: &str) -> Message {
    let command = command.trim_start_matches('/');
    said(
        Mrkdwn::fixed(":grey_question: It is unknown whether ")
            + Mrkdwn::code(&request.name_any())
            + " will be canceled: the Kubernetes API server has not answered in time. Look with "
            + Mrkdwn::code(&format!("/{command} status {}", request.spec.application))
            + "; to ask again does no harm.",
    )
}

/// The person lacks verbs.
pub(in crate::receiver) fn not_allowed(
    person: &Person,
    request: &DeployRequest,
    missing: &[Missing],
) -> Message {
    let namespace = request.namespace().unwrap_or_default();
    said(
        Mrkdwn::fixed(":no_entry_sign: Not allowed, nothing was changed: ")
            + refusing::lacks(person, &namespace, missing)
            + ". Whoever asked for it ("
            + standing::requester(request)
            + ") can cancel it; whoever can change the RoleBindings there can change the rest."
            + refusing::silence(person, " "),
    )
}

/// Several requests may be meant.
pub(in crate::receiver) fn which(open: &[DeployRequest]) -> Message {
    let first = Mrkdwn::number(open.len() as u64)
        + " requests may be meant. Nothing was changed. Which one is to end?";
    let rows = open.iter().take(MOST).enumerate().map(|(index, request)| {
        let text = Mrkdwn::code(&request.name_any()) + "\n" + standing::line(request);
        let section = Section::new(text);
        let target = Target {
            namespace: request.namespace().unwrap_or_default(),
            name: request.name_any(),
            uid: request.uid().unwrap_or_default(),
        };
        match target.value() {
            Ok(value) => {
                let id = format!("{}-{index}", actions::REQUEST_CANCEL);
                let spoken = format!("Cancel {}", request.name_any());
                let button = Button::new(id, "Cancel")
                    .value(value)
                    .style(Style::Danger)
                    .spoken(spoken);
                section.accessory(button).into()
            }
            Err(_) => section.into(),
        }
    });
    let blocks: Vec<Block> = [Block::section(first.clone())]
        .into_iter()
        .chain(rows)
        .collect();
    Message::new(first, blocks)
}
