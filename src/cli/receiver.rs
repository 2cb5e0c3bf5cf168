//! `foredeck receiver`: its flags, and how [`crate::receiver`] is run. Touches what that touches, and the places of its
//! secrets.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use aws_lc_rs::rand;
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use tokio::net::TcpListener;

use super::{
    git::{Git, GitArguments},
    identity::IdentityFlags,
    people::PeopleArguments,
    process::{self, Process, ProcessArguments},
    secret::{Secrets, Source},
    slack::{Slack, SlackArguments, is},
    values,
    vault::KeyInVault,
};
use crate::{
    access::needs,
    receiver::{self, Door, ReceiverSettings, Transport},
    runtime::live::LiveSecret,
    slack::{
        client::token, ids::AppId, inbound::Allowed, manifest::CommandName,
        signature::SigningSecrets, socket::SocketSettings,
    },
};

/// What is closed until it works.
pub(super) const GATES: [&str; 5] = [
    "secrets",
    "receiver-caches",
    "receiver-slack",
    "receiver-definitions",
    "receiver-rights",
];

/// What is under way has to end within the grace period too.
const LONGEST_DRAIN: Duration = Duration::from_secs(20);

#[derive(Args, Debug)]
pub(super) struct ReceiverArguments {
    #[command(flatten)]
    process: ProcessArguments,
    #[command(flatten)]
    slack: SlackArguments,
    #[command(flatten)]
    people: PeopleArguments,
    #[command(flatten)]
    git: GitArguments,
    #[command(flatten)]
    own: ReceiverFlags,
}

/// How Slack reaches us.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(super) enum Mode {
    /// Over sockets that the receiver opens: nothing of it needs a public address
    #[default]
    Socket,
    /// Over signed requests to the receiver
    Http,
}

/// What only the receiver takes.
#[derive(Args, Debug)]
pub(super) struct ReceiverFlags {
    /// How Slack reaches the receiver
    #[arg(long, value_enum, env = "FOREDECK_SLACK_MODE", default_value_t)]
    slack_mode: Mode,

