//! What is to be done in Slack about one request, from what it says, what was told, and the time. Touches nothing.

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use reqwest::Url;

use super::{
    message,
    place::{Places, Spot},
    purpose::Purpose,
    unasked::Unasked,
    wording::{is_asked_alone, message_for, message_of},
};
use crate::{
    api::{
        Application, DeployRequest, Environment, SEEN_ANNOTATION,
        conditions::{self, ConditionType, Reason},
        deploy_request::{EarlierMessage, Phase, SlackMessage, SlackStatus},
    },
    domain::backoff::elapsed,
    slack::{
        blocks::Message,
        client::{Posted, Priority},
        ids::{ChannelId, UserId},
    },
};

/// How long is how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    /// A request without a word from the controller is not told before this age: it may be a copy, which starts nothing.
    pub first_word: Duration,
    /// What ended longer ago is not announced any more.
    pub news: Duration,
    /// What ended longer ago, and was told to have ended, is left alone.
    pub settled: Duration,
    /// The stages get a message of their own in the thread once it has run for so long.
    pub stages: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            first_word: Duration::from_secs(5),
            news: Duration::from_mins(10),
            settled: Duration::from_hours(24),
            stages: Duration::from_secs(20),
        }
    }
}

/// All that a plan depends on.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// The request.
    pub request: &'a DeployRequest,
    /// Its Environment, if it exists.
    pub environment: Option<&'a Environment>,
    /// Its Application, if it exists.
    pub application: Option<&'a Application>,
    /// What was told so far.
    pub told: &'a SlackStatus,
    /// The message that was written down and certainly not posted, by this process.
    pub unsent: Option<&'a Purpose>,
    /// Where people see the live message, if that is known.
    pub live_url: Option<&'a Url>,
    /// The time.
    pub now: Timestamp,
    /// How long is how long.
    pub timing: &'a Timing,
}

/// A message to be posted.
#[derive(Debug, Clone, PartialEq)]
pub struct Posting<P = Purpose> {
    /// What it is for.
    pub purpose: P,
    /// Where it goes.
    pub spot: Spot,
    /// What it says.
    pub message: Message,
    /// Shows an answer in the channel too.
    pub broadcast: bool,
    /// How urgent it is.
    pub priority: Priority,
    /// Why there may be an earlier one.
    pub earlier: Option<EarlierMessage>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Write down that it is about to be posted, post it, write down which message it is.
    Post(Posting),
    /// It was written down, and what came of it isn't known: look for it; post it if it isn't there.
    Settle(Posting, SlackMessage),
    /// Show one person where the live message is.
    Whisper(Posting, UserId),
    /// Bring a message up to date.
    Update {
        /// What it is for.
        purpose: Purpose,
        /// Which.
        at: Posted,
        /// What it says now.
        message: Message,
        /// How urgent it is.
        priority: Priority,
    },
}

impl Step {
    /// What the message is for.
    pub fn purpose(&self) -> &Purpose {
        match self {
            Self::Post(posting) | Self::Settle(posting, _) | Self::Whisper(posting, _) => {
                &posting.purpose
            }
            Self::Update { purpose, .. } => purpose,
        }
    }

    /// How urgent it is.
    pub fn priority(&self) -> Priority {
        match self {
            Self::Post(posting) | Self::Settle(posting, _) | Self::Whisper(posting, _) => {
                posting.priority
            }
            Self::Update { priority, .. } => *priority,
        }
    }
}

/// What is to be done.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// Why nobody who may approve it is asked to.
    pub unasked: Option<Unasked>,
    /// In this order; after each one the plan is made again.
    pub steps: Vec<Step>,
    /// When time alone will bring more.
    pub look_again: Option<Duration>,
}

/// What is to be done in Slack about this request.
pub fn plan(facts: &Facts<'_>) -> Plan {
    let planner = Planner {
        places: Places::of(facts.request, facts.environment, facts.application),
        phase: message::phase(facts.request),
        facts,
    };
    planner.plan()
}

