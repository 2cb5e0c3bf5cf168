//! What became of a plan is told to whoever asked, wherever and however late they ask.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use foredeck::receiver::plan::{PlanId, request_name};
use foredeck_testkit::{
    ApiProxy,
    api_proxy::{ApiEffect, ApiFault, Weather},
    slack::Timing,
};
use jiff::Timestamp;
use kube::ResourceExt;

use crate::support::{Bed, PATIENCE, text};

const STAGING: &str = "/deploy checkout main to staging";

fn post() -> reqwest::Method {
    reqwest::Method::POST
}

fn late() -> Timestamp {
    Timestamp::now() + Duration::from_secs(601)
}

#[tokio::test]
async fn an_old_plan_that_was_started_says_so() -> Result<()> {
    let bed = Bed::new("old").await?;
    let early = bed.receiver().await?;
    let plan = bed.typed("alice", "deploys", STAGING).await?;
    // The later one doesn't learn of the request by its watch.
    let proxy = ApiProxy::start(bed.plane).await?;
    let withheld = Weather {
        withheld: true,
        ..Weather::default()
    };
    proxy.set_weather(&["deployrequests"], &withheld);
    let later = bed.receiver_behind_at(&proxy, late).await?;
    bed.slack.deliver_by_http(early.urls());
    let click = bed.press("alice", &plan, "plan-deploy")?;
    click.answered().await?;
    let request = bed.request().await?;
    bed.slack.deliver_by_http(later.urls());
    bed.slack.redeliver(&click).answered().await?;
    let told = bed
        .slack
        .until("what became of it", PATIENCE, |world| {
            let all = world.ephemerals("alice").into_iter();
            let mut told = all.filter(|one| {
                text(one).contains("asked for this already") || text(one).contains("expired")
            });
            told.next()
        })
        .await?;
    assert!(
        told.text.contains("asked for this already"),
        "{}",
        text(&told)
    );
    assert!(text(&told).contains(&request.name_any()), "{}", text(&told));
    Ok(())
}

#[tokio::test]
async fn an_old_plan_of_which_nobody_says_whether_it_was_started_claims_neither() -> Result<()> {
    let bed = Bed::new("unsure").await?;
    let early = bed.receiver().await?;
    let plan = bed.typed("alice", "deploys", STAGING).await?;
    let proxy = ApiProxy::start(bed.plane).await?;
    drop(early);
    let _late = bed.receiver_behind_at(&proxy, late).await?;
    // Only the look-up by name: a list or a watch would have it otherwise.
    let asked = bed.slack.deliveries().pop().context("the command")?;
    let trigger = asked.payload()["trigger_id"]
        .as_str()
        .context("a trigger")?;
    let id = PlanId::of_command(&bed.slack.team_id().parse()?, &trigger.parse()?);
    proxy.inject(
        ApiFault::new(
            reqwest::Method::GET,
            "deployrequests",
            ApiEffect::Refuse(503),
        )
        .of(&request_name(&id)),
    );
    let told = bed.pressed("alice", &plan, "plan-deploy").await?;
    let all = text(&told);
    assert!(all.contains("can't find out whether"), "{all}");
    assert!(!all.contains("othing was started"), "{all}");
    Ok(())
}

#[tokio::test]
async fn what_a_modal_could_not_be_told_in_time_is_told_in_a_direct_message() -> Result<()> {
    let bed = Bed::new("modal").await?;
    let proxy = ApiProxy::start(bed.plane).await?;
    let _receiver = bed.receiver_behind(&proxy).await?;
    let alice = bed.slack.user("alice");
    let long = "x".repeat(900);
    let line =
        format!("/deploy checkout main to staging {{\"one\": \"{long}\", \"two\": \"{long}\"}}");
    alice.command("deploys", &line)?.answered().await?;
    let plan = bed
        .slack
        .until("the plan", PATIENCE, |world| world.modal("alice"))
        .await?;
    let mut held = proxy.hold(post(), "deployrequests", "");
    let delivery = alice.submit(&plan)?;
    held.arrived().await?;
    let answer = delivery.answered().await?;
    let said = answer.body.context("an answer")?.to_string();
    assert!(said.contains("unknown whether this was accepted"), "{said}");
    held.release();
    let request = bed.request().await?;
    let told = bed
        .slack
        .until("the truth", PATIENCE, |world| {
            let all = world.direct_messages("alice");
            all.into_iter().find(|message| message.by_app)
        })
        .await?;
    let told = &told.content;
    assert!(told.text.contains("Accepted"), "{}", told.text);
    let blocks = serde_json::json!(told.blocks).to_string();
    assert!(blocks.contains(&request.name_any()), "{blocks}");
    Ok(())
}

#[tokio::test]
async fn a_message_whose_request_was_not_written_is_delivered_again() -> Result<()> {
    let bed = Bed::new("unwritten").await?;
    let proxy = ApiProxy::start(bed.plane).await?;
    let _receiver = bed.receiver_behind(&proxy).await?;
    proxy.inject(ApiFault::new(post(), "deployrequests", ApiEffect::Refuse(429)).times(1));
    let alice = bed.slack.user("alice");
    let delivery = alice.mention("deploys", None, "checkout main to quick")?;
    let attempts = delivery.tried(2).await?;
    ensure!(
        attempts[0].result.as_ref().is_some_and(Result::is_err),
        "{attempts:?}"
    );
    bed.request().await?;
    let answer = bed.shown("alice", 0).await?;
    assert!(answer.text.contains("Accepted"), "{}", text(&answer));
    Ok(())
}

#[tokio::test]
async fn what_is_not_delivered_again_is_told_in_words() -> Result<()> {
    let bed = Bed::new("lasttry").await?;
    bed.slack.set_timing(Timing {
        event_retries: vec![Duration::ZERO; 3],
        ..Timing::default()
    });
    let proxy = ApiProxy::start(bed.plane).await?;
    let _receiver = bed.receiver_behind(&proxy).await?;
    proxy.inject(ApiFault::new(
        post(),
        "deployrequests",
        ApiEffect::Refuse(429),
    ));
    let alice = bed.slack.user("alice");
    let delivery = alice.mention("deploys", None, "checkout main to quick")?;
    let attempts = delivery.tried(4).await?;
    ensure!(
        attempts[..3]
            .iter()
            .all(|one| one.result.as_ref().is_some_and(Result::is_err)),
        "{attempts:?}"
    );
    let answer = bed.shown("alice", 0).await?;
    assert!(answer.text.contains("Not accepted"), "{}", text(&answer));
    assert_eq!(bed.slack.ephemerals("alice").len(), 1);
    assert!(bed.requests().await?.is_empty());
    Ok(())
}
