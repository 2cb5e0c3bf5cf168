//! What whoever tells something works with, of requests and of freezes alike: the API server, Slack, and the right to act.
//! Touches nothing itself.

use std::time::Duration;

use kube::{Client, runtime::events::Recorder};
use tokio_util::sync::CancellationToken;

use super::{RelaySettings, metrics::RelayMetrics, standing::Standing};
use crate::{
    runtime::lease::Claim,
    slack::{
        client::{Method, SlackClient},
        sharing::SharedChannels,
    },
};

/// How long the next update waits for each that waits for its turn: how fast Slack's budget is refilled.
const EACH_WAITING: Duration = Duration::from_millis(1500);

/// What whoever tells something works with.
#[derive(Clone)]
pub(super) struct Means {
    /// The API server.
    pub(super) client: Client,
    /// Slack.
    pub(super) slack: SlackClient,
    /// Which channels are shared with other organisations.
    pub(super) shared: SharedChannels,
    /// The right to act, where there is a Lease.
    pub(super) claim: Option<Claim>,
    /// Whether Slack accepts us.
    pub(super) standing: Standing,
    /// How to work.
    pub(super) settings: RelaySettings,
    /// Counters.
    pub(super) metrics: RelayMetrics,
    /// Kubernetes events.
    pub(super) recorder: Recorder,
    /// Asked to end.
    pub(super) shutdown: CancellationToken,
}

impl Means {
    /// Whether this process may act now.
    pub(super) fn may_act(&self) -> bool {
        !self.shutdown.is_cancelled() && self.may_end()
    }

    /// Whether what is left to do after the signal is ours to do: not without the Lease.
    pub(super) fn may_end(&self) -> bool {
        self.claim.as_ref().is_none_or(Claim::is_current)
    }

    /// How long after an update of one message the next may come, so that all together stay within Slack's budget.
    pub(super) fn update_interval(&self) -> Duration {
        let waiting = self.slack.budget().load(Method::ChatUpdate).waiting;
        let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
        let shortest = self.settings.pace.shortest_update;
        EACH_WAITING.saturating_mul(waiting).max(shortest)
    }

    /// What a call answers; `None` when we are to end first. Not for what must not be sent twice.
    pub(super) async fn unless_ended<T>(&self, call: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => None,
            answer = call => Some(answer),
        }
    }
}
