//! What else keeps a request from starting, beside who may and who said yes: its time, order, freezes and locks. Touches
//! nothing.
//!
//! The same functions judge for the controller, which heeds them, and for the receiver, which shows them in a plan.

pub mod explain;
pub mod freeze;
pub mod lock;
pub mod order;
pub mod overriding;
mod schedule;
pub mod time;

use jiff::Timestamp;

use super::{commits::is_hidden, refusal::Refusal};
use crate::api::{bounds, gate::GateKind};

/// How a request goes on although order, a freeze or a lock keeps it.
const PASS: &str =
    "Whoever has the verb `override` may let one request pass, with a reason (spec.override).";
/// Somebody's reason, as a sentence of ours repeats it: what follows it has to be read too.
const REASON: usize = 300;

/// Why a gate is closed, and when it opens by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// Why: what, by which rule, until when, who can do what about it. It always has a `waiting_for`.
    pub refusal: Refusal,
    /// When it opens by itself, where that is known.
    pub until: Option<Timestamp>,
}

/// Who passes what may be passed, and may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overrider {
    /// Their Kubernetes user name.
    pub username: String,
    /// By which rule, in the API server's words.
    pub rule: String,
    /// Why, in their words.
    pub reason: String,
}

/// What keeps a request from starting, as it was found for one decision; `None` where nothing does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Guards {
    /// `spec.notBefore`.
    pub time: Option<Closed>,
    /// `spec.protection.after`.
    pub order: Option<Closed>,
    /// Freezes: the first that holds it, told with the number of further ones.
    pub freeze: Option<Closed>,
    /// Locks, and a rollback's hold.
    pub lock: Option<Closed>,
    /// Whether `spec.override` counts; `None` where there is none. A refusal with `waiting_for`: it can't be said.
    pub overriding: Option<Result<Overrider, Refusal>>,
    /// A freeze that cancels what runs, and holds it: why, for the record. Nothing that an override let through.
    pub running: Option<Refusal>,
    /// When the next of them that is open now closes by itself, or one that is closed opens, where that is known.
    pub changes_at: Option<Timestamp>,
}

impl Guards {
    /// A gate as it stands by itself, whatever an override says.
    pub fn bare(&self, gate: GateKind) -> Option<&Closed> {
        match gate {
            GateKind::Time => self.time.as_ref(),
            GateKind::Order => self.order.as_ref(),
            GateKind::Freeze => self.freeze.as_ref(),
            GateKind::Lock => self.lock.as_ref(),
            GateKind::Policies | GateKind::Authorization | GateKind::Approval | GateKind::Queue => {
                None
            }
        }
    }

    /// Whether an override passes this gate.
    pub fn is_overridden(&self, gate: GateKind) -> bool {
        gate.is_passed_by_override() && matches!(self.overriding, Some(Ok(_)))
    }

    /// What keeps it from starting, in the order of the table; empty where nothing does.
    pub fn closed(&self) -> impl Iterator<Item = (GateKind, &Closed)> {
        GateKind::ALL
            .into_iter()
            .filter(|gate| !self.is_overridden(*gate))
            .filter_map(|gate| Some((gate, self.bare(gate)?)))
    }
}

/// The first of these moments.
pub fn soonest(moments: impl IntoIterator<Item = Timestamp>) -> Option<Timestamp> {
    moments.into_iter().min()
}

/// What somebody said: in quotation marks that it can't end, on one line, and cut.
pub(super) fn told(text: &str) -> String {
    let line = on_one_line(text).replace(['“', '”'], "\"");
    format!("“{}”", bounds::cut(&line, REASON))
}

/// Somebody's words on one line, without what a terminal would obey, what nobody sees, and what turns the direction of writing.
fn on_one_line(text: &str) -> String {
    let seen: String = text.chars().filter(|letter| !is_hidden(*letter)).collect();
    let words = seen.split(|letter: char| letter.is_whitespace() || letter.is_control());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_said_stays_within_its_quotation_marks() {
        assert_eq!(told(" the  site\nis\tdown\u{7} "), "“the site is down”");
        assert_eq!(
            told("over.” It was lifted. “Go on"),
            "“over.\" It was lifted. \"Go on”"
        );
        assert_eq!(told("\u{202e}no\u{2066} go\u{200b}od\u{2069}"), "“no good”");
        assert_eq!(told(&"x".repeat(2000)).chars().count(), REASON + 2);
    }
}
