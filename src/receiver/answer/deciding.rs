//! What became of somebody's yes or no, and the modals that ask for more of it. Touches nothing.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;

use super::{
    reading::said,
    refusing::{lacks, names, silence},
    standing,
};
use crate::{
    access::Missing,
    api::{
        DeployApproval, DeployRequest,
        conditions::{self, ConditionType},
        deploy_approval::{ApprovalDecision, ApprovalSubject},
        deploy_request::{GivenApproval, Judgment},
    },
    domain::ids,
    identity::Person,
    slack::{
        actions,
        blocks::{Block, Input, Message, RichText},
        elements::{Choice, PlainTextInput, StaticSelect},
        text::Mrkdwn,
        view::View,
    },
};

/// Characters of a comment.
const MOST_COMMENT: u16 = 1000;
/// How much of the API server's own words is shown.
const MOST_QUOTED: usize = 300;

/// A question to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::receiver) enum Asked {
    /// May it start?
    Start,
    /// How does it go on?
    Judgment,
}

impl Asked {
    fn not_done(self) -> &'static str {
        match self {
            Self::Start => "Nothing was approved or rejected: ",
            Self::Judgment => "Nothing was answered: ",
        }
    }
}

/// The request isn't there, as far as the person may see.
pub(in crate::receiver) fn gone(asked: Asked) -> Message {
    said(Mrkdwn::fixed(asked.not_done()) + "there is no such request any more that you may see.")
}

/// Nobody is asked any more, or for now.
pub(in crate::receiver) fn not_asked(asked: Asked, request: &DeployRequest) -> Message {
    let now = if standing::phase(request).is_terminal() {
        Mrkdwn::fixed(" has ended, ")
    } else {
        Mrkdwn::fixed(" is ")
    };
    let rest = match asked {
        Asked::Start => "; nobody is asked to approve it now.",
        Asked::Judgment => "; it does not wait for that judgment now.",
    };
    said(
        Mrkdwn::fixed(asked.not_done())
            + standing::asked(&request.spec)
            + now
            + standing::standing(request)
            + rest,
    )
}

/// Somebody wants it to end.
pub(in crate::receiver) fn canceled(asked: Asked, request: &DeployRequest) -> Message {
    said(
        Mrkdwn::fixed(asked.not_done())
            + standing::asked(&request.spec)
            + " is to be canceled. To have it all the same, ask for it again.",
    )
}

/// What would run isn't what the message showed.
pub(in crate::receiver) fn changed(request: &DeployRequest) -> Message {
    said(
        Mrkdwn::fixed(Asked::Start.not_done())
            + "what would run for "
            + standing::asked(&request.spec)
            + " has changed since that message was made. It shows the new one by now, or will in a moment: look at it, then decide.",
    )
}

/// The person lacks verbs.
pub(in crate::receiver) fn not_allowed(
    asked: Asked,
    person: &Person,
    request: &DeployRequest,
    missing: &[Missing],
) -> Message {
    let namespace = request.namespace().unwrap_or_default();
    said(
        Mrkdwn::fixed(":no_entry_sign: Not allowed. ")
            + asked.not_done()
            + lacks(person, &namespace, missing)
            + ". Whoever can change the RoleBindings there can change that."
            + silence(person, "\n"),
    )
}

/// Who asked may not approve it too.
pub(in crate::receiver) fn own(request: &DeployRequest) -> Message {
    said(
        Mrkdwn::fixed(":no_entry_sign: Not allowed. ")
            + Asked::Start.not_done()
            + "you asked for it yourself, and environment "
            + Mrkdwn::name(&request.spec.environment)
            + " wants the word of others (`spec.protection.approvals.requesterMayApprove`). Ask somebody else who has the verb `approve` there; to take it back, cancel it.",
    )
}

/// What automation asks for is approved by certain groups only.
pub(in crate::receiver) fn not_of_groups(
    person: &Person,
    request: &DeployRequest,
    groups: &[String],
) -> Message {
    said(
        Mrkdwn::fixed(":no_entry_sign: Not allowed. ")
            + Asked::Start.not_done()
            + "no person asked for it, so only members of "
            + names(groups)
            + " may approve it (`spec.protection.approvals.groups` of environment "
            + Mrkdwn::name(&request.spec.environment)
            + "), and "
            + Mrkdwn::code(&person.username)
            + " is in none of them."
            + silence(person, "\n"),
    )
}

