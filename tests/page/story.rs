//! What people do on the page, and what they see.

use std::time::Duration;

use anyhow::Result;
use foredeck::api::deploy_request::Phase;
use foredeck_testkit::browser::Place;
use kube::ResourceExt;
use serde_json::json;

use crate::deck::{Deck, PATIENCE};

#[tokio::test]
async fn a_deployment_is_typed_confirmed_and_watched_to_its_end() -> Result<()> {
    let Some(deck) = Deck::new("shop", Duration::from_secs(8)).await? else {
        return Ok(());
    };
    deck.say("/deploy checkout main to staging").await?;
    deck.page
        .see("Plan: deploy checkout main to staging", PATIENCE)
        .await?;
    deck.page.click(&Place::button("Deploy")).await?;
    deck.page
        .see("checkout main to staging: running", PATIENCE)
        .await?;
    deck.slack
        .until("the last stage to run", PATIENCE, |world| {
            let told = world.messages("deploys");
            let shown = told
                .iter()
                .map(|message| json!(message.blocks()).to_string());
            shown
                .into_iter()
                .any(|shown| shown.contains("🔄 `Deploy`"))
                .then_some(())
        })
        .await?;
    deck.picture("slack.png").await?;
    let request = deck.until(Phase::Succeeded).await?;
    deck.page
        .see("checkout main to staging: succeeded", PATIENCE)
        .await?;
    let uid = request.uid().unwrap_or_default();
    assert_eq!(deck.gate.launches_of(&uid).len(), 1);
    deck.end().await
}

#[tokio::test]
async fn a_deployment_is_cancelled_by_its_button() -> Result<()> {
    let Some(deck) = Deck::new("bank", Duration::from_mins(5)).await? else {
        return Ok(());
    };
    deck.say("/deploy checkout main to production").await?;
    deck.page.click(&Place::button("Deploy")).await?;
    deck.page
        .see("checkout main to production: running", PATIENCE)
        .await?;
    deck.page.click(&Place::button("Cancel")).await?;
    deck.page
        .click(&Place::button("Cancel it").within("dialog[open]"))
        .await?;
    deck.until(Phase::Canceled).await?;
    deck.page
        .see("checkout main to production: canceled", PATIENCE)
        .await?;
    deck.end().await
}

#[tokio::test]
async fn a_failure_shows_its_stage_and_its_words() -> Result<()> {
    let Some(deck) = Deck::new("cargo", Duration::from_secs(2)).await? else {
        return Ok(());
    };
    deck.say("/deploy checkout broken to staging").await?;
    deck.page.click(&Place::button("Deploy")).await?;
    deck.until(Phase::Failed).await?;
    deck.page.see("Smoke test", PATIENCE).await?;
    deck.page
        .see("GET /healthz answered 503 for two minutes", PATIENCE)
        .await?;
    deck.end().await
}
