//! Hands deliveries to the handler, in time and not too many at once, for both transports. Touches the clock.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};
use tokio_util::task::TaskTracker;

use super::{Delivery, Handler, Inbound, Reply, Retry};
use crate::slack::{
    blocks::Message,
    ids::{AppId, TeamId},
    metrics::SlackMetrics,
    text::Mrkdwn,
};

/// Slack waits three seconds, the way here and back included.
const ANSWER_WITHIN: Duration = Duration::from_millis(2500);
/// The most deliveries that are handled at once.
const MOST_AT_ONCE: usize = 64;

const LATE: &str =
    "No answer came in time. What you asked for may still happen: look before you send it again.";
const BUSY: &str = "Nothing was done: too much is going on at once. Send it again in a minute.";
const LEAVING: &str = "Nothing was done: the bot is restarting. Send it again in a minute.";

/// Whose deliveries are taken. An empty list takes all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Workspaces, and organisations by their id.
    pub teams: BTreeSet<TeamId>,
    /// Apps.
    pub apps: BTreeSet<AppId>,
}

impl Allowed {
    fn takes(&self, inbound: &Inbound) -> bool {
        let enterprise = inbound
            .enterprise()
            .and_then(|id| TeamId::new(id.as_str()).ok());
        let mut teams = inbound.team().cloned().into_iter().chain(enterprise);
        (self.teams.is_empty() || teams.any(|team| self.teams.contains(&team)))
            && (self.apps.is_empty() || inbound.app().is_some_and(|app| self.apps.contains(app)))
    }
}

/// What came of a delivery.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::slack) enum Taken {
    /// To be sent; nothing was left out.
    Reply(Reply),
    /// Of a type that nobody handles: received, and that is all.
    Unknown,
    /// Of a workspace or an app that is none of ours.
    NotAllowed,
}

/// Where deliveries go in. Clones share the handler and its bounds.
pub struct Intake<H> {
    handler: Arc<H>,
    allowed: Arc<Allowed>,
    metrics: SlackMetrics,
    permits: Arc<Semaphore>,
    running: TaskTracker,
}

impl<H> Clone for Intake<H> {
    fn clone(&self) -> Self {
        Self {
            handler: Arc::clone(&self.handler),
            allowed: Arc::clone(&self.allowed),
            metrics: self.metrics.clone(),
            permits: Arc::clone(&self.permits),
            running: self.running.clone(),
        }
    }
}

impl<H: Handler> Intake<H> {
    /// Takes what `allowed` says to `handler`.
    pub fn new(handler: Arc<H>, allowed: Allowed, metrics: SlackMetrics) -> Self {
        Self {
            handler,
            allowed: Arc::new(allowed),
            metrics,
            permits: Arc::new(Semaphore::new(MOST_AT_ONCE)),
            running: TaskTracker::new(),
        }
    }

    /// Waits until nothing is handled any more, whoever still waits for the answer. To be asked when nothing new comes.
    pub async fn finish(&self) {
        self.running.close();
        self.running.wait().await;
    }

    pub(in crate::slack) fn metrics(&self) -> &SlackMetrics {
        &self.metrics
    }

    /// Hands it over and waits for the answer, until shortly before Slack gives up. Whoever handles is not interrupted
    /// then, nor when the waiter goes away: half of it may be done.
    pub(in crate::slack) async fn take(
        &self,
        transport: &'static str,
        kind: Inbound,
        retry: Option<Retry>,
        received: Instant,
    ) -> Taken {
        let word = kind.word();
        let (taken, outcome) = self.answer(kind, retry, received + ANSWER_WITHIN).await;
        self.metrics.delivery(transport, word, outcome);
        taken
    }

    /// The answer while nothing is taken any more.
    pub(in crate::slack) fn turn_away(&self, transport: &'static str, kind: &Inbound) -> Taken {
        self.metrics.delivery(transport, kind.word(), "leaving");
        Taken::Reply(instead(kind, LEAVING))
    }

    async fn answer(
        &self,
        kind: Inbound,
        retry: Option<Retry>,
        deadline: Instant,
    ) -> (Taken, &'static str) {
        if let Inbound::Unknown { kind } = &kind {
            tracing::debug!(kind, "Slack sent something that nobody handles");
            return (Taken::Unknown, "ignored");
        }
        if !self.allowed.takes(&kind) {
            tracing::warn!(
                kind = kind.word(),
                "a delivery of a workspace or an app that is not ours"
            );
            return (Taken::NotAllowed, "not-allowed");
        }
        let late = Taken::Reply(instead(&kind, LATE));
        let busy = Taken::Reply(instead(&kind, BUSY));
        let permit = timeout_at(deadline, Arc::clone(&self.permits).acquire_owned()).await;
        let Ok(Ok(permit)) = permit else {
            return (busy, "busy");
        };
        let handler = Arc::clone(&self.handler);
        let delivery = Delivery {
            kind,
            retry,
            deadline,
        };
        let handling = self.running.spawn(async move {
            let reply = handler.handle(delivery).await;
            drop(permit);
            reply
        });
        match timeout_at(deadline, handling).await {
            Ok(Ok(reply)) => {
                let word = reply.word();
                (Taken::Reply(reply), word)
            }
            Ok(Err(_panicked)) => (late, "failed"),
            Err(_) => (late, "late"),
        }
    }
}

/// What is said when the handler says nothing. Clicks and submissions are refused, so that Slack itself says that
/// something went wrong.
fn instead(kind: &Inbound, words: &'static str) -> Reply {
    match kind {
        Inbound::Command(_) => Reply::ephemeral(Message::plain(Mrkdwn::fixed(words))),
        Inbound::Suggestion(_) => Reply::Options(Vec::new()),
        _ => Reply::Refused,
    }
}
