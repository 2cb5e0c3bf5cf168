//! The one table of what stands between a request and its start: each gate, whether it is open, and why not. Touches nothing.
//!
//! What a request waits for, what its status says of each gate, and whether it may be sent all come from here.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Access, Approval, Gates, rejected};
use crate::{
    api::{
        bounds,
        conditions::Reason,
        deploy_request::WaitingFor,
        gate::{GateKind, GateState, GateStatus},
    },
    domain::{
        guards::{Guards, told},
        refusal::Refusal,
    },
};

/// Two moments so close are one: what is counted down is reckoned anew each time.
const SAME: SignedDuration = SignedDuration::from_secs(2);

/// How much is said beside a gate of an override that doesn't count: the gate's own sentence needs room, too.
const BESIDE: usize = bounds::VALUE / 2;

/// One gate, as it was judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// Which.
    pub gate: GateKind,
    /// How it stands.
    pub state: GateState,
    /// Why it isn't simply open; without `waiting_for` it never will be. What an override makes of it is [`Judged::beside`].
    pub why: Option<Refusal>,
    /// What is said beside that of an override: who passes it, or why their word doesn't count.
    pub beside: Option<String>,
    /// When it opens by itself, where that is known.
    pub until: Option<Timestamp>,
}

/// Every gate in its place, as they were judged together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table([Judged; GateKind::ALL.len()]);

impl Table {
    /// The gates that hold the request, each with why; empty where nothing does.
    pub fn closed(&self) -> impl Iterator<Item = (GateKind, &Refusal)> {
        self.holding()
            .map(|(judged, refusal)| (judged.gate, refusal))
    }

    fn holding(&self) -> impl Iterator<Item = (&Judged, &Refusal)> {
        let held =
            |judged: &&Judged| matches!(judged.state, GateState::Closed | GateState::Unknown);
        let closed = self.0.iter().filter(held);
        closed.filter_map(|judged| Some((judged, judged.why.as_ref()?)))
    }

    /// The first gate that holds it, by which it is said to wait; the sentence names the others.
    pub fn first(&self) -> Option<(GateKind, Refusal)> {
        let mut closed = self.holding();
        let (first, refusal) = closed.next()?;
        let others: Vec<&str> = closed.map(|(judged, _)| judged.gate.word()).collect();
        let mut more = first.more();
        if !others.is_empty() {
            more = format!("{more} Also closed: {}.", others.join(", "));
        }
        let mut refusal = refusal.clone();
        refusal.message = with(&refusal.message, &more, bounds::MESSAGE);
        Some((first.gate, refusal))
    }

    /// The gates that an override passes.
    pub fn overridden(&self) -> impl Iterator<Item = GateKind> {
        let passed = |judged: &&Judged| judged.state == GateState::Overridden;
        self.0.iter().filter(passed).map(|judged| judged.gate)
    }

    /// For a request's status, beside what that says now: a second's difference is none.
    pub fn told(&self, known: &[GateStatus]) -> Vec<GateStatus> {
        let told = self.0.iter().map(|judged| {
            let before = known.iter().find(|known| known.gate == judged.gate);
            let before = before.and_then(|known| known.until.as_ref());
            let until = match (before, judged.until) {
                (Some(before), Some(until)) if before.0.duration_since(until).abs() <= SAME => {
                    Some(before.0)
                }
                (_, until) => until,
            };
            let why = judged.why.as_ref();
            GateStatus {
                gate: judged.gate,
                state: judged.state,
                reason: why.map(|why| why.reason.to_string()),
                message: why.map(|why| with(&why.message, &judged.more(), bounds::VALUE)),
                until: until.map(Time),
            }
        });
        told.collect()
    }
}

impl Gates {
    /// Each gate as it stands. `queue` says why its target isn't free for it, if it isn't; a request that holds it has
    /// nobody before it.
    pub fn table(&self, queue: Option<&Refusal>) -> Table {
        let mut table = GateKind::ALL.map(|gate| self.judged(gate, queue));
        if let Some(Err(refused)) = &self.guards.overriding {
            // Told once, where it would have helped first.
            let helped = table.iter_mut().find(|judged| {
                judged.gate.is_passed_by_override() && judged.state != GateState::Open
            });
            if let Some(judged) = helped {
                judged.beside = Some(bounds::cut(&refused.message, BESIDE));
            }
        }
        Table(table)
    }

    fn judged(&self, gate: GateKind, queue: Option<&Refusal>) -> Judged {
        let why = match gate {
            GateKind::Policies => self.vouched.as_ref().err().cloned(),
            GateKind::Authorization => match &self.access {
                Access::Granted { .. } => None,
                Access::Denied(refusal) | Access::Unknown(refusal) => Some(refusal.clone()),
            },
            GateKind::Approval => match &self.approval {
                Approval::NotNeeded | Approval::Enough(_) => None,
                Approval::Missing(_, refusal) => Some(refusal.clone()),
                Approval::Rejected { by, comment } => Some(rejected(by, comment)),
            },
            GateKind::Time | GateKind::Order | GateKind::Freeze | GateKind::Lock => {
                self.guards.bare(gate).map(|closed| closed.refusal.clone())
            }
            GateKind::Queue => queue.cloned(),
        };
        Judged {
            gate,
            state: match &why {
                None => GateState::Open,
                Some(_) if self.guards.is_overridden(gate) => GateState::Overridden,
                Some(why) if is_unknown(why) => GateState::Unknown,
                Some(_) => GateState::Closed,
            },
            until: self.guards.bare(gate).and_then(|closed| closed.until),
            beside: self.passed(gate).filter(|_| why.is_some()),
            why,
        }
    }

    /// Who passes it, whatever it says.
    fn passed(&self, gate: GateKind) -> Option<String> {
        let overrider = self.guards.overriding.as_ref()?.as_ref().ok()?;
        gate.is_passed_by_override().then(|| {
            format!(
                "`{}` passes it, saying {}.",
                overrider.username,
                told(&overrider.reason)
            )
        })
    }
}

impl Judged {
    /// What is said beside why, with a space before it.
    fn more(&self) -> String {
        self.beside
            .as_ref()
            .map(|beside| format!(" {beside}"))
            .unwrap_or_default()
    }
}

/// Why, and what is said beside it, in so many letters: only why is cut.
fn with(why: &str, more: &str, most: usize) -> String {
    bounds::cut(why, most.saturating_sub(more.chars().count())) + more
}

impl Guards {
    /// Whether its time, order, a freeze or a lock keeps the request from starting: then it stands in nobody's way.
    pub fn holds(&self) -> bool {
        self.closed().next().is_some()
    }

    /// Whether a request of which these are the guards takes the place of one that came before it and is held by `older`,
    /// where only the newest counts: one that is held itself comes after whatever may start, and one whose time has not
    /// come, the newer or the older, is about another time.
    pub fn supersedes(&self, older: &Self) -> bool {
        older.time.is_none() && (!self.holds() || (older.holds() && self.time.is_none()))
    }
}

/// Whether this says that something can't be known now, rather than how it is.
fn is_unknown(why: &Refusal) -> bool {
    why.waiting_for == Some(WaitingFor::Authorization)
        || matches!(
            why.reason,
            Reason::AccessUnknown
                | Reason::GroupsUnknown
                | Reason::GuardsUnknown
                | Reason::TargetUnreadable
        )
}