    /// Where it listens for Slack, with `--slack-mode http`
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "FOREDECK_LISTEN",
        default_value = "127.0.0.1:8080"
    )]
    listen: SocketAddr,

    /// The slash command, as the app's manifest names it
    #[arg(
        long,
        value_name = "COMMAND",
        env = "FOREDECK_COMMAND",
        default_value = "/deploy"
    )]
    command: CommandName,

    /// File that holds the app-level token (xapp-…) and may change, with `--slack-mode socket`; else `SLACK_APP_TOKEN` does
    #[arg(long, value_name = "FILE", env = "SLACK_APP_TOKEN_FILE")]
    slack_app_token_file: Option<PathBuf>,

    /// Where Vault holds the app-level token, such as `foredeck/slack#app-token`
    #[arg(long, value_name = "PATH#KEY", env = "SLACK_APP_TOKEN_VAULT")]
    slack_app_token_vault: Option<KeyInVault>,

    /// File that holds the signing secret, or several, one a line, while it is changed, with `--slack-mode http`; else
    /// `SLACK_SIGNING_SECRET` does
    #[arg(long, value_name = "FILE", env = "SLACK_SIGNING_SECRET_FILE")]
    slack_signing_secret_file: Option<PathBuf>,

    /// Where Vault holds the signing secret, or several, one a line, such as `foredeck/slack#signing-secret`
    #[arg(long, value_name = "PATH#KEY", env = "SLACK_SIGNING_SECRET_VAULT")]
    slack_signing_secret_vault: Option<KeyInVault>,

    /// File that holds the bot's token from before it was changed: plans that were shown then can still be confirmed, by a
    /// receiver that has started since too
    #[arg(long, value_name = "FILE", env = "SLACK_OLD_BOT_TOKEN_FILE")]
    slack_old_bot_token_file: Option<PathBuf>,

    /// Where Vault holds the bot's token from before it was changed
    #[arg(long, value_name = "PATH#KEY", env = "SLACK_OLD_BOT_TOKEN_VAULT")]
    slack_old_bot_token_vault: Option<KeyInVault>,

    /// The app's id (A…): deliveries for another app are refused. Any when left out
    #[arg(long, value_name = "ID", env = "FOREDECK_SLACK_APP_ID")]
    slack_app_id: Option<AppId>,

    /// Sockets of this process. Replicas × sockets must be 4 or less: Slack allows 10, and refreshes count twice
    #[arg(
        long,
        value_name = "NUMBER",
        env = "FOREDECK_SLACK_SOCKETS",
        default_value_t = 2
    )]
    slack_sockets: usize,

    /// Sockets of all processes together: more of them mean that another installation uses the same app
    #[arg(
        long,
        value_name = "NUMBER",
        env = "FOREDECK_SLACK_SOCKETS_EXPECTED",
        default_value_t = 4
    )]
    slack_sockets_expected: u32,

    /// How long a start without a live socket is not ready: a Slack that is down must not hold up a rollout
    #[arg(long, value_name = "DURATION", env = "FOREDECK_SLACK_GRACE", default_value = "30s", value_parser = values::duration)]
    slack_grace: Duration,

    /// How long it goes on answering after it was asked to stop, with `--slack-mode http`: until no balancer sends Slack's
    /// requests here any more; at most 20 s
    #[arg(long, value_name = "DURATION", env = "FOREDECK_DRAIN", default_value = "5s", value_parser = values::duration)]
    drain: Duration,

    /// How long a request that was asked for in Slack stays after its end
    #[arg(long, value_name = "DURATION", env = "FOREDECK_REQUEST_TTL", default_value = "720h", value_parser = values::duration)]
    request_ttl: Duration,

    #[command(flatten)]
    identity: IdentityFlags,
}

pub(super) async fn run(arguments: ReceiverArguments) -> Result<()> {
    let ReceiverArguments {
        process,
        slack,
        people,
        git,
        own,
    } = arguments;
    process::run(
        "receiver",
        process,
        &GATES,
        async move |process| match process.unless_stopped(slack.open(&process)).await {
            Some(slack) => {
                let git = git.open(&process.metrics);
                work(process, slack?, people, git, own).await
            }
            None => Ok(()),
        },
    )
    .await
}

/// The role itself, in whatever process.
pub(super) async fn work(
    process: Process,
    slack: Slack,
    people: PeopleArguments,
    git: Git,
    own: ReceiverFlags,
) -> Result<()> {
    let needs = needs::receiver(&process.scopes(), &people.home_namespace);
    let client = slack.client()?;
    let reading = process.unless_stopped(async {
        let door = Door {
            transport: own.transport(&slack.secrets).await?,
            allowed: Allowed {
                apps: own.slack_app_id.iter().cloned().collect(),
                ..Allowed::default()
            },
            metrics: slack.metrics.clone(),
        };
        let settings = ReceiverSettings {
            namespaces: process.namespaces.clone(),
            command: own.command.as_str().to_owned(),
            bot_tokens: own.bot_tokens(&slack).await?,
            people: own
                .identity
                .clone()
                .settings(people, &slack.secrets)
                .await?,
            ttl: Some(own.request_ttl),
            git: git.settings,
            git_metrics: git.metrics,
            git_patience: receiver::GIT_PATIENCE,
            clock: Timestamp::now,
            draw,
        };
        anyhow::Ok((door, settings))
    });
    let Some(read) = reading.await else {
        return Ok(());
    };
    let (door, settings) = read?;
    let work = receiver::run(
        settings,
        process.client.clone(),
        client,
        door,
        process.readiness.clone(),
        process.metrics.clone(),
        process.shutdown.clone(),
    );
    process.needing(needs, Box::pin(work)).await?;
    Ok(())
}

