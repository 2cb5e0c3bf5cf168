//! What foredeck says to Slack and takes from it, judged by others: Slack's own SDK, and a third party's Slack.

#![expect(
    clippy::unwrap_used,
    reason = "clippy takes only the functions marked as tests for tests"
)]

mod emulate;
mod models;
mod signatures;
mod table;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// An SDK starts in a second; a busy machine takes its time.
const SOON: Duration = Duration::from_secs(30);

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join("slack_sdks")
        .join(name)
}
