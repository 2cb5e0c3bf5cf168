//! What has to be open before anything starts, and whether it is. Touches nothing.

mod table;

use jiff::{SignedDuration, Timestamp};

pub use self::table::{Judged, Table};

use super::{access, guards::Guards, moments::when, refusal::Refusal};
use crate::api::{
    DeployRequest,
    conditions::{self, ConditionType, Reason},
    deploy_request::{Approvals, DeployRequestStatus, GivenApproval, WaitingFor},
    gate::GateKind,
};

/// How soon it is looked again, where a gate was to open or close since it was judged.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(1);

/// What people and policies say about a request, as it was found for one decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Gates {
    /// Whether what admission stamps can be believed: all policies are there and as they should be.
    pub vouched: Result<(), Refusal>,
    /// Whether whoever asked may.
    pub access: Access,
    /// Whether everybody who has to say yes did.
    pub approval: Approval,
    /// Its time, order, freezes and locks.
    pub guards: Guards,
    /// Whether `spec.cancel` counts: who wrote it may. A refusal says why it doesn't; `None` where nobody judged it. It
    /// stands for nothing where there is no `spec.cancel`.
    pub cancel: Option<Result<(), Refusal>>,
    /// Words on the start that don't count since whoever gave them may not, for the record.
    pub refused: Vec<RefusedVoice>,
}

/// A word that doesn't count since whoever gave it may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedVoice {
    /// Who, by their Kubernetes user name, where that is known.
    pub by: Option<String>,
    /// When.
    pub at: Timestamp,
    /// Why it doesn't count.
    pub why: String,
}

/// Whether whoever asked may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// They may: as whom, and by which rule, in the API server's words.
    Granted {
        /// The Kubernetes user name.
        username: String,
        /// What the API server says.
        rule: String,
    },
    /// They may not, and waiting can't help.
    Denied(Refusal),
    /// It can't be said now.
    Unknown(Refusal),
}

/// Whether everybody who has to say yes did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Approval {
    /// Nobody has to.
    NotNeeded,
    /// Enough people did.
    Enough(Approvals),
    /// Somebody is still asked; the refusal says who, and waits for `Approval`, or for `Authorization` while it can't be
    /// said whether somebody's word counts.
    Missing(Approvals, Refusal),
    /// Somebody who may approve said no.
    Rejected {
        /// By their Kubernetes user name.
        by: String,
        /// What they said.
        comment: String,
    },
}

impl Gates {
    /// Everything open: for whoever decides about what no gate stands before, and for tests.
    pub fn open() -> Self {
        Self {
            vouched: Ok(()),
            access: Access::Granted {
                username: String::new(),
                rule: String::new(),
            },
            approval: Approval::NotNeeded,
            guards: Guards::default(),
            cancel: Some(Ok(())),
            refused: Vec::new(),
        }
    }

    /// Why nothing may be sent for the request now, if anything says so: the first closed gate of the table, where the
    /// target is its own. Where it can't be said whether a cancel counts, it may.
    pub fn closed(&self, request: &DeployRequest) -> Option<Refusal> {
        if request.metadata.deletion_timestamp.is_some() {
            return Some(Refusal::permanent(
                Reason::RequestGone,
                "the request is being deleted.",
            ));
        }
        if let Some(refusal) = self.undecided_cancel(request) {
            return Some(refusal.clone());
        }
        self.table(None).first().map(|(_, refusal)| refusal)
    }

    /// Whether everything is open right before a start: no gate is closed, no cancel may count, and it isn't too late.
    pub fn are_open(&self, request: &DeployRequest, now: Timestamp) -> bool {
        let canceled = request.spec.cancel.is_some()
            && self
                .refused_cancel()
                .is_none_or(|refusal| refusal.waiting_for.is_some());
        !canceled && self.closed(request).is_none() && too_late(request, now).is_none()
    }

    /// Whether it goes through these by the word of nobody else than through `told`: who said yes, and who passes what. Nobody
    /// is to be named by whose word it did not start, and nothing passed of which nobody was told.
    pub fn go_by_the_word_of(&self, told: &Self) -> bool {
        let (own, theirs) = (self.table(None), told.table(None));
        let known: Vec<GateKind> = theirs.overridden().collect();
        let mut passed = own.overridden();
        self.given() == told.given()
            && self.overrider() == told.overrider()
            && passed.all(|gate| known.contains(&gate))
    }