/// The stage wants a judge with a role.
pub(in crate::receiver) fn no_role(
    person: &Person,
    request: &DeployRequest,
    judgment: &Judgment,
    groups: &BTreeSet<&str>,
) -> Message {
    let mut text = Mrkdwn::fixed(":no_entry_sign: Not allowed. ")
        + Asked::Judgment.not_done()
        + "the stage wants a judge with one of the roles "
        + names(&judgment.roles);
    text += if groups.is_empty() {
        Mrkdwn::fixed(", and environment ")
            + Mrkdwn::name(&request.spec.environment)
            + " maps no group to them (`spec.protection.judgmentRoles`)"
    } else {
        let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        Mrkdwn::fixed(", which members of ")
            + names(&groups)
            + " have, and "
            + Mrkdwn::code(&person.username)
            + " is in none of them"
    };
    text += ". Answer in Spinnaker, or ask who owns the environment.";
    if let Some(link) = standing::execution_link(request) {
        text = text + " " + link;
    }
    said(text + silence(person, "\n"))
}

/// The input isn't one that the stage offers.
pub(in crate::receiver) fn no_such_input(judgment: &Judgment) -> Message {
    said(
        Mrkdwn::fixed(Asked::Judgment.not_done())
            + "that is none of the answers that the stage offers. It offers "
            + names(&judgment.inputs)
            + ".",
    )
}

/// Somebody has answered it.
pub(in crate::receiver) fn answered(request: &DeployRequest, answer: &GivenApproval) -> Message {
    said(
        Mrkdwn::fixed(Asked::Judgment.not_done())
            + Mrkdwn::code_within(&answer.by, 80)
            + " has answered it already for "
            + standing::asked(&request.spec)
            + ", "
            + Mrkdwn::date(answer.at.0)
            + ". The first answer counts.",
    )
}

/// It is written down.
pub(in crate::receiver) fn recorded(request: &DeployRequest, approval: &DeployApproval) -> Message {
    let spec = &approval.spec;
    let asked = standing::asked(&request.spec);
    let first = match (spec.subject, spec.decision) {
        (ApprovalSubject::Start, ApprovalDecision::Approve) => {
            Mrkdwn::fixed(":white_check_mark: Approved: ") + asked + "."
        }
        (ApprovalSubject::Start, ApprovalDecision::Reject) => {
            Mrkdwn::fixed(":no_entry: Rejected: ") + asked + "."
        }
        (ApprovalSubject::Judgment, _) => {
            Mrkdwn::fixed(":white_check_mark: Answered: ") + word(approval) + ", for " + asked + "."
        }
    };
    let rest = match spec.subject {
        ApprovalSubject::Start if spec.decision == ApprovalDecision::Reject => {
            "If your word counts, it ends without having started anything; that is told in the thread."
        }
        ApprovalSubject::Start => {
            "It is looked at again right before anything starts; how it stands is told in the thread."
        }
        ApprovalSubject::Judgment => {
            "It is handed to Spinnaker; how it stands is told in the thread."
        }
    };
    Message::new(
        first.clone(),
        [
            Block::section(first),
            Block::context([Mrkdwn::fixed(rest), named(approval)]),
        ],
    )
}

/// What the controller says of whether it counts, once it has.
pub(in crate::receiver) fn counts(approval: &DeployApproval) -> Option<&Condition> {
    let status = approval.status.as_ref()?;
    conditions::find(&status.conditions, ConditionType::Counts)
}

/// Something of that name was there before.
pub(in crate::receiver) fn stands(
    person: &Person,
    request: &DeployRequest,
    wanted: &DeployApproval,
    found: &DeployApproval,
) -> Message {
    let approver = found.spec.approver.as_ref();
    let own = approver.is_some_and(|approver| approver.slack.as_ref() == Some(&person.slack));
    let same = |one: &DeployApproval, other: &DeployApproval| {
        let (one, other) = (&one.spec, &other.spec);
        (one.subject, one.decision, &one.judgment)
            == (other.subject, other.decision, &other.judgment)
    };
    let when = found
        .creation_timestamp()
        .map(|created| Mrkdwn::fixed(", ") + Mrkdwn::date(created.0))
        .unwrap_or_default();
    let who = match (own, approver) {
        (true, _) => Mrkdwn::fixed("You have"),
        (false, Some(approver)) => Mrkdwn::code_within(&approver.username, 80) + " has",
        (false, None) => Mrkdwn::fixed("Somebody has"),
    };
    let first = who
        + " answered that already: "
        + word(found)
        + when
        + ", for "
        + standing::asked(&request.spec)
        + ".";
    let stands = match counts(found) {
        Some(counts) => {
            Mrkdwn::fixed("Nothing was changed. Of that it is said: ")
                + Mrkdwn::code_within(&counts.message, MOST_QUOTED)
        }
        None => Mrkdwn::fixed("Nothing was changed; whether it counts is still looked at."),
    };
    let rest = if own && same(wanted, found) {
        stands
    } else {
        stands
            + " As long as nothing came of it, it is taken back with "
            + Mrkdwn::code(&format!(
                "kubectl delete da -n {} {}",
                found.namespace().unwrap_or_default(),
                found.name_any()
            ))
            + "."
    };
    Message::new(
        first.clone() + " " + rest.clone(),
        [Block::section(first), Block::section(rest)],
    )
}

