//! Slack's own SDKs take the stand-in for Slack: what they refuse, misread or miss is a mistake of the stand-in's.
//!
//! The scripts beside this file do what they are told and say what the SDK made of it.

#![expect(
    clippy::unwrap_used,
    reason = "clippy takes only the functions marked as tests for tests"
)]

mod bolt;
mod http;
mod socket_mode;
mod web_api;

use std::path::{Path, PathBuf};
use std::time::Duration;

use foredeck_testkit::slack::StandInSlack;
use foredeck_testkit::toolbox::{Node, Python, Script};

/// An SDK starts in a second; a busy machine takes its time.
const SOON: Duration = Duration::from_secs(30);

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join("slack_sdks")
        .join(name)
}

/// Runs a script with `slack_sdk` and `slack_bolt` against the stand-in; nothing if Python is left out.
async fn python(slack: &StandInSlack, name: &str) -> Option<Script> {
    let python = Python::fetch().await.unwrap()?;
    let (url, token, app_token) = (slack.api_url(), slack.bot_token(), slack.app_token());
    let script = python.run(&script(name), &[&url, &token, &app_token]);
    Some(script.unwrap())
}

/// Runs a script with Slack's packages for Node; nothing if Node is left out.
async fn node(name: &str, arguments: &[&str]) -> Option<Script> {
    let node = Node::fetch().await.unwrap()?;
    Some(node.run(&script(name), arguments).unwrap())
}