impl ReceiverFlags {
    async fn transport(&self, secrets: &Secrets) -> Result<Transport> {
        Ok(match self.slack_mode {
            Mode::Socket => {
                let source = Source {
                    name: "slack-app-token",
                    variable: "SLACK_APP_TOKEN",
                    flag: "--slack-app-token",
                    file: self.slack_app_token_file.as_ref(),
                    vault: self.slack_app_token_vault.as_ref(),
                    check: |secret| is(token("app-level token", secret)),
                };
                let what =
                    "Slack's app-level token (xapp-…, on the app's page under Basic Information)";
                let token = secrets.required(&source, what).await?;
                let settings = SocketSettings::new(token, random)?
                    .sockets(self.slack_sockets)
                    .expected(self.slack_sockets_expected);
                Transport::Socket {
                    settings,
                    grace: self.slack_grace,
                }
            }
            Mode::Http => {
                let source = Source {
                    name: "slack-signing-secret",
                    variable: "SLACK_SIGNING_SECRET",
                    flag: "--slack-signing-secret",
                    file: self.slack_signing_secret_file.as_ref(),
                    vault: self.slack_signing_secret_vault.as_ref(),
                    check: |secret| is(SigningSecrets::check(secret)),
                };
                let what = "Slack's signing secret (on the app's page under Basic Information)";
                let signing = secrets.required(&source, what).await?;
                let listener = TcpListener::bind(self.listen)
                    .await
                    .with_context(|| format!("can't listen on {}", self.listen))?;
                Transport::Http {
                    listener,
                    secrets: SigningSecrets::live(signing)?,
                    drain: self.drain.min(LONGEST_DRAIN),
                }
            }
        })
    }

    async fn bot_tokens(&self, slack: &Slack) -> Result<Vec<LiveSecret>> {
        let old = Source {
            name: "slack-old-bot-token",
            variable: "SLACK_OLD_BOT_TOKEN",
            flag: "--slack-old-bot-token",
            file: self.slack_old_bot_token_file.as_ref(),
            vault: self.slack_old_bot_token_vault.as_ref(),
            check: |secret| is(token("old bot token", secret)),
        };
        let old = slack.secrets.optional(&old).await?;
        Ok([Some(slack.bot_token.clone()), old]
            .into_iter()
            .flatten()
            .collect())
    }
}

/// Random bytes from the operating system. It never fails to give them once it has booted; if it did, a nonce that is
/// drawn twice is forgiven where these are used.
fn fill<const LENGTH: usize>() -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    if rand::fill(&mut bytes).is_err() {
        tracing::error!("the operating system gives no random bytes");
    }
    bytes
}

fn draw() -> [u8; 12] {
    fill()
}

fn random() -> u64 {
    u64::from_ne_bytes(fill())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        arguments: ReceiverArguments,
    }

    fn parse(line: &str) -> Result<ReceiverFlags, String> {
        Line::try_parse_from(format!("receiver {line}").split_whitespace())
            .map(|line| line.arguments.own)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_suit_two_replicas_by_socket_mode() {
        let flags = parse("").unwrap();
        assert_eq!(flags.slack_mode, Mode::Socket);
        assert_eq!(flags.command.as_str(), "/deploy");
        assert_eq!((flags.slack_sockets, flags.slack_sockets_expected), (2, 4));
        assert_eq!(flags.slack_grace, Duration::from_secs(30));
        assert_eq!(flags.request_ttl, Duration::from_hours(720));
        assert_eq!(flags.drain, Duration::from_secs(5));
    }

    #[test]
    fn what_can_not_be_is_refused() {
        assert!(
            parse("--command deploy")
                .unwrap_err()
                .contains("slash command")
        );
        assert!(parse("--slack-app-id <!channel>").is_err());
        assert!(parse("--slack-mode smoke").unwrap_err().contains("socket"));
    }
}
