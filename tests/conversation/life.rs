//! What people see when nothing breaks.

use std::time::Duration;

use anyhow::{Result, ensure};
use foredeck::api::{DeployRequest, deploy_request::Phase};
use foredeck_testkit::wait_for;
use kube::ResourceExt;
use serde_json::json;

use crate::support::{Bed, CHANNEL, PATIENCE, shown};

const WORK: Duration = Duration::from_secs(2);

#[tokio::test]
async fn what_was_asked_in_slack_is_one_live_message_to_its_end() -> Result<()> {
    let bed = Bed::new("asked", WORK).await?;
    let _roles = bed.all_roles().await?;
    bed.ask_and_confirm("alice", "/deploy checkout main to staging")
        .await?;
    let request = bed.only_request().await?;
    let live = bed
        .until_told(&["checkout", "main", "staging", "running"])
        .await?;
    bed.until_phase(&request.name_any(), Phase::Succeeded)
        .await?;
    let last = bed
        .until_told(&["checkout", "main", "staging", "succeeded"])
        .await?;
    assert_eq!(live.ts, last.ts, "one message from start to end");
    let uid = request.uid().unwrap_or_default();
    assert_eq!(bed.gate.launches_of(&uid).len(), 1);
    let requester = request
        .spec
        .requester
        .as_ref()
        .map(|who| who.username.as_str());
    assert_eq!(requester, Some("alice@harbor.example"));
    Ok(())
}

#[tokio::test]
async fn a_failure_names_the_stage_and_its_words_in_the_thread_and_the_channel() -> Result<()> {
    let bed = Bed::new("fails", WORK).await?;
    let _roles = bed.all_roles().await?;
    bed.ask_and_confirm("alice", "/deploy checkout broken to staging")
        .await?;
    let live = bed.until_told(&["broken", "failed", "Smoke test"]).await?;
    wait_for("the failure in the thread", PATIENCE, async || {
        let thread = bed.thread(&live);
        let told = thread
            .iter()
            .any(|reply| shown(reply).contains("answered 503") && reply.broadcast);
        ensure!(told, "{:?}", thread.iter().map(shown).collect::<Vec<_>>());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_button_of_the_live_message_ends_it() -> Result<()> {
    let bed = Bed::new("stops", Duration::from_mins(5)).await?;
    let _roles = bed.all_roles().await?;
    bed.ask_and_confirm("alice", "/deploy checkout main to production")
        .await?;
    let live = bed.until_told(&["running", "request-cancel"]).await?;
    bed.slack.user("bob").click(&live, "request-cancel")?;
    let request = bed.only_request().await?;
    let request = bed
        .until_phase(&request.name_any(), Phase::Canceled)
        .await?;
    let by = request.spec.cancel.and_then(|cancel| cancel.by);
    ensure!(
        by.as_ref()
            .is_some_and(|by| by.username == "bob@harbor.example" && by.slack.is_some()),
        "{by:?}"
    );
    let last = bed.until_told(&["canceled"]).await?;
    ensure!(!shown(&last).contains("request-cancel"), "{}", shown(&last));

    // Somebody's screen still shows the button.
    bed.slack
        .user("alice")
        .click_as_seen(&live, "request-cancel")?;
    bed.until_whispered("alice", &["nothing to cancel", "canceled"])
        .await?;
    Ok(())
}

#[tokio::test]
async fn what_kubectl_asks_is_told_too() -> Result<()> {
    let bed = Bed::new("kubectl", WORK).await?;
    let _roles = bed.all_roles().await?;
    let spec = json!({"application": "checkout", "environment": "staging", "version": "v2"});
    bed.create::<DeployRequest>("by-kubectl", spec).await?;
    bed.until_phase("by-kubectl", Phase::Succeeded).await?;
    bed.until_told(&["checkout", "v2", "succeeded"]).await?;
    Ok(())
}

#[tokio::test]
async fn a_mention_and_a_direct_message_ask_as_a_command_does() -> Result<()> {
    let bed = Bed::new("mention", WORK).await?;
    let _roles = bed.all_roles().await?;
    let alice = bed.slack.user("alice");
    alice.mention(CHANNEL, None, "checkout v1 to free")?;
    let request = bed.only_request().await?;
    bed.until_phase(&request.name_any(), Phase::Succeeded)
        .await?;
    alice.direct_message("checkout v2 to free")?;
    wait_for("the second request", PATIENCE, async || {
        let all = bed.requests().await?;
        ensure!(all.len() == 2, "{}", all.len());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn one_process_can_be_all_roles() -> Result<()> {
    let bed = Bed::new("together", WORK).await?;
    let process = bed.role("run", &[]).await?;
    bed.ask_and_confirm("alice", "/deploy checkout main to staging")
        .await?;
    bed.until_told(&["checkout", "main", "succeeded"]).await?;
    let page = process.metrics().await?;
    let mut names: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("# TYPE "))
        .collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "a name comes twice: {page}");
    for word in [
        "starts",
        "receiver_deliveries",
        "slack_calls",
        "relay_messages",
    ] {
        ensure!(
            page.contains(&format!("# TYPE foredeck_{word} ")),
            "{word}: {page}"
        );
    }
    Ok(())
}
