//! However often and wherever something is said or pressed: one request, or none.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use foredeck::api::Environment;
use foredeck_testkit::{slack::Kind, wait_for};
use jiff::Timestamp;
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::support::{Bed, PATIENCE, buttons, names, text};

const STAGING: &str = "/deploy checkout main to staging";
const QUICK: &str = "/deploy checkout main to quick";

#[tokio::test]
async fn an_environment_without_confirmation_needs_no_click() -> Result<()> {
    let bed = Bed::new("never").await?;
    let _receiver = bed.receiver().await?;
    let answer = bed.typed("alice", "deploys", QUICK).await?;
    assert!(answer.text.contains("Accepted"), "{}", text(&answer));
    assert!(buttons(&answer.blocks).is_empty());
    assert_eq!(bed.request().await?.spec.environment, "quick");
    Ok(())
}

#[tokio::test]
async fn a_redelivered_command_creates_one_request() -> Result<()> {
    let bed = Bed::new("command").await?;
    let _receiver = bed.receiver().await?;
    let delivery = bed.slack.user("alice").command("deploys", QUICK)?;
    delivery.answered().await?;
    let first = bed.request().await?;
    for _ in 0..3 {
        bed.slack.redeliver(&delivery).answered().await?;
    }
    assert_eq!(names(&bed.requests().await?), [first.name_any()]);
    Ok(())
}

#[tokio::test]
async fn a_redelivered_event_creates_one_request() -> Result<()> {
    let bed = Bed::new("event").await?;
    let _receiver = bed.receiver().await?;
    let delivery = bed
        .slack
        .user("alice")
        .mention("deploys", None, "checkout main to quick")?;
    delivery.answered().await?;
    let first = bed.request().await?;
    for _ in 0..3 {
        bed.slack.redeliver(&delivery).answered().await?;
    }
    assert_eq!(names(&bed.requests().await?), [first.name_any()]);
    Ok(())
}

#[tokio::test]
async fn what_comes_again_after_a_minute_and_after_five_creates_nothing_more() -> Result<()> {
    fn after_one() -> Timestamp {
        Timestamp::now() + Duration::from_secs(61)
    }
    fn after_five() -> Timestamp {
        Timestamp::now() + Duration::from_secs(301)
    }
    let bed = Bed::new("again").await?;
    let first = bed.receiver().await?;
    let alice = bed.slack.user("alice");
    let command = alice.command("deploys", "/deploy checkout v1 to quick")?;
    command.answered().await?;
    let event = alice.mention("deploys", None, "checkout v2 to quick")?;
    event.answered().await?;
    let plan = bed.typed("alice", "deploys", STAGING).await?;
    let click = bed.press("alice", &plan, "plan-deploy")?;
    click.answered().await?;
    let created = wait_for("three requests", PATIENCE, async || {
        let all = names(&bed.requests().await?);
        ensure!(all.len() == 3, "{all:?}");
        Ok(all)
    })
    .await?;
    drop(first);
    for clock in [after_one, after_five] {
        // Another process, which remembers nothing of it.
        let _later = bed.receiver_as(bed.plane.admin_config(), clock).await?;
        for delivery in [&command, &event, &click] {
            bed.slack.redeliver(delivery).answered().await?;
        }
        assert_eq!(names(&bed.requests().await?), created);
    }
    Ok(())
}

#[tokio::test]
async fn a_click_that_comes_often_creates_one_request() -> Result<()> {
    let bed = Bed::new("click").await?;
    let _receiver = bed.receiver().await?;
    let plan = bed.typed("alice", "deploys", STAGING).await?;
    // Two devices at one time, and then Slack twice more.
    let clicks = [
        bed.press("alice", &plan, "plan-deploy")?,
        bed.press("alice", &plan, "plan-deploy")?,
    ];
    for click in &clicks {
        click.answered().await?;
    }
    let first = bed.request().await?;
    for click in &clicks {
        bed.slack.redeliver(click).answered().await?;
    }
    let told = bed
        .slack
        .until("what the second click is told", PATIENCE, |world| {
            let all = world.ephemerals("alice");
            all.into_iter()
                .find(|one| one.text.contains("asked for this already"))
        })
        .await?;
    assert!(text(&told).contains(&first.name_any()), "{}", text(&told));
    assert_eq!(names(&bed.requests().await?), [first.name_any()]);
    Ok(())
}

