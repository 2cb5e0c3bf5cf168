//! The command line: one file per subcommand, its flags and how its parts are put together, and nothing else.
//! Touches what the subcommand touches.

mod audit;
mod controller;
mod crds;
mod doctor;
mod explain;
mod git;
mod identity;
mod import;
mod people;
mod print;
mod process;
mod receiver;
mod relay;
mod run;
mod secret;
mod slack;
mod slack_manifest;
mod values;
mod vault;

use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};

/// Ask for a deployment; Spinnaker runs it, exactly once.
#[derive(Debug, Parser)]
#[command(name = "foredeck", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start and follow the pipeline executions that `DeployRequests` ask for
    Controller(Box<controller::ControllerArguments>),
    /// Turn what people say in Slack into `DeployRequests`
    Receiver(Box<receiver::ReceiverArguments>),
    /// Tell in Slack how `DeployRequests` go
    Relay(Box<relay::RelayArguments>),
    /// Run all roles in one process
    Run(Box<run::RunArguments>),
    /// Say whether an installation is well, line by line; changes nothing
    Doctor(Box<doctor::DoctorArguments>),
    /// Say why a `DeployRequest` starts or doesn't: every gate, and what can be done; changes nothing
    Explain(explain::ExplainArguments),
    /// Print Applications and Environments for what a Spinnaker has already, as YAML to correct and apply
    Import(Box<import::ImportArguments>),
    /// Print the `CustomResourceDefinitions` as YAML, for `kubectl apply -f -`
    Crds,
    /// Print the manifest of the Slack app as JSON
    SlackManifest(slack_manifest::ManifestArguments),
}

impl Cli {
    /// Does what the command line says, and returns when that is done.
    ///
    /// # Errors
    /// When it can't be done. A command that did its work may still have found something wrong: then the exit code says so.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let done = match self.command {
            Command::Controller(arguments) => until_done(controller::run(*arguments)),
            Command::Receiver(arguments) => until_done(receiver::run(*arguments)),
            Command::Relay(arguments) => until_done(relay::run(*arguments)),
            Command::Run(arguments) => until_done(run::run(*arguments)),
            Command::Doctor(arguments) => return until_done(doctor::run(*arguments)),
            Command::Explain(arguments) => return until_done(explain::run(arguments)),
            Command::Import(arguments) => return until_done(import::run(*arguments)),
            Command::Crds => crds::print(),
            Command::SlackManifest(arguments) => slack_manifest::print(&arguments),
        };
        done.map(|()| ExitCode::SUCCESS)
    }
}

/// A runtime per command: one that only prints needs no threads.
fn until_done<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("can't start the async runtime")?;
    let outcome = runtime.block_on(work);
    // Dropped, it would wait for whatever blocks a thread: a name that is looked up, say, for as long as that takes.
    runtime.shutdown_background();
    outcome
}

/// An error and its causes as one line. Causes that say nothing new are left out: many libraries repeat theirs.
pub fn explain(error: &anyhow::Error) -> String {
    let mut sentence = String::new();
    for cause in error.chain().map(ToString::to_string) {
        let cause = cause.trim().replace('\n', " ");
        if sentence.is_empty() {
            sentence = cause;
        } else if !sentence.contains(&cause) {
            sentence = format!("{sentence}: {cause}");
        }
    }
    sentence
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn error_is_one_line_that_says_each_thing_once() {
        let error = anyhow!("connection refused")
            .context("can't connect: connection refused")
            .context("can't read\nthe lease");
        assert_eq!(
            explain(&error),
            "can't read the lease: can't connect: connection refused"
        );
    }

    #[test]
    fn test_flags_are_not_in_the_help() {
        for role in ["controller", "run"] {
            let mut command = Cli::command();
            let help = command
                .find_subcommand_mut(role)
                .unwrap()
                .render_long_help()
                .to_string();
            assert!(
                help.contains("--lease-duration") && help.contains("FOREDECK_NAMESPACE"),
                "{help}"
            );
            assert!(!help.contains("--test-"), "{help}");
        }
    }
}
