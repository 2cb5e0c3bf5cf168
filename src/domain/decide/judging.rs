//! An execution that runs, and waits for a person's judgment or not. Touches nothing.
//!
//! Who answers what is written down first, then handed over, and the stage is looked at again a second later: Spinnaker
//! acknowledges answers that it loses. One that was lost is handed over again; it says the same, so a crash before,
//! in or after the call costs at most a repetition.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Decision, Effect, Facts, Machine, Sighting, TargetFact, cancel::frozen};
use crate::{
    api::{
        DeployRequest,
        conditions::{self, ConditionType, Reason},
        deploy_request::{Judgment, WaitingFor},
        deploy_target::Active,
    },
    domain::{
        approvals::Verdict,
        backoff,
        judgment::{self, Handover, Matter, Moment, Weighed},
        outcome::Observation,
        refusal::Refusal,
        target,
    },
};

/// How soon the stage is looked at again that was answered, or doesn't listen yet.
const LOOK: Duration = Duration::from_secs(1);
/// How soon an answer that was lost is handed over again. Times are kept in whole seconds, so it is one at least.
const AGAIN: Duration = Duration::from_secs(2);
/// How soon an answer is handed over again that Spinnaker took back, or refused.
const REFUSED_AGAIN: Duration = Duration::from_secs(30);

impl Machine<'_> {
    /// It runs, and nobody wants it cancelled.
    pub(super) fn following(&self, active: &Active, observation: &Observation) -> Decision {
        let weighed = judgment::weigh(
            matter(self.request, self.facts, observation),
            held(self.request),
        );
        let waits = self.not_before().filter(|time| *time > self.now);
        let due = weighed.moment == Some(Moment::Waiting) && waits.is_none();
        let undecided = self.facts.gates.undecided_cancel(self.request);
        // What was taken back is said before it is tried again.
        let told = !weighed.turned_away || self.says(Reason::SpinnakerForbidden);
        if let Some(handover) = &weighed.counted
            && due
            && told
            && undecided.is_none()
            && self.facts.trouble.is_none()
        {
            return self.act(Effect::Judge(Box::new(handover.clone())));
        }
        let shown = self.shown(observation, &weighed);
        let note = shown.as_ref().map(|stage| self.note(stage, &weighed));
        let mut status = self.mirrored(active).running(observation, note);
        status.judgment = shown.map(Box::new);
        // A freeze that is to come may cancel it.
        let poll = self.by_the_next_change(backoff::poll(self.uid, observation.changed, self.now));
        // Written down first by whoever hands it over, and kept here.
        if let Some(shown) = &mut status.judgment
            && let Some(handover) = &weighed.counted
            && held(self.request) == handover.approval.metadata.name.as_deref()
        {
            shown.answer = Some(handover.given());
        }
        if weighed.counted.is_none() || undecided.is_some() {
            let soon = if self.is_opening(observation) {
                poll.min(LOOK)
            } else {
                poll
            };
            return Decision::record(status, Some(soon));
        }
        let pause = self.pause(&weighed);
        let again = waits.unwrap_or(self.now + pause);
        status.next_attempt_at = Some(Time(again));
        let look = if pause == AGAIN { LOOK } else { poll.max(LOOK) };
        let left = backoff::elapsed(self.now, again).max(Duration::from_millis(100));
        Decision::record(status, Some(look.min(left)))
    }

    /// Whether a stage is about to wait for an answer, or what it asks was never read.
    fn is_opening(&self, observation: &Observation) -> bool {
        let status = self.request.status.as_ref();
        let shown = status.and_then(|status| status.judgment.as_deref());
        observation
            .judgments
            .iter()
            .any(|stage| match stage.moment {
                Moment::Opening => true,
                // What was read once is not read again while nobody answers, for hours maybe.
                Moment::Unread => shown.is_none_or(|shown| shown.stage != stage.judgment.stage),
                _ => false,
            })
    }

    fn not_before(&self) -> Option<Timestamp> {
        let status = self.request.status.as_ref()?;
        status.next_attempt_at.as_ref().map(|time| time.0)
    }

    fn says(&self, reason: Reason) -> bool {
        let status = self.request.status.as_ref();
        status.is_some_and(|status| {
            conditions::find(&status.conditions, ConditionType::Reconciling)
                .is_some_and(|condition| condition.reason == reason.to_string())
        })
    }

    /// How long until it is handed over again, should Spinnaker show nothing of it.
    fn pause(&self, weighed: &Weighed) -> Duration {
        match &self.facts.trouble {
            _ if weighed.turned_away => REFUSED_AGAIN,
            // The call's outcome is a passing word of ours; whatever else was met is a refusal.
            Some(trouble) if trouble.reason != Reason::Running => {
                trouble.retry_after.unwrap_or(REFUSED_AGAIN).max(AGAIN)
            }
            _ => AGAIN,
        }
    }

    /// The judgment that the request shows: the one that is answered, the one that it showed, or the first that is open.
    fn shown(&self, observation: &Observation, weighed: &Weighed) -> Option<Judgment> {
        let known = self
            .request
            .status
            .as_ref()
            .and_then(|status| status.judgment.as_deref());
        let open = |id: &str| {
            observation
                .judgments
                .iter()
                .find(|stage| stage.moment.is_open() && stage.judgment.stage == id)
        };
        let answered = weighed
            .counted
            .as_ref()
            .map(|handover| &handover.stage.stage);
        let stage = answered
            .or(known.map(|known| &known.stage))
            .and_then(|id| open(id))
            .or_else(|| {
                observation
                    .judgments
                    .iter()
                    .find(|stage| stage.moment.is_open())
            })?;
        // What was read once doesn't change while it waits.
        let judgment = match known {
            Some(known)
                if stage.moment == Moment::Unread && known.stage == stage.judgment.stage =>
            {
                known.clone()
            }
            _ => stage.judgment.clone(),
        };
        Some(Judgment {
            answer: None,
            ..judgment
        })
    }

    fn note(&self, stage: &Judgment, weighed: &Weighed) -> Refusal {
        let waits = |reason, message| Refusal::passing(WaitingFor::Judgment, reason, message);
        let Some(handover) = &weighed.counted else {
            return waits(Reason::Running, asks(stage));
        };
        let Handover { by, .. } = handover;
        let name = &stage.name;
        if let Some(undecided) = self.facts.gates.undecided_cancel(self.request)
            && weighed.moment == Some(Moment::Waiting)
        {
            return waits(
                undecided.reason,
                format!(
                    "`{by}` answered stage {name:?}, which is not handed over before that is settled: {}",
                    undecided.message
                ),
            );
        }
        match &self.facts.trouble {
            _ if weighed.turned_away => waits(
                Reason::SpinnakerForbidden,
                format!(
                    "`{by}` answered stage {name:?}, and Spinnaker does not let the account that Foredeck logs in with: it has none of the roles {} there. Spinnaker's operators can give it one, or somebody answers in Spinnaker.",
                    stage.roles.join(", ")
                ),
            ),
            Some(trouble) if trouble.reason != Reason::Running => waits(
                trouble.reason,
                format!("`{by}` answered stage {name:?}, but {}", trouble.message),
            ),
            _ => waits(
                Reason::Running,
                format!("`{by}` answered stage {name:?}; Spinnaker has yet to act on it."),
            ),
        }
    }
}