    /// Who said yes, of those that it takes.
    fn given(&self) -> &[GivenApproval] {
        match &self.approval {
            Approval::Enough(approvals) => &approvals.given,
            _ => &[],
        }
    }

    /// By whose word it passes what may be passed, if by anybody's: their Kubernetes user name.
    pub fn overrider(&self) -> Option<&str> {
        let overrider = self.guards.overriding.as_ref()?.as_ref().ok()?;
        Some(&overrider.username)
    }

    /// Why it can't be said whether `spec.cancel` counts, where there is one.
    pub fn undecided_cancel(&self, request: &DeployRequest) -> Option<&Refusal> {
        request.spec.cancel.as_ref()?;
        self.refused_cancel()
            .filter(|refusal| refusal.waiting_for.is_some())
    }

    /// Whether `spec.cancel`, where there is one, was judged and counts.
    pub fn cancel_counts(&self) -> bool {
        matches!(self.cancel, Some(Ok(())))
    }

    /// Why `spec.cancel` doesn't count, or can't be said to.
    pub(super) fn refused_cancel(&self) -> Option<&Refusal> {
        self.cancel.as_ref()?.as_ref().err()
    }

    /// When the next of them opens or closes by itself after `now`, where that is known. One of which the moment came since it was
    /// judged is soon looked at again, and not at once: should it stay as it is, that would never end.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let approvals = match &self.approval {
            Approval::Enough(approvals) | Approval::Missing(approvals, _) => {
                approvals.until.as_ref().map(|until| until.0)
            }
            Approval::NotNeeded | Approval::Rejected { .. } => None,
        };
        let guards = GateKind::ALL.map(|gate| self.guards.bare(gate)?.until);
        let guards = guards.into_iter().chain([self.guards.changes_at]).flatten();
        let ahead = |change: Timestamp| {
            if change > now {
                change
            } else {
                now + LOOK_AGAIN
            }
        };
        guards
            .map(ahead)
            .chain(approvals.filter(|change| *change > now))
            .min()
    }

    /// Says in the status whether a cancel counts. Once one was heeded, that isn't taken back.
    pub fn tell_cancel(
        &self,
        request: &DeployRequest,
        status: &mut DeployRequestStatus,
        now: Timestamp,
    ) {
        if request.spec.cancel.is_none() || (access::is_heeded(status) && !self.cancel_counts()) {
            return;
        }
        let was = conditions::find(&status.conditions, ConditionType::Cancelable).is_some();
        let (truth, reason, message) = match &self.cancel {
            Some(Ok(())) if was => (
                Some(true),
                Reason::CancelRequested,
                "it is cancelled as asked.",
            ),
            // What was said of it before stands where nobody judged it.
            Some(Ok(())) | None => return,
            Some(Err(refusal)) if refusal.waiting_for.is_some() => {
                (None, refusal.reason, refusal.message.as_str())
            }
            Some(Err(refusal)) => (Some(false), refusal.reason, refusal.message.as_str()),
        };
        tell(
            status,
            ConditionType::Cancelable,
            truth,
            reason,
            message,
            request,
            now,
        );
    }

    /// Says in the status how each gate stands, and whether an override counts, where there is one. `queue` is as for
    /// [`Gates::table`].
    pub fn tell_table(
        &self,
        request: &DeployRequest,
        status: &mut DeployRequestStatus,
        queue: Option<&Refusal>,
        starting: bool,
        now: Timestamp,
    ) {
        status.gates = self.table(queue).told(&status.gates);
        let kind = ConditionType::Overridden;
        let (truth, reason, message) = match &self.guards.overriding {
            // What was said of it before stands where nobody judged it.
            _ if request.spec.override_.is_none() => return,
            None => return,
            Some(Ok(by)) => {
                let who = format!("`{}` may pass order, freezes and locks.", by.username);
                let known = conditions::find(&status.conditions, kind)
                    .filter(|known| known.status == "True")
                    .is_some_and(|known| known.message.starts_with(&who));
                if known && !starting {
                    return;
                }
                let message = format!("{who} {}", by.rule).trim_end().to_owned();
                (Some(true), Reason::Overridden, message)
            }
            Some(Err(refusal)) => {
                let truth = refusal.waiting_for.is_none().then_some(false);
                (truth, refusal.reason, refusal.message.clone())
            }
        };
        tell(status, kind, truth, reason, &message, request, now);
    }

    /// Says in the status whether whoever asked may and whether everybody said yes. `starting` when it is about to be
    /// sent: then the rule by which they may is told anew, else the one that was told first stays, since the API server
    /// names now this and now that of several.
    pub fn tell_start(
        &self,
        request: &DeployRequest,
        status: &mut DeployRequestStatus,
        starting: bool,
        now: Timestamp,
    ) {
        let authorized = ConditionType::Authorized;
        let closed = match (&self.vouched, &self.access) {
            (Ok(()), Access::Granted { username, rule }) => {
                let known = conditions::find(&status.conditions, authorized)
                    .filter(|known| known.status == "True")
                    .is_some_and(|known| known.message.starts_with(&granted(username, "")));
                if starting || !known {
                    let message = granted(username, rule);
                    tell(
                        status,
                        authorized,
                        Some(true),
                        Reason::Authorized,
                        &message,
                        request,
                        now,
                    );
                }
                None
            }
            (Err(refusal), _) | (Ok(()), Access::Unknown(refusal)) => {
                Some((refusal.waiting_for.is_none().then_some(false), refusal))
            }
            (Ok(()), Access::Denied(refusal)) => Some((Some(false), refusal)),
        };
        if let Some((truth, refusal)) = closed {
            tell(
                status,
                authorized,
                truth,
                refusal.reason,
                &refusal.message,
                request,
                now,
            );
            return;
        }
        if request.spec.dry_run {
            return;
        }
        let (truth, reason, message) = match &self.approval {
            Approval::NotNeeded => {
                status.approvals = None;
                (
                    Some(true),
                    Reason::Approved,
                    "nobody has to approve it.".to_owned(),
                )
            }
            Approval::Enough(approvals) => {
                status.approvals = Some(Box::new(approvals.clone()));
                (Some(true), Reason::Approved, approved(approvals))
            }
            Approval::Missing(approvals, refusal) => {
                let unknown = refusal.waiting_for == Some(WaitingFor::Authorization);
                // Nobody took anything back while it can't be said whether their word counts.
                if !unknown || status.approvals.is_none() {
                    status.approvals = Some(Box::new(approvals.clone()));
                }
                (
                    (!unknown).then_some(false),
                    refusal.reason,
                    refusal.message.clone(),
                )
            }
            Approval::Rejected { by, comment } => {
                (Some(false), Reason::Rejected, rejected(by, comment).message)
            }
        };
        tell(
            status,
            ConditionType::Approved,
            truth,
            reason,
            &message,
            request,
            now,
        );
    }
}

