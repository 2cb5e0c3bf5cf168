//! The API server is slow, loses its answer, or is gone: no answer claims more than is so, and none comes too late.

use std::time::Duration;

use anyhow::{Result, ensure};
use foredeck_testkit::{
    ApiProxy,
    api_proxy::{ApiEffect, ApiFault, Weather},
    wait_for,
};
use kube::ResourceExt;

use crate::support::{Bed, PATIENCE, buttons, text};

const QUICK: &str = "/deploy checkout main to quick";
/// Slack waits no longer.
const SLACK_WAITS: Duration = Duration::from_secs(3);

fn post() -> reqwest::Method {
    reqwest::Method::POST
}

#[tokio::test]
async fn a_create_that_takes_too_long_is_unknown_and_the_truth_follows() -> Result<()> {
    let bed = Bed::new("slow").await?;
    let proxy = ApiProxy::start(bed.plane).await?;
    let _receiver = bed.receiver_behind(&proxy).await?;
    let mut held = proxy.hold(post(), "deployrequests", "");
    let delivery = bed.slack.user("alice").command("deploys", QUICK)?;
    held.arrived().await?;
    let answer = delivery.answered().await?;
    ensure!(
        answer.after < SLACK_WAITS,
        "answered after {:?}",
        answer.after
    );
    let first = bed.shown("alice", 0).await?;
    assert!(
        first.text.contains("unknown whether this was accepted"),
        "{}",
        text(&first)
    );
    assert!(bed.requests().await?.is_empty());
    held.release();
    let request = bed.request().await?;
    assert!(
        text(&first).contains(&request.name_any()),
        "{}",
        text(&first)
    );
    let after = bed.shown("alice", 1).await?;
    assert!(after.text.contains("Accepted"), "{}", text(&after));
    Ok(())
}

#[tokio::test]
async fn a_create_whose_answer_is_lost_is_looked_up_and_accepted() -> Result<()> {
    let bed = Bed::new("lost").await?;
    let proxy = ApiProxy::start(bed.plane).await?;
    let _receiver = bed.receiver_behind(&proxy).await?;
    proxy.inject(ApiFault::new(post(), "deployrequests", ApiEffect::LoseAnswer).times(1));
    let answer = bed.typed("alice", "deploys", QUICK).await?;
    assert!(answer.text.contains("Accepted"), "{}", text(&answer));
    assert!(text(&answer).contains(&bed.request().await?.name_any()));
    Ok(())
}

