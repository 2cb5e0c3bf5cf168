//! `foredeck relay`: its flags, and how [`crate::relay`] is run. Touches what that touches, and the place of the bot's token.

use anyhow::Result;
use clap::Args;

use super::{
    process::{self, LeaseArguments, Process, ProcessArguments},
    slack::{Slack, SlackArguments},
    values,
};
use crate::{
    access::needs,
    relay::{self, RelayParts, RelaySettings},
    slack::ids::ChannelId,
};

/// What is closed until it works, or waits for its Lease.
pub(super) const GATES: [&str; 4] = [
    "secrets",
    "relay-lease",
    "relay-definitions",
    "relay-rights",
];

#[derive(Args, Debug)]
pub(super) struct RelayArguments {
    #[command(flatten)]
    process: ProcessArguments,
    #[command(flatten)]
    lease: LeaseArguments,
    #[command(flatten)]
    slack: SlackArguments,
    /// Foredeck's own namespace: its freezes hold everywhere, and are told too
    #[arg(long, value_name = "NAME", env = "FOREDECK_HOME_NAMESPACE", default_value = "foredeck-system", value_parser = values::namespace)]
    home_namespace: String,
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
        home_namespace,
        own,
    } = arguments;
    process::run("relay", process, &GATES, async |process| {
        // Before the Lease: who waits for a secret leaves the work to others.
        match process.unless_stopped(slack.open(&process)).await {
            Some(slack) => work(process, lease, slack?, home_namespace, own).await,
            None => Ok(()),
        }
    })
    .await
}

/// The role itself, in whatever process.
pub(super) async fn work(
    process: Process,
    lease: LeaseArguments,
    slack: Slack,
    home_namespace: String,
    own: RelayFlags,
) -> Result<()> {
    let slack = slack.client()?;
    let settings = RelaySettings {
        namespaces: process.namespaces.clone(),
        home: Some(home_namespace),
        startup_channel: own.startup_channel,
        ..RelaySettings::default()
    };
    let needs = needs::relay(
        &process.scopes(),
        (&lease.lease_namespace, &own.relay_lease_name),
    );
    let work = process::under_lease(
        &process,
        ("relay-lease", "relay-caches"),
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
    );
    process.needing(needs, Box::pin(work)).await
}
