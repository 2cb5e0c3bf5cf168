//! What is to be done in Slack about one freeze, from what its status says and what was told. Touches nothing.
//!
//! Whether it holds now is the controller's word, in the condition Active and in `since`: nothing here looks at a clock, so
//! the same object always says the same.

use jiff::Timestamp;
use kube::ResourceExt;

use super::{
    message,
    notice::{Beginning, Notice},
};
use crate::{
    api::{
        DeployFreeze,
        conditions::{self, ConditionType},
        deploy_request::{EarlierMessage, SlackMessage, SlackStatus},
    },
    relay::{
        message::digest,
        place::Spot,
        plan::{entry, posted},
        trouble,
    },
    slack::{
        blocks::Message,
        client::{Destination, Posted, Priority},
        ids::ChannelId,
    },
};

/// All that a plan depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    /// The freeze.
    pub(super) freeze: &'a DeployFreeze,
    /// Foredeck's own namespace.
    pub(super) home: Option<&'a str>,
    /// What was told so far.
    pub(super) told: &'a SlackStatus,
    /// The message that was written down and certainly not posted, by this process.
    pub(super) unsent: Option<&'a Notice>,
}

/// A message to be posted.
pub(super) type Posting = crate::relay::plan::Posting<Notice>;

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// Write down that it is about to be posted, post it, write down which message it is.
    Post(Posting),
    /// It was written down, and what came of it isn't known: look for it; post it if it isn't there.
    Settle(Posting, SlackMessage),
    /// Bring a message up to date.
    Update {
        /// What it is for.
        notice: Notice,
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
    pub(super) fn notice(&self) -> &Notice {
        match self {
            Self::Post(posting) | Self::Settle(posting, _) => &posting.purpose,
            Self::Update { notice, .. } => notice,
        }
    }

    fn priority(&self) -> Priority {
        match self {
            Self::Post(posting) | Self::Settle(posting, _) => posting.priority,
            Self::Update { priority, .. } => *priority,
        }
    }
}

/// Whether it holds, as the controller last said.
enum Holds {
    /// Since then.
    Since(i64),
    /// No more, since that moment.
    NotAnyMore(Option<Timestamp>),
    /// Nobody has said.
    Unknown,
}

fn holds(freeze: &DeployFreeze) -> Holds {
    let Some(status) = &freeze.status else {
        return Holds::Unknown;
    };
    let active = conditions::find(&status.conditions, ConditionType::Active);
    match active.map(|active| (active.status.as_str(), active)) {
        Some(("True", _)) => {
            // One whose times nobody understands holds since it is there.
            let since = status.since.clone().or_else(|| freeze.creation_timestamp());
            since.map_or(Holds::Unknown, |since| Holds::Since(since.0.as_second()))
        }
        Some(("False", active)) => Holds::NotAnyMore(Some(active.last_transition_time.0)),
        _ => Holds::Unknown,
    }
}

/// Whether it holds no more.
pub(super) fn is_over(freeze: &DeployFreeze) -> bool {
    matches!(holds(freeze), Holds::NotAnyMore(_))
}

/// What is to be done, the end first: what can't be told now must not hold up that it is over.
pub(super) fn plan(facts: Facts<'_>) -> Vec<Step> {
    let mut steps = Vec::new();
    let current = match holds(facts.freeze) {
        Holds::Unknown => return steps,
        Holds::Since(since) => Some(since),
        Holds::NotAnyMore(_) => None,
    };
    for beginning in beginnings(facts) {
        let began = Notice::Began(beginning.clone());
        match entry(facts.told, &began) {
            Some(known) if current == Some(beginning.since) => {
                keep(facts, &mut steps, began, known, Priority::Progress);
            }
            Some(known) => end(facts, &mut steps, began, known),
            None => steps.push(Step::Post(posting(
                facts,
                began,
                Spot {
                    to: Destination::Channel(beginning.channel),
                    thread: None,
                },
                Priority::Interactive,
                None,
            ))),
        }
    }
    steps.sort_by_key(Step::priority);
    steps
}

/// Those that were told, and those that are to be told now.
fn beginnings(facts: Facts<'_>) -> Vec<Beginning> {
    let told = facts.told.messages.iter();
    let mut all: Vec<Beginning> = told
        .filter_map(|entry| match Notice::read(&entry.purpose)? {
            Notice::Began(beginning) => Some(beginning),
            Notice::Over(_) => None,
        })
        .collect();
    if let Holds::Since(since) = holds(facts.freeze) {
        for channel in channels(facts.freeze) {
            let beginning = Beginning { channel, since };
            if !all.contains(&beginning) {
                all.push(beginning);
            }
        }
    }
    all
}

fn channels(freeze: &DeployFreeze) -> Vec<ChannelId> {
    let slack = freeze.spec.notify.as_ref();
    let slack = slack.and_then(|notify| notify.slack.as_ref());
    let named = slack.into_iter().flat_map(|slack| &slack.channels);
    named.filter_map(|channel| channel.parse().ok()).collect()
}

