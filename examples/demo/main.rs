//! The main job on one machine: a real Kubernetes API server, stand-ins for Spinnaker's Gate and for Slack, the three
//! roles as processes with their own rights, and a page to type commands in.
//!
//! `cargo run --example demo` goes on until Ctrl-C; `cargo run --example demo -- --once` applies the quickstart's
//! requests, holds one conversation in Slack, and fails if one of them doesn't end as it should.

mod conversation;
mod quickstart;
mod roles;
mod spinnaker;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;
use foredeck_testkit::{ControlPlane, StandInGate, StandInSlack};
use futures::future::select_all;
use roles::Role;

/// Where the requests are told.
const CHANNEL: &str = "deploys";
/// The roles, in the order in which they start.
const ROLES: [&str; 3] = ["controller", "receiver", "relay"];

fn main() -> Result<ExitCode> {
    foredeck::runtime::tls::install();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let once = match arguments.as_slice() {
        [] => false,
        [only] if only == "--once" => true,
        // The demo starts itself once for each role.
        [role, ..] if ROLES.contains(&role.as_str()) => return foredeck::cli::Cli::parse().run(),
        _ => bail!("the demo takes no argument but --once"),
    };
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(demo(once))
        .map(|()| ExitCode::SUCCESS)
}

async fn demo(once: bool) -> Result<()> {
    let plane = ControlPlane::start().await?;
    plane
        .install(
            &foredeck::api::crds(),
            &quickstart::examples().join("install"),
        )
        .await?;
    let gate = StandInGate::start().await?;
    for pipeline in spinnaker::pipelines() {
        gate.put_pipeline(pipeline);
    }
    let slack = StandInSlack::start().await?;
    println!("Kubernetes API server  {}", plane.url());
    println!("stand-in Gate          {}", gate.url());
    println!("stand-in Slack         {}", slack.url());
    quickstart::configure(&plane.admin(), &gate.url(), &slack.channel(CHANNEL)?.id).await?;

    let mut roles = Vec::new();
    for name in ROLES {
        let role = Role::start(name, &plane, &slack).await?;
        println!("foredeck {name:<13} {}", role.log.display());
        roles.push(role);
    }
    let watching = tokio::spawn(quickstart::show(plane.admin()));
    let story = async {
        if once {
            quickstart::ask(&plane.admin()).await?;
            quickstart::guard(&plane.admin()).await?;
            return conversation::deploy(&slack, CHANNEL).await;
        }
        invite(&plane, &slack);
        quickstart::ask(&plane.admin()).await?;
        quickstart::guard(&plane.admin()).await?;
        invite(&plane, &slack);
        std::future::pending().await
    };
    let outcome = tokio::select! {
        outcome = story => outcome,
        (ended, ..) = select_all(roles.iter_mut().map(|role| Box::pin(role.ended()))) => Err(ended),
        _ = tokio::signal::ctrl_c() => { println!("\nstopping"); Ok(()) }
    };
    watching.abort();
    outcome
}

fn invite(plane: &ControlPlane, slack: &StandInSlack) {
    println!("\nOpen {} and type:\n", slack.url());
    println!("  /deploy checkout main to staging");
    println!("  /deploy checkout broken to staging");
    println!(
        "  /deploy checkout 1.5.0 to production     (somebody else has to approve it, in its thread)"
    );
    println!("  /deploy help\n");
    println!("or from another terminal:\n");
    println!("  export KUBECONFIG={}", plane.admin_kubeconfig().display());
    println!("  kubectl get dr -w");
    println!(
        "  sed 's/name: .*/name: my-first/' examples/quickstart/requests/02-deploy-main-staging.yaml | kubectl apply -f -\n"
    );
    println!("Ctrl-C ends it.");
}
