//! When Slack is not there: a start is not ready for a while, then all the same; and works once Slack is back.

use std::time::Duration;

use anyhow::{Result, ensure};
use foredeck::{
    git,
    receiver::{self, Door, ReceiverSettings, Transport},
    runtime::{admin::Readiness, client, metrics::Metrics},
    slack::{
        client::{SlackClient, SlackSettings},
        inbound::Allowed,
        metrics::SlackMetrics,
        socket::SocketSettings,
    },
};
use foredeck_testkit::{slack::Installation, wait_for};
use jiff::Timestamp;
use kube::Client;
use tokio_util::sync::CancellationToken;

use crate::support::{Bed, PATIENCE, text};

/// A receiver by Socket Mode that is being started, with that much grace.
struct Start {
    readiness: Readiness,
    shutdown: CancellationToken,
    work: tokio::task::JoinHandle<Result<(), receiver::ReceiverError>>,
}

impl Start {
    fn of(bed: &Bed, grace: Duration) -> Result<Self> {
        let settings =
            SlackSettings::new(&bed.slack.api_url().parse()?, bed.slack.bot_token().into())?;
        let (readiness, shutdown) = (Readiness::default(), CancellationToken::new());
        let sockets = SocketSettings::new(bed.slack.app_token().into(), || 7)?;
        let work = receiver::run(
            ReceiverSettings {
                namespaces: bed.teams.clone(),
                command: "/deploy".to_owned(),
                bot_tokens: vec![bed.slack.bot_token().into()],
                people: bed.people.clone(),
                ttl: None,
                git: git::Settings::default(),
                git_metrics: git::GitMetrics::default(),
                git_patience: receiver::GIT_PATIENCE,
                clock: Timestamp::now,
                draw: || [7; 12],
            },
            Client::try_from(client::bounded(bed.plane.admin_config()))?,
            SlackClient::new(settings.without_proxies())?,
            Door {
                transport: Transport::Socket {
                    settings: sockets.sockets(1).without_proxies(),
                    grace,
                },
                allowed: Allowed::default(),
                metrics: SlackMetrics::default(),
            },
            readiness.clone(),
            Metrics::default(),
            shutdown.clone(),
        );
        Ok(Self {
            readiness,
            shutdown,
            work: tokio::spawn(work),
        })
    }

    /// Waits until a closed gate says that.
    async fn until_closed_by(&self, words: &str) -> Result<()> {
        wait_for("a start that is not ready", PATIENCE, async || {
            let closed = self.readiness.closed();
            ensure!(
                closed.iter().any(|(_, reason)| reason.contains(words)),
                "{closed:?}"
            );
            Ok(())
        })
        .await
    }

    async fn leave(self) -> Result<()> {
        self.shutdown.cancel();
        Ok(self.work.await??)
    }
}

#[tokio::test]
async fn a_slack_that_is_down_does_not_hold_up_a_rollout() -> Result<()> {
    let bed = Bed::new("door").await?;
    bed.slack.stop().await;
    let start = Start::of(&bed, Duration::from_secs(3))?;
    start.until_closed_by("no live socket to Slack").await?;
    wait_for("the end of the grace", PATIENCE, async || {
        let closed = start.readiness.closed();
        ensure!(closed.is_empty(), "{closed:?}");
        Ok(())
    })
    .await?;

    bed.slack.restart().await?;
    bed.slack.connected(1, PATIENCE).await?;
    let answer = bed
        .typed("alice", "deploys", "/deploy checkout main to quick")
        .await?;
    assert!(answer.text.contains("Accepted"), "{}", text(&answer));
    ensure!(
        start.readiness.closed().is_empty(),
        "{:?}",
        start.readiness.closed()
    );
    start.leave().await
}

#[tokio::test]
async fn a_token_that_slack_refuses_stops_a_rollout_whatever_the_grace() -> Result<()> {
    let bed = Bed::new("revoked").await?;
    bed.slack.set_installation(Installation::TokenRevoked);
    let start = Start::of(&bed, Duration::ZERO)?;
    start.until_closed_by("token_revoked").await?;
    // Once the caches are filled, that alone is what keeps it from being ready.
    wait_for("filled caches", PATIENCE, async || {
        let closed = start.readiness.closed();
        ensure!(
            closed.iter().all(|(gate, _)| *gate == "receiver-slack"),
            "{closed:?}"
        );
        ensure!(!closed.is_empty(), "ready with a token that Slack refuses");
        Ok(())
    })
    .await?;
    start.leave().await
}
