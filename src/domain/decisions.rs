//! What was decided about a request, by whom and why, as its status keeps it. Touches nothing.
//!
//! Each record is derived from the status before and the status after, so that a fact is written down by the write that
//! makes it one, and by no later one: what stands in the status before is not new.

use jiff::{Timestamp, Unit};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    gates::{Access, Approval, Gates},
    resolve,
};
use crate::api::{
    DeployRequest, bounds,
    conditions::{self, ConditionType, Reason},
    deploy_request::{
        Attempt, DecisionKind, DecisionRecord, DeployRequestStatus, GivenApproval, Phase,
    },
    gate::{GateKind, GateState},
};

/// Appends to `next` what it decides beyond what the request's status says. At most [`bounds::DECISIONS`] are kept: what is
/// appended now; who asked, that it was started and that it was cancelled; and the latest of all others, of which
/// refusals fall off first, since anybody may cause those.
pub fn append(
    request: &DeployRequest,
    next: &mut DeployRequestStatus,
    gates: &Gates,
    now: Timestamp,
) {
    let none = DeployRequestStatus::default();
    let before = request.status.as_ref().unwrap_or(&none);
    if before.phase.is_some_and(Phase::is_terminal) {
        return;
    }
    let mut records = Records::of(next, now);
    requested(&mut records, request);
    authorized(&mut records, before, next, gates);
    approvals(&mut records, before, next);
    refused(&mut records, request, before, next, gates);
    overridden(&mut records, next, gates);
    started(&mut records, next);
    judged(&mut records, before, next);
    canceled(&mut records, request, next, gates);
    denied(&mut records, request, next, gates);
    (next.decisions, next.audited) = records.bounded();
}

/// The status of a request that is being deleted, with the decision that it is cancelled as asked: `None` where that isn't
/// so, or stands there. Nothing else is decided about it any more.
pub fn canceled_going(
    going: &DeployRequest,
    gates: &Gates,
    now: Timestamp,
) -> Option<DeployRequestStatus> {
    let mut next = going.status.clone().unwrap_or_default();
    if next.phase.is_some_and(Phase::is_terminal) {
        return None;
    }
    let mut records = Records::of(&mut next, now);
    canceled(&mut records, going, &next, gates);
    let is_new = records.all.len() > records.stood;
    (next.decisions, next.audited) = records.bounded();
    is_new.then_some(next)
}

/// Appends one decision that no status tells by itself.
pub(super) fn remember(
    status: &mut DeployRequestStatus,
    what: DecisionKind,
    by: Option<&str>,
    why: &str,
    now: Timestamp,
) {
    let mut records = Records::of(status, now);
    records.push(what, now, by, Some(why));
    (status.decisions, status.audited) = records.bounded();
}

struct Records {
    all: Vec<DecisionRecord>,
    /// How many of them, from the first, the audit sinks have.
    audited: Option<u32>,
    /// How many of them, from the first, stood before.
    stood: usize,
    now: Timestamp,
}

impl Records {
    /// Takes them out of the status.
    fn of(status: &mut DeployRequestStatus, now: Timestamp) -> Self {
        let all = std::mem::take(&mut status.decisions);
        let stood = all.len();
        // Where it says more than there is, what is appended would count as told.
        let most = u32::try_from(stood).unwrap_or(u32::MAX);
        Self {
            audited: status.audited.map(|audited| audited.min(most)),
            all,
            stood,
            now,
        }
    }

    fn push(&mut self, what: DecisionKind, at: Timestamp, by: Option<&str>, why: Option<&str>) {
        let text = |text: &str, most| Some(bounds::cut(text, most)).filter(|text| !text.is_empty());
        self.all.push(DecisionRecord {
            // As the API server will tell it.
            at: Time(whole_second(at)),
            what,
            by: by.and_then(|by| text(by, bounds::NAME)),
            why: why.and_then(|why| text(why, bounds::VALUE)),
        });
    }