/// Whether it was created from another one's text: it starts nothing, and is not told.
pub fn is_copy(request: &DeployRequest) -> bool {
    let uid = request.uid().unwrap_or_default();
    let seen = request.annotations().get(SEEN_ANNOTATION);
    seen.is_some_and(|seen| *seen != uid)
}

/// The entry for a purpose.
pub fn entry<'a>(told: &'a SlackStatus, purpose: &impl ToString) -> Option<&'a SlackMessage> {
    let word = purpose.to_string();
    told.messages.iter().find(|message| message.purpose == word)
}

/// The message that an entry speaks of, if it is known.
pub fn posted(entry: &SlackMessage) -> Option<Posted> {
    Some(Posted {
        channel: entry.channel.parse().ok()?,
        ts: entry.ts.as_deref()?.parse().ok()?,
    })
}

/// The messages that speak of the request as of one that goes on: the live message, and the questions that ask now or
/// don't show yet that they no longer do.
pub fn speaking(facts: &Facts<'_>) -> Vec<(Purpose, Posted)> {
    let current = message::current_judgment(facts.request)
        .filter(|(_, judgment)| judgment.answer.is_none())
        .map(|(mark, _)| mark);
    let speaks = |entry: &SlackMessage, purpose: &Purpose| {
        let asks = match purpose {
            Purpose::Live => return true,
            Purpose::Approval => message::is_asked(facts.request),
            Purpose::Judgment(mark) => current.as_ref() == Some(mark),
            _ => return false,
        };
        let now = message::digest(&message_of(facts, purpose, entry.earlier));
        asks || entry.digest.as_deref() != Some(now.as_str())
    };
    let entries = facts.told.messages.iter();
    entries
        .filter_map(|entry| {
            let purpose = Purpose::read(&entry.purpose)?;
            let at = posted(entry)?;
            speaks(entry, &purpose).then_some((purpose, at))
        })
        .collect()
}

/// Where a message goes next when Slack refuses it at `spot`. Lines in further channels and the stages go nowhere else.
pub fn elsewhere(facts: &Facts<'_>, purpose: &Purpose, spot: &Spot) -> Option<Spot> {
    let places = Places::of(facts.request, facts.environment, facts.application);
    match purpose {
        Purpose::Live => places.after(spot),
        Purpose::End => out_of_thread(spot).or_else(|| places.after(spot)),
        Purpose::Approval | Purpose::Judgment(_) => out_of_thread(spot),
        _ => None,
    }
}

struct Planner<'a> {
    facts: &'a Facts<'a>,
    places: Places,
    phase: Phase,
}