/// By whose override it started, as its own status says: what was judged last stays from the start on.
pub fn overridden_by(request: &DeployRequest) -> Option<String> {
    let conditions = &request.status.as_ref()?.conditions;
    conditions::find(conditions, ConditionType::Overridden).filter(|told| told.status == "True")?;
    let by = request.spec.override_.as_ref()?.by.as_ref()?;
    Some(by.username.clone())
}

/// Why it may no longer start, if it names a time for that and that is over.
pub fn too_late(request: &DeployRequest, now: Timestamp) -> Option<Refusal> {
    let before = request.spec.start_before.as_ref()?.0;
    (now >= before).then(|| {
        Refusal::permanent(
            Reason::Expired,
            format!(
                "it was not to start after {} (`spec.startBefore`).",
                when(before)
            ),
        )
    })
}

fn tell(
    status: &mut DeployRequestStatus,
    kind: ConditionType,
    truth: Option<bool>,
    reason: Reason,
    message: &str,
    request: &DeployRequest,
    now: Timestamp,
) {
    let generation = request.metadata.generation;
    conditions::set(
        &mut status.conditions,
        kind,
        truth,
        reason,
        message,
        generation,
        now,
    );
}

/// That somebody who may approve said no.
pub fn rejected(by: &str, comment: &str) -> Refusal {
    let comment = comment.trim();
    let why = if comment.is_empty() {
        "without saying why".to_owned()
    } else {
        format!("saying: {comment}")
    };
    Refusal::permanent(
        Reason::Rejected,
        format!("`{by}` rejected it, {why}. Make a new request once that is settled."),
    )
}

fn granted(username: &str, rule: &str) -> String {
    format!("`{username}` may. {rule}").trim_end().to_owned()
}

fn approved(approvals: &Approvals) -> String {
    let names: Vec<String> = approvals
        .given
        .iter()
        .map(|given| format!("`{}`", given.by))
        .collect();
    format!("approved by {}.", names.join(", "))
}