    fn has(&self, what: DecisionKind) -> bool {
        self.all.iter().any(|record| record.what == what)
    }

    /// The latest of these kinds by somebody.
    fn latest(&self, kinds: &[DecisionKind], by: &str) -> Option<&DecisionRecord> {
        let by = bounds::cut(by, bounds::NAME);
        self.all
            .iter()
            .rev()
            .find(|record| kinds.contains(&record.what) && record.by.as_ref() == Some(&by))
    }

    /// Whether a refusal as old may have fallen off the full record: told again, it would fall off again, for ever.
    fn may_have_dropped(&self, at: &Time) -> bool {
        let before = &self.all[..self.stood];
        let refusals = before
            .iter()
            .filter(|record| record.what == DecisionKind::Refused);
        let others = before.iter().filter(|record| !stays(record.what));
        let oldest = refusals
            .map(|record| &record.at)
            .min()
            .or_else(|| others.map(|record| &record.at).min());
        before.len() >= bounds::DECISIONS && oldest.is_none_or(|oldest| oldest >= at)
    }

    fn bounded(mut self) -> (Vec<DecisionRecord>, Option<u32>) {
        while self.all.len() > bounds::DECISIONS {
            // What was only just decided stays, however old it is, as long as there is room for it: whoever tells it elsewhere
            // has to see it once.
            let oldest = self.all.iter().enumerate();
            let oldest = oldest
                .filter(|(_, record)| !stays(record.what))
                .min_by_key(|(index, record)| {
                    let new = *index >= self.stood;
                    (new, record.what != DecisionKind::Refused, record.at.0)
                })
                .map_or(0, |(index, _)| index);
            self.all.remove(oldest);
            self.stood -= usize::from(oldest < self.stood);
            self.audited = self.audited.map(|audited| {
                let had = usize::try_from(audited).is_ok_and(|audited| oldest < audited);
                audited - u32::from(had)
            });
        }
        (self.all, self.audited)
    }
}

/// What is told once, and would be told anew if it fell off.
fn stays(what: DecisionKind) -> bool {
    matches!(
        what,
        DecisionKind::Requested
            | DecisionKind::Started
            | DecisionKind::Overridden
            | DecisionKind::Canceled
    )
}

fn requested(records: &mut Records, request: &DeployRequest) {
    if records.has(DecisionKind::Requested) {
        return;
    }
    let at = request
        .metadata
        .creation_timestamp
        .as_ref()
        .map_or(records.now, |time| time.0);
    let by = request.spec.requester_name();
    let why = request.spec.reason.as_deref();
    records.push(DecisionKind::Requested, at, by.as_deref(), why);
}

fn authorized(
    records: &mut Records,
    before: &DeployRequestStatus,
    next: &DeployRequestStatus,
    gates: &Gates,
) {
    let Access::Granted { username, rule } = &gates.access else {
        return;
    };
    let new = is(next, ConditionType::Authorized, "True")
        && !is(before, ConditionType::Authorized, "True");
    let known = records
        .latest(&[DecisionKind::Authorized], username)
        .is_some();
    if new && !known {
        records.push(
            DecisionKind::Authorized,
            records.now,
            Some(username),
            Some(rule),
        );
    }
}

fn approvals(records: &mut Records, before: &DeployRequestStatus, next: &DeployRequestStatus) {
    let given = |status: &DeployRequestStatus| -> Vec<GivenApproval> {
        status
            .approvals
            .as_ref()
            .map(|approvals| approvals.given.clone())
            .unwrap_or_default()
    };
    let (old, new) = (given(before), given(next));
    for lapsed in old.iter().filter(|one| !new.contains(one)) {
        let why = why_lapsed(before, next, lapsed, records.now);
        records.push(
            DecisionKind::Lapsed,
            records.now,
            Some(&lapsed.by),
            Some(&why),
        );
    }
    for given in new.iter().filter(|one| !old.contains(one)) {
        let known = records
            .latest(&[DecisionKind::Approved, DecisionKind::Lapsed], &given.by)
            .is_some_and(|record| {
                let at = Time(whole_second(given.at.0));
                record.what == DecisionKind::Approved && record.at == at
            });
        if !known {
            let why = given.comment.as_deref();
            records.push(DecisionKind::Approved, given.at.0, Some(&given.by), why);
        }
    }
}

