//! The receiver as a role: from start to the last answer. Touches Slack, the API server, a port where Slack delivers over
//! HTTP, and the clock.

use std::{sync::Arc, time::Duration};

use kube::Client;
use tokio::{
    net::TcpListener,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{Receiver, ReceiverError, ReceiverSettings};
use crate::{
    identity::Identity,
    runtime::{
        admin::{Gate, Readiness},
        metrics::Metrics,
        telemetry,
    },
    slack::{
        client::{Installation, SlackClient, SlackError},
        http,
        inbound::{Allowed, Intake},
        metrics::SlackMetrics,
        signature::SigningSecrets,
        socket::{SocketMode, SocketSettings, SocketWatch},
    },
};

/// Between two attempts to learn where the app is installed.
const PAUSE: Duration = Duration::from_secs(2);
/// Between two looks at how long Slack has been silent.
const LOOK: Duration = Duration::from_secs(15);

/// How Slack reaches us.
pub enum Transport {
    /// Over sockets that we open.
    Socket {
        /// How many, and with which token.
        settings: SocketSettings,
        /// How long a process without a live socket is not ready when it starts. Afterwards it is all the same: a Slack
        /// that is down must not hold up a rollout.
        grace: Duration,
    },
    /// Over signed HTTP.
    Http {
        /// Where it listens.
        listener: TcpListener,
        /// What signatures are checked by.
        secrets: SigningSecrets,
    },
}

/// Which deliveries are taken, and where they are counted.
pub struct Door {
    /// How they come.
    pub transport: Transport,
    /// Whose are taken.
    pub allowed: Allowed,
    /// Where Slack's traffic is counted.
    pub metrics: SlackMetrics,
}

/// Works until `shutdown`, then until everything that was delivered is answered.
///
/// # Errors
/// When a watch ends, or the HTTP server does.
pub async fn run(
    settings: ReceiverSettings,
    client: Client,
    slack: SlackClient,
    door: Door,
    readiness: Readiness,
    metrics: Metrics,
    shutdown: CancellationToken,
) -> Result<(), ReceiverError> {
    let gate = readiness.gate("slack");
    let grace = match &door.transport {
        Transport::Socket { grace, .. } => *grace,
        Transport::Http { .. } => Duration::ZERO,
    };
    let start = Instant::now();
    let installation = tokio::select! {
        biased;
        () = shutdown.cancelled() => return Ok(()),
        installation = installed(&slack, &gate, start + grace) => installation,
    };
    tracing::info!(team = %installation.team, "Slack knows the app");
    let identity = Identity::new(slack.clone(), installation.team);
    let made = Receiver::new(
        settings,
        client,
        slack.clone(),
        identity,
        &readiness,
        &metrics,
    );
    let (receiver, filling) = made?;
    let intake = Intake::new(Arc::clone(&receiver), door.allowed, door.metrics);
    let serving = async {
        // Nothing is asked to be delivered before it can be worked on.
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            () = receiver.directory.opened() => {}
        }
        match door.transport {
            Transport::Socket { settings, .. } => {
                let sockets = SocketMode::new(slack, settings, intake.clone());
                let sockets = sockets.map_err(ReceiverError::Socket)?;
                let watch = sockets.watch();
                tokio::select! {
                    () = sockets.run(shutdown.clone()) => {}
                    never = tell(watch, &gate, start + grace) => match never {},
                }
            }
            Transport::Http { listener, secrets } => {
                gate.ready();
                let router = http::router(intake.clone(), secrets, receiver.settings.clock);
                axum::serve(listener, router)
                    .with_graceful_shutdown(shutdown.clone().cancelled_owned())
                    .await
                    .map_err(ReceiverError::Serve)?;
            }
        }
        intake.finish().await;
        receiver.finish().await;
        Ok(())
    };
    tokio::select! {
        done = serving => done,
        broken = filling => Err(broken),
    }
}

/// Where the app is installed, once Slack says.
async fn installed(slack: &SlackClient, gate: &Gate, grace_ends: Instant) -> Installation {
    loop {
        match slack.auth_test().await {
            Ok(installation) => return installation,
            Err(error) => {
                if matches!(error, SlackError::Stop { .. }) {
                    tracing::error!(error = %telemetry::chain(&error), reason = error.reason(), "Slack doesn't accept the bot's token");
                } else {
                    tracing::warn!(error = %telemetry::chain(&error), reason = error.reason(), "Slack doesn't say where the app is installed");
                }
                show(gate, grace_ends, error.reason());
                let wait = error.retry_after().unwrap_or(PAUSE).max(PAUSE);
                sleep(wait).await;
            }
        }
    }
}

/// Says by the gate whether Slack can deliver.
async fn tell(
    mut watch: SocketWatch,
    gate: &Gate,
    grace_ends: Instant,
) -> std::convert::Infallible {
    let mut crowded = false;
    loop {
        let state = watch.state();
        match (&state.trouble, state.is_ready()) {
            (_, true) => gate.ready(),
            (Some(trouble), false) => show(gate, grace_ends, trouble.reason),
            (None, false) => show(gate, grace_ends, "no-socket-yet"),
        }
        if state.crowded && !crowded {
            tracing::warn!(
                connections = state.connections,
                "more sockets are open for this app than ours: another installation uses the same app-level token, and takes some of the deliveries"
            );
        }
        crowded = state.crowded;
        let _age = watch.last_frame_age(Instant::now());
        // Past the grace the gate opens by itself, so it is looked at then.
        let next = Instant::now() + LOOK;
        let next = if grace_ends > Instant::now() {
            next.min(grace_ends)
        } else {
            next
        };
        tokio::select! {
            changed = watch.changed() => {
                if !changed {
                    std::future::pending::<()>().await;
                }
            }
            () = sleep_until(next) => {}
        }
    }
}

fn show(gate: &Gate, grace_ends: Instant, reason: &'static str) {
    if Instant::now() < grace_ends {
        gate.not_ready(format!("no live socket to Slack: {reason}"));
    } else {
        gate.ready();
    }
}
