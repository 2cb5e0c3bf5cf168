//! What became of a confirmed wish: accepted, not accepted, or unknown. Touches nothing.

use kube::ResourceExt;

use super::{held, reading::said, standing};
use crate::{
    api::DeployRequest,
    receiver::{
        object::Likeness,
        occasion::{Attempted, What},
        plan::{Order, Plan, held::Held},
    },
    slack::{
        blocks::{Block, Message},
        commits,
        text::Mrkdwn,
    },
};

/// How much of the API server's own words is shown.
const MOST_QUOTED: usize = 300;

/// It is in the API server.
///
/// `holding` is what holds it, as its plan had it; `may_override` whether its asker could have that passed.
pub(in crate::receiver) fn accepted(
    request: &DeployRequest,
    waits: bool,
    holding: &Held,
    may_override: bool,
) -> Message {
    let first =
        Mrkdwn::fixed(":white_check_mark: Accepted: ") + standing::asked(&request.spec) + ".";
    let mut small = vec![named(request)];
    if waits {
        small.push(Mrkdwn::fixed(
            "It waits until what is before it there has ended.",
        ));
    }
    let mut blocks: Vec<Block> = holding.stop.iter().map(held::banner).collect();
    blocks.push(Block::section(first.clone()));
    let waits = held::waits(holding);
    blocks.extend(waits.clone().map(Block::section));
    blocks.push(Block::context(small));
    if may_override && holding.can_be_passed() {
        let button = held::request_button(request);
        blocks.extend(button.map(|button| Block::actions([button])));
    }
    let rest = waits.map_or_else(Mrkdwn::default, |waits| Mrkdwn::fixed(" ") + waits);
    Message::new(first + rest, blocks)
}

/// It was there before.
pub(in crate::receiver) fn existing(
    existing: &DeployRequest,
    likeness: Likeness,
    plan: &Plan,
) -> Message {
    let first = match likeness {
        Likeness::Same => {
            Mrkdwn::fixed("You asked for this already, and it was accepted once: ")
                + standing::asked(&existing.spec)
                + "."
        }
        Likeness::OtherCopy => {
            Mrkdwn::fixed("Another copy of this plan was confirmed first: ")
                + standing::asked(&existing.spec)
                + ". This copy ("
                + ordered(&plan.order)
                + ") was not started; ask again if you want it too."
        }
        Likeness::Foreign => {
            return said(
                Mrkdwn::fixed("Not accepted, nothing was started: there is a request named ")
                    + Mrkdwn::code(&existing.name_any())
                    + " already that isn't of this plan. Ask again; the new plan gets another name.",
            );
        }
    };
    Message::new(
        first.clone(),
        [
            Block::section(first),
            Block::section(standing::line(existing)),
            Block::context([named(existing)]),
        ],
    )
}

/// The API server has refused it.
pub(in crate::receiver) fn refused(plan: &Plan, message: &str) -> Message {
    let first = Mrkdwn::fixed(
        ":no_entry_sign: Not accepted, nothing was started: the API server refuses to ",
    ) + ordered(&plan.order)
        + ".";
    Message::new(
        first.clone(),
        [
            Block::section(first),
            Block::section(Mrkdwn::code_block(message, MOST_QUOTED)),
            Block::context([Mrkdwn::fixed(
                "Correct what it names and ask again; whoever runs Foredeck can tell what it means.",
            )]),
        ],
    )
}

/// Whoever has to be asked isn't there.
pub(in crate::receiver) fn not_done() -> Message {
    said(Mrkdwn::fixed(
        ":warning: Not accepted, nothing was started: the Kubernetes API server doesn't answer. Ask again in a moment; \
         if it stays so, tell whoever runs it.",
    ))
}

/// Nobody knows yet whether it was created; another message says once somebody does.
pub(in crate::receiver) fn unknown(attempted: &Attempted, command: &str) -> Message {
    in_doubt(attempted, command, " I tell you once I know.")
}

/// Nobody knows whether it was created, and this is the last that is said of it.
pub(in crate::receiver) fn never_known(attempted: &Attempted, command: &str) -> Message {
    in_doubt(attempted, command, " I can't find out more.")
}

fn in_doubt(attempted: &Attempted, command: &str, last: &'static str) -> Message {
    let command = command.trim_start_matches('/');
    let kubectl = |kind: &str| {
        let (namespace, name) = (&attempted.namespace, &attempted.name);
        Mrkdwn::code(&format!("kubectl get {kind} -n {namespace} {name}"))
    };
    let (what, look) = match attempted.what {
        What::Stop => (
            "everything is stopped",
            Mrkdwn::fixed("Say it again: that does no harm. Or look with ")
                + kubectl("deployfreezes")
                + ".",
        ),
        What::Approval => (
            "this was accepted",
            Mrkdwn::fixed("Look with ") + kubectl("da") + ", or press again: that does no harm.",
        ),
        What::Request => (
            "this was accepted",
            Mrkdwn::fixed("Look before you ask again: ")
                + Mrkdwn::code(&format!("/{command} status"))
                + ", or "
                + kubectl("dr")
                + ". A button can be pressed again without harm; a command that is typed again asks anew.",
        ),
    };
    let first = Mrkdwn::fixed(":grey_question: It is unknown whether ")
        + what
        + ": the Kubernetes API server has not answered in time.";
    let look = look + last;
    Message::new(
        first.clone() + " " + look.clone(),
        [Block::section(first), Block::section(look)],
    )
}

/// The plan was taken away.
pub(in crate::receiver) fn dropped(plan: &Plan) -> Message {
    said(Mrkdwn::fixed("Plan taken away, nothing was started: ") + ordered(&plan.order) + ".")
}

fn named(request: &DeployRequest) -> Mrkdwn {
    let namespace = request.namespace().unwrap_or_default();
    Mrkdwn::fixed("Request ")
        + Mrkdwn::code(&format!("{namespace}/{}", request.name_any()))
        + ". How it goes is told in one message that stays up to date; where I am no member of the channel, in a direct \
           message."
}

/// What a plan asks for.
pub(in crate::receiver) fn ordered(order: &Order) -> Mrkdwn {
    standing::wish(
        &order.action,
        &order.application,
        commits::version(order.version.as_deref(), order.commit.as_deref(), None),
        &order.environment,
    )
}
