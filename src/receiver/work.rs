//! The receiver as a role: from start to the last answer. Touches Slack, the API server, a port where Slack delivers over
//! HTTP, and the clock.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Router,
    http::{HeaderValue, header::CONNECTION},
    middleware::map_response,
    response::Response,
};
use jiff::Timestamp;
use kube::Client;
use tokio::{
    net::TcpListener,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{Receiver, ReceiverError, ReceiverSettings, directory::Directory, people::Keeper};
use crate::{
    identity::{Identity, Records},
    runtime::{
        admin::{Gate, Readiness},
        cache::Scope,
        filling::Filling,
        metrics::Metrics,
        telemetry,
    },
    slack::{
        client::{Installation, SlackClient, SlackError},
        http,
        inbound::{Allowed, Intake},
        metrics::SlackMetrics,
        sharing,
        signature::SigningSecrets,
        socket::{SocketMode, SocketSettings, SocketWatch},
    },
};

/// Between two attempts to learn where the app is installed.
const PAUSE: Duration = Duration::from_secs(2);
/// Between two looks at how long Slack has been silent.
const LOOK: Duration = Duration::from_secs(15);
/// How long requests that are under way over HTTP may take to end: Slack waits for three seconds.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);
/// How long after the signal deliveries may still come and answers be on their way: less than the process as a whole has.
const ANSWER_WITHIN: Duration = Duration::from_secs(35);

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
        /// How long after the signal it goes on as before, but for its readiness: until nobody sends Slack's requests here
        /// any more.
        drain: Duration,
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
    let caches = readiness.gate("receiver-caches");
    let gate = Standing {
        gate: readiness.gate("receiver-slack"),
        grace_ends: match &door.transport {
            // One that doesn't end on any clock is as one that doesn't end.
            Transport::Socket { grace, .. } => Instant::now().checked_add(*grace),
            Transport::Http { .. } => None,
        },
    };
    let scopes = Scope::of(&settings.namespaces);
    let home = &settings.people.namespace;
    let (directory, watching) = Directory::start(&client, &scopes, home, metrics.watches());
    let directory = Arc::new(directory);
    let (records, noting) = Records::start(
        client.clone(),
        &settings.people.namespace,
        metrics.watches(),
    );
    let watching = async {
        tokio::select! {
            () = watching => {}
            () = noting => {}
        }
    };
    let filling = fill(&directory, &records, watching, &caches);
    // On the heap, as it is large.
    let serving = Box::pin(async {
        // Nothing is asked to be delivered before it can be worked on.
        let installation = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            (installation, ()) = async { tokio::join!(installed(&slack, &gate), directory.opened()) } => installation,
        };
        tracing::info!(team = %installation.team, "Slack knows the app");
        let identity = Identity::new(
            slack.clone(),
            installation.team.clone(),
            &settings.people,
            records.clone(),
            settings.clock,
        )
        .map_err(ReceiverError::People)?;
        check_scopes(&installation, &identity);
        sharing::check_scopes(&installation);
        let keeper = Keeper::new(
            client.clone(),
            identity.clone(),
            directory.clone(),
            &metrics,
            settings.people.limit,
            settings.clock,
            (settings.draw)()[0],
        );
        let keeping = keeper.clone();
        let keeping = async move { keeping.run().await };
        let receiver = Receiver::new(
            settings,
            client,
            slack.clone(),
            identity,
            keeper,
            directory.clone(),
            &metrics,
        )?;
        let intake = Intake::new(Arc::clone(&receiver), door.allowed, door.metrics);
        let delivering = async {
            match door.transport {
                Transport::Socket { settings, .. } => {
                    let sockets = SocketMode::new(slack, settings, intake.clone());
                    let sockets = sockets.map_err(ReceiverError::Socket)?;
                    let watch = sockets.watch();
                    tokio::select! {
                        () = sockets.run(shutdown.clone()) => {}
                        never = tell(watch, &gate) => match never {},
                    }
                }
                Transport::Http {
                    listener,
                    secrets,
                    drain,
                } => {
                    gate.gate.ready();
                    let router = http::router(intake.clone(), secrets, Timestamp::now);
                    let router = closing(router, shutdown.clone());
                    let asked = shutdown.clone();
                    let drained = async move {
                        asked.cancelled().await;
                        sleep(drain).await;
                    };
                    let serving = axum::serve(listener, router)
                        .with_graceful_shutdown(drained)
                        .into_future();
                    let overdue = after(&shutdown, drain.saturating_add(LEAVE_WITHIN));
                    tokio::select! {
                        served = serving => served.map_err(ReceiverError::Serve)?,
                        // Somebody holds a request open without sending it.
                        () = overdue => {}
                    }
                }
            }
            Ok(())
        };
        let working = async {
            delivering.await?;
            intake.finish().await;
            receiver.finish().await;
            Ok(())
        };
        until_answered(working, keeping, &shutdown).await
    });
    tokio::select! {
        done = serving => done,
        broken = filling => Err(broken),
    }
}

/// Works until all is delivered and answered, and keeps people known meanwhile: whoever answers may wait for that. The time is
/// counted from the signal, however late the last delivery ends.
async fn until_answered(
    working: impl Future<Output = Result<(), ReceiverError>>,
    keeping: impl Future<Output = Infallible>,
    shutdown: &CancellationToken,
) -> Result<(), ReceiverError> {
    tokio::select! {
        done = working => done,
        never = keeping => match never {},
        () = after(shutdown, ANSWER_WITHIN) => {
            tracing::warn!("answers that were under way are left: Slack or the API server doesn't take them");
            Ok(())
        }
    }
}