#[tokio::test]
async fn a_plan_of_one_replica_is_carried_out_by_another() -> Result<()> {
    let bed = Bed::new("replicas").await?;
    let shown_by = bed.receiver().await?;
    let plan = bed.typed("alice", "deploys", STAGING).await?;
    drop(shown_by);
    let _other = bed.receiver().await?;
    let accepted = bed.pressed("alice", &plan, "plan-deploy").await?;
    assert!(accepted.text.contains("Accepted"), "{}", text(&accepted));
    bed.request().await?;
    Ok(())
}

#[tokio::test]
async fn an_old_plan_starts_nothing() -> Result<()> {
    fn late() -> Timestamp {
        Timestamp::now() + Duration::from_secs(601)
    }
    let bed = Bed::new("expired").await?;
    let early = bed.receiver().await?;
    let plan = bed.typed("alice", "deploys", STAGING).await?;
    let replica = bed.receiver_as(bed.plane.admin_config(), late).await?;
    // Its signatures are checked by the same clock, so only the plan is told to be late.
    let told = bed.pressed("alice", &plan, "plan-deploy").await?;
    assert!(text(&told).contains("expired"), "{}", text(&told));
    assert!(bed.requests().await?.is_empty());
    drop((early, replica));
    Ok(())
}

#[tokio::test]
async fn an_altered_button_starts_nothing() -> Result<()> {
    let bed = Bed::new("altered").await?;
    let _receiver = bed.receiver().await?;
    let plan = bed.typed("alice", "deploys", STAGING).await?;
    let edit = bed.press("alice", &plan, "plan-edit")?;
    edit.answered().await?;
    let genuine = edit.payload().clone();
    let value = genuine["actions"][0]["value"].as_str().context("a value")?;
    let mut altered = value.to_owned();
    let last = if altered.pop() == Some('A') { 'B' } else { 'A' };
    altered.push(last);
    for value in [value, altered.as_str(), "", "eyJhIjoxfQ"] {
        let mut forged = genuine.clone();
        forged["actions"][0]["action_id"] = json!("plan-deploy");
        forged["actions"][0]["value"] = json!(value);
        let before = bed.slack.ephemerals("alice").len();
        bed.slack
            .send_raw(Kind::Interaction, forged)
            .answered()
            .await?;
        let told = bed.shown("alice", before).await?;
        assert!(
            text(&told).contains("Nothing was started"),
            "{}",
            text(&told)
        );
    }
    assert!(bed.requests().await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn somebody_elses_click_starts_nothing() -> Result<()> {
    let bed = Bed::new("others").await?;
    bed.allow(&bed.namespace, "bob", &["deploy"]).await?;
    let _receiver = bed.receiver().await?;
    let plan = bed.typed("alice", "deploys", STAGING).await?;
    let click = bed.press("alice", &plan, "plan-edit")?;
    click.answered().await?;
    let mut forged = click.payload().clone();
    forged["actions"][0]["action_id"] = json!("plan-deploy");
    forged["actions"][0]["value"] = plan
        .blocks
        .iter()
        .find_map(|block| block["elements"][0]["value"].as_str())
        .context("a value")?
        .into();
    forged["user"]["id"] = json!(bed.slack.user("bob").id());
    let before = bed.slack.ephemerals("alice").len();
    bed.slack
        .send_raw(Kind::Interaction, forged)
        .answered()
        .await?;
    let told = bed.shown("alice", before).await?;
    assert!(
        text(&told).contains("Only the person who asked"),
        "{}",
        text(&told)
    );
    assert!(bed.requests().await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn what_changed_since_the_plan_was_shown_makes_a_new_plan() -> Result<()> {
    let bed = Bed::new("changed").await?;
    let _receiver = bed.receiver().await?;
    let plan = bed.typed("alice", "deploys", STAGING).await?;
    let api: Api<Environment> = Api::namespaced(bed.client.clone(), &bed.namespace);
    let patch = Patch::Merge(json!({"spec": {"target": {"namespace": "shop-elsewhere"}}}));
    api.patch("staging", &PatchParams::default(), &patch)
        .await?;
    // The receiver learns of it by its watch: another plan shows when.
    wait_for("the receiver knows the change", PATIENCE, async || {
        let plan = bed
            .typed("alice", "deploys", "/deploy checkout other to staging")
            .await?;
        ensure!(text(&plan).contains("shop-elsewhere"), "{}", text(&plan));
        Ok(())
    })
    .await?;
    let anew = bed.pressed("alice", &plan, "plan-deploy").await?;
    assert!(
        anew.text.contains("Something has changed"),
        "{}",
        text(&anew)
    );
    assert!(text(&anew).contains("shop-elsewhere"), "{}", text(&anew));
    assert!(bed.requests().await?.is_empty());
    let accepted = bed.pressed("alice", &anew, "plan-deploy").await?;
    assert!(accepted.text.contains("Accepted"), "{}", text(&accepted));
    bed.request().await?;
    Ok(())
}

#[tokio::test]
async fn people_who_repeat_themselves_are_asked_once_more() -> Result<()> {
    let bed = Bed::new("repeat").await?;
    let _receiver = bed.receiver().await?;
    bed.typed("alice", "deploys", QUICK).await?;
    let first = bed.request().await?;
    // Under way, whatever the environment says of confirmations, and whether or not the watch has told of it.
    let again = bed.typed("alice", "deploys", QUICK).await?;
    assert_eq!(
        buttons(&again.blocks).first().map(String::as_str),
        Some("plan-again"),
        "{}",
        text(&again)
    );
    assert_eq!(names(&bed.requests().await?), [first.name_any()]);
    assert!(
        again.text.contains("This waits already"),
        "{}",
        text(&again)
    );
    // Ended a moment ago.
    let status = json!({"phase": "Succeeded", "finishedAt": Timestamp::now().to_string()});
    bed.set_status(&first.name_any(), status).await?;
    let ended = wait_for("the receiver knows the end", PATIENCE, async || {
        let answer = bed.typed("alice", "deploys", QUICK).await?;
        ensure!(
            answer.text.contains("done a moment ago"),
            "{}",
            text(&answer)
        );
        Ok(answer)
    })
    .await?;
    assert!(text(&ended).contains(&first.name_any()), "{}", text(&ended));
    assert_eq!(bed.requests().await?.len(), 1);
    let accepted = bed.pressed("alice", &ended, "plan-again").await?;
    assert!(accepted.text.contains("Accepted"), "{}", text(&accepted));
    assert_eq!(bed.requests().await?.len(), 2);
    Ok(())
}

#[tokio::test]
async fn an_equal_request_that_was_not_shown_is_shown_before_another_is_created() -> Result<()> {
    let bed = Bed::new("again").await?;
    let _receiver = bed.receiver().await?;
    bed.typed("alice", "deploys", QUICK).await?;
    let first = bed.request().await?;
    // The younger of two is shown, and the API server knows whole seconds only.
    let made = first.creation_timestamp().context("a creation time")?.0;
    wait_for("another second", PATIENCE, async || {
        ensure!(Timestamp::now().as_second() > made.as_second());
        Ok(())
    })
    .await?;
    let one = bed.typed("alice", "deploys", QUICK).await?;
    let other = bed.typed("alice", "deploys", QUICK).await?;
    let accepted = bed.pressed("alice", &one, "plan-again").await?;
    assert!(accepted.text.contains("Accepted"), "{}", text(&accepted));
    let second = bed
        .requests()
        .await?
        .into_iter()
        .map(|request| request.name_any())
        .find(|name| *name != first.name_any())
        .context("a second request")?;
    let anew = bed.pressed("alice", &other, "plan-again").await?;
    assert!(
        text(&anew).contains(&second) && !anew.text.contains("Accepted"),
        "{}",
        text(&anew)
    );
    assert_eq!(bed.requests().await?.len(), 2);
    let accepted = bed.pressed("alice", &anew, "plan-again").await?;
    assert!(accepted.text.contains("Accepted"), "{}", text(&accepted));
    assert_eq!(bed.requests().await?.len(), 3);
    Ok(())
}
