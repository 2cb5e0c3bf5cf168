//! A request's life when nothing goes wrong, and when its execution fails.

use std::time::Duration;

use anyhow::{Result, ensure};
use foredeck::api::deploy_request::Phase;

use crate::support::{Bed, reason};

const QUICK: Duration = Duration::from_millis(600);

#[tokio::test(flavor = "multi_thread")]
async fn an_applied_request_starts_one_execution_and_follows_it_to_its_end() -> Result<()> {
    let bed = Bed::new("life", QUICK).await?;
    let _controller = bed.controller_lasting("30s", &[])?;
    let request = bed.deploy("first").await?;
    let ended = bed.until_phase("first", Phase::Succeeded).await?;
    ensure!(bed.launches(&request) == 1);
    ensure!(reason(&ended, "Succeeded") == "Succeeded");
    let status = ended.status.unwrap_or_default();
    let execution = status.execution.unwrap_or_default();
    ensure!(execution.status == "SUCCEEDED", "{execution:?}");
    ensure!(execution.stages.len() == 2, "{execution:?}");
    ensure!(execution.url.is_some_and(|url| {
        url.starts_with("https://deck.example/#/applications/checkout/executions/details/")
    }));
    bed.until_free().await?;
    let target = bed.target("staging").await?.status.unwrap_or_default();
    ensure!(target.current.and_then(|run| run.version).as_deref() == Some("main"));
    ensure!(target.history.len() == 1 && target.keys.len() == 1);
    Ok(())
}
