//! What people see when something breaks.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use foredeck::api::deploy_request::Phase;
use foredeck_testkit::{slack::Goodbye, wait_for};
use kube::ResourceExt;

use crate::support::{Bed, CHANNEL, PATIENCE};

#[tokio::test]
async fn whatever_was_answered_accepted_exists_once_although_the_receiver_was_killed() -> Result<()>
{
    let bed = Bed::new("killed", Duration::from_secs(1)).await?;
    let receiver = bed.http_receiver(&[]).await?;
    let alice = bed.slack.user("alice");
    let sent: Vec<_> = (0..20)
        .map(|index| alice.command(CHANNEL, &format!("/deploy checkout v{index} to free")))
        .collect::<Result<_>>()?;
    wait_for("some of them to be answered", PATIENCE, async || {
        let answered = sent.iter().any(|delivery| delivery.outcome().is_some());
        ensure!(answered, "none");
        Ok(())
    })
    .await?;
    receiver.kill();
    for delivery in &sent {
        // Answered or lost; what was lost is looked at below.
        let _outcome = delivery.ended().await?;
    }
    let mut versions = BTreeMap::<String, usize>::new();
    for request in bed.requests().await? {
        *versions
            .entry(request.spec.version.unwrap_or_default())
            .or_default() += 1;
    }
    ensure!(versions.values().all(|count| *count == 1), "{versions:?}");
    for (index, delivery) in sent.iter().enumerate() {
        let accepted = matches!(delivery.outcome(), Some(Ok(_)));
        ensure!(
            !accepted || versions.contains_key(&format!("v{index}")),
            "v{index} was answered {:?} and is not there",
            delivery.outcome()
        );
    }
    // Whoever got no answer asks again.
    let _receiver = bed.http_receiver(&[]).await?;
    for delivery in &sent {
        bed.slack.redeliver(delivery);
    }
    wait_for("each of them to be there once", PATIENCE, async || {
        let all = bed.requests().await?;
        ensure!(all.len() == sent.len(), "{} of {}", all.len(), sent.len());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_socket_that_is_refreshed_under_load_loses_nothing() -> Result<()> {
    let bed = Bed::new("refresh", Duration::from_secs(1)).await?;
    let _receiver = bed.role("receiver", &[]).await?;
    let sockets = bed.slack.connected(2, PATIENCE).await?;
    let bob = bed.slack.user("bob");
    let mut sent = Vec::new();
    for index in 0..60 {
        sent.push(bob.command(CHANNEL, &format!("/deploy checkout v{index} to free"))?);
        if index == 20 || index == 40 {
            let socket = sockets.get(index / 20 - 1).context("two sockets")?;
            bed.slack.say_goodbye(socket.id, Goodbye::RefreshRequested);
        }
    }
    wait_for("every command to be there once", PATIENCE, async || {
        let all = bed.requests().await?;
        ensure!(all.len() == sent.len(), "{} of {}", all.len(), sent.len());
        Ok(())
    })
    .await?;
    for delivery in &sent {
        delivery.answered().await?;
    }
    Ok(())
}

#[tokio::test]
async fn every_role_can_be_killed_and_the_message_still_tells_the_end() -> Result<()> {
    let bed = Bed::new("survives", Duration::from_secs(6)).await?;
    let [controller, receiver, relay] = bed.all_roles().await?;
    bed.ask_and_confirm("alice", "/deploy checkout main to staging")
        .await?;
    let live = bed.until_told(&["running"]).await?;
    controller.kill();
    receiver.kill();
    relay.kill();
    let _roles = bed.all_roles().await?;
    let request = bed.only_request().await?;
    bed.until_phase(&request.name_any(), Phase::Succeeded)
        .await?;
    let last = bed.until_told(&["succeeded"]).await?;
    assert_eq!(live.ts, last.ts, "one message, over restarts");
    assert_eq!(
        bed.gate
            .launches_of(&request.uid().unwrap_or_default())
            .len(),
        1
    );
    Ok(())
}
