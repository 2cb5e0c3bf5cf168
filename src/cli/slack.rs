//! What the roles that speak to Slack take. Touches the environment, and the files and the Vault that hold secrets.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use reqwest::Url;

use super::{
    process::Process,
    secret::{Secrets, Source},
    vault::{KeyInVault, VaultArguments},
};
use crate::{
    runtime::live::LiveSecret,
    slack::{
        client::{API_URL, SlackClient, SlackSettings, token},
        metrics::SlackMetrics,
    },
};

/// Where Slack is, the bot's token, and the Vault that may hold it.
#[derive(Args, Clone, Debug)]
pub(super) struct SlackArguments {
    /// Where Slack's Web API is
    #[arg(
        long,
        value_name = "URL",
        env = "SLACK_API_URL",
        default_value = API_URL
    )]
    slack_api_url: Url,

    /// File that holds the bot's token (xoxb-…) and may change; else `SLACK_BOT_TOKEN` does
    #[arg(long, value_name = "FILE", env = "SLACK_BOT_TOKEN_FILE")]
    slack_bot_token_file: Option<PathBuf>,

    /// Where Vault holds the bot's token, such as `foredeck/slack#bot-token`
    #[arg(long, value_name = "PATH#KEY", env = "SLACK_BOT_TOKEN_VAULT")]
    slack_bot_token_vault: Option<KeyInVault>,

    #[command(flatten)]
    vault: VaultArguments,
}

/// Slack as the roles of one process share it.
#[derive(Clone)]
pub(super) struct Slack {
    api: Url,
    /// The bot's token.
    pub(super) bot_token: LiveSecret,
    /// What is counted of it.
    pub(super) metrics: SlackMetrics,
    /// For what else is secret.
    pub(super) secrets: Secrets,
}

impl SlackArguments {
    /// With the bot's token at hand. Once in a process.
    pub(super) async fn open(self, process: &Process) -> Result<Slack> {
        let secrets = Secrets::new(self.vault.clone(), process);
        self.open_with(process, secrets).await
    }

    /// As [`SlackArguments::open`], where the process has its secrets already.
    pub(super) async fn open_with(self, process: &Process, secrets: Secrets) -> Result<Slack> {
        let what = "Slack's bot token (xoxb-…, on the app's page under OAuth & Permissions)";
        Ok(Slack {
            bot_token: secrets.required(&self.bot_token(), what).await?,
            metrics: SlackMetrics::register(&process.metrics),
            api: self.slack_api_url,
            secrets,
        })
    }

    /// A client with that token, which has not called yet.
    pub(super) fn client_for(&self, token: LiveSecret, process: &Process) -> Result<SlackClient> {
        let settings = SlackSettings::new(&self.slack_api_url, token)?;
        let metrics = SlackMetrics::register(&process.metrics);
        Ok(SlackClient::new(settings.metrics(metrics))?)
    }

    /// The Vault that may hold secrets.
    pub(super) fn vault(&self) -> &VaultArguments {
        &self.vault
    }

    fn bot_token(&self) -> Source<'_> {
        Source {
            name: "slack-bot-token",
            variable: "SLACK_BOT_TOKEN",
            flag: "--slack-bot-token",
            file: self.slack_bot_token_file.as_ref(),
            vault: self.slack_bot_token_vault.as_ref(),
            check: |secret| is(token("bot token", secret)),
        }
    }

    /// Whether anybody meant to use Slack at all.
    pub(super) fn is_configured(&self) -> Result<bool> {
        self.bot_token().is_given()
    }
}

impl Slack {
    /// A client that has not called yet.
    pub(super) fn client(&self) -> Result<SlackClient> {
        let settings = SlackSettings::new(&self.api, self.bot_token.clone())?;
        Ok(SlackClient::new(settings.metrics(self.metrics.clone()))?)
    }
}

/// Why it isn't one, in words.
pub(super) fn is<T, E: ToString>(checked: Result<T, E>) -> Result<(), String> {
    checked.map(|_| ()).map_err(|error| error.to_string())
}