/// Has each answer after the signal close its connection: else whoever keeps one would send on it until it is closed under
/// their hands.
fn closing(router: Router, shutdown: CancellationToken) -> Router {
    router.layer(map_response(move |mut response: Response| {
        let leaving = shutdown.is_cancelled();
        async move {
            if leaving {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
            }
            response
        }
    }))
}

/// Ends that long after the signal.
async fn after(shutdown: &CancellationToken, time: Duration) {
    shutdown.cancelled().await;
    sleep(time).await;
}

/// Keeps the directory filled, and says when it is for the first time. Ends when a watch does.
async fn fill(
    directory: &Directory,
    records: &Records,
    watching: impl Future<Output = ()>,
    caches: &Gate,
) -> ReceiverError {
    let filling = Filling::of(directory.scopes());
    let filled = async {
        filling.enough().await;
        directory.home_known().await;
        let records = records.filled().await;
        records.map_err(|_| ReceiverError::WatchEnded)?;
        directory.open();
        caches.ready();
        tracing::info!("caches are filled; working");
        std::future::pending::<Result<(), ReceiverError>>().await
    };
    tokio::select! {
        ended = filled => ended.err().unwrap_or(ReceiverError::WatchEnded),
        ended = directory.filled(&filling) => ended.err().unwrap_or(ReceiverError::WatchEnded),
        () = watching => ReceiverError::WatchEnded,
    }
}

/// Whether Slack can deliver, for probes.
struct Standing {
    gate: Gate,
    /// From then on a Slack that doesn't answer keeps nobody from being ready. Never, where Slack comes to us: then we
    /// are ready once we listen.
    grace_ends: Option<Instant>,
}

impl Standing {
    /// Slack can't deliver. Where only an operator can help, a rollout must stop here, whatever the grace.
    fn missing(&self, reason: &'static str, needs_operator: bool) {
        if !needs_operator && self.grace_ends.is_some_and(|ends| Instant::now() >= ends) {
            self.gate.ready();
        } else {
            let what = match self.grace_ends {
                Some(_) => "no live socket to Slack",
                None => "Slack doesn't say where the app is installed",
            };
            self.gate.not_ready(format!("{what}: {reason}"));
        }
    }
}

/// Where the app is installed, once Slack says.
async fn installed(slack: &SlackClient, standing: &Standing) -> Installation {
    loop {
        match slack.auth_test().await {
            Ok(installation) => return installation,
            Err(error) => {
                let needs_operator = matches!(error, SlackError::Stop { .. });
                if needs_operator {
                    tracing::error!(error = %telemetry::chain(&error), reason = error.reason(), "Slack doesn't accept the bot's token");
                } else {
                    tracing::warn!(error = %telemetry::chain(&error), reason = error.reason(), "Slack doesn't say where the app is installed");
                }
                standing.missing(error.reason(), needs_operator);
                let wait = error.retry_after().unwrap_or(PAUSE).max(PAUSE);
                sleep(wait).await;
            }
        }
    }
}

/// What an operator must know: groups are wanted that the token may not see.
fn check_scopes(installation: &Installation, identity: &Identity) {
    let scopes = &installation.scopes;
    let lacking = !scopes.is_empty() && !scopes.contains("usergroups:read");
    if lacking && identity.asks_slack_for_groups() {
        tracing::error!(
            scope = "usergroups:read",
            "user groups are to be groups of people, but the app may not read them: add the scope and install it again"
        );
    }
}

/// Says by the gate whether Slack can deliver.
async fn tell(mut watch: SocketWatch, standing: &Standing) -> Infallible {
    loop {
        let state = watch.state();
        match (&state.trouble, state.is_ready()) {
            (_, true) => standing.gate.ready(),
            (Some(trouble), false) => standing.missing(trouble.reason, trouble.needs_operator),
            (None, false) => standing.missing("no-socket-yet", false),
        }
        let now = Instant::now();
        // Sets the gauge of that name.
        let _age = watch.last_frame_age(now);
        // Past the grace the gate opens by itself, so it is looked at then.
        let ends = standing.grace_ends.filter(|ends| *ends > now);
        let next = ends.map_or(now + LOOK, |ends| ends.min(now + LOOK));
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

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_for_answers_counts_from_the_signal_however_late_delivery_ends() {
        let shutdown = CancellationToken::new();
        let asked = shutdown.clone();
        let working = async {
            sleep(Duration::from_hours(1)).await;
            asked.cancel();
            // Delivery ends late, and an answer hangs.
            sleep(Duration::from_secs(30)).await;
            pending().await
        };
        let began = Instant::now();
        let outcome = until_answered(working, pending(), &shutdown).await;
        assert!(outcome.is_ok());
        assert_eq!(began.elapsed(), Duration::from_hours(1) + ANSWER_WITHIN);
    }

    #[tokio::test(start_paused = true)]
    async fn people_are_kept_known_until_the_last_answer() {
        let (know, known) = tokio::sync::oneshot::channel();
        let keeping = async {
            sleep(Duration::from_secs(5)).await;
            assert!(know.send(()).is_ok());
            pending().await
        };
        let shutdown = CancellationToken::new();
        shutdown.cancel();
        let began = Instant::now();
        let working = async {
            assert!(known.await.is_ok());
            Ok(())
        };
        assert!(until_answered(working, keeping, &shutdown).await.is_ok());
        assert_eq!(began.elapsed(), Duration::from_secs(5));
    }
}
