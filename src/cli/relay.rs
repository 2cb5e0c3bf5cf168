//! `foredeck relay`: its flags, and how [`crate::relay`] is run. Touches what that touches, and the file that holds the
//! bot's token.

use anyhow::Result;
use clap::Args;

use super::{
    process::{self, LeaseArguments, Process, ProcessArguments},
    slack::SlackArguments,
};
use crate::{
    relay::{self, RelayParts, RelaySettings},
    slack::{ids::ChannelId, metrics::SlackMetrics},
};

#[derive(Args, Debug)]
pub(super) struct RelayArguments {
    #[command(flatten)]
    process: ProcessArguments,
    #[command(flatten)]
    lease: LeaseArguments,
    #[command(flatten)]
    slack: SlackArguments,
    #[command(flatten)]
    own: RelayFlags,
}

/// What only the relay takes.
#[derive(Args, Debug)]
pub(super) struct RelayFlags {
    /// Lease that keeps two relays from working at once: the same for all that share an API server
    #[arg(
        long,
        value_name = "NAME",
        env = "FOREDECK_RELAY_LEASE_NAME",
        default_value = "foredeck-relay"
    )]
    relay_lease_name: String,

    /// Id of a channel that is told when the relay starts
    #[arg(long, value_name = "CHANNEL", env = "FOREDECK_STARTUP_CHANNEL")]
    startup_channel: Option<ChannelId>,
}

pub(super) async fn run(arguments: RelayArguments) -> Result<()> {
    let RelayArguments {
        process,
        lease,
        slack,
        own,
    } = arguments;
    process::run(process, async |process| {
        let metrics = SlackMetrics::register(&process.metrics);
        work(process, lease, &slack, own, metrics).await
    })
    .await
}

/// The role itself, in whatever process.
pub(super) async fn work(
    process: Process,
    lease: LeaseArguments,
    slack: &SlackArguments,
    own: RelayFlags,
    slack_metrics: SlackMetrics,
) -> Result<()> {
    let slack = slack.client(slack_metrics)?;
    let settings = RelaySettings {
        namespaces: process.namespaces.clone(),
        startup_channel: own.startup_channel,
        ..RelaySettings::default()
    };
    process::under_lease(
        &process,
        "relay-lease",
        lease,
        own.relay_lease_name,
        |claim| {
            let parts = RelayParts {
                client: process.client.clone(),
                slack,
                claim: Some(claim),
                readiness: process.readiness.clone(),
                metrics: process.metrics.clone(),
            };
            relay::run(settings, parts, process.shutdown.clone())
        },
    )
    .await
}