/// The API server has refused it.
pub(in crate::receiver) fn refused(asked: Asked, message: &str) -> Message {
    let first = Mrkdwn::fixed(":no_entry_sign: ") + asked.not_done() + "the API server refuses it.";
    Message::new(
        first.clone(),
        [
            Block::section(first),
            Block::section(Mrkdwn::code_block(message, MOST_QUOTED)),
            Block::context([Mrkdwn::fixed(
                "Whoever runs Foredeck can tell what it means.",
            )]),
        ],
    )
}

/// Whoever has to be asked isn't there.
pub(in crate::receiver) fn not_done(asked: Asked) -> Message {
    said(
        Mrkdwn::fixed(":warning: ")
            + asked.not_done()
            + "the Kubernetes API server doesn't answer. Press again in a moment; if it stays so, tell whoever runs it.",
    )
}

/// No modal can be opened.
pub(in crate::receiver) fn no_modal(asked: Asked) -> Message {
    said(
        Mrkdwn::fixed(":warning: ")
            + asked.not_done()
            + "Slack doesn't open the window in which the rest is asked. Press again.",
    )
}

/// Why is it to end?
pub(in crate::receiver) fn ask_why(
    callback: &'static str,
    request: &DeployRequest,
    stage: Option<&str>,
    value: &str,
) -> Option<View> {
    let label = if stage.is_some() { "Stop" } else { "Reject" };
    let comment = PlainTextInput::new(actions::ANSWER)
        .multiline()
        .max_length(MOST_COMMENT);
    let comment = Input::new(actions::ANSWER, "Why", comment)
        .hint("Everybody who reads the thread sees it, and it is kept with the request.");
    let blocks = subject(request, stage).into_iter().chain([comment.into()]);
    let view = View::modal(callback, label, blocks)
        .submit(label)
        .close("Go back");
    view.private_metadata(value).ok()
}

/// With which input does it go on?
pub(in crate::receiver) fn ask_which(
    request: &DeployRequest,
    judgment: &Judgment,
    value: &str,
) -> Option<View> {
    let choices = judgment
        .inputs
        .iter()
        .filter_map(|input| Choice::new(input.as_str(), ids::input_mark(input)).ok());
    let select = StaticSelect::new(actions::ANSWER, "Choose one", choices);
    let select = Input::new(actions::ANSWER, "Continue with", select);
    let blocks = subject(request, Some(&judgment.name))
        .into_iter()
        .chain([select.into()]);
    let view = View::modal(actions::CHOOSING, "Continue", blocks)
        .submit("Continue")
        .close("Go back");
    view.private_metadata(value).ok()
}

fn subject(request: &DeployRequest, stage: Option<&str>) -> Vec<Block> {
    let mut blocks = vec![Block::section(standing::asked(&request.spec))];
    blocks.extend(stage.map(|stage| RichText::new().line(&format!("Stage: {stage}")).into()));
    blocks
}

/// What somebody said, in a word or two.
fn word(approval: &DeployApproval) -> Mrkdwn {
    let spec = &approval.spec;
    let input = spec
        .judgment
        .as_ref()
        .and_then(|judgment| judgment.input.as_deref());
    match (spec.subject, spec.decision, input) {
        (ApprovalSubject::Start, ApprovalDecision::Approve, _) => Mrkdwn::fixed("approved"),
        (ApprovalSubject::Start, ApprovalDecision::Reject, _) => Mrkdwn::fixed("rejected"),
        (ApprovalSubject::Judgment, ApprovalDecision::Reject, _) => Mrkdwn::fixed("stop"),
        (ApprovalSubject::Judgment, ApprovalDecision::Approve, Some(input)) => {
            Mrkdwn::fixed("continue with ") + Mrkdwn::code_within(input, 120)
        }
        (ApprovalSubject::Judgment, ApprovalDecision::Approve, None) => Mrkdwn::fixed("continue"),
    }
}

fn named(approval: &DeployApproval) -> Mrkdwn {
    let namespace = approval.namespace().unwrap_or_default();
    Mrkdwn::fixed("DeployApproval ") + Mrkdwn::code(&format!("{namespace}/{}", approval.name_any()))
}

#[cfg(test)]
#[path = "deciding_tests.rs"]
mod tests;