/// It is over: its message says so, then an answer in its thread, after which neither changes any more.
fn end(facts: Facts<'_>, steps: &mut Vec<Step>, began: Notice, known: &SlackMessage) {
    let over = Notice::Over(began.beginning().clone());
    match entry(facts.told, &over) {
        Some(answer) if answer.ts.is_some() || answer.refused.is_some() => return,
        Some(answer) => return begun(facts, steps, over, answer, Priority::Final),
        None => {}
    }
    let before = steps.len();
    keep(facts, steps, began, known, Priority::Final);
    let Some(at) = posted(known).filter(|_| steps.len() == before) else {
        return;
    };
    let spot = Spot {
        to: Destination::Channel(at.channel),
        // One that can't be changed any more is gone, and begins no thread.
        thread: known.refused.is_none().then_some(at.ts),
    };
    let posting = posting(facts, over, spot, Priority::Final, None);
    steps.push(Step::Post(posting));
}

/// A message that is kept up to date.
fn keep(
    facts: Facts<'_>,
    steps: &mut Vec<Step>,
    notice: Notice,
    known: &SlackMessage,
    priority: Priority,
) {
    if known.refused.is_some() {
        return;
    }
    let Some(at) = posted(known) else {
        return begun(
            facts,
            steps,
            notice,
            known,
            priority.min(Priority::Interactive),
        );
    };
    let message = message_of(facts, &notice, known.earlier);
    if known.digest.as_deref() != Some(digest(&message).as_str()) {
        steps.push(Step::Update {
            notice,
            at,
            message,
            priority,
        });
    }
}

/// It was written down, and no more is known.
fn begun(
    facts: Facts<'_>,
    steps: &mut Vec<Step>,
    notice: Notice,
    known: &SlackMessage,
    priority: Priority,
) {
    let Some(spot) = Spot::of(known).filter(|_| known.refused.is_none()) else {
        return;
    };
    let unsent = facts.unsent == Some(&notice);
    let posting = posting(facts, notice, spot, priority, known.earlier);
    steps.push(if unsent {
        Step::Post(posting)
    } else {
        Step::Settle(posting, known.clone())
    });
}

fn posting(
    facts: Facts<'_>,
    notice: Notice,
    spot: Spot,
    priority: Priority,
    earlier: Option<EarlierMessage>,
) -> Posting {
    Posting {
        message: message_of(facts, &notice, earlier),
        purpose: notice,
        spot,
        broadcast: false,
        priority,
        earlier,
    }
}

/// What a message says now.
pub(super) fn message_of(
    facts: Facts<'_>,
    notice: &Notice,
    earlier: Option<EarlierMessage>,
) -> Message {
    let ended = match holds(facts.freeze) {
        Holds::Since(since) if since == notice.beginning().since => {
            return message::began(facts.freeze, facts.home, notice, earlier);
        }
        Holds::NotAnyMore(ended) => ended,
        Holds::Since(_) | Holds::Unknown => None,
    };
    message::over(facts.freeze, facts.home, notice, ended, earlier)
}

/// The messages that still say that it holds.
pub(super) fn speaking(told: &SlackStatus) -> Vec<(Beginning, Posted)> {
    let entries = told.messages.iter();
    entries
        .filter_map(|known| {
            let Notice::Began(beginning) = Notice::read(&known.purpose)? else {
                return None;
            };
            let over = entry(told, &Notice::Over(beginning.clone())).is_some();
            let at = posted(known).filter(|_| !over && known.refused.is_none())?;
            Some((beginning, at))
        })
        .collect()
}

/// What was told without what nobody needs to know any more: what was told to its end, of another beginning than `since` and
/// than the one that holds now. That one's refusals have to stay known, or it is posted again where it was refused.
pub(super) fn without_old(freeze: &DeployFreeze, told: &SlackStatus, since: i64) -> SlackStatus {
    let current = match holds(freeze) {
        Holds::Since(current) => Some(current),
        Holds::NotAnyMore(_) | Holds::Unknown => None,
    };
    let is_old = |known: &SlackMessage| {
        let Some(notice) = Notice::read(&known.purpose) else {
            return false;
        };
        let beginning = notice.beginning();
        let is_done = |notice: &Notice| {
            entry(told, notice).is_some_and(|one| match notice {
                Notice::Over(_) => one.ts.is_some() || one.refused.is_some(),
                Notice::Began(_) => one.ts.is_none() && one.refused.is_some(),
            })
        };
        beginning.since != since
            && Some(beginning.since) != current
            && (is_done(&Notice::Over(beginning.clone()))
                || is_done(&Notice::Began(beginning.clone())))
    };
    let mut next = told.clone();
    next.messages.retain(|known| !is_old(known));
    trouble::is_single(&mut next);
    next
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
