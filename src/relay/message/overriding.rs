//! Who let a request pass order, freezes and locks, and why: in the live message, and in the Environment's channels. Touches
//! nothing.

use jiff::Timestamp;
use reqwest::Url;

use super::{super::purpose::Purpose, about_earlier, gates, lines, live, marked, words};
use crate::{
    api::{
        DeployRequest,
        conditions::{self, ConditionType, Reason},
        deploy_request::{DecisionKind, EarlierMessage},
        gate::{GateKind, GateState, GateStatus},
    },
    slack::{
        blocks::{Block, Message, RichText},
        ids::ChannelId,
        text::Mrkdwn,
    },
};

/// An override that counts.
struct Counted<'a> {
    by: Option<&'a str>,
    why: Option<&'a str>,
    /// When something was passed; absent before.
    at: Option<Timestamp>,
}

/// Whether something was passed, as the record of decisions has it.
pub fn is_overridden(request: &DeployRequest) -> bool {
    decided(request).is_some()
}

fn decided(request: &DeployRequest) -> Option<Counted<'_>> {
    let decisions = &super::status(request)?.decisions;
    let mut latest = decisions.iter().rev();
    let record = latest.find(|record| record.what == DecisionKind::Overridden)?;
    Some(Counted {
        by: record.by.as_deref(),
        why: record.why.as_deref(),
        at: Some(record.at.0),
    })
}

fn counted(request: &DeployRequest) -> Option<Counted<'_>> {
    decided(request).or_else(|| {
        let asked = request.spec.override_.as_ref()?;
        let conditions = &super::status(request)?.conditions;
        let condition = conditions::find(conditions, ConditionType::Overridden)?;
        (condition.status == "True").then(|| Counted {
            by: asked.by.as_ref().map(|by| by.username.as_str()),
            why: Some(&asked.reason),
            at: None,
        })
    })
}

/// At the top of the live message: by whom and why; or why their word doesn't count.
pub(super) fn blocks(request: &DeployRequest) -> Vec<Block> {
    if let Some(counted) = counted(request) {
        let mut line = Mrkdwn::fixed("⚠️ *Overridden*") + by(counted.by) + past(request);
        line += counted
            .at
            .map(|at| Mrkdwn::fixed(", ") + Mrkdwn::date(at))
            .unwrap_or_default();
        return with_why(line, counted.why);
    }
    let Some(asked) = &request.spec.override_ else {
        return Vec::new();
    };
    let conditions = super::status(request).map(|status| &status.conditions);
    let condition =
        conditions.and_then(|conditions| conditions::find(conditions, ConditionType::Overridden));
    if super::phase(request).is_terminal() && condition.is_none() {
        return Vec::new();
    }
    let word = if gates::is_override_refused(request) {
        "An override that doesn't count, asked for"
    } else {
        "An override is asked for; whether it counts isn't known yet. It was asked for"
    };
    let who = asked.by.as_ref().map(|by| by.username.as_str());
    let line = Mrkdwn::fixed(word) + by(who);
    let mut blocks = with_why(line, Some(&asked.reason));
    blocks.extend(condition.map(|condition| {
        let sentence = live::capital(&condition.message);
        RichText::new().sentence(&sentence).into()
    }));
    blocks
}

/// One message in a channel of the Environment: somebody let it pass what holds others.
pub fn overridden(
    request: &DeployRequest,
    channel: &ChannelId,
    at: Option<&Url>,
    earlier: Option<EarlierMessage>,
) -> Message {
    let counted = counted(request);
    let asker = counted.as_ref().and_then(|counted| counted.by);
    let line = Mrkdwn::fixed("⚠️ ")
        + words::subject(request)
        + ": overridden"
        + by(asker)
        + past(request)
        + lines::details(at);
    let mut blocks = with_why(line.clone(), counted.and_then(|counted| counted.why));
    blocks.extend(about_earlier(earlier));
    blocks.push(Block::context([live::origin(request)]));
    let purpose = Purpose::Overridden(channel.clone());
    marked(Message::new(line, blocks), request, &purpose)
}

fn with_why(line: Mrkdwn, why: Option<&str>) -> Vec<Block> {
    let why = why.filter(|why| !why.trim().is_empty());
    let why = why.map(|why| RichText::new().quote(why).into());
    std::iter::once(Block::section(line)).chain(why).collect()
}

fn by(name: Option<&str>) -> Mrkdwn {
    match name {
        Some(name) => Mrkdwn::fixed(" by ") + Mrkdwn::code_within(name, 80),
        None => Mrkdwn::fixed(" by nobody named"),
    }
}

fn held(gate: &GateStatus) -> bool {
    gate.reason.as_deref() == Some(Reason::Held.to_string().as_str())
}

/// `, past a freeze and a lock`: what was passed, as far as the table of gates still tells.
fn past(request: &DeployRequest) -> Mrkdwn {
    let gates = super::status(request).map(|status| status.gates.as_slice());
    let passed = gates.unwrap_or_default().iter();
    let passed: Vec<Mrkdwn> = passed
        .filter(|gate| gate.state == GateState::Overridden)
        .filter_map(|gate| {
            Some(Mrkdwn::fixed(match gate.gate {
                GateKind::Order => "the order of environments",
                GateKind::Freeze => "a freeze",
                GateKind::Lock if held(gate) => "the hold of a rollback",
                GateKind::Lock => "a lock",
                _ => return None,
            }))
        })
        .collect();
    if passed.is_empty() {
        return Mrkdwn::default();
    }
    Mrkdwn::fixed(", past ") + Mrkdwn::join(passed, " and ")
}
