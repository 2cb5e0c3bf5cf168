//! The gates between a request and its start, one a line. Touches nothing.

use kube::ResourceExt;

use super::{reading::said, standing};
use crate::{
    api::{
        DeployRequest, Environment,
        gate::{GateState, GateStatus},
    },
    domain::guards::Guards,
    slack::{
        blocks::{Block, Message},
        text::Mrkdwn,
    },
};

/// Requests whose gates are shown at most.
const MOST: usize = 5;
/// How much is shown of a gate's sentence.
const MOST_SENTENCE: usize = 500;

/// What a request would meet.
pub(in crate::receiver) struct Meets<'a> {
    /// The application.
    pub(in crate::receiver) application: &'a str,
    /// The environment.
    pub(in crate::receiver) environment: &'a Environment,
    /// What keeps it from starting.
    pub(in crate::receiver) guards: &'a Guards,
}

/// The gates of these requests, as they were last judged.
pub(in crate::receiver) fn requests(requests: &[DeployRequest]) -> Message {
    let first = match requests {
        [one] => standing::line(one),
        several => Mrkdwn::number(several.len() as u64) + " requests are under way or wait there:",
    };
    let mut blocks = vec![Block::section(first.clone())];
    let alone = requests.len() == 1;
    for request in requests.iter().take(MOST) {
        let head = if alone {
            Mrkdwn::fixed("Request ") + Mrkdwn::code(&request.name_any()) + "\n"
        } else {
            Mrkdwn::code(&request.name_any()) + " " + standing::line(request) + "\n"
        };
        blocks.extend(Block::sections(&(head + table(request))));
    }
    if requests.len() > MOST {
        let more =
            Mrkdwn::fixed("… and ") + Mrkdwn::number((requests.len() - MOST) as u64) + " more.";
        blocks.push(Block::context([more]));
    }
    Message::new(first, blocks)
}

fn table(request: &DeployRequest) -> Mrkdwn {
    let gates = request.status.as_ref().map(|status| &status.gates);
    let gates = gates.map(Vec::as_slice).unwrap_or_default();
    match gates {
        [] if standing::phase(request).is_terminal() => {
            Mrkdwn::fixed("It has ended, and what its gates were was not noted.")
        }
        [] => Mrkdwn::fixed("Its gates were not judged yet. Ask again in a moment."),
        gates => Mrkdwn::join(gates.iter().map(row), "\n"),
    }
}

fn row(gate: &GateStatus) -> Mrkdwn {
    let (sign, word) = match gate.state {
        GateState::Open => (":white_check_mark: ", "open"),
        GateState::Overridden => (":fast_forward: ", "passed by an override"),
        GateState::Closed => (":no_entry: ", "closed"),
        GateState::Unknown => (":grey_question: ", "not known now, so it holds"),
    };
    let mut line = Mrkdwn::fixed(sign) + Mrkdwn::name(gate.gate.word()) + " – " + word;
    if let Some(until) = &gate.until {
        line = line + ", until " + Mrkdwn::date(until.0);
    }
    match gate
        .message
        .as_deref()
        .filter(|said| !said.trim().is_empty())
    {
        Some(said) => line + ": " + Mrkdwn::code_within(said, MOST_SENTENCE),
        None => line,
    }
}

/// What a request there would meet now.
pub(in crate::receiver) fn would_meet(meets: &Meets<'_>) -> Message {
    let place =
        Mrkdwn::name(meets.application) + " in " + Mrkdwn::name(&meets.environment.name_any());
    let closed: Vec<Mrkdwn> = meets
        .guards
        .closed()
        .map(|(gate, closed)| {
            let mut line = Mrkdwn::fixed(":no_entry: ") + Mrkdwn::name(gate.word()) + " – closed";
            if let Some(until) = closed.until {
                line = line + ", until " + Mrkdwn::date(until);
            }
            line + ": " + Mrkdwn::code_within(&closed.refusal.message, MOST_SENTENCE)
        })
        .collect();
    let first = Mrkdwn::fixed("Nothing of ")
        + place
        + Mrkdwn::fixed(if closed.is_empty() {
            " is under way or waits, and no freeze or lock would hold a deployment there now."
        } else {
            " is under way or waits. A deployment there would wait now:"
        });
    let mut blocks = vec![Block::section(first.clone())];
    if !closed.is_empty() {
        blocks.extend(Block::sections(&Mrkdwn::join(closed, "\n")));
    }
    let protection = &meets.environment.spec.protection;
    let mut small = vec![Mrkdwn::fixed(
        "Who may is asked once somebody wants it: the plan says so.",
    )];
    if let Some(approvals) = &protection.approvals {
        small.push(
            Mrkdwn::fixed("It needs approvals: ")
                + Mrkdwn::number(u64::from(approvals.required))
                + ".",
        );
    }
    if !protection.after.is_empty() {
        let before = protection.after.iter();
        let before = before.map(|after| Mrkdwn::name(&after.environment));
        small.push(
            Mrkdwn::fixed("A version has to have been in ")
                + Mrkdwn::join(before, ", ")
                + " first; where one stands is said in its plan.",
        );
    }
    blocks.push(Block::context(small));
    Message::new(first, blocks)
}

/// What a request would meet can't be said.
pub(in crate::receiver) fn not_known(command: &str) -> Message {
    said(
        Mrkdwn::fixed(
            ":warning: Nothing of that is under way or waits. What a deployment there would meet can't be said here; its plan \
             says it: ",
        ) + Mrkdwn::code(&format!("{command} checkout main to production"))
            + ".",
    )
}

/// There is no request to speak of, and no place.
pub(in crate::receiver) fn nothing(command: &str) -> Message {
    said(
        Mrkdwn::fixed(
            "Nothing of that is under way or waits that you may see. Name an environment too for what a request there would meet: ",
        ) + Mrkdwn::code(&format!("{command} why checkout in production"))
            + ".",
    )
}
