//! Why a request starts or doesn't: what it asks, every gate, what can be done, and how it ended. Touches nothing.
//!
//! All of it is what the status says; nothing is judged anew. So it is as good for one that ended long ago.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use super::on_one_line as plain;
use crate::{
    api::{
        DeployRequest,
        conditions::{self, ConditionType},
        deploy_request::{DecisionRecord, Phase},
        gate::{GateKind, GateState, GateStatus},
    },
    domain::moments::when,
};

/// A request, explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What it asks for, in a sentence.
    pub asks: String,
    /// Where it stands; `Pending` where nobody has looked at it yet.
    pub phase: Phase,
    /// The fixed word for how it ended, once it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// A sentence on where it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What it waits for, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// Every gate in its order, as it was last judged; empty where none was.
    pub gates: Vec<Row>,
    /// What can be done about it now.
    pub ways: Vec<String>,
    /// What was decided, by whom and why, oldest first.
    pub decisions: Vec<Decided>,
}

/// One gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Which.
    pub gate: GateKind,
    /// How it stands.
    pub state: GateState,
    /// The fixed word for why, where it isn't simply open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When it opens by itself, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Decided {
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: String,
    /// By whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What is said of a request.
pub fn explain(request: &DeployRequest) -> Explanation {
    let spec = &request.spec;
    let status = request.status.clone().unwrap_or_default();
    let phase = status.phase.unwrap_or_default();
    let ended = phase.is_terminal();
    let reason = conditions::find(&status.conditions, ConditionType::Succeeded)
        .filter(|_| ended)
        .map(|condition| condition.reason.clone());
    let version = spec.version.as_deref();
    let version = version
        .map(|version| format!(" `{}`", plain(version)))
        .unwrap_or_default();
    let by = spec.requester.as_ref();
    let by = by
        .map(|by| format!(", asked for by `{}`", plain(&by.username)))
        .unwrap_or_default();
    let dry = if spec.dry_run { ", as a dry run" } else { "" };
    Explanation {
        namespace: request.metadata.namespace.clone().unwrap_or_default(),
        name: request.metadata.name.clone().unwrap_or_default(),
        asks: format!(
            "{} of `{}`{version} in `{}`{dry}{by}.",
            plain(&spec.action),
            plain(&spec.application),
            plain(&spec.environment)
        ),
        phase,
        reason,
        message: status.message.as_deref().map(plain),
        waiting: status
            .waiting
            .as_ref()
            .filter(|_| !ended)
            .map(|waiting| plain(&waiting.message)),
        finished_at: status.finished_at.as_ref().map(|at| at.0),
        gates: rows(&status.gates),
        ways: ways(request, phase, &status.gates),
        decisions: status.decisions.iter().map(decided).collect(),
    }
}

/// Every gate, in the order of the table.
pub fn rows(gates: &[GateStatus]) -> Vec<Row> {
    GateKind::ALL
        .into_iter()
        .filter_map(|kind| gates.iter().find(|gate| gate.gate == kind))
        .map(|gate| Row {
            gate: gate.gate,
            state: gate.state,
            reason: gate.reason.clone(),
            message: gate.message.as_deref().map(plain),
            until: gate.until.as_ref().map(|until| until.0),
        })
        .collect()
}

fn decided(record: &DecisionRecord) -> Decided {
    Decided {
        at: record.at.0,
        what: format!("{:?}", record.what),
        by: record.by.as_deref().map(plain),
        why: record.why.as_deref().map(plain),
    }
}

/// What can be done about a request that didn't end.
fn ways(request: &DeployRequest, phase: Phase, gates: &[GateStatus]) -> Vec<String> {
    if phase.is_terminal() {
        return vec!["It ended, and stays as it is; make a new request.".to_owned()];
    }
    let held = |kind: &GateKind| {
        gates
            .iter()
            .any(|gate| gate.gate == *kind && !is_passed(gate.state))
    };
    let name = request.metadata.name.as_deref().unwrap_or_default();
    let namespace = request.metadata.namespace.as_deref().unwrap_or_default();
    let patch = |field: &str| {
        format!(
            "`kubectl patch dr {name} -n {namespace} --type merge -p '{{\"spec\":{{\"{field}\":{{\"reason\":\"…\"}}}}}}'`"
        )
    };
    let mut ways = Vec::new();
    if held(&GateKind::Approval) {
        ways.push(
            "Whoever has the verb `approve` can say yes in Slack, or with a DeployApproval."
                .to_owned(),
        );
    }
    let passable = GateKind::ALL
        .into_iter()
        .filter(|kind| kind.is_passed_by_override())
        .any(|kind| held(&kind));
    if passable {
        ways.push(format!(
            "Whoever has the verb `override` can let it pass order, freezes and locks: {}.",
            patch("override")
        ));
    }
    if request.spec.cancel.is_none() {
        ways.push(format!(
            "Who asked for it, or has the verb `cancel`, can cancel it: {}.",
            patch("cancel")
        ));
    }
    ways
}

fn is_passed(state: GateState) -> bool {
    matches!(state, GateState::Open | GateState::Overridden)
}

impl Row {
    /// Its state by sign and word.
    pub fn state(&self) -> &'static str {
        match self.state {
            GateState::Open => "✓ open",
            GateState::Overridden => "! overridden",
            GateState::Closed => "✗ closed",
            GateState::Unknown => "? unknown",
        }
    }

    /// A line of text.
    pub fn text(&self) -> String {
        let until = self
            .until
            .map(|until| format!(" Opens {}.", when(until)))
            .unwrap_or_default();
        let message = self.message.as_deref().unwrap_or_default();
        format!(
            "{:<13} {:<14} {message}{until}",
            self.state(),
            self.gate.word()
        )
        .trim_end()
        .to_owned()
    }
}

impl Explanation {
    /// As lines for people; the first stands alone.
    pub fn text(&self) -> String {
        let mut text = format!("{:?}: {}/{}", self.phase, self.namespace, self.name);
        if let Some(reason) = &self.reason {
            let _ = write!(text, " ({reason})");
        }
        let _ = write!(text, "\nAsks for {}\n", self.asks);
        if let Some(at) = self.finished_at {
            let _ = writeln!(text, "Ended {}.", when(at));
        }
        let said = [&self.message, &self.waiting];
        let mut told: Option<&str> = None;
        for sentence in said.into_iter().flatten() {
            if told != Some(sentence) {
                let _ = writeln!(text, "{sentence}");
            }
            told = Some(sentence);
        }
        if self.gates.is_empty() {
            text.push_str("\nNo gate was judged for it so far.\n");
        } else {
            text.push_str("\nGates, as they were last judged:\n");
        }
        for row in &self.gates {
            let _ = writeln!(text, "  {}", row.text());
        }
        if !self.decisions.is_empty() {
            text.push_str("\nDecided:\n");
        }
        for decided in &self.decisions {
            let by = decided.by.as_ref().map(|by| format!(" by `{by}`"));
            let why = decided.why.as_ref().map(|why| format!(": {why}"));
            let _ = writeln!(
                text,
                "  {} {}{}{}",
                when(decided.at),
                decided.what,
                by.unwrap_or_default(),
                why.unwrap_or_default()
            );
        }
        text.push_str("\nWhat can be done:\n");
        for way in &self.ways {
            let _ = writeln!(text, "  {way}");
        }
        text
    }
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
