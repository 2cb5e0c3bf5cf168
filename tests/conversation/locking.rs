//! A lock the whole way: said in Slack, heeded by the controller whoever asks, lifted in Slack.

use std::time::Duration;

use anyhow::{Result, ensure};
use foredeck::api::{
    DeployRequest,
    deploy_request::{Phase, WaitingFor},
};
use foredeck_testkit::wait_for;
use kube::{Api, ResourceExt, api::PostParams};
use serde_json::json;

use crate::support::{Bed, CHANNEL, PATIENCE};

const WORK: Duration = Duration::from_secs(1);

#[tokio::test]
async fn what_kubectl_asks_for_waits_for_a_lock_from_slack_and_starts_once_when_it_is_lifted()
-> Result<()> {
    let bed = Bed::new("locked", WORK).await?;
    let _roles = bed.all_roles().await?;
    let alice = bed.slack.user("alice");
    alice.command(
        CHANNEL,
        "/deploy lock checkout in production \"database migration\" 2h",
    )?;
    bed.until_whispered("alice", &["Locked", "database migration"])
        .await?;
    let request: DeployRequest = serde_json::from_value(json!({
        "apiVersion": "foredeck.dev/v1alpha1", "kind": "DeployRequest", "metadata": {"name": "by-kubectl"},
        "spec": {"application": "checkout", "environment": "production", "version": "v2"},
    }))?;
    let bob = bed
        .plane
        .client_as("bob@harbor.example", &["system:authenticated"]);
    let request = Api::<DeployRequest>::namespaced(bob, &bed.namespace)
        .create(&PostParams::default(), &request)
        .await?;
    let name = request.name_any();
    wait_for("a request that waits for the lock", PATIENCE, async || {
        let status = bed.api::<DeployRequest>().get(&name).await?.status;
        let waiting = status.and_then(|status| status.waiting);
        let locked = waiting.as_ref().is_some_and(|waiting| {
            let words = ["alice@harbor.example", "database migration"];
            waiting.subject == WaitingFor::Lock
                && words.iter().all(|word| waiting.message.contains(word))
        });
        ensure!(locked, "{waiting:?}");
        Ok(())
    })
    .await?;
    let uid = request.uid().unwrap_or_default();
    alice.command(CHANNEL, &format!("/deploy why {name}"))?;
    bed.until_whispered("alice", &["Lock", "closed", &name])
        .await?;
    assert_eq!(
        bed.gate.launches_of(&uid).len(),
        0,
        "nothing starts while it is locked"
    );
    alice.command(CHANNEL, "/deploy unlock checkout in production")?;
    bed.until_whispered("alice", &["Unlocked", "alice@harbor.example", &name])
        .await?;
    bed.until_phase(&name, Phase::Succeeded).await?;
    assert_eq!(bed.gate.launches_of(&uid).len(), 1);
    Ok(())
}
