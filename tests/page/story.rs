//! What people do on the page, and what they see.

use std::time::Duration;

use anyhow::Result;
use foredeck::api::deploy_request::Phase;
use foredeck_testkit::{
    browser::Place,
    toolbox::{Github, Node},
};
use jiff::{Timestamp, Unit};
use kube::ResourceExt;
use serde_json::json;

use crate::{
    deck::{Deck, PATIENCE},
    screen::Screen,
};

#[tokio::test]
async fn a_deployment_is_typed_confirmed_and_watched_to_its_end() -> Result<()> {
    let deck = Deck::new("shop", Duration::from_secs(8)).await?;
    let Some(screen) = Screen::open(&deck.slack).await? else {
        return Ok(());
    };
    screen.say("/deploy checkout main to staging").await?;
    screen
        .page
        .see("Plan: deploy checkout main to staging", PATIENCE)
        .await?;
    screen.page.click(&Place::button("Deploy")).await?;
    screen
        .page
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
    screen.picture("conversation.png").await?;
    let request = deck.until(Phase::Succeeded).await?;
    screen
        .page
        .see("checkout main to staging: succeeded", PATIENCE)
        .await?;
    let uid = request.uid().unwrap_or_default();
    assert_eq!(deck.gate.launches_of(&uid).len(), 1);
    screen.close().await?;
    deck.end().await
}

#[tokio::test]
async fn which_commit_main_is_and_what_it_changes_is_seen_before_it_is_confirmed() -> Result<()> {
    let Some(node) = Node::fetch().await? else {
        return Ok(());
    };
    let github = Github::start(&node, "acme/checkout").await?;
    let deck = Deck::new("depot", Duration::from_secs(2)).await?;
    deck.keep_commits_at(&github).await?;
    let Some(screen) = Screen::open(&deck.slack).await? else {
        return Ok(());
    };
    screen.say("/deploy checkout main to staging").await?;
    screen.page.click(&Place::button("Deploy")).await?;
    deck.until(Phase::Succeeded).await?;
    for (title, author) in [
        ("Round totals to the cent", "Ada Lovelace"),
        ("Retry the payment provider once", "Grace Hopper"),
        ("Show when a parcel arrives", "Alan Turing"),
    ] {
        github.commit("main", title, author).await?;
    }
    let head = github.head("main").await?;
    screen.say("/deploy checkout main to staging").await?;
    screen.page.see("3 commits", PATIENCE).await?;
    screen.page.see(&head[..7], PATIENCE).await?;
    screen
        .page
        .see("Round totals to the cent", PATIENCE)
        .await?;
    screen.picture("plan.png").await?;
    screen.page.click(&Place::button("Deploy")).await?;
    screen.page.see("checkout main (", PATIENCE).await?;
    screen.close().await?;
    deck.end().await
}

#[tokio::test]
async fn a_deployment_is_cancelled_by_its_button() -> Result<()> {
    let deck = Deck::new("bank", Duration::from_mins(5)).await?;
    let Some(screen) = Screen::open(&deck.slack).await? else {
        return Ok(());
    };
    screen.say("/deploy checkout main to production").await?;
    screen.page.click(&Place::button("Deploy")).await?;
    screen
        .page
        .see("checkout main to production: running", PATIENCE)
        .await?;
    screen.page.click(&Place::button("Cancel")).await?;
    screen
        .page
        .click(&Place::button("Cancel it").within("dialog[open]"))
        .await?;
    deck.until(Phase::Canceled).await?;
    screen
        .page
        .see("checkout main to production: canceled", PATIENCE)
        .await?;
    screen.close().await?;
    deck.end().await
}

#[tokio::test]
async fn a_failure_shows_its_stage_and_its_words() -> Result<()> {
    let deck = Deck::new("cargo", Duration::from_secs(2)).await?;
    let Some(screen) = Screen::open(&deck.slack).await? else {
        return Ok(());
    };
    screen.say("/deploy checkout broken to staging").await?;
    screen.page.click(&Place::button("Deploy")).await?;
    deck.until(Phase::Failed).await?;
    screen.page.see("Smoke test", PATIENCE).await?;
    screen
        .page
        .see("GET /healthz answered 503 for two minutes", PATIENCE)
        .await?;
    screen.close().await?;
    deck.end().await
}

#[tokio::test]
async fn a_deployment_is_approved_by_somebody_else_in_its_thread() -> Result<()> {
    let deck = Deck::new("harbor", Duration::from_secs(2)).await?;
    deck.guard("production").await?;
    let Some(screen) = Screen::open(&deck.slack).await? else {
        return Ok(());
    };
    screen.say("/deploy checkout 1.4.2 to production").await?;
    screen.page.click(&Place::button("Deploy")).await?;
    screen.page.see("1 reply", PATIENCE).await?;
    screen.become_somebody("Bob").await?;
    screen.page.click(&Place::button("Reply in thread")).await?;
    screen
        .page
        .see("needs approval, 0 of 1 so far", PATIENCE)
        .await?;
    screen.picture("approval.png").await?;
    screen.page.click(&Place::button("Approve")).await?;
    screen
        .page
        .click(&Place::button("Approve").within("dialog[open]"))
        .await?;
    let request = deck.until(Phase::Succeeded).await?;
    screen
        .page
        .see("checkout 1.4.2 to production: succeeded", PATIENCE)
        .await?;
    screen.page.see_no_more("needs approval", PATIENCE).await?;
    let uid = request.uid().unwrap_or_default();
    assert_eq!(deck.gate.launches_of(&uid).len(), 1);
    screen.close().await?;
    deck.end().await
}

/// Bob locks production, a freeze comes, alice asks all the same, and bob lets it pass.
#[tokio::test]
async fn what_is_held_says_by_what_and_until_when_and_can_be_let_pass() -> Result<()> {
    let deck = Deck::new("granary", Duration::from_secs(2)).await?;
    let Some(screen) = Screen::open(&deck.slack).await? else {
        return Ok(());
    };
    screen.become_somebody("Bob").await?;
    screen
        .say("/deploy lock production \"the database moves\"")
        .await?;
    screen.page.see("Locked", PATIENCE).await?;
    let until = (Timestamp::now() + Duration::from_hours(52)).round(Unit::Hour)?;
    let freeze =
        json!({"reason": "the busiest days of the year", "contact": "#shop-leads", "until": until});
    deck.freeze("black-friday", freeze).await?;
    screen.become_somebody("Alice").await?;
    screen.say("/deploy checkout 1.4.2 to production").await?;
    screen.page.see("It will wait", PATIENCE).await?;
    screen.page.click(&Place::button("Deploy")).await?;
    screen
        .page
        .see(
            "checkout 1.4.2 to production: held by a freeze until",
            PATIENCE,
        )
        .await?;
    screen.page.see("and by a lock", PATIENCE).await?;
    screen.page.see("the database moves", PATIENCE).await?;
    screen.picture("held.png").await?;
    screen.become_somebody("Bob").await?;
    screen.page.click(&Place::button("Override")).await?;
    let why = Place::field("Why is this right").within("dialog[open]");
    screen.page.fill(&why, "the shop is down").await?;
    let pass = Place::button("Override").within("dialog[open]");
    screen.page.click(&pass).await?;
    let request = deck.until(Phase::Succeeded).await?;
    screen
        .page
        .see("Overridden by bob@harbor.example", PATIENCE)
        .await?;
    let uid = request.uid().unwrap_or_default();
    assert_eq!(deck.gate.launches_of(&uid).len(), 1);
    screen.close().await?;
    deck.end().await
}
