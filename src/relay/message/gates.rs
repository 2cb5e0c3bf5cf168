//! What holds a request before its start: by which gates, until when, and who can do something about it. Touches nothing.
//!
//! It is read from `status.gates`, where the controller writes down every gate as it last judged it: nothing here looks at a
//! clock, a freeze or a lock.

use jiff::Timestamp;
use kube::ResourceExt;

use super::{live, words};
use crate::{
    api::{
        DeployRequest,
        conditions::{self, ConditionType, Reason},
        deploy_request::{DeployRequestStatus, Phase, WaitingFor},
        gate::{GateKind, GateState, GateStatus},
    },
    domain::{access, target},
    slack::{
        actions,
        blocks::{Block, RichText},
        elements::{Button, Element, Value},
        text::Mrkdwn,
    },
};

/// A gate that holds it, beside who may, who said yes, and whose turn it is.
pub(super) struct Holding {
    gate: GateKind,
    by: &'static str,
    until: Option<Timestamp>,
}

/// Everything of that kind that holds it now; nothing once it has started, or is to end.
pub(super) fn holding(request: &DeployRequest) -> Vec<Holding> {
    let waits = matches!(
        super::phase(request),
        Phase::AwaitingApproval | Phase::Queued
    );
    let Some(status) = super::status(request).filter(|_| waits && !access::is_canceled(request))
    else {
        return Vec::new();
    };
    let told: Vec<Holding> = closed(status)
        .filter_map(|gate| {
            Some(Holding {
                gate: gate.gate,
                by: by(gate)?,
                until: gate.until.as_ref().map(|until| until.0),
            })
        })
        .collect();
    if !status.gates.is_empty() {
        return told;
    }
    let (gate, by) = match status.waiting.as_ref().map(|waiting| waiting.subject) {
        Some(WaitingFor::Time) => (GateKind::Time, "its time"),
        Some(WaitingFor::Order) => (GateKind::Order, ORDER),
        Some(WaitingFor::Freeze) => (GateKind::Freeze, FREEZE),
        Some(WaitingFor::Lock) => (GateKind::Lock, LOCK),
        _ => return Vec::new(),
    };
    let until = None;
    vec![Holding { gate, by, until }]
}

const ORDER: &str = "the order of environments";
const FREEZE: &str = "a freeze";
const LOCK: &str = "a lock";

/// What holds it at this gate; `None` for those that are told in other words.
fn by(gate: &GateStatus) -> Option<&'static str> {
    let known = gate.state == GateState::Closed;
    let held = gate.reason.as_deref() == Some(Reason::Held.to_string().as_str());
    Some(match gate.gate {
        GateKind::Time => "its time",
        GateKind::Order if known => ORDER,
        GateKind::Order => "an order of environments that can't be judged",
        GateKind::Freeze if known => FREEZE,
        GateKind::Freeze => "freezes that can't be read",
        GateKind::Lock if held => "the hold of a rollback",
        GateKind::Lock if known => LOCK,
        GateKind::Lock => "locks that can't be read",
        GateKind::Policies | GateKind::Authorization | GateKind::Approval | GateKind::Queue => {
            return None;
        }
    })
}

fn closed(status: &DeployRequestStatus) -> impl Iterator<Item = &GateStatus> {
    let gates = status.gates.iter();
    gates.filter(|gate| matches!(gate.state, GateState::Closed | GateState::Unknown))
}

/// How a request that is held is said to stand: the sign, and the words after the subject.
pub(super) fn state(request: &DeployRequest) -> Option<(&'static str, Mrkdwn)> {
    let holding = holding(request);
    let scheduled = holding.iter().find(|held| held.gate == GateKind::Time);
    let others = holding.iter().filter(|held| held.gate != GateKind::Time);
    let others: Vec<Mrkdwn> = others.map(said).collect();
    let time = scheduled.map(|time| match time.until {
        Some(at) => Mrkdwn::fixed("scheduled for ") + Mrkdwn::date(at),
        None => Mrkdwn::fixed("waits for its time"),
    });
    let mut words = Vec::new();
    words.extend(time);
    if !others.is_empty() {
        words.push(Mrkdwn::fixed("held by ") + Mrkdwn::join(others.iter().cloned(), " and by "));
    }
    if words.is_empty() {
        return None;
    }
    // What comes before in the table of gates is said before.
    let first = super::status(request)
        .and_then(|status| status.waiting.as_ref())
        .map(|waiting| waiting.subject);
    let sign = if others.is_empty() { "🕒" } else { "⏸️" };
    let words = Mrkdwn::join(words, ", ");
    if super::phase(request) == Phase::AwaitingApproval || first == Some(WaitingFor::Approval) {
        return Some(("✋", Mrkdwn::fixed("waits for approval, ") + words));
    }
    if first == Some(WaitingFor::Authorization) {
        return Some(("⏳", Mrkdwn::fixed("waits to know who may, ") + words));
    }
    Some((sign, words))
}

fn said(held: &Holding) -> Mrkdwn {
    match held.until {
        Some(until) => Mrkdwn::fixed(held.by) + " until " + Mrkdwn::date(until),
        None => Mrkdwn::fixed(held.by),
    }
}

