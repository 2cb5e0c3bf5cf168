//! `foredeck run`: all roles in one process, for trials and laptops. Touches what they touch.
//!
//! Each role acts as its own `ServiceAccount`, by impersonation: admission tells the receiver, which speaks for people,
//! from everybody else by that, and none has more rights than it has alone.

use anyhow::Result;
use clap::Args;

use super::{
    controller::{self, ControllerFlags},
    git::GitArguments,
    people::PeopleArguments,
    process::{self, LeaseArguments, ProcessArguments},
    receiver::{self, ReceiverFlags},
    relay::{self, RelayFlags},
    slack::SlackArguments,
    values,
};

#[derive(Args, Debug)]
pub(super) struct RunArguments {
    #[command(flatten)]
    process: ProcessArguments,
    #[command(flatten)]
    lease: LeaseArguments,
    /// Namespace of the roles' `ServiceAccount`s; each role acts as its own, so whoever runs this must be allowed to
    /// impersonate them
    #[arg(long, value_name = "NAME", env = "FOREDECK_ROLES_NAMESPACE", default_value = "foredeck-system", value_parser = values::namespace)]
    roles_namespace: String,

    #[command(flatten)]
    slack: SlackArguments,
    #[command(flatten)]
    people: PeopleArguments,
    #[command(flatten)]
    git: GitArguments,
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
        roles_namespace,
        slack,
        people,
        git,
        controller,
        receiver,
        relay,
    } = arguments;
    let speaks = slack.is_configured()?;
    let mut gates = controller::GATES.to_vec();
    if speaks {
        gates.extend(receiver::GATES);
        gates.extend(relay::GATES);
    }
    process::run("all", process, &gates, async move |process| {
        let role = async |name: &str| {
            let user = format!("system:serviceaccount:{roles_namespace}:foredeck-{name}");
            process.acting_as(user).await
        };
        let git = git.open(&process.metrics);
        // On the heap: three roles in one future are larger than a stack should hold.
        let controller = Box::pin(controller::work(
            role("controller").await?,
            lease.clone(),
            people.clone(),
            git.clone(),
            controller,
        ));
        if !speaks {
            tracing::info!("no bot token for Slack: kubectl and commits are the ways in");
            return controller.await;
        }
        let speaking = async {
            // Deployments don't wait for Slack's secrets.
            let Some(slack) = process.unless_stopped(slack.open(&process)).await else {
                return Ok(());
            };
            let slack = slack?;
            let home = people.home_namespace.clone();
            let receiver = receiver::work(
                role("receiver").await?,
                slack.clone(),
                people,
                git,
                receiver,
            );
            let relay = relay::work(role("relay").await?, lease, slack, home, relay);
            tokio::try_join!(Box::pin(receiver), Box::pin(relay))?;
            Ok(())
        };
        tokio::try_join!(controller, Box::pin(speaking))?;
        Ok(())
    })
    .await
}