impl Planner<'_> {
    fn plan(&self) -> Plan {
        let mut plan = Plan::default();
        // What stands in its status may be the original's.
        if is_copy(self.facts.request) {
            return plan;
        }
        plan.unasked = self.unasked();
        if self.facts.told.messages.is_empty() {
            if self.is_not_told() {
                return plan;
            }
            if let Some(left) = self.waits_for_first_word() {
                plan.look_again = Some(left);
                return plan;
            }
        }
        self.live(&mut plan);
        self.link(&mut plan);
        self.overridden(&mut plan);
        self.started(&mut plan);
        self.stages(&mut plan);
        self.approval(&mut plan);
        self.judgments(&mut plan);
        self.end(&mut plan);
        self.ended(&mut plan);
        plan
    }

    // === Whether at all ===

    /// What nobody wants to hear of any more, or ever.
    fn is_not_told(&self) -> bool {
        let request = self.facts.request;
        self.places.is_nowhere()
            || request.metadata.deletion_timestamp.is_some()
            || (self.phase.is_terminal() && (!self.is_news() || self.is_repetition()))
    }

    /// It ended without doing anything, and nobody asked for it in Slack: objects that a tool created again, say.
    fn is_repetition(&self) -> bool {
        let request = self.facts.request;
        let asked = request.spec.notify.as_ref();
        let conditions = request.status.as_ref().map(|status| &status.conditions);
        let reason = conditions
            .and_then(|conditions| conditions::find(conditions, ConditionType::Succeeded))
            .map(|condition| condition.reason.as_str());
        let is = |known: Reason| reason == Some(known.to_string().as_str());
        is(Reason::Restored)
            || (is(Reason::AlreadyRan) && asked.is_none_or(|asked| asked.slack.is_none()))
    }

    fn waits_for_first_word(&self) -> Option<Duration> {
        let request = self.facts.request;
        let status = request.status.as_ref();
        if status.is_some_and(|status| status.phase.is_some()) {
            return None;
        }
        let created = request.creation_timestamp()?.0;
        let limit = self.facts.timing.first_word;
        let left = limit.saturating_sub(elapsed(created, self.facts.now));
        (!left.is_zero()).then_some(left)
    }

    fn since_end(&self) -> Option<Duration> {
        let finished = self.facts.request.status.as_ref()?.finished_at.as_ref()?.0;
        Some(elapsed(finished, self.facts.now))
    }

    fn is_news(&self) -> bool {
        !self.phase.is_terminal()
            || self
                .since_end()
                .is_some_and(|since| since <= self.facts.timing.news)
    }

    /// It ended long ago.
    fn is_settled(&self) -> bool {
        self.phase.is_terminal()
            && self
                .since_end()
                .is_none_or(|since| since > self.facts.timing.settled)
    }

    fn has_started(&self) -> bool {
        let status = self.facts.request.status.as_ref();
        status.is_some_and(|status| status.started_at.is_some())
    }

    /// Whether those who may approve it aren't asked, though the Environment wants that, or only who asked is.
    fn unasked(&self) -> Option<Unasked> {
        let facts = self.facts;
        if !message::is_asked(facts.request) || facts.request.metadata.deletion_timestamp.is_some()
        {
            return None;
        }
        let rules = facts.environment?.spec.protection.approvals.as_ref();
        if is_asked_alone(facts.told) {
            Some(Unasked::Alone)
        } else if self.places.live.is_empty()
            && self.entry(&Purpose::Live).is_none()
            && rules.is_some_and(|rules| !rules.mention.is_empty())
        {
            Some(Unasked::NoChannel)
        } else {
            None
        }
    }

    // === Which messages ===

    fn live(&self, plan: &mut Plan) {
        let Some(first) = self.places.live.first().cloned() else {
            // Begun under other settings: it is kept up to date where it is.
            if self.entry(&Purpose::Live).is_some() {
                self.keep(plan, Purpose::Live, None, self.urgency());
            }
            return;
        };
        let first = Some(first).filter(|_| self.is_news());
        let priority = if self.entry(&Purpose::Live).is_some() {
            self.urgency()
        } else {
            self.urgency().min(Priority::Interactive)
        };
        self.keep(plan, Purpose::Live, first, priority);
    }

    /// The state of the end goes before everything else, until it is shown: what is only dressed anew can wait.
    fn urgency(&self) -> Priority {
        let shown = self.entry(&Purpose::Live).and_then(|live| live.phase);
        if self.phase.is_terminal() && shown != Some(self.phase) {
            Priority::Final
        } else {
            Priority::Progress
        }
    }

    fn link(&self, plan: &mut Plan) {
        let live = self.entry(&Purpose::Live);
        let Some(live) = live.filter(|live| live.ts.is_some()) else {
            return;
        };
        let Some(asked) = self.places.link.clone() else {
            return;
        };
        // It went to where it was asked after all.
        if live.channel == asked.id() {
            return;
        }
        let alone =
            asked.thread.is_none() && asked.known_channel().is_some_and(|it| !it.is_direct());
        match (alone, &self.places.requester) {
            (true, Some(user)) => {
                if self.entry(&Purpose::Link).is_none() && self.is_news() {
                    let posting = self.posting(Purpose::Link, asked, Priority::Interactive, None);
                    plan.steps.push(Step::Whisper(posting, user.clone()));
                }
            }
            _ => {
                let spot = Some(asked).filter(|_| self.is_news());
                self.once(plan, Purpose::Link, spot, Priority::Interactive);
            }
        }
    }

    /// Somebody let it pass what holds others: whoever looks after the Environment gets to know, once it has started. Until
    /// then it may yet be by another's word that it goes, and this is told once.
    fn overridden(&self, plan: &mut Plan) {
        let passed = message::is_overridden(self.facts.request) && self.has_started();
        if !passed || self.is_settled() {
            return;
        }
        for channel in &self.places.environment {
            let spot = Some(in_channel(channel)).filter(|_| self.is_news());
            let purpose = Purpose::Overridden(channel.clone());
            self.once(plan, purpose, spot, Priority::Interactive);
        }
    }

    fn started(&self, plan: &mut Plan) {
        if self.phase.is_terminal() || !self.has_started() {
            return;
        }
        for channel in &self.places.also {
            let purpose = Purpose::Started(channel.clone());
            self.once(plan, purpose, Some(in_channel(channel)), Priority::Progress);
        }
    }

    fn ended(&self, plan: &mut Plan) {
        if !self.phase.is_terminal() || !self.has_started() || self.is_settled() {
            return;
        }
        for channel in &self.places.also {
            let begun = self.entry(&Purpose::Started(channel.clone())).is_some();
            let spot = (begun || self.is_news()).then(|| in_channel(channel));
            self.once(plan, Purpose::Ended(channel.clone()), spot, Priority::Final);
        }
    }

    fn stages(&self, plan: &mut Plan) {
        let Some(live) = self.entry(&Purpose::Live).filter(|live| live.ts.is_some()) else {
            return;
        };
        let status = self.facts.request.status.as_ref();
        let known = status
            .and_then(|status| status.execution.as_ref())
            .is_some_and(|execution| !execution.stages.is_empty());
        let Some(started) = status.and_then(|status| status.started_at.as_ref()) else {
            return;
        };
        if !known {
            return;
        }
        let mut spot = None;
        if !self.phase.is_terminal() && self.entry(&Purpose::Stages).is_none() {
            let left = self
                .facts
                .timing
                .stages
                .saturating_sub(elapsed(started.0, self.facts.now));
            if !left.is_zero() {
                plan.look_again = Some(left);
                return;
            }
            spot = thread_of(live);
        }
        self.keep(plan, Purpose::Stages, spot, Priority::Progress);
    }

    /// One question for all that may run: when that changes, the same answer in the thread asks anew, and nobody is
    /// mentioned again.
    fn approval(&self, plan: &mut Plan) {
        let asked = message::is_asked(self.facts.request);
        let spot = asked.then(|| self.in_thread()).flatten();
        self.keep(plan, Purpose::Approval, spot, Priority::Interactive);
    }

    fn judgments(&self, plan: &mut Plan) {
        let current = message::current_judgment(self.facts.request)
            .filter(|(_, judgment)| judgment.answer.is_none())
            .map(|(mark, _)| Purpose::Judgment(mark));
        let begun = self.facts.told.messages.iter();
        let begun = begun.filter_map(|entry| Purpose::read(&entry.purpose));
        let mut all: Vec<Purpose> = begun
            .filter(|purpose| matches!(purpose, Purpose::Judgment(_)))
            .collect();
        all.extend(current.clone().filter(|current| !all.contains(current)));
        for purpose in all {
            let asked = current.as_ref() == Some(&purpose);
            let spot = asked.then(|| self.in_thread()).flatten();
            self.keep(plan, purpose, spot, Priority::Interactive);
        }
    }

    /// The live message's thread, once there is one.
    fn in_thread(&self) -> Option<Spot> {
        thread_of(self.entry(&Purpose::Live)?)
    }

    fn end(&self, plan: &mut Plan) {
        if !self.phase.is_terminal() || self.is_settled() {
            return;
        }
        let Some(live) = self.entry(&Purpose::Live) else {
            return;
        };
        if self.places.requester.is_none() && !message::is_bad(self.phase) {
            return;
        }
        let spot = match (&live.ts, &live.refused) {
            (Some(_), _) => thread_of(live),
            (None, Some(_)) => Spot::of(live),
            // Not known yet.
            (None, None) => return,
        };
        self.once(plan, Purpose::End, spot, Priority::Final);
    }

    // === What is to be done for one message ===

    /// A message that is kept up to date. Without a spot no new one is begun.
    fn keep(&self, plan: &mut Plan, purpose: Purpose, spot: Option<Spot>, priority: Priority) {
        let Some(entry) = self.entry(&purpose) else {
            plan.steps
                .extend(spot.map(|spot| Step::Post(self.posting(purpose, spot, priority, None))));
            return;
        };
        let Some(at) = posted(entry) else {
            self.begun(plan, purpose, entry, priority);
            return;
        };
        let told =
            entry.refused.is_some() || (entry.phase == Some(self.phase) && self.is_settled());
        let message = self.message(&purpose, entry.earlier);
        if !told && entry.digest.as_deref() != Some(message::digest(&message).as_str()) {
            plan.steps.push(Step::Update {
                purpose,
                at,
                message,
                priority,
            });
        }
    }

    /// A message that is posted once. Without a spot no new one is begun.
    fn once(&self, plan: &mut Plan, purpose: Purpose, spot: Option<Spot>, priority: Priority) {
        match self.entry(&purpose) {
            Some(entry) if entry.ts.is_some() => {}
            Some(entry) => self.begun(plan, purpose, entry, priority),
            None => plan
                .steps
                .extend(spot.map(|spot| Step::Post(self.posting(purpose, spot, priority, None)))),
        }
    }

    /// It was written down, and no more is known.
    fn begun(&self, plan: &mut Plan, purpose: Purpose, entry: &SlackMessage, priority: Priority) {
        if entry.refused.is_some() {
            return;
        }
        let Some(spot) = Spot::of(entry) else { return };
        let unsent = self.facts.unsent == Some(&purpose);
        let posting = self.posting(purpose, spot, priority, entry.earlier);
        plan.steps.push(if unsent {
            Step::Post(posting)
        } else {
            Step::Settle(posting, entry.clone())
        });
    }

    fn posting(
        &self,
        purpose: Purpose,
        spot: Spot,
        priority: Priority,
        earlier: Option<EarlierMessage>,
    ) -> Posting {
        let broadcast =
            purpose == Purpose::End && message::is_bad(self.phase) && spot.thread.is_some();
        Posting {
            message: self.message(&purpose, earlier),
            purpose,
            spot,
            broadcast,
            priority,
            earlier,
        }
    }

    fn message(&self, purpose: &Purpose, earlier: Option<EarlierMessage>) -> Message {
        message_for(self.facts, &self.places, purpose, earlier)
    }

    fn entry(&self, purpose: &Purpose) -> Option<&SlackMessage> {
        entry(self.facts.told, purpose)
    }
}

fn out_of_thread(spot: &Spot) -> Option<Spot> {
    let spot = spot.clone();
    spot.thread.is_some().then_some(Spot {
        thread: None,
        ..spot
    })
}

fn in_channel(channel: &ChannelId) -> Spot {
    Spot {
        to: crate::slack::client::Destination::Channel(channel.clone()),
        thread: None,
    }
}

/// The thread that the live message is in, or begins.
fn thread_of(live: &SlackMessage) -> Option<Spot> {
    let at = posted(live)?;
    let thread = match &live.thread_ts {
        Some(thread) => thread.parse().ok()?,
        None => at.ts,
    };
    Some(Spot {
        to: crate::slack::client::Destination::Channel(at.channel),
        thread: Some(thread),
    })
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