fn why_lapsed(
    before: &DeployRequestStatus,
    next: &DeployRequestStatus,
    lapsed: &GivenApproval,
    now: Timestamp,
) -> String {
    let changes = match (&before.resolved, &next.resolved) {
        (Some(old), Some(new)) => resolve::changes(old, new),
        _ => Vec::new(),
    };
    if !changes.is_empty() {
        return format!("what would run has changed: {}.", changes.join(", "));
    }
    let over = before.approvals.as_ref().is_some_and(|approvals| {
        let first = approvals.given.iter().map(|given| given.at.0).min();
        let until = approvals.until.as_ref().map(|until| until.0);
        // All live as long, so those that lapsed are the ones that were given first.
        until.is_some_and(|until| {
            let late = now.duration_since(until);
            first.is_some_and(|first| lapsed.at.0.duration_since(first) <= late)
        })
    });
    if over {
        "its time is over.".to_owned()
    } else {
        "it was taken back, or who gave it may no longer approve.".to_owned()
    }
}

fn refused(
    records: &mut Records,
    request: &DeployRequest,
    before: &DeployRequestStatus,
    next: &DeployRequestStatus,
    gates: &Gates,
) {
    let by = request
        .spec
        .cancel
        .as_ref()
        .and_then(|cancel| cancel.by.as_ref());
    let by = by.map(|actor| actor.username.as_str());
    let refused = is(next, ConditionType::Cancelable, "False");
    // Another one may have been put in the place of one that was refused before.
    let first = by.is_some_and(|by| records.latest(&[DecisionKind::Refused], by).is_none());
    let new = refused && (first || !is(before, ConditionType::Cancelable, "False"));
    if let (true, Some(refusal)) = (new, gates.refused_cancel()) {
        records.push(
            DecisionKind::Refused,
            records.now,
            by,
            Some(&refusal.message),
        );
    }
    for voice in &gates.refused {
        let at = Time(whole_second(voice.at));
        let by = voice.by.as_deref().map(|by| bounds::cut(by, bounds::NAME));
        let known = records.all.iter().any(|record| {
            record.what == DecisionKind::Refused && record.at == at && record.by == by
        });
        if !known && !records.may_have_dropped(&at) {
            records.push(
                DecisionKind::Refused,
                voice.at,
                by.as_deref(),
                Some(&voice.why),
            );
        }
    }
}

/// Somebody's override has let it pass: nothing before its target holds it any more, and but for them something would. What may
/// have been sent may have gone without it: of that it is told with the mark of a second send.
fn overridden(records: &mut Records, next: &DeployRequestStatus, gates: &Gates) {
    let Some(Ok(overrider)) = &gates.guards.overriding else {
        return;
    };
    let passes = next
        .gates
        .iter()
        .any(|gate| gate.state == GateState::Overridden);
    let held = next.gates.iter().any(|gate| {
        gate.gate != GateKind::Queue && matches!(gate.state, GateState::Closed | GateState::Unknown)
    });
    let over = next
        .phase
        .is_some_and(|phase| phase.is_terminal() || phase == Phase::Unknown);
    if held || !passes || over {
        return;
    }
    let (by, why) = (&overrider.username, &overrider.reason);
    let name = bounds::cut(by, bounds::NAME);
    let word = bounds::cut(why, bounds::VALUE);
    let known = records.all.iter().any(|record| {
        record.what == DecisionKind::Overridden
            && record.by.as_ref() == Some(&name)
            && record.why.as_ref() == Some(&word)
    });
    if !known {
        records.push(DecisionKind::Overridden, records.now, Some(by), Some(why));
    }
}

