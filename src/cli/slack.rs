//! What the roles that speak to Slack take. Touches the environment and the files that hold secrets.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use reqwest::Url;
use secrecy::SecretString;

use super::secret::Source;
use crate::slack::{
    client::{API_URL, SlackClient, SlackSettings},
    metrics::SlackMetrics,
};

/// Where Slack is, and the bot's token.
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

    /// File that holds the bot's token (xoxb-…); else `SLACK_BOT_TOKEN` does
    #[arg(long, value_name = "FILE", env = "SLACK_BOT_TOKEN_FILE")]
    slack_bot_token_file: Option<PathBuf>,
}

impl SlackArguments {
    /// A client that has not called yet.
    pub(super) fn client(&self, metrics: SlackMetrics) -> Result<SlackClient> {
        let settings = SlackSettings::new(&self.slack_api_url, self.bot_token()?)?;
        Ok(SlackClient::new(settings.metrics(metrics))?)
    }

    fn bot_token_source(&self) -> Source<'_> {
        Source {
            variable: "SLACK_BOT_TOKEN",
            flag: "--slack-bot-token-file",
            file: self.slack_bot_token_file.as_ref(),
        }
    }

    /// The bot's token.
    pub(super) fn bot_token(&self) -> Result<SecretString> {
        self.bot_token_source()
            .required("Slack's bot token (xoxb-…, on the app's page under OAuth & Permissions)")
    }

    /// Whether anybody meant to use Slack at all.
    pub(super) fn is_configured(&self) -> Result<bool> {
        Ok(self.bot_token_source().read()?.is_some())
    }
}