/// What a stage asks, in one paragraph.
fn asks(stage: &Judgment) -> String {
    let mut text = format!("stage {:?} waits for a person's judgment", stage.name);
    if !stage.roles.is_empty() {
        text.push_str(" (roles: ");
        text.push_str(&stage.roles.join(", "));
        text.push(')');
    }
    match &stage.instructions {
        Some(instructions) => {
            text.push_str(": ");
            text.push_str(&instructions.replace('\n', " "));
        }
        None => text.push('.'),
    }
    if !stage.inputs.is_empty() {
        text.push_str(" It takes one of: ");
        text.push_str(&stage.inputs.join(", "));
        text.push('.');
    }
    text
}

/// What is met by an answer that Gate acknowledged, or may have: only the stage tells what became of it.
pub fn handed_over() -> Refusal {
    Refusal::passing(
        WaitingFor::Judgment,
        Reason::Running,
        "Spinnaker has yet to act on it.",
    )
}

/// What is said of each answer to a manual judgment of this request, where anything is to be said.
pub fn verdicts(request: &DeployRequest, facts: &Facts) -> Vec<Verdict> {
    let Sighting::Seen(observation) = &facts.sighting else {
        return Vec::new();
    };
    let uid = request.metadata.uid.as_deref().unwrap_or_default();
    let frozen = match &facts.target {
        TargetFact::Ready(status) => target::held_by(status, uid)
            .and_then(|active| frozen(facts, active))
            .is_some(),
        _ => false,
    };
    let over = frozen || (request.spec.cancel.is_some() && facts.gates.cancel_counts());
    if over || observation.ended.is_some() {
        let answers = facts.judgments.answers.iter();
        return answers
            .filter_map(|answer| judgment::too_late(&observation.judgments, &answer.approval))
            .collect();
    }
    judgment::weigh(matter(request, facts, observation), held(request)).verdicts
}

fn matter<'a>(
    request: &'a DeployRequest,
    facts: &'a Facts,
    observation: &'a Observation,
) -> Matter<'a> {
    Matter {
        request,
        execution: &observation.execution.id,
        stages: &observation.judgments,
        facts: &facts.judgments,
    }
}

/// The answer that was handed over, by its name.
fn held(request: &DeployRequest) -> Option<&str> {
    let judgment = request.status.as_ref()?.judgment.as_deref()?;
    judgment.answer.as_ref().map(|answer| answer.name.as_str())
}

#[cfg(test)]
#[path = "judging_tests.rs"]
mod tests;
