//! What a freeze holds, asked for in Slack and let through by somebody who may.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use foredeck::api::{
    DeployFreeze, DeployRequest,
    deploy_request::{DecisionKind, Phase, WaitingFor},
};
use foredeck_testkit::{slack::Message, wait_for};
use kube::ResourceExt;
use serde_json::json;

use crate::support::{Bed, CHANNEL, PATIENCE, shown};

const WORK: Duration = Duration::from_secs(2);

impl Bed {
    /// A message of the channel that says all of that, once there is one.
    async fn until_somewhere(&self, words: &[&str]) -> Result<Message> {
        wait_for(&format!("a message with {words:?}"), PATIENCE, async || {
            let all = self.slack.messages(CHANNEL);
            let said: Vec<String> = all.iter().map(shown).collect();
            let fits = |message: &&Message| words.iter().all(|word| shown(message).contains(word));
            let found = all.iter().find(fits).cloned();
            found.with_context(|| format!("{said:#?}"))
        })
        .await
    }
}

/// How long a plan may take.
const SOON: Duration = Duration::from_secs(15);

#[tokio::test]
async fn what_a_freeze_holds_starts_once_when_an_incident_lead_says_why() -> Result<()> {
    let bed = Bed::new("frozen", WORK).await?;
    let _roles = bed.all_roles().await?;
    let spec = json!({"reason": "year-end closing", "contact": "the release desk"});
    bed.create::<DeployFreeze>("closing", spec).await?;
    let alice = bed.slack.user("alice");
    let line = "/deploy checkout main to production";
    let plan = wait_for("a plan that tells of the freeze", PATIENCE, async || {
        alice.command(CHANNEL, line)?.answered().await?;
        let words = ["year-end closing", "It will wait", "plan-deploy"];
        // A plan that was made before the receiver heard of the freeze doesn't change: the next one is asked for.
        let told = bed.until_whispered("alice", &words);
        tokio::time::timeout(SOON, told).await?
    })
    .await?;
    alice.click(&plan, "plan-deploy")?;
    let name = bed.only_request().await?.name_any();
    let request = wait_for("it is held by the freeze", PATIENCE, async || {
        let request = bed.api::<DeployRequest>().get(&name).await?;
        let status = request.status.clone().unwrap_or_default();
        let subject = status.waiting.as_ref().map(|waiting| waiting.subject);
        ensure!(subject == Some(WaitingFor::Freeze), "{status:?}");
        Ok(request)
    })
    .await?;
    let uid = request.uid().unwrap_or_default();
    let message = bed
        .until_somewhere(&["held by a freeze", "request-override"])
        .await?;
    assert!(bed.gate.launches_of(&uid).is_empty());

    let bob = bed.slack.user("bob");
    bob.click(&message, "request-override")?;
    let form = bed
        .slack
        .until("the question why", PATIENCE, |world| {
            world.modal("bob").filter(|view| view.title() == "Override")
        })
        .await?;
    bob.fill(&form, "answer", "INC-42, the shop is down")?;
    bob.submit(&form)?;

    let ended = bed.until_phase(&name, Phase::Succeeded).await?;
    assert_eq!(bed.gate.launches_of(&uid).len(), 1);
    let status = ended.status.context("no status")?;
    let told: Vec<_> = status
        .decisions
        .iter()
        .filter(|decision| decision.what == DecisionKind::Overridden)
        .collect();
    assert_eq!(told.len(), 1, "{:?}", status.decisions);
    assert_eq!(told[0].by.as_deref(), Some("bob@harbor.example"));
    assert!(
        told[0]
            .why
            .as_deref()
            .is_some_and(|why| why.contains("INC-42")),
        "{:?}",
        told[0]
    );
    bed.until_somewhere(&["Overridden", "INC-42, the shop is down"])
        .await?;
    Ok(())
}
