//! Slack's SDK takes whatever foredeck says, however it is asked.

use std::time::Duration;

use anyhow::Result;
use foredeck::api::deploy_request::Phase;
use foredeck_testkit::{toolbox::SlackModels, wait_for};

use crate::deck::{CHANNEL, Deck, PATIENCE};

/// What people type, well and badly.
const LINES: [&str; 18] = [
    "/deploy help",
    "/deploy status",
    "/deploy status checkout staging",
    "/deploy what",
    "/deploy what staging",
    "/deploy history checkout staging",
    "/deploy cancel",
    "/deploy cancel checkout in staging",
    "/deploy checkout",
    "/deploy checkout main",
    "/deploy checkuot main to stagign",
    "/deploy checkout main to nowhere",
    "/deploy rollback checkout in production",
    "/deploy checkout main to staging replicas=3",
    "/deploy checkout main to staging reason:\"it is <!channel> *green* `now` & <https://evil.example|safe>\"",
    "/deploy checkout feature/<b>&amp;ü🚀 to production",
    "/deploy {\"application\": \"checkout\", \"environment\": \"staging\"",
    "/deploy !@#$%^&*()_+ \u{202e} \"",
];

#[tokio::test]
async fn whatever_is_asked_the_answer_is_one_that_slacks_sdk_takes() -> Result<()> {
    let deck = Deck::new("words", Duration::from_secs(1)).await?;
    let alice = deck.slack.user("alice");
    for line in LINES {
        let command = alice.command(CHANNEL, line)?;
        command.answered().await?;
    }
    alice.mention(CHANNEL, None, "checkout main to production")?;
    alice.direct_message("what staging")?;
    // The form, by itself and with what was understood.
    for line in ["/deploy", "/deploy checkout main to staging"] {
        alice.command(CHANNEL, line)?.answered().await?;
    }
    let form = deck
        .slack
        .until("the form", PATIENCE, |world| world.modal("alice"))
        .await?;
    alice.close(&form)?;
    let plan = deck
        .slack
        .until("the last plan", PATIENCE, |world| {
            let mut told = world.ephemerals("alice");
            told.retain(|plan| {
                plan.text
                    .starts_with("Plan: deploy *checkout* `main` to *staging*")
            });
            told.pop()
        })
        .await?;
    alice.click(&plan, "plan-edit")?.answered().await?;
    let form = deck
        .slack
        .until("the plan's form", PATIENCE, |world| world.modal("alice"))
        .await?;
    alice.close(&form)?;
    alice.click(&plan, "plan-deploy")?.answered().await?;
    deck.until(Phase::Succeeded).await?;
    wait_for("its end to be told", PATIENCE, async || {
        let told = deck.slack.messages(CHANNEL);
        let told = told
            .iter()
            .any(|message| message.text().contains("succeeded"));
        anyhow::ensure!(told, "not yet");
        Ok(())
    })
    .await?;
    if let Some(mut models) = SlackModels::fetch().await? {
        let judged = models.judge(&deck.slack).await?;
        assert!(judged > LINES.len(), "only {judged} were judged");
    }
    deck.end().await
}
