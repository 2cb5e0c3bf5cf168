//! When Slack is not there: a start is not ready for a while, then all the same; and works once Slack is back.

use std::time::Duration;

use anyhow::{Result, ensure};
use foredeck::{
    receiver::{self, Door, ReceiverSettings, Transport},
    runtime::{admin::Readiness, client, metrics::Metrics},
    slack::{
        client::{SlackClient, SlackSettings},
        inbound::Allowed,
        metrics::SlackMetrics,
        socket::SocketSettings,
    },
};
use foredeck_testkit::wait_for;
use jiff::Timestamp;
use kube::Client;
use tokio_util::sync::CancellationToken;

use crate::support::{Bed, PATIENCE, text};

#[tokio::test]
async fn a_slack_that_is_down_does_not_hold_up_a_rollout() -> Result<()> {
    let bed = Bed::new("door").await?;
    bed.slack.stop().await;
    let settings = SlackSettings::new(&bed.slack.api_url().parse()?, bed.slack.bot_token().into())?;
    let (readiness, shutdown) = (Readiness::default(), CancellationToken::new());
    let sockets = SocketSettings::new(bed.slack.app_token().into(), || 7)?;
    let work = receiver::run(
        ReceiverSettings {
            namespaces: bed.teams.clone(),
            command: "/deploy".to_owned(),
            bot_tokens: vec![bed.slack.bot_token().into()],
            ttl: None,
            clock: Timestamp::now,
            draw: || [7; 12],
        },
        Client::try_from(client::bounded(bed.plane.admin_config()))?,
        SlackClient::new(settings.without_proxies())?,
        Door {
            transport: Transport::Socket {
                settings: sockets.sockets(1).without_proxies(),
                grace: Duration::from_secs(3),
            },
            allowed: Allowed::default(),
            metrics: SlackMetrics::default(),
        },
        readiness.clone(),
        Metrics::default(),
        shutdown.clone(),
    );
    let work = tokio::spawn(work);
    wait_for("a start that is not ready", PATIENCE, async || {
        let closed = readiness.closed();
        let told = closed
            .iter()
            .any(|(_, reason)| reason.contains("no live socket to Slack"));
        ensure!(told, "{closed:?}");
        Ok(())
    })
    .await?;
    wait_for("the end of the grace", PATIENCE, async || {
        let closed = readiness.closed();
        ensure!(
            closed.iter().all(|(gate, _)| *gate != "slack"),
            "{closed:?}"
        );
        Ok(())
    })
    .await?;

    bed.slack.restart().await?;
    bed.slack.connected(1, PATIENCE).await?;
    let answer = bed
        .typed("alice", "deploys", "/deploy checkout main to quick")
        .await?;
    assert!(answer.text.contains("Accepted"), "{}", text(&answer));
    ensure!(readiness.closed().is_empty(), "{:?}", readiness.closed());
    shutdown.cancel();
    work.await??;
    Ok(())
}
