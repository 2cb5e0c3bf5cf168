//! What holds a plan, as people read it: the stop button, its time, order, freezes and locks; what passes them; and what a
//! rollback gives up. Touches nothing.

use kube::ResourceExt;

use crate::{
    api::{DeployRequest, gate::GateKind},
    receiver::plan::held::{Gate, GivenUp, Held, Stop},
    slack::{
        actions::{self, Target},
        blocks::{Block, Message, RichText},
        commits,
        elements::{Button, Element, Value},
        text::{Mrkdwn, clean_lines},
    },
};

/// The most characters of one gate's sentence. Slack takes some 13,000 in one message, and refuses all of a longer one.
const MOST_SENTENCE: usize = 180;
/// The most characters of a reason.
const MOST_REASON: usize = 150;
/// How much of a name that may be long.
const MOST_NAME: usize = 80;

/// That nothing starts anywhere: it stands above everything else while it is so.
pub(in crate::receiver) fn banner(stop: &Stop) -> Block {
    let mut text = short(stop);
    text += "\n>";
    text += Mrkdwn::code_within(&stop.reason, MOST_REASON);
    if let Some(contact) = &stop.contact {
        text = text + "\nAsk " + Mrkdwn::code_within(contact, MOST_NAME) + ".";
    }
    Block::section(text)
}

/// The same above another answer.
pub(in crate::receiver) fn under_banner(stop: &Stop, answer: &Message) -> Message {
    let rest = match answer.blocks() {
        [] => vec![Block::section(answer.text().clone())],
        blocks => blocks.to_vec(),
    };
    let blocks = std::iter::once(banner(stop)).chain(rest);
    Message::new(short(stop) + " " + answer.text().clone(), blocks)
}

/// The same in a line.
pub(in crate::receiver) fn short(stop: &Stop) -> Mrkdwn {
    let mut text = Mrkdwn::fixed(":octagonal_sign: *Everything is stopped*");
    if let Some(by) = &stop.by {
        text = text + ", by " + Mrkdwn::code_within(by, MOST_NAME);
    }
    if let Some(since) = stop.since {
        text = text + ", since " + Mrkdwn::date(since);
    }
    text + ": nothing starts until somebody who may override says `resume-all`."
}

/// What follows the wish in the first line: that it would wait.
pub(in crate::receiver) fn after_wish(held: &Held) -> Mrkdwn {
    let mut text = Mrkdwn::default();
    let closed: Vec<Mrkdwn> = held.closed().map(noun).collect();
    if !closed.is_empty() {
        text = text + ", held by " + Mrkdwn::join(closed, " and by ");
    }
    let passed: Vec<Mrkdwn> = held.passed().map(noun).collect();
    if !passed.is_empty() {
        text = text + ", past " + Mrkdwn::join(passed, " and ");
    }
    text
}

fn noun(gate: &Gate) -> Mrkdwn {
    let noun = match gate.gate {
        GateKind::Time => "its time",
        GateKind::Order => "the order of environments",
        GateKind::Freeze => "a freeze",
        GateKind::Lock => "a lock",
        GateKind::Policies | GateKind::Authorization | GateKind::Approval | GateKind::Queue => {
            "another gate"
        }
    };
    let until = gate.until.map_or_else(Mrkdwn::default, |until| {
        Mrkdwn::fixed(" until ") + Mrkdwn::date(until)
    });
    Mrkdwn::fixed(noun) + until
}

/// What holds it, what passes that, when it may start, and what it gives up. `verb` is what its button says.
pub(in crate::receiver) fn body(held: &Held, verb: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = held.given_up.iter().map(given_up).collect();
    blocks.extend(times(held).map(Block::section));
    let closed: Vec<&Gate> = held.closed().collect();
    if !closed.is_empty() {
        let verb = Mrkdwn::code_within(verb, MOST_NAME);
        let first = Mrkdwn::fixed(":pause_button: *It will wait.* ")
            + verb
            + " asks for it now; approvals can be given meanwhile, and it starts by itself once all of this lets it:";
        blocks.push(Block::section(first));
        blocks.push(sentences(&closed));
    }
    if let Some(reason) = &held.overriding {
        blocks.extend(overriding(held, reason));
    }
    blocks
}

fn sentences(gates: &[&Gate]) -> Block {
    let lines = gates.iter().fold(RichText::new(), |text, gate| {
        text.line(&format!("• {}", clean_lines(&gate.message, MOST_SENTENCE)))
    });
    lines.into()
}

fn overriding(held: &Held, reason: &str) -> Vec<Block> {
    let passed: Vec<&Gate> = held.passed().collect();
    let mut text = Mrkdwn::fixed(":unlock: *Overridden*, saying ")
        + Mrkdwn::code_within(reason, MOST_REASON)
        + ". ";
    text += if passed.is_empty() {
        "Nothing that an override passes holds it now. Approvals stay needed."
    } else {
        "It passes this, and is told in the environment's channels and in the record. Approvals stay needed:"
    };
    let mut blocks = vec![Block::section(text)];
    if !passed.is_empty() {
        blocks.push(sentences(&passed));
    }
    blocks
}

fn times(held: &Held) -> Option<Mrkdwn> {
    let at = held
        .not_before
        .map(|at| Mrkdwn::fixed("not before ") + Mrkdwn::date(at));
    let before = held
        .start_before
        .map(|before| Mrkdwn::fixed("not after ") + Mrkdwn::date(before));
    let expires = before.is_some();
    let all: Vec<Mrkdwn> = at.into_iter().chain(before).collect();
    let rest = if expires {
        ". If it has not started by then, it expires."
    } else {
        "."
    };
    let text = Mrkdwn::fixed(":clock3: *Starts* ") + Mrkdwn::join(all.iter().cloned(), ", and ");
    (!all.is_empty()).then(|| text + rest)
}

fn given_up(given_up: &GivenUp) -> Block {
    let version = |name: &Option<String>, commit: &Option<String>| {
        let version = commits::version(name.as_deref(), commit.as_deref(), None);
        version.unwrap_or_else(|| Mrkdwn::fixed("a version that isn't known"))
    };
    Block::section(
        Mrkdwn::fixed(":rewind: *Gives up* ")
            + version(&given_up.from, &given_up.from_commit)
            + " and goes back to "
            + version(&given_up.to, &given_up.to_commit)
            + ". Afterwards only another rollback starts there, until you or somebody who may override says `unlock`.",
    )
}

/// The button that opens the question why a plan is to pass what holds it. Value: the sealed plan.
pub(in crate::receiver) fn plan_button(value: Value) -> Element {
    Button::new(actions::PLAN_OVERRIDE, "Override")
        .value(value)
        .spoken("Override what holds this plan; why is asked next")
        .into()
}

/// The same for a request that is there.
pub(in crate::receiver) fn request_button(request: &DeployRequest) -> Option<Element> {
    let target = Target {
        namespace: request.namespace()?,
        name: request.name_any(),
        uid: request.uid()?,
    };
    let button = Button::new(actions::REQUEST_OVERRIDE, "Override")
        .value(target.value().ok()?)
        .spoken("Override what holds this request; why is asked next");
    Some(button.into())
}

/// What an accepted request waits for, as the plan had it.
pub(in crate::receiver) fn waits(held: &Held) -> Option<Mrkdwn> {
    let closed: Vec<Mrkdwn> = held.closed().map(noun).collect();
    (!closed.is_empty()).then(|| {
        Mrkdwn::fixed("It is held by ")
            + Mrkdwn::join(closed, " and by ")
            + ", and starts by itself once that lets it."
    })
}