/// It was sent, or nobody can say that it wasn't. While it is `Starting` the mark may still be taken back.
fn started(records: &mut Records, next: &DeployRequestStatus) {
    if next.phase != Some(Phase::Starting)
        && !records.has(DecisionKind::Started)
        && let Some(record) = next.attempt.as_ref().and_then(start)
    {
        records.all.push(record);
    }
}

/// That this was sent, or may have been, if so. Whoever is told of one attempt twice is told the same.
pub fn start(attempt: &Attempt) -> Option<DecisionRecord> {
    let at = attempt.sent_at.as_ref()?;
    Some(DecisionRecord {
        at: Time(whole_second(at.0)),
        what: DecisionKind::Started,
        by: None,
        why: Some(format!("execution {}", attempt.execution_id)),
    })
}

fn judged(records: &mut Records, before: &DeployRequestStatus, next: &DeployRequestStatus) {
    let answer = |status: &DeployRequestStatus| {
        let judgment = status.judgment.as_ref()?;
        Some((judgment.stage.clone(), judgment.answer.clone()?))
    };
    let Some((stage, answered)) = answer(next) else {
        return;
    };
    let at = Time(whole_second(answered.at.0));
    let known = answer(before)
        .is_some_and(|(old, given)| old == stage && given.name == answered.name)
        || records
            .latest(&[DecisionKind::Judged], &answered.by)
            .is_some_and(|record| record.at == at);
    if !known {
        let why = answered.comment.as_deref();
        records.push(DecisionKind::Judged, answered.at.0, Some(&answered.by), why);
    }
}

fn canceled(
    records: &mut Records,
    request: &DeployRequest,
    next: &DeployRequestStatus,
    gates: &Gates,
) {
    let counts = match &gates.cancel {
        Some(judged) => judged.is_ok(),
        // It has ended, and nobody judged it any more: it counted where it was cancelled for that.
        None => was_heeded(next),
    };
    let Some(cancel) = request.spec.cancel.as_ref().filter(|_| counts) else {
        return;
    };
    if !records.has(DecisionKind::Canceled) {
        let by = cancel.by.as_ref().map(|actor| actor.username.as_str());
        let why = cancel.reason.as_deref();
        records.push(DecisionKind::Canceled, records.now, by, why);
    }
}

/// It ended as cancelled as asked, and not as cancelled in Spinnaker.
fn was_heeded(status: &DeployRequestStatus) -> bool {
    status.phase == Some(Phase::Canceled)
        && conditions::find(&status.conditions, ConditionType::Succeeded)
            .is_some_and(|condition| condition.reason == Reason::Canceled.to_string())
}

fn denied(
    records: &mut Records,
    request: &DeployRequest,
    next: &DeployRequestStatus,
    gates: &Gates,
) {
    if next.phase != Some(Phase::Denied) {
        return;
    }
    match (&gates.vouched, &gates.access, &gates.approval) {
        (Ok(()), Access::Granted { .. }, Approval::Rejected { by, comment }) => {
            records.push(DecisionKind::Rejected, records.now, Some(by), Some(comment));
        }
        _ => {
            let by = request.spec.requester_name();
            let why = next.message.as_deref();
            records.push(DecisionKind::Denied, records.now, by.as_deref(), why);
        }
    }
}

fn is(status: &DeployRequestStatus, kind: ConditionType, truth: &str) -> bool {
    conditions::find(&status.conditions, kind).is_some_and(|condition| condition.status == truth)
}

fn whole_second(time: Timestamp) -> Timestamp {
    time.round(
        jiff::TimestampRound::new()
            .smallest(Unit::Second)
            .mode(jiff::RoundMode::Trunc),
    )
    .unwrap_or(time)
}

#[cfg(test)]
#[path = "decisions_tests.rs"]
mod tests;
