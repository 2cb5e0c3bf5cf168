//! Whether Slack accepts us, and as whom. Touches Slack.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::sleep};
use tokio_util::sync::CancellationToken;

use super::metrics::RelayMetrics;
use crate::{
    runtime::{admin::Gate, telemetry},
    slack::{
        client::{Installation, SlackClient, SlackError},
        sharing,
    },
};

/// How soon Slack is asked again as whom we call while it doesn't answer.
const AGAIN: Duration = Duration::from_secs(2);

/// Whether Slack accepts us. Clones are the same.
#[derive(Clone)]
pub(super) struct Standing(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    stopped: Notify,
    metrics: RelayMetrics,
    gate: Gate,
}

#[derive(Default)]
struct State {
    installation: Option<Installation>,
    stopped: Option<String>,
}

impl Standing {
    pub(super) fn new(gate: Gate, metrics: RelayMetrics) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::default(),
            stopped: Notify::new(),
            metrics,
            gate,
        }))
    }

    /// As whom we call, once Slack has told.
    pub(super) fn installation(&self) -> Option<Installation> {
        self.with(|state| state.installation.clone())
    }

    /// Why nothing is sent, while that is so.
    pub(super) fn stopped(&self) -> Option<String> {
        self.with(|state| state.stopped.clone())
    }

    /// Whether Slack accepts us, as far as anybody has asked.
    pub(super) fn is_accepted(&self) -> bool {
        self.with(|state| state.installation.is_some() && state.stopped.is_none())
    }

    /// Slack doesn't accept us: nothing is sent until somebody has changed that.
    pub(super) fn stop(&self, error: &SlackError) {
        let reason = error.to_string();
        if self.stopped().is_none() {
            tracing::error!(reason = error.reason(), error = %reason, "nothing is told in Slack until this is mended");
        }
        self.0.metrics.stopped.set(1);
        self.0.gate.not_ready(reason.clone());
        self.with(|state| state.stopped = Some(reason));
        self.0.stopped.notify_one();
    }

    fn accepted(&self, installation: Installation) {
        self.0.metrics.stopped.set(0);
        self.0.gate.ready();
        self.with(|state| {
            state.installation = Some(installation);
            state.stopped = None;
        });
    }

    /// Asks Slack as whom we call; and again, slowly, whenever it has stopped accepting us. `known` is called once.
    pub(super) async fn keep(
        &self,
        client: &SlackClient,
        slowly: Duration,
        shutdown: CancellationToken,
        known: impl AsyncFnOnce(),
    ) {
        let asking = async {
            let mut known = Some(known);
            loop {
                let wait = match client.auth_test().await {
                    Ok(installation) => {
                        tracing::info!(team = %installation.team, "telling in Slack");
                        if known.is_some() {
                            sharing::check_scopes(&installation);
                        }
                        self.accepted(installation);
                        if let Some(known) = known.take() {
                            known().await;
                        }
                        self.0.stopped.notified().await;
                        slowly
                    }
                    Err(error @ SlackError::Stop { .. }) => {
                        self.stop(&error);
                        slowly
                    }
                    Err(error) => {
                        tracing::warn!(error = %telemetry::chain(&error), "Slack doesn't say as whom we call it; asking again");
                        // That Slack is down must not hold up a roll-out.
                        if self.stopped().is_none() {
                            self.0.gate.ready();
                        }
                        error.retry_after().unwrap_or(AGAIN)
                    }
                };
                sleep(wait).await;
            }
        };
        tokio::select! {
            () = asking => {}
            () = shutdown.cancelled() => {}
        }
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.0.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
