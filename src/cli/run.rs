//! `foredeck run`: all roles in one process, for trials and laptops. Touches what they touch.

use anyhow::Result;
use clap::Args;

use super::{
    controller::{self, ControllerFlags},
    people::PeopleArguments,
    process::{self, LeaseArguments, ProcessArguments},
    receiver::{self, ReceiverFlags},
    relay::{self, RelayFlags},
    slack::SlackArguments,
};
use crate::slack::metrics::SlackMetrics;

#[derive(Args, Debug)]
pub(super) struct RunArguments {
    #[command(flatten)]
    process: ProcessArguments,
    #[command(flatten)]
    lease: LeaseArguments,
    #[command(flatten)]
    slack: SlackArguments,
    #[command(flatten)]
    people: PeopleArguments,
    #[command(flatten)]
    controller: ControllerFlags,
    #[command(flatten)]
    receiver: ReceiverFlags,
    #[command(flatten)]
    relay: RelayFlags,
}

/// Without a bot token there is no Slack, and the controller works alone.
pub(super) async fn run(arguments: RunArguments) -> Result<()> {
    let RunArguments {
        process,
        lease,
        slack,
        people,
        controller,
        receiver,
        relay,
    } = arguments;
    let speaks = slack.is_configured()?;
    process::run(process, async move |process| {
        // On the heap: three roles in one future are larger than a stack should hold.
        let controller = Box::pin(controller::work(
            process.clone(),
            lease.clone(),
            people,
            controller,
        ));
        if !speaks {
            tracing::info!("no bot token for Slack: kubectl and commits are the ways in");
            return controller.await;
        }
        let metrics = SlackMetrics::register(&process.metrics);
        let receiver = receiver::work(process.clone(), &slack, receiver, metrics.clone());
        let relay = relay::work(process, lease, &slack, relay, metrics);
        tokio::try_join!(controller, Box::pin(receiver), Box::pin(relay))?;
        Ok(())
    })
    .await
}