/// Every gate that is closed, with its sentence; nothing where none of the table holds it.
pub(super) fn blocks(request: &DeployRequest) -> Vec<Block> {
    let Some(status) = super::status(request).filter(|_| !holding(request).is_empty()) else {
        return Vec::new();
    };
    let mut blocks = Vec::new();
    for gate in closed(status) {
        let mut title = Mrkdwn::fixed("*") + title(gate.gate) + "*";
        if let Some(until) = &gate.until {
            title += Mrkdwn::fixed(", until ") + Mrkdwn::date(until.0);
        }
        blocks.push(Block::section(title));
        if let Some(message) = &gate.message {
            blocks.push(RichText::new().sentence(&live::capital(message)).into());
        }
    }
    if blocks.is_empty() {
        return blocks;
    }
    let mut small = Vec::new();
    if let Some(waiting) = &status.waiting {
        small.push(Mrkdwn::fixed("Waits since ") + Mrkdwn::date(waiting.since.0));
        let until = waiting.until.as_ref();
        small.extend(until.map(|until| Mrkdwn::fixed("Gives up ") + Mrkdwn::date(until.0)));
    }
    small.push(Mrkdwn::fixed(who_can(request, status)));
    blocks.push(Block::context(small));
    blocks
}

fn who_can(request: &DeployRequest, status: &DeployRequestStatus) -> &'static str {
    let mut gates = closed(status).filter(|gate| gate.gate != GateKind::Queue);
    let waiting = status.waiting.as_ref();
    match (gates.next(), gates.next(), waiting) {
        (Some(_), None, Some(waiting)) => words::who_can(waiting.subject),
        _ if can_pass(request) => {
            "It goes on by itself once all of these are open. Whoever may override can let it pass order, freezes and locks."
        }
        _ => "It goes on by itself once all of these are open.",
    }
}

/// The gate's name as a title.
fn title(gate: GateKind) -> &'static str {
    match gate {
        GateKind::Policies => "Admission policies",
        GateKind::Authorization => "Who may",
        GateKind::Approval => "Approval",
        GateKind::Time => "Time",
        GateKind::Order => "Order",
        GateKind::Freeze => "Freeze",
        GateKind::Lock => "Lock",
        GateKind::Queue => "Queue",
    }
}

/// Whether an override would pass something that holds it, and can be asked for: it is set once, and again only where it
/// was found not to count.
fn can_pass(request: &DeployRequest) -> bool {
    let asked = request.spec.override_.is_some() && !is_override_refused(request);
    let holding = holding(request);
    !asked && holding.iter().any(|held| held.gate.is_passed_by_override())
}

/// Whether the override that was asked for was found not to count.
pub(super) fn is_override_refused(request: &DeployRequest) -> bool {
    let conditions = super::status(request).map(|status| &status.conditions);
    let condition =
        conditions.and_then(|conditions| conditions::find(conditions, ConditionType::Overridden));
    condition.is_some_and(|condition| condition.status == "False")
}

/// Lets it pass, for those who may: who that is, is asked when it is pressed.
pub(super) fn button(request: &DeployRequest, value: &Value) -> Option<Element> {
    let button = Button::new(actions::REQUEST_OVERRIDE, "Override")
        .value(value.clone())
        .spoken(format!("Override what holds {}", live::in_words(request)));
    can_pass(request).then(|| button.into())
}

/// What a rollback leaves, and how that is lifted. It is true after somebody has lifted it, too: nobody tells us.
pub(super) fn hold(request: &DeployRequest) -> Option<Block> {
    let spec = &request.spec;
    let status = super::status(request)?;
    let sent = status.started_at.is_some()
        || status
            .attempt
            .as_ref()
            .is_some_and(|attempt| attempt.sent_at.is_some());
    let ended = conditions::find(&status.conditions, ConditionType::Succeeded);
    let reason = ended.map_or("", |condition| condition.reason.as_str());
    let holds = target::leaves_hold(&spec.action, reason, sent && !spec.dry_run);
    if !holds || !super::phase(request).is_terminal() {
        return None;
    }
    let who = match &spec.requester {
        Some(requester) => {
            Mrkdwn::code_within(&requester.username, 80) + ", or whoever may override,"
        }
        None => Mrkdwn::fixed("whoever may override"),
    };
    let unlock = format!("/deploy unlock {} {}", spec.application, spec.environment);
    let mut text = Mrkdwn::fixed(
        "🔒 *The target is held*, so that nothing undoes this rollback: only another rollback starts there until ",
    ) + who
        + " unlocks it, by "
        + Mrkdwn::code_within(&unlock, 200);
    if let (Some(resolved), Some(uid)) = (&status.resolved, request.uid()) {
        text += Mrkdwn::fixed(" or with `spec.unhold.uid` ")
            + Mrkdwn::code_within(&uid, 64)
            + " on DeployTarget "
            + Mrkdwn::code_within(&resolved.deploy_target, 253);
    }
    Some(Block::section(text + "."))
}
