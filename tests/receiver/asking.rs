//! The way that most people go: a command, a plan, a click, a request.

use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use kube::ResourceExt;

use crate::support::{Bed, buttons, text};

#[tokio::test]
async fn a_command_becomes_a_plan_and_its_click_a_request() -> Result<()> {
    let bed = Bed::new("asking").await?;
    let receiver = bed.receiver().await?;
    let plan = bed
        .typed("alice", "deploys", "/deploy checkout main to staging")
        .await?;
    assert!(
        plan.text
            .starts_with("Plan: deploy *checkout* `main` to *staging*"),
        "{}",
        plan.text
    );
    assert_eq!(
        buttons(&plan.blocks),
        ["plan-deploy", "plan-edit", "plan-cancel"]
    );
    assert!(bed.requests().await?.is_empty(), "a plan creates nothing");

    let accepted = bed.pressed("alice", &plan, "plan-deploy").await?;
    assert!(accepted.text.contains("Accepted"), "{}", text(&accepted));
    let request = bed.request().await?;
    let spec = &request.spec;
    assert_eq!(
        (
            spec.application.as_str(),
            spec.environment.as_str(),
            spec.version.as_deref(),
            spec.action.as_str()
        ),
        ("checkout", "staging", Some("main"), "deploy")
    );
    let requester = spec.requester.as_ref().unwrap();
    assert_eq!(requester.username, "alice@harbor.example");
    assert_eq!(requester.slack.as_ref().unwrap().team, bed.slack.team_id());
    let place = spec.notify.as_ref().unwrap().slack.as_ref().unwrap();
    assert_eq!(place.channel, bed.slack.channel("deploys")?.id);
    assert!(request.name_any().starts_with("slack-"));
    assert!(text(&accepted).contains(&request.name_any()));
    assert_eq!(bed.slack.violations(), Vec::<String>::new());

    let page = receiver.metrics.encode()?;
    for line in [
        "foredeck_receiver_deliveries_total{kind=\"command\",outcome=\"message\"} 1",
        "foredeck_receiver_deliveries_total{kind=\"actions\",outcome=\"empty\"} 1",
        "foredeck_receiver_requests_total{outcome=\"created\"} 1",
        "foredeck_receiver_answer_seconds_count{kind=\"command\"} 1",
    ] {
        assert!(page.contains(line), "{line} is missing in {page}");
    }
    for secret in [request.name_any(), bed.slack.user("alice").id().to_owned()] {
        assert!(!page.contains(&secret), "{secret} is in {page}");
    }
    Ok(())
}

#[tokio::test]
async fn a_message_that_comes_late_is_shown_and_not_started() -> Result<()> {
    fn late() -> Timestamp {
        Timestamp::now() + Duration::from_secs(90)
    }
    let bed = Bed::new("late").await?;
    let _receiver = bed.receiver_as(bed.plane.admin_config(), late).await?;
    let alice = bed.slack.user("alice");
    alice
        .mention("deploys", None, "checkout main to quick")?
        .answered()
        .await?;
    let plan = bed.shown("alice", 0).await?;
    assert!(plan.text.starts_with("Plan:"), "{}", text(&plan));
    assert!(bed.requests().await?.is_empty());
    let accepted = bed.pressed("alice", &plan, "plan-deploy").await?;
    assert!(accepted.text.contains("Accepted"), "{}", text(&accepted));
    bed.request().await?;
    // A command is never delivered late: it has no second try.
    let line = "/deploy checkout other to quick";
    let answer = bed.typed("alice", "deploys", line).await?;
    assert!(answer.text.contains("Accepted"), "{}", text(&answer));
    Ok(())
}
