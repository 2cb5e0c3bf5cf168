//! `foredeck slack-manifest`: the app's manifest as JSON, to be pasted where Slack makes apps. Touches stdout.

use anyhow::{Context, Result};
use clap::Args;
use reqwest::Url;

use super::{print, receiver::Mode};
use crate::slack::manifest::{self, CommandName, RequestUrls, manifest};

#[derive(Args, Debug)]
pub(super) struct ManifestArguments {
    /// How Slack reaches the receiver
    #[arg(long, value_enum, default_value_t)]
    mode: Mode,

    /// Where Slack reaches the receiver, with `--mode http`: what stands before /slack/commands
    #[arg(long, value_name = "URL", required_if_eq("mode", "http"))]
    base_url: Option<Url>,

    /// The slash command
    #[arg(long, value_name = "COMMAND", default_value = "/deploy")]
    command: CommandName,
}

pub(super) fn print(arguments: &ManifestArguments) -> Result<()> {
    let mode = match (arguments.mode, &arguments.base_url) {
        (Mode::Http, Some(base)) => manifest::Mode::Http(RequestUrls::below(base)?),
        _ => manifest::Mode::Socket,
    };
    let text = serde_json::to_string_pretty(&manifest(&mode, &arguments.command))
        .context("can't write the manifest as JSON")?;
    print::page(&format!("{text}\n"))
}