#[tokio::test]
async fn a_create_that_is_refused_starts_nothing_and_says_so() -> Result<()> {
    let bed = Bed::new("refused").await?;
    let proxy = ApiProxy::start(bed.plane).await?;
    let _receiver = bed.receiver_behind(&proxy).await?;
    for status in [403, 429] {
        proxy.inject(ApiFault::new(post(), "deployrequests", ApiEffect::Refuse(status)).times(1));
        let answer = bed.typed("alice", "deploys", QUICK).await?;
        assert!(
            answer.text.contains("Not accepted, nothing was started"),
            "{status}: {}",
            text(&answer)
        );
    }
    assert!(bed.requests().await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_create_that_may_have_been_done_is_sent_again_and_creates_one_request() -> Result<()> {
    let bed = Bed::new("sent-again").await?;
    let proxy = ApiProxy::start(bed.plane).await?;
    let _receiver = bed.receiver_behind(&proxy).await?;
    let effects = [
        ("v500", ApiEffect::Refuse(500)),
        ("v502", ApiEffect::Refuse(502)),
        ("v503", ApiEffect::Refuse(503)),
        ("v504", ApiEffect::Refuse(504)),
        ("vlost", ApiEffect::LoseAnswer),
    ];
    for (version, effect) in effects {
        proxy.inject(ApiFault::new(post(), "deployrequests", effect).times(2));
        let line = format!("/deploy checkout {version} to quick");
        let answer = bed.typed("alice", "deploys", &line).await?;
        assert!(
            answer.text.contains("Accepted"),
            "{version}: {}",
            text(&answer)
        );
    }
    let mut versions: Vec<_> = bed
        .requests()
        .await?
        .into_iter()
        .filter_map(|request| request.spec.version)
        .collect();
    versions.sort();
    assert_eq!(versions, ["v500", "v502", "v503", "v504", "vlost"]);
    Ok(())
}

#[tokio::test]
async fn a_create_that_may_have_been_done_is_unknown_whatever_the_next_try_says() -> Result<()> {
    for then in [500, 403, 429] {
        let bed = Bed::new("unproved").await?;
        let proxy = ApiProxy::start(bed.plane).await?;
        let _receiver = bed.receiver_behind(&proxy).await?;
        let fault = |status| ApiFault::new(post(), "deployrequests", ApiEffect::Refuse(status));
        proxy.inject(fault(500).times(1));
        proxy.inject(fault(then));
        let first = bed.typed("alice", "deploys", QUICK).await?;
        assert!(
            first.text.contains("unknown whether this was accepted"),
            "{then}: {}",
            text(&first)
        );
        proxy.clear_faults();
        let after = bed.shown("alice", 1).await?;
        assert!(after.text.contains("Accepted"), "{then}: {}", text(&after));
        assert!(text(&after).contains(&bed.request().await?.name_any()));
    }
    Ok(())
}

#[tokio::test]
async fn a_line_typed_again_before_the_watch_tells_creates_nothing() -> Result<()> {
    let bed = Bed::new("unseen").await?;
    let proxy = ApiProxy::start(bed.plane).await?;
    let _receiver = bed.receiver_behind(&proxy).await?;
    let withheld = Weather {
        withheld: true,
        ..Weather::default()
    };
    proxy.set_weather(&["deployrequests"], &withheld);
    let alice = bed.slack.user("alice");
    let deliveries = [
        alice.command("deploys", QUICK)?,
        alice.command("deploys", QUICK)?,
    ];
    for delivery in &deliveries {
        delivery.answered().await?;
    }
    let request = bed.request().await?;
    let again = bed.typed("alice", "deploys", QUICK).await?;
    assert!(
        again.text.contains("This waits already"),
        "{}",
        text(&again)
    );
    assert!(text(&again).contains(&request.name_any()));
    assert_eq!(bed.requests().await?.len(), 1);
    let accepted = bed.pressed("alice", &again, "plan-again").await?;
    assert!(accepted.text.contains("Accepted"), "{}", text(&accepted));
    assert_eq!(bed.requests().await?.len(), 2);
    Ok(())
}

#[tokio::test]
async fn a_line_typed_again_while_the_first_is_unknown_creates_nothing() -> Result<()> {
    let bed = Bed::new("retyped").await?;
    let proxy = ApiProxy::start(bed.plane).await?;
    let _receiver = bed.receiver_behind(&proxy).await?;
    let mut held = proxy.hold(post(), "deployrequests", "");
    let first = bed.slack.user("alice").command("deploys", QUICK)?;
    held.arrived().await?;
    first.answered().await?;
    bed.shown("alice", 0).await?;
    let again = bed.typed("alice", "deploys", QUICK).await?;
    assert_eq!(
        buttons(&again.blocks).first().map(String::as_str),
        Some("plan-again"),
        "{}",
        text(&again)
    );
    held.release();
    let request = bed.request().await?;
    assert!(text(&again).contains(&request.name_any()));
    Ok(())
}

#[tokio::test]
async fn a_cancel_that_met_another_write_does_not_call_its_request_gone() -> Result<()> {
    let bed = Bed::new("conflict").await?;
    let proxy = ApiProxy::start(bed.plane).await?;
    let _receiver = bed.receiver_behind(&proxy).await?;
    bed.typed("alice", "deploys", QUICK).await?;
    let name = bed.request().await?.name_any();
    let line = format!("/deploy cancel {name}");
    wait_for("the receiver knows the request", PATIENCE, async || {
        let status = bed.typed("alice", "deploys", "/deploy status").await?;
        ensure!(text(&status).contains("checkout"), "{}", text(&status));
        Ok(())
    })
    .await?;
    let conflict = ApiFault::new(
        reqwest::Method::PATCH,
        "deployrequests",
        ApiEffect::Refuse(409),
    );
    proxy.inject(conflict.times(1));
    let answer = bed.typed("alice", "deploys", &line).await?;
    assert!(answer.text.contains("Not canceled"), "{}", text(&answer));
    assert!(bed.request().await?.spec.cancel.is_none());
    let asked = bed.typed("alice", "deploys", &line).await?;
    assert!(asked.text.contains("To be canceled"), "{}", text(&asked));
    Ok(())
}

#[tokio::test]
async fn trouble_during_a_cancel_says_that_nothing_was_changed() -> Result<()> {
    let bed = Bed::new("trouble").await?;
    let proxy = ApiProxy::start(bed.plane).await?;
    let _receiver = bed.receiver_behind(&proxy).await?;
    let fault = ApiFault::new(post(), "localsubjectaccessreviews", ApiEffect::Refuse(503));
    proxy.inject(fault.times(1));
    let line = "/deploy cancel checkout in quick";
    let answer = bed.typed("alice", "deploys", line).await?;
    assert!(
        answer.text.contains("nothing was started or changed"),
        "{}",
        text(&answer)
    );
    Ok(())
}

#[tokio::test]
async fn slow_reviews_start_nothing_and_are_answered_in_time() -> Result<()> {
    let bed = Bed::new("reviews").await?;
    let proxy = ApiProxy::start(bed.plane).await?;
    let _receiver = bed.receiver_behind(&proxy).await?;
    let mut held = proxy.hold(post(), "localsubjectaccessreviews", "");
    let delivery = bed.slack.user("alice").command("deploys", QUICK)?;
    held.arrived().await?;
    let answer = delivery.answered().await?;
    ensure!(
        answer.after < SLACK_WAITS,
        "answered after {:?}",
        answer.after
    );
    let told = bed.shown("alice", 0).await?;
    assert!(
        told.text.contains("Not accepted, nothing was started"),
        "{}",
        text(&told)
    );
    held.release();
    assert!(bed.requests().await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn an_event_that_cannot_be_worked_on_is_delivered_again() -> Result<()> {
    let bed = Bed::new("again").await?;
    let proxy = ApiProxy::start(bed.plane).await?;
    let _receiver = bed.receiver_behind(&proxy).await?;
    let fault = ApiFault::new(post(), "localsubjectaccessreviews", ApiEffect::Refuse(503));
    proxy.inject(fault.times(1));
    let delivery = bed
        .slack
        .user("alice")
        .mention("deploys", None, "checkout main to quick")?;
    let attempts = delivery.tried(2).await?;
    ensure!(attempts.len() >= 2, "{attempts:?}");
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
async fn an_api_server_that_is_gone_is_told_of_in_time() -> Result<()> {
    let bed = Bed::new("gone").await?;
    let proxy = ApiProxy::start(bed.plane).await?;
    let replica = bed.receiver_behind(&proxy).await?;
    let plan = bed
        .typed("alice", "deploys", "/deploy checkout main to staging")
        .await?;
    drop(proxy);
    let click = bed.press("alice", &plan, "plan-deploy")?;
    let answer = click.answered().await?;
    ensure!(
        answer.after < SLACK_WAITS,
        "answered after {:?}",
        answer.after
    );
    let told = wait_for("what the click is told", PATIENCE, async || {
        let all = bed.slack.ephemerals("alice");
        let told = all
            .into_iter()
            .find(|one| one.text.contains("Not accepted"));
        told.ok_or_else(|| anyhow::anyhow!("{}", bed.slack.describe()))
    })
    .await?;
    assert!(told.text.contains("nothing was started"), "{}", text(&told));
    assert!(bed.requests().await?.is_empty());
    drop(replica);
    Ok(())
}
